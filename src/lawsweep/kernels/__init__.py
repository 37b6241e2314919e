"""Shared numerics in torch; they know nothing of sweeps."""
