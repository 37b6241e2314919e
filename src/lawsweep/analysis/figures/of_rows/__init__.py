"""Figures of rows: curves, scatters, heatmaps, and the thresholds of a search."""
