"""Figures of a sweep's table."""
