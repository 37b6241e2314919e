"""The figure of the thresholds that a search found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures.base import ChartKind, Known
from lawsweep.analysis.figures.chart import Axis, Chart, Layer, Marks
from lawsweep.analysis.figures.law_layers import Laws, guides, law_layers
from lawsweep.analysis.figures.look import (
    axes_of,
    by_label,
    group_label,
    group_rows,
    log_x,
    log_y,
    spaced,
)
from lawsweep.analysis.laws.fitted import count
from lawsweep.analysis.laws.threshold.fits import ends_of
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

GUIDE_POINTS = 200


class Thresholds(ChartKind):
    """What a search found against x; ``y`` may make something else of ``n_star``."""

    keys = ("x", "y", "by", "panel", "lines", "fit", "logx", "logy")
    needs = ("x",)
    otherwise: ClassVar = {"y": "n_star"}
    of_cells = True
    guides = True

    def check(self, entry: Entry, known: Known) -> None:
        """A search there must be, and y is about its threshold."""
        if not known.cells:
            raise InvalidValueError(
                f"{entry.place}: kind threshold draws what a search found, and this sweep has no "
                "search block. Add one with axis and event, or choose another kind."
            )
        y = None if entry.values.get("y") is None else entry.expression("y", known.cells)
        if y is not None and "n_star" not in Expression(y).names:
            raise entry.wrong("y", "an expression of n_star", y)

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """Thresholds with interval bars against x, by groups; fits, guide lines."""
        rows = columns.where(spec.where, f"{spec.name}.where")
        x = columns.numbers(spec.x, rows, f"{spec.name}.x")
        y, low, high = ends_of(columns, spec.y, rows)
        shown = np.isfinite(x) & ((x > 0) | (not log_x(spec)))
        if log_y(spec):  # an end that is not positive is none there
            y, low, high = (np.where(v > 0, v, np.nan) for v in (y, low, high))
        rows, x, y, low, high = (v[shown] for v in (rows, x, y, low, high))
        if not np.any(np.isfinite(low) | np.isfinite(high)):
            raise InvalidValueError(
                f"Figure {spec.name} needs at least one threshold, got none of {len(shown)} cells"
                f"{'' if shown.all() else ' (x ≤ 0 or not finite at some)'}. "
                "Run more of the sweep or change the figure's where."
            )
        axes = axes_of(spec)
        grouping = group_rows(columns, spec, rows)
        laws = Laws(columns, spec, of_cells=True)
        layers: list[Layer] = []
        notes: list[str] = []
        groups = []
        for k, (values, members) in enumerate(grouping.groups):
            at, panel = np.searchsorted(rows, members), grouping.panel_of[k]
            layers += _bars(x[at], y[at], low[at], high[at], k, panel)
            found = laws.of(values)
            if found is not None:
                made, said = law_layers(found, x[at], k, panel, axes)
                layers += made
                notes += said
            groups.append(grouping.group(k, group_label(values, found, spec.panel)))
        for panel in range(len(grouping.panels)):
            layers += _guides(spec, x, panel, axes[0])
        n_beyond = int(np.sum(~np.isfinite(y) & (np.isfinite(low) | np.isfinite(high))))
        notes += _notes(columns, rows, n_beyond, fitted=bool(spec.fit))
        return Chart(
            x=axes[0],
            y=axes[1],
            layers=layers,
            groups=groups,
            by=by_label(spec),
            panels=grouping.panels,
            notes=list(dict.fromkeys(notes)),
            band=f"{_level(columns, rows)} interval of a threshold",
        )


def _bars(x: Array, y: Array, low: Array, high: Array, k: int, panel: int) -> list[Layer]:
    """A mark and a bar where there is a threshold; an open one where it is beyond the grid."""
    known = np.isfinite(y)
    ends = np.minimum(low, y)[known], np.maximum(high, y)[known]
    layers: list[Layer] = [
        Marks(group=k, panel=panel, x=x[known], y=y[known], low=ends[0], high=ends[1])
    ]
    for end, sign in ((high, "v"), (low, "^")):
        beyond = ~known & np.isfinite(end)
        if beyond.any():
            layers.append(Marks(group=k, panel=panel, x=x[beyond], y=end[beyond], marker=sign))
    return layers


def _guides(spec: FigureSpec, x: Array, panel: int, axis: Axis) -> list[Layer]:
    """Reference lines, functions of ``x``, over the range of the data."""
    left, right = float(x.min()), float(x.max())
    if left == right:
        left, right = 0.9 * left, 1.1 * right
    return guides(spec, spaced(left, right, GUIDE_POINTS, log=axis.log), panel)


def _level(columns: Columns, rows: Array) -> str:
    return f"{100 * float(columns['confidence'][rows][0]):g} %"


def _notes(columns: Columns, rows: Array, n_beyond: int, *, fitted: bool) -> list[str]:
    n = Counter(str(s) for s in columns["state"][rows])
    notes = [f"bars: {_level(columns, rows)} intervals"]
    if n_beyond:
        notes.append(f"open triangles: {count(n_beyond, 'threshold')} beyond the grid")
    for state in ("open", "unresolved"):
        if n[state] and not fitted:  # a fit says it of its own
            notes.append(f"{count(n[state], 'cell')} {state}")
    return notes
