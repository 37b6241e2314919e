"""Scatters: one mark a row, a look a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.analysis.figures.base import ChartKind
from lawsweep.analysis.figures.of_rows.curves import grouped_chart

if TYPE_CHECKING:
    from lawsweep.analysis.figures.chart import Chart
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Columns


class Scatter(ChartKind):
    """A mark a row; a look a group."""

    keys = ("x", "y", "by", "panel", "lines", "fit", "logx", "logy")
    needs = ("x", "y")

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """The rows, fits and reference lines."""
        return grouped_chart(columns, spec, averaged=False)
