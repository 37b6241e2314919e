"""Experiments, axes, plans and run identity: Python and numpy, importable in milliseconds."""
