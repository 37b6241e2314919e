"""Samplers: which planned runs are wanted next."""
