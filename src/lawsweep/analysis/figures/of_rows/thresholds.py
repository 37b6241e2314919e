"""The figure of the thresholds that a search found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import FigureKind, Known
from lawsweep.analysis.figures.look import (
    LINE_STYLES,
    REFERENCE,
    axis_labels,
    draw_law,
    fitted_laws,
    group_label,
    group_looks,
    legend,
    log_x,
    log_y,
    scales,
)
from lawsweep.analysis.figures.specs import GUIDE_VARIABLE
from lawsweep.analysis.laws.fitted import count
from lawsweep.analysis.laws.threshold_fits import ends_of
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns


class Thresholds(FigureKind):
    """What a search found against x; ``y`` may make something else of ``n_star``."""

    keys = ("x", "y", "by", "lines", "fit", "logx", "logy")
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

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Thresholds with interval bars against x, by groups; fits, guide lines; notes."""
        from matplotlib.lines import Line2D

        rows = columns.where(spec.where, f"{spec.name}.where")
        x = columns.numbers(spec.x, rows, f"{spec.name}.x")
        y, low, high = ends_of(columns, spec.y, rows)
        if not np.any(np.isfinite(low) | np.isfinite(high)):
            raise InvalidValueError(
                f"Figure {spec.name} needs at least one threshold, got none of {len(rows)} cells. "
                "Run more of the sweep or change the figure's where."
            )
        scales(axes, logx=log_x(spec), logy=log_y(spec))
        groups = columns.groups(spec.by, rows)
        fits, looks = fitted_laws(columns, spec, of_cells=True), group_looks(groups)
        handles: list[Any] = []
        notes: list[str] = []
        for k, (values, members) in enumerate(groups):
            at = np.searchsorted(rows, members)
            look = looks[k]
            found = fits.get(tuple(values.values()))
            _bars(axes, x[at], y[at], low[at], high[at], look)
            if found is not None:
                draw_law(axes, found, x[at], look["color"], notes)
            label = group_label(values, found)
            if label:
                handles.append(
                    Line2D([], [], **{**look, "linestyle": "none"}, markersize=5, label=label)
                )
        handles += _guides(axes, spec, x)
        legend(axes, spec, handles)
        axis_labels(axes, spec)
        n_beyond = int(np.sum(~np.isfinite(y) & (np.isfinite(low) | np.isfinite(high))))
        return [*notes, *_notes(columns, rows, n_beyond, fitted=bool(spec.fit))]


def _bars(axes: Axes, x: Array, y: Array, low: Array, high: Array, look: dict[str, Any]) -> None:
    """A mark and a bar where there is a threshold; an arrow where it is beyond the grid."""
    known = np.isfinite(y)
    axes.errorbar(
        x[known],
        y[known],
        yerr=[np.maximum(0, y - low)[known], np.maximum(0, high - y)[known]],
        fmt=look["marker"],
        color=look["color"],
        markersize=5,
        elinewidth=1.2,
        capsize=2.5,
    )
    for end, sign in ((high, "v"), (low, "^")):
        beyond = ~known & np.isfinite(end)
        axes.plot(x[beyond], end[beyond], sign, color=look["color"], markersize=6, fillstyle="none")


def _guides(axes: Axes, spec: FigureSpec, x: Array) -> list[Any]:
    """Reference lines, functions of ``x``, over the range of the data."""
    left, right = float(x.min()), float(x.max())
    if left == right:
        left, right = 0.9 * left, 1.1 * right
    space = np.geomspace if axes.get_xscale() == "log" else np.linspace
    grid, handles = space(left, right, 200), []
    for j, line in enumerate(spec.lines):
        y = Expression(line.y).evaluate({GUIDE_VARIABLE: grid}, len(grid), finite=False)
        handles += axes.plot(
            grid,
            np.where(np.isfinite(y), y, np.nan),
            color=REFERENCE,
            linestyle=LINE_STYLES[j % len(LINE_STYLES)],
            linewidth=1.2,
            zorder=1.8,
            label=line.label or f"y = {labels.pretty(line.y)}",
        )
    return handles


def _notes(columns: Columns, rows: Array, n_beyond: int, *, fitted: bool) -> list[str]:
    confidence = columns["confidence"][rows]
    n = Counter(str(s) for s in columns["state"][rows])
    notes = [f"bars: {100 * float(confidence[0]):g} % intervals"]
    if n_beyond:
        notes.append(f"open triangles: {count(n_beyond, 'threshold')} beyond the grid")
    for state in ("open", "unresolved"):
        if n[state] and not fitted:  # a fit says it of its own
            notes.append(f"{count(n[state], 'cell')} {state}")
    return notes
