"""Curves: means over seeds with a band, a look a group; and what scatters share with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import ChartKind
from lawsweep.analysis.figures.chart import Chart, Layer, Line, Marks
from lawsweep.analysis.figures.law_layers import Laws, law_layers
from lawsweep.analysis.figures.look import (
    Grouping,
    axes_of,
    by_label,
    geometric_y,
    group_label,
    group_rows,
    log_y,
)
from lawsweep.analysis.figures.of_rows.points import Points, read_points
from lawsweep.analysis.frames import centres, distinct, means

if TYPE_CHECKING:
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

BANDS = {"sd": "±1 sd", "sem": "±1 standard error", "minmax": "smallest to largest"}


class Curve(ChartKind):
    """Means over the rows at each x, joined, with a band; a look a group."""

    keys = ("x", "y", "by", "panel", "band", "lines", "fit", "logx", "logy")
    needs = ("x", "y")

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """The groups, fits and reference lines."""
        return grouped_chart(columns, spec, averaged=True)


def grouped_chart(columns: Columns, spec: FigureSpec, *, averaged: bool) -> Chart:
    """The groups (means over rows, or each row), fits and reference lines."""
    points = read_points(columns, spec, averaged=averaged)
    axes = axes_of(spec)
    grouping = group_rows(columns, spec, points.rows)
    laws = Laws(columns, spec)
    layers: list[Layer] = []
    notes: list[str] = []
    groups = []
    make = _means if averaged else _each
    for k, (values, rows) in enumerate(grouping.groups):
        at = np.searchsorted(points.rows, rows)
        x, panel = points.x[at], grouping.panel_of[k]
        layers.append(make(x, points.y[at], rows, spec, k, panel))
        found = laws.of(values)
        if found is not None:
            made, said = law_layers(found, x, k, panel, axes)
            layers += made
            notes += said
        label = group_label(values, found, spec.panel)
        groups.append(grouping.group(k, label if spec.by or found is not None else ""))
    layers += _reference_lines(columns, spec, points, grouping)
    if averaged:
        notes += _caveats(columns, spec, points, grouping)
    return Chart(
        x=axes[0],
        y=axes[1],
        layers=layers,
        groups=groups,
        by=by_label(spec),
        shape=grouping.shape if not spec.fit else None,
        panels=grouping.panels,
        notes=[*points.notes, *dict.fromkeys(notes)],
        band=_band(spec) if averaged else "",
    )


def _means(x: Array, y: Array, rows: Array, spec: FigureSpec, k: int, panel: int) -> Marks:
    """Mean over the rows at each x, joined unless a fit will be, with its band."""
    levels, inverse = distinct(x)
    geometric = geometric_y(spec)
    low, high = band_edges(y, inverse, spec.band, geometric=geometric)
    bare = spec.band == "none"
    return Marks(
        group=k,
        panel=panel,
        x=levels,
        y=centres(y, inverse, geometric=geometric),
        low=None if bare else low,
        high=None if bare else high,
        strip=True,
        rows=rows,
        of=inverse,
        joined=not spec.fit,
        geometric=geometric,
        means=True,
    )


def _each(x: Array, y: Array, rows: Array, spec: FigureSpec, k: int, panel: int) -> Marks:
    """One mark a row, paler the more there are."""
    del spec
    alpha = float(np.clip(20 / np.sqrt(len(x)), 0.25, 0.8))
    of = np.arange(len(x))
    return Marks(group=k, panel=panel, x=x, y=y, rows=rows, of=of, alpha=alpha, edge=False)


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
    columns: Columns, spec: FigureSpec, points: Points, grouping: Grouping
) -> list[Layer]:
    """Each line's mean at each x by group; once a panel, in grey, where its groups agree on it."""
    layers: list[Layer] = []
    for j, line in enumerate(spec.lines):
        label = line.label or labels.pretty(line.y)
        for panel in range(len(grouping.panels)):
            own = [k for k, p in enumerate(grouping.panel_of) if p == panel]
            found = [
                _line_points(
                    columns,
                    f"{spec.name}.lines[{j}]",
                    line.y,
                    grouping.groups[k][1],
                    points,
                    geometric=log_y(spec),
                )
                for k in own
            ]
            common = _one_function(found)
            drawn: Any = [(None, common)] if common is not None else zip(own, found, strict=True)
            layers += [
                Line(group=k, panel=panel, x=x, y=y, role="reference", style=j, label=label)
                for k, (x, y) in drawn
            ]
    return layers


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


def _band(spec: FigureSpec) -> str:
    """What the band is; empty where there is none."""
    band = BANDS.get(spec.band, "")
    return f"{band} of log y" if band and geometric_y(spec) and spec.band != "minmax" else band


def _caveats(columns: Columns, spec: FigureSpec, points: Points, grouping: Grouping) -> list[str]:
    """What the points are, and a warning where a mean is over more than seeds."""
    notes = []
    if len(points.rows) > len(grouping.groups):
        mean = "geometric mean" if geometric_y(spec) else "mean"
        band = _band(spec)
        notes.append(f"points: {mean} over seeds{f'; band: {band}' if band else ''}")
    for _, rows in grouping.groups:
        at = distinct(points.x[np.searchsorted(points.rows, rows)])[1]
        if columns.mixes_settings(rows, at):
            notes.append("some points average different settings: split them with by or where")
            break
    return notes
