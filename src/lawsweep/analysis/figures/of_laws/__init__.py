"""Figures of laws themselves."""
