"""Expectations under a Gaussian."""
