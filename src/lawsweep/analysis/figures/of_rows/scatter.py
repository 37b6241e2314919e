"""Scatters: one mark a row, one colour a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures.base import FigureKind
from lawsweep.analysis.figures.of_rows.curves import paint_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns


class Scatter(FigureKind):
    """A mark a row; one colour a group."""

    keys = ("x", "y", "by", "lines", "fit", "logx", "logy")
    needs = ("x", "y")

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Draw the groups, fits and reference lines; footer notes."""
        return paint_groups(axes, columns, spec, _marks, averaged=False)


def _marks(
    axes: Axes, x: Array, y: Array, spec: FigureSpec, look: dict[str, Any], notes: list[str]
) -> Line2D:
    """One mark a row, paler the more there are."""
    del spec, notes
    alpha = float(np.clip(20 / np.sqrt(len(x)), 0.25, 0.8))
    (line,) = axes.plot(
        x, y, **{**look, "linestyle": "none"}, markersize=4, markeredgewidth=0, alpha=alpha
    )
    return line
