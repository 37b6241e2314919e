"""Heatmaps over the irregular grid of the distinct x and y of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import FigureKind
from lawsweep.analysis.figures.look import (
    LINE_STYLES,
    axis_labels,
    log_x,
    log_y,
    scales,
    whole_figure,
)
from lawsweep.analysis.figures.of_rows.points import read_points
from lawsweep.analysis.figures.specs import GUIDE_VARIABLE
from lawsweep.analysis.frames import centres, distinct
from lawsweep.analysis.laws.threshold_fits import answers_of, edge_of_rows, rises
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

# Cells per planned point beyond which x and y are no axes of a grid: a triangle that ``where``
# leaves of a square has two, a full derived axis (n_samples = ratio * input_dim**2) has n.
MOST_CELLS = 5
THRESHOLD_CONFIDENCE = 0.9
MISSING: Any = {"facecolor": "0.93", "edgecolor": "0.72", "hatch": "////", "linewidth": 0.0}


class Heatmap(FigureKind):
    """Means of z over a grid of x and y, and the edge of an event above them."""

    keys = ("x", "y", "z", "lines", "threshold", "logx", "logy", "logz", "zlabel")
    needs = ("x", "y", "z")
    subject = "z"
    guides = True

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Mean of z over the rows of each cell, missing cells hatched, lines above; notes."""
        from matplotlib.patches import Patch, Rectangle

        points = read_points(columns, spec)
        assert points.z is not None
        logx, logy = log_x(spec), log_y(spec)
        on_axes = ((points.planned_x > 0) | (not logx)) & ((points.planned_y > 0) | (not logy))
        xs, x_at = distinct(np.concatenate([points.x, points.planned_x[on_axes]]))
        ys, y_at = distinct(np.concatenate([points.y, points.planned_y[on_axes]]))
        n_cells = len(xs) * len(ys)
        planned_cell = y_at * len(xs) + x_at
        n_distinct = len(np.unique(planned_cell))
        if n_cells > MOST_CELLS * n_distinct:
            raise InvalidValueError(
                f"Figure {spec.name}: {spec.x} and {spec.y} form no grid, expected at most "
                f"{MOST_CELLS} cells a point, got {n_distinct} points on {len(xs)} × {len(ys)} "
                "cells. Choose axes of the sweep, or kind: scatter."
            )
        cell = planned_cell[: len(points.rows)]
        filled, inverse = np.unique(cell, return_inverse=True)
        grid = np.full(n_cells, np.nan)
        grid[filled] = centres(points.z, inverse, geometric=bool(spec.logz))
        handles: list[Any] = []
        if len(filled) < n_cells:
            axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=0, **MISSING))
            handles.append(Patch(label="no result", **MISSING))
        _mesh(axes, spec, edges(xs, logx), edges(ys, logy), grid.reshape(len(ys), -1))
        handles = [*_lines(axes, spec), *_threshold(axes, columns, spec), *handles]
        if handles:
            # Above the map: a legend within would lie on cells.
            whole_figure(axes).legend(
                handles=handles,
                loc="outside upper center",
                ncols=2 if len(handles) == 4 else 3,
                frameon=False,
                handlelength=2.2,
            )
        axis_labels(axes, spec)
        notes = list(points.notes)
        if columns.mixes_settings(points.rows, cell):
            notes.append("some cells average different settings: split them with where")
        elif len(points.rows) > len(filled):
            notes.append(f"cells: {'geometric mean' if spec.logz else 'mean'} over seeds")
        return notes


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


def _mesh(axes: Axes, spec: FigureSpec, x: Array, y: Array, grid: Array) -> None:
    from matplotlib.colors import LogNorm

    scales(axes, logx=log_x(spec), logy=log_y(spec), grid=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    mesh = axes.pcolormesh(
        x,
        y,
        np.ma.masked_invalid(grid),
        cmap="viridis",
        norm=LogNorm() if spec.logz else None,
        # Edges in the cell's own colour: PDF viewers show hairlines between cells without.
        edgecolors="face",
        linewidth=0.2,
        zorder=1,
    )
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    assert spec.z is not None
    bar = whole_figure(axes).colorbar(mesh, ax=axes, pad=0.02, aspect=25)
    bar.set_label(spec.zlabel or labels.pretty(spec.z))
    bar.outline.set_visible(False)


def _threshold(axes: Axes, columns: Columns, spec: FigureSpec) -> list[Any]:
    """Where the event stops along y at each x, with its interval: marks above the map.

    Of all rows, those without a finite z too: a run that diverged may be an answer.
    """
    if spec.threshold is None:
        return []
    what = f"{spec.name}.threshold"
    planned = columns.where(spec.where, f"{spec.name}.where")
    rows = planned[columns.statuses(planned) == "ok"]
    x, y = columns.numbers(spec.x, rows, what), columns.numbers(spec.y, rows, what)
    on_map = np.isfinite(x) & np.isfinite(y)
    on_map &= ((x > 0) | (not log_x(spec))) & ((y > 0) | (not log_y(spec)))
    rows, x, y = rows[on_map], x[on_map], y[on_map]
    happens = answers_of(columns, spec.threshold, rows, what)
    if rises(x, y, happens):
        raise InvalidValueError(
            f"{what} must be an event that stops as {spec.y} grows, and {spec.threshold!r} begins. "
            f"Turn it round: not ({spec.threshold})."
        )
    found = edge_of_rows(x, y, happens, THRESHOLD_CONFIDENCE)
    if not len(found):
        return []
    x, y, low, high = found.T
    bars = axes.errorbar(
        x,
        y,
        yerr=[y - low, high - y],
        fmt="o",
        color="white",
        markeredgecolor="black",
        ecolor="white",
        markersize=5,
        capsize=2.5,
        zorder=3.1,
        label=f"half are {spec.threshold}, {100 * THRESHOLD_CONFIDENCE:g} %",
    )
    return [bars]


def _lines(axes: Axes, spec: FigureSpec) -> list[Any]:
    """Reference lines y(x), cut at the map's frame; readable on dark and light alike."""
    from matplotlib import patheffects

    left, right = axes.get_xlim()
    space = np.geomspace if log_x(spec) else np.linspace
    x = space(left, right, 400)
    halo = [patheffects.Stroke(linewidth=3.2, foreground="white"), patheffects.Normal()]
    handles: list[Any] = []
    for j, line in enumerate(spec.lines):
        y = Expression(line.y).evaluate({GUIDE_VARIABLE: x}, len(x), finite=False)
        handles += axes.plot(
            x,
            np.where(np.isfinite(y), y, np.nan),
            color="black",
            linewidth=1.5,
            linestyle="-" if j == 0 else LINE_STYLES[(j - 1) % len(LINE_STYLES)],
            path_effects=halo,
            label=line.label or f"y = {labels.pretty(line.y)}",
            zorder=3,
        )
    return handles
