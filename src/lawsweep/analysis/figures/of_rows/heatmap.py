"""Heatmaps over the irregular grid of the distinct x and y of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import ChartKind
from lawsweep.analysis.figures.chart import Axis, Cells, Chart, Layer, Marks
from lawsweep.analysis.figures.law_layers import guides
from lawsweep.analysis.figures.look import axes_of, group_rows, spaced
from lawsweep.analysis.figures.of_rows.points import Points, read_points
from lawsweep.analysis.frames import centres, distinct
from lawsweep.analysis.laws.threshold.rows import answers_of, edge_of_rows, rises
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

# Cells per planned point beyond which x and y are no axes of a grid: a triangle that ``where``
# leaves of a square has two, a full derived axis (n_samples = ratio * input_dim**2) has n.
MOST_CELLS = 5
THRESHOLD_CONFIDENCE = 0.9
GUIDE_POINTS = 400


class Heatmap(ChartKind):
    """Means of z over a grid of x and y, and the edge of an event above them."""

    keys = ("x", "y", "z", "panel", "lines", "threshold", "logx", "logy", "logz", "zlabel")
    needs = ("x", "y", "z")
    subject = "z"
    guides = True

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """Mean of z over the rows of each cell, missing cells hatched, lines and edge above."""
        points = read_points(columns, spec)
        assert points.z is not None
        x, y = axes_of(spec)
        grid = _Grid(points, spec, x, y)
        layers: list[Layer] = []
        grouping = group_rows(columns, replace(spec, by=()), points.rows)
        n_filled, mixed, n_edges = 0, False, 0
        for panel, (values, rows) in enumerate(grouping.groups):
            at = np.searchsorted(points.rows, rows)
            made = grid.cells(points, at, panel, spec)
            n_filled += len(np.unique(grid.cell[at]))
            mixed |= columns.mixes_settings(rows, grid.cell[at])
            layers += [made, *grid.guides(spec, panel)]
            if (edge := _threshold(columns, spec, (x, y), values, panel)) is not None:
                layers.append(edge)
                n_edges += 1
        notes = list(points.notes)
        if spec.threshold and not n_edges:
            notes.append(f"no edge of {spec.threshold} is seen on the map")
        if mixed:
            notes.append("some cells average different settings: split them with where")
        elif len(points.rows) > n_filled:
            notes.append(f"cells: {'geometric mean' if spec.logz else 'mean'} over seeds")
        ends = grid.ends
        return Chart(
            x=replace(x, ends=ends[0]),
            y=replace(y, ends=ends[1]),
            layers=layers,
            panels=grouping.panels,
            notes=notes,
            band=f"{100 * THRESHOLD_CONFIDENCE:g} % interval of the edge" if n_edges else "",
        )


class _Grid:
    """The cells of the distinct x and y that are planned within ``where``."""

    def __init__(self, points: Points, spec: FigureSpec, x: Axis, y: Axis):
        on_axes = ((points.planned_x > 0) | (not x.log)) & ((points.planned_y > 0) | (not y.log))
        xs, x_at = distinct(np.concatenate([points.x, points.planned_x[on_axes]]))
        ys, y_at = distinct(np.concatenate([points.y, points.planned_y[on_axes]]))
        self.shape = (len(ys), len(xs))
        planned = y_at * len(xs) + x_at
        n_distinct = len(np.unique(planned))
        if len(xs) * len(ys) > MOST_CELLS * n_distinct:
            raise InvalidValueError(
                f"Figure {spec.name}: {spec.x} and {spec.y} form no grid, expected at most "
                f"{MOST_CELLS} cells a point, got {n_distinct} points on {len(xs)} × {len(ys)} "
                "cells. Choose axes of the sweep, or kind: scatter."
            )
        self.cell = planned[: len(points.rows)]  # of each row
        self.log = x.log
        self.x, self.y = edges(xs, x.log), edges(ys, y.log)
        self.ends = tuple((float(e[0]), float(e[-1])) for e in (self.x, self.y))

    def cells(self, points: Points, at: Array, panel: int, spec: FigureSpec) -> Cells:
        """The map of some of the points."""
        assert points.z is not None
        assert spec.z is not None
        cell = self.cell[at]
        filled, inverse = np.unique(cell, return_inverse=True)
        values = np.full(self.shape[0] * self.shape[1], np.nan)
        values[filled] = centres(points.z[at], inverse, geometric=bool(spec.logz))
        return Cells(
            panel=panel,
            x=self.x,
            y=self.y,
            values=values.reshape(self.shape),
            title=spec.zlabel or labels.pretty(spec.z),
            log=bool(spec.logz),
            missing="no result",
            label="no result",
            rows=points.rows[at],
            of=cell,
        )

    def guides(self, spec: FigureSpec, panel: int) -> list[Layer]:
        """Reference lines y(x), cut at the map's frame; readable on dark and light alike."""
        x = spaced(self.ends[0][0], self.ends[0][1], GUIDE_POINTS, log=self.log)
        return guides(spec, x, panel, over=True)


def edges(centres: Array, log: bool) -> Array:
    """Cell edges, shape (n + 1,), half way between neighbours (in the logarithm if ``log``).

    The outer cells reach as far out as in; a single centre gets a cell of a tenth either side.
    """
    v = np.log(centres) if log else centres
    if len(v) == 1:
        half = 0.1 if log else (0.1 * abs(v[0]) or 0.5)
        found = np.array([v[0] - half, v[0] + half])
    else:
        middle = (v[1:] + v[:-1]) / 2
        found = np.concatenate([[2 * v[0] - middle[0]], middle, [2 * v[-1] - middle[-1]]])
    return np.asarray(np.exp(found) if log else found)


def _threshold(
    columns: Columns,
    spec: FigureSpec,
    axes: tuple[Axis, Axis],
    within: Mapping[str, Any],
    panel: int,
) -> Marks | None:
    """Where the event stops along y at each x, with its interval: marks above the map.

    Of all rows of the panel, those without a finite z too: a run that diverged may be an answer.
    """
    if spec.threshold is None:
        return None
    what = f"{spec.name}.threshold"
    planned = columns.where(spec.where, f"{spec.name}.where")
    rows = planned[columns.statuses(planned) == "ok"]
    rows = next(r for v, r in columns.groups(tuple(within), rows) if v == within)
    x, y = columns.numbers(spec.x, rows, what), columns.numbers(spec.y, rows, what)
    on_map = np.isfinite(x) & np.isfinite(y)
    on_map &= ((x > 0) | (not axes[0].log)) & ((y > 0) | (not axes[1].log))
    rows, x, y = rows[on_map], x[on_map], y[on_map]
    happens = answers_of(columns, spec.threshold, rows, what)
    if rises(x, y, happens):
        raise InvalidValueError(
            f"{what} must be an event that stops as {spec.y} grows, and {spec.threshold!r} begins. "
            f"Turn it round: not ({spec.threshold})."
        )
    seeds = columns["seed"][rows] if "seed" in columns else None
    found = edge_of_rows(x, y, happens, THRESHOLD_CONFIDENCE, seeds)
    if not len(found):
        return None
    x, y, low, high = found.T
    label = f"half are {spec.threshold}, {100 * THRESHOLD_CONFIDENCE:g} %"
    return Marks(panel=panel, x=x, y=y, low=low, high=high, over=True, label=label)
