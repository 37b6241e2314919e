"""Curves of several sizes on one: exponents, quality, errors."""
