"""Figures of the large arrays that stand beside rows."""
