"""Minimisation and least squares."""
