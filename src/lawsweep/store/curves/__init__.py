"""Curves that runs reported, beside their rows."""
