"""Compression of two-layer networks ([C], arXiv 2205.08199)."""
