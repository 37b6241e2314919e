"""Sampling that stops when an interval is narrow: ``until`` in a sweep."""
