"""The figure of the thresholds that a search found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lawsweep.analysis import labels
from lawsweep.analysis.curves import LINE_STYLES, MARKERS, REFERENCE
from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.results import FitResult, count
from lawsweep.analysis.specs import HEATMAP_VARIABLE, FigureSpec, FitSpec
from lawsweep.analysis.threshold_fits import ends_of, fit_thresholds
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions import Expression

# The same colours as a curve's groups: Okabe and Ito's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def paint(axes: Axes, columns: Columns, spec: FigureSpec, arrays: object = None) -> list[str]:
    """Thresholds with interval bars against x, by groups; fits, guide lines; notes."""
    del arrays
    rows = columns.where(spec.where)
    x = columns.numbers(spec.x, rows, f"{spec.name}.x")
    y, low, high = ends_of(columns, spec.y, rows)
    if not np.any(np.isfinite(low) | np.isfinite(high)):
        raise InvalidValueError(
            f"Figure {spec.name} needs at least one threshold, got none of {len(rows)} cells. "
            "Run more of the sweep or change the figure's where."
        )
    axes.set_xscale("log" if _log(spec.logx, spec) else "linear")
    axes.set_yscale("log" if _log(spec.logy, spec) else "linear")
    axes.grid(True, which="major", color="0.9", linewidth=0.6)
    groups = columns.groups(spec.by, rows)
    fits = {}
    if spec.fit:
        law = FitSpec(name=spec.name, law="power", x=spec.x, y=spec.y, by=spec.by, where=spec.where)
        fits = {tuple(f.group.values()): f for f in fit_thresholds(columns, law)}
    handles: list[Any] = []
    notes: list[str] = []
    for k, (values, members) in enumerate(groups):
        at = np.searchsorted(rows, members)
        look: dict[str, Any] = {
            "color": COLOURS[k % len(COLOURS)],
            "marker": MARKERS[k % len(MARKERS)],
        }
        found = fits.get(tuple(values.values()))
        label = ", ".join(labels.value(v) for v in values.values())
        _bars(axes, x[at], y[at], low[at], high[at], look)
        if found is not None:
            label = _fit_line(axes, found, x[at], look["color"], label, notes)
        if label:
            handles.append(Line2D([], [], **look, linestyle="none", markersize=5, label=label))
    handles += _guides(axes, spec, x)
    if handles:
        title = ", ".join(labels.name(n) for n in spec.by) or None
        axes.legend(handles=handles, loc="best", framealpha=0.85, edgecolor="0.85", title=title)
    axes.set_xlabel(spec.xlabel or labels.pretty(spec.x))
    axes.set_ylabel(spec.ylabel or labels.pretty(spec.y))
    n_beyond = int(np.sum(~np.isfinite(y) & (np.isfinite(low) | np.isfinite(high))))
    return [*notes, *_notes(columns, rows, n_beyond, fitted=spec.fit)]


def _log(asked: bool | None, spec: FigureSpec) -> bool:
    return spec.fit if asked is None else asked


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


def _fit_line(
    axes: Axes, found: FitResult, x: Array, colour: Any, label: str, notes: list[str]
) -> str:
    """Draw a law; what the legend says of the group."""
    if found.reason is not None:
        notes.append(f"{label + ': ' if label else ''}no fit: {found.reason}")
        return label
    notes += [f"{label + ': ' if label else ''}{text}" for text in found.warnings]
    ends = np.geomspace(x[x > 0].min(), x.max(), 2)
    law = found["C"].estimate * ends ** found["exponent"].estimate
    axes.plot(ends, law, color=colour, linewidth=1.2, zorder=1.9)
    slope = f"slope {found['exponent'].interval()}"
    return f"{label}: {slope}" if label else slope


def _guides(axes: Axes, spec: FigureSpec, x: Array) -> list[Any]:
    """Reference lines, functions of ``x``, over the range of the data."""
    left, right = float(x.min()), float(x.max())
    if left == right:
        left, right = 0.9 * left, 1.1 * right
    space = np.geomspace if axes.get_xscale() == "log" else np.linspace
    grid, handles = space(left, right, 200), []
    for j, line in enumerate(spec.lines):
        y = Expression(line.y).evaluate({HEATMAP_VARIABLE: grid}, len(grid), finite=False)
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
