"""Curves: means over seeds with a band, one colour a group; and what scatters share with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import FigureKind
from lawsweep.analysis.figures.look import (
    LINE_STYLES,
    REFERENCE,
    axis_labels,
    colour,
    draw_law,
    fitted_laws,
    geometric_y,
    group_label,
    group_looks,
    legend,
    log_x,
    log_y,
    scales,
    two_column_handles,
)
from lawsweep.analysis.figures.of_rows.points import Points, read_points
from lawsweep.analysis.frames import centres, distinct, means

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

    # Draws a group: axes, x, y, figure, look, notes for the footer; the handle for a legend.
    Mark = Callable[[Axes, Array, Array, FigureSpec, dict[str, Any], list[str]], Line2D]

LEGEND_GROUPS = 14  # entries that fit beside the axes; more groups are named here and there


class Curve(FigureKind):
    """Means over the rows at each x, joined, with a band; one colour a group."""

    keys = ("x", "y", "by", "band", "lines", "fit", "logx", "logy")
    needs = ("x", "y")

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Draw the groups, fits and reference lines; footer notes."""
        return paint_groups(axes, columns, spec, _means, averaged=True)


def paint_groups(
    axes: Axes, columns: Columns, spec: FigureSpec, mark: Mark, *, averaged: bool
) -> list[str]:
    """Draw the groups (means over rows, or each row), fits and reference lines; footer notes."""
    points = read_points(columns, spec, averaged=averaged)
    scales(axes, logx=log_x(spec), logy=log_y(spec))
    axes.margins(x=0.03)
    groups = columns.groups(spec.by, points.rows)
    fits, looks = fitted_laws(columns, spec), group_looks(groups)
    notes: list[str] = []
    handles: list[Any] = []
    for k, (values, rows) in enumerate(groups):
        at = np.searchsorted(points.rows, rows)
        look = looks[k]
        handle = mark(axes, points.x[at], points.y[at], spec, look, notes)
        found = fits.get(tuple(values.values()))
        if found is not None:
            draw_law(axes, found, points.x[at], look["color"], notes)
        handle.set_label(group_label(values, found) or "data")
        if spec.by or found is not None:
            handles.append(handle)
    blocks = two_column_handles(groups) if not spec.fit else []
    if blocks:
        handles = blocks
    elif len(handles) > LEGEND_GROUPS:
        chosen = np.linspace(0, len(handles) - 1, LEGEND_GROUPS // 2).round().astype(int)
        handles = [handles[k] for k in chosen]
        notes.append(f"legend names {len(handles)} of {len(groups)} groups")
    handles += _reference_lines(axes, columns, spec, points, groups)
    legend(axes, spec, handles, titled=not blocks)
    axis_labels(axes, spec)
    if averaged:
        notes += _caveats(columns, spec, points, groups)
    return [*points.notes, *notes]


def _means(
    axes: Axes, x: Array, y: Array, spec: FigureSpec, look: dict[str, Any], notes: list[str]
) -> Line2D:
    """Mean over the rows at each x, joined unless a fit will be, with its band."""
    del notes
    levels, inverse = distinct(x)
    centre = centres(y, inverse, geometric=geometric_y(spec))
    low, high = band_edges(y, inverse, spec.band, geometric=geometric_y(spec))
    if spec.band != "none":
        axes.fill_between(levels, low, high, color=look["color"], alpha=0.18, linewidth=0)
    (line,) = axes.plot(
        levels,
        centre,
        **{"linestyle": "-", **look, **({"linestyle": "none"} if spec.fit else {})},
        linewidth=1.4,
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )
    return line


def band_edges(
    y: Array, inverse: Array, band: str, *, geometric: bool = False
) -> tuple[Array, Array]:
    """Lower and upper edge of the band at each point; of no width where one row stands alone.

    ``sd`` is the sample standard deviation (n − 1), ``sem`` that over √n, ``minmax`` the extremes.
    About a ``geometric`` mean they are those of log y: the band is a factor either way.
    """
    if geometric:
        low, high = band_edges(np.log(y), inverse, band)
        return np.exp(low), np.exp(high)
    count = np.bincount(inverse)
    centre = means(y, inverse)
    if band == "minmax":
        low, high = np.full(len(count), np.inf), np.full(len(count), -np.inf)
        np.minimum.at(low, inverse, y)
        np.maximum.at(high, inverse, y)
        return low, high
    squares = np.bincount(inverse, weights=(y - centre[inverse]) ** 2)
    half = np.sqrt(squares / np.maximum(count - 1, 1))
    if band == "sem":
        half = half / np.sqrt(count)
    return centre - half, centre + half


def _reference_lines(
    axes: Axes,
    columns: Columns,
    spec: FigureSpec,
    points: Points,
    groups: Sequence[tuple[Mapping[str, Any], Array]],
) -> list[Any]:
    """Each line's mean at each x by group; drawn once, in grey, where the groups agree on it."""
    from matplotlib.lines import Line2D

    handles: list[Any] = []
    for j, line in enumerate(spec.lines):
        style = LINE_STYLES[j % len(LINE_STYLES)]
        found = [
            _line_points(
                columns, f"{spec.name}.lines[{j}]", line.y, rows, points, geometric=log_y(spec)
            )
            for _, rows in groups
        ]
        common = _one_function(found)
        for k, (x, y) in enumerate([common] if common is not None else found):
            ink = REFERENCE if common is not None else colour(k, len(groups))
            axes.plot(x, y, color=ink, linestyle=style, linewidth=1.2, zorder=1.8)
        label = line.label or labels.pretty(line.y)
        handles.append(Line2D([], [], color=REFERENCE, linestyle=style, linewidth=1.2, label=label))
    return handles


def _line_points(
    columns: Columns, what: str, text: str, rows: Array, points: Points, *, geometric: bool
) -> tuple[Array, Array]:
    y = columns.numbers(text, rows, what)
    known = np.isfinite(y) & ((y > 0) | (not geometric))
    levels, inverse = distinct(points.x[np.searchsorted(points.rows, rows)][known])
    return levels, centres(y[known], inverse, geometric=geometric)


def _one_function(lines: Sequence[tuple[Array, Array]]) -> tuple[Array, Array] | None:
    """The union of the lines where they agree wherever they share an x, else None."""
    x = np.concatenate([line[0] for line in lines])
    y = np.concatenate([line[1] for line in lines])
    levels, inverse = distinct(x)
    if len(lines) > 1 and len(levels) == len(x):
        return None  # no x in common: nothing says that they are one
    centre = means(y, inverse) if len(x) else y
    same = np.abs(y - centre[inverse]) <= 1e-9 * np.abs(centre[inverse])
    return (levels, centre) if bool(np.all(same)) else None


def _caveats(
    columns: Columns,
    spec: FigureSpec,
    points: Points,
    groups: Sequence[tuple[Mapping[str, Any], Array]],
) -> list[str]:
    """What the band is, and a warning where a mean is over more than seeds."""
    notes = []
    words = {"sd": "±1 sd", "sem": "±1 standard error", "minmax": "smallest to largest"}
    mean = "mean"
    if geometric_y(spec):
        mean = "geometric mean"
        words |= {"sd": "±1 sd of log y", "sem": "±1 standard error of log y"}
    if len(points.rows) > len(groups):
        band = f"; band: {words[spec.band]}" if spec.band in words else ""
        notes.append(f"points: {mean} over seeds{band}")
    for _, rows in groups:
        at = distinct(points.x[np.searchsorted(points.rows, rows)])[1]
        if columns.mixes_settings(rows, at):
            notes.append("some points average different settings: split them with by or where")
            break
    return notes
