"""Fits and figures from a tidy frame."""
