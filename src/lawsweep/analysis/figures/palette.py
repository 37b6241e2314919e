"""Colours and marks of groups.

Any two colours of the palette are told apart under protanopia, deuteranopia and tritanopia too, and
each stands out from its ground: they were sought for that, from the hues of Okabe and Ito's, and
``tests/analysis/figures/test_palette.py`` computes how far.
"""

from __future__ import annotations

PALETTE = ("#0a4290", "#de762f", "#0894f1", "#872b0c", "#719166", "#cc79b3", "#000000")
NIGHT = ("#4474b4", "#f2d013", "#9dcdfc", "#f44430", "#55fe8d", "#d0687d", "#fafafa")  # on dark
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# The darker three quarters of viridis by nine stops: for values in order, and for many groups.
SEQUENCE = (
    (68, 1, 84), (72, 33, 115), (67, 62, 133), (56, 88, 140), (46, 111, 142), (37, 132, 142),
    (31, 154, 138), (41, 175, 127), (78, 195, 107),
)  # fmt: skip
REFERENCE = "#404040"  # of a line that is no group's own
PALER = 0.45  # of white in a colour of the sequence on a dark ground


def night(ink: str) -> str:
    """The colour on a dark ground of what has the colour ``ink`` on a light one."""
    if ink in PALETTE:
        return NIGHT[PALETTE.index(ink)]
    values = (int(ink[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * PALER):02x}" for c in values)
