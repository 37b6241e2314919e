"""Colours and marks of groups.

Colours are told apart under protanopia, deuteranopia and tritanopia too, and stand out from white
paper: ``tests/analysis/figures/test_palette.py`` computes how far.
"""

from __future__ import annotations

# Okabe and Ito's palette, its yellow left out: too pale for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Viridis by nine stops, short of its palest end: for values in order, and for many groups.
SEQUENCE = (
    (68, 1, 84), (72, 41, 121), (62, 76, 138), (47, 107, 142), (36, 134, 142), (31, 162, 135),
    (63, 188, 115), (127, 211, 78), (202, 225, 31),
)  # fmt: skip
REFERENCE = "#404040"  # of a line that is no group's own
