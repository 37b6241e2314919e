"""Lines of figures as layers: laws with their interval, and lines that an entry asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.chart import Band, Layer, Line, Marks
from lawsweep.analysis.figures.look import spaced
from lawsweep.analysis.figures.specs import GUIDE_VARIABLE, FigureSpec
from lawsweep.analysis.frames import Array, Columns
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from lawsweep.analysis.figures.chart import Axis
    from lawsweep.analysis.laws.results import FitResult

BAND_POINTS = 100  # of the edge of a law's interval
LINE_POINTS = 200  # of a law that is not straight on its axes


class Laws:
    """The law of each group of a figure; none where the figure asks for none."""

    def __init__(self, columns: Columns, spec: FigureSpec, *, of_cells: bool = False):
        from lawsweep.analysis.laws.fits import fit_cell_columns, fit_columns

        self._by: tuple[str, ...] = () if spec.fit is None else spec.fit.by
        self._found: dict[tuple[Any, ...], FitResult] = {}
        if spec.fit is not None:
            asked = spec.fit if spec.fit_named else replace(spec.fit, name=spec.name)
            fit = fit_cell_columns if of_cells else fit_columns
            self._found = {tuple(f.group.values()): f for f in fit(columns, asked)}

    def of(self, values: Mapping[str, Any]) -> FitResult | None:
        """That of the group with these values; a law of several groups is that of each."""
        return self._found.get(tuple(values.get(name) for name in self._by))


def law_layers(
    found: FitResult, x: Array, group: int, panel: int, axes: tuple[Axis, Axis]
) -> tuple[list[Layer], list[str]]:
    """A law over the range of ``x`` with its interval, and what must be said of it."""
    place = f"{found.label()}: " if found.group else ""
    arrows = _bounds(found, group, panel)
    told = ["open arrows: rows that are only bounds of y"] if arrows else []
    if found.reason is not None:
        return [*arrows], [f"{place}no fit: {found.why_not}", *told]
    notes = [*(f"{place}{text}" for text in found.warnings), *told]
    x = np.concatenate([x, *(marks.x for marks in arrows)])
    logs = (axes[0].log, axes[1].log)
    log = logs[0] or found.law.log_x
    x = x[x > 0] if log else x
    ends = (float(x.min()), float(x.max()))
    straight = found.law.straight and logs == (found.law.log_x, found.law.log_y)
    at = spaced(*ends, 2 if straight else LINE_POINTS, log=log)
    layers: list[Layer] = [*arrows, Line(group=group, panel=panel, x=at, y=found.predict(at))]
    at = spaced(*ends, BAND_POINTS, log=log)
    if (band := band_layer(found.band(at), at, group, panel)) is not None:
        layers.append(band)
        notes.append(shaded(found))
    return layers, notes


def _bounds(found: FitResult, group: int, panel: int) -> list[Marks]:
    """An open arrow at each bound, downwards where y is at most that."""
    points, x = found.points, found.spec.x
    if points is None or points.bound is None or x is None:
        return []
    y = np.exp(points.replicates) if found.law.of_logs(found.spec) else points.replicates
    made = []
    for side, marker in ((-1, "v"), (1, "^")):
        rows = points.bound == side
        if rows.any():
            at = np.unique(np.stack([points.inputs[x][points.point_of[rows]], y[rows]]), axis=1)
            made.append(Marks(group=group, panel=panel, x=at[0], y=at[1], marker=marker))
    return made


def band_layer(
    ends: tuple[Array, Array] | None, x: Array, group: int | None, panel: int, alpha: float = 0.25
) -> Band | None:
    """An interval where its ends are finite; None where it has no two points."""
    if ends is None:
        return None
    known = np.isfinite(ends[0]) & np.isfinite(ends[1])
    if known.sum() < 2:
        return None
    return Band(
        group=group, panel=panel, x=x[known], low=ends[0][known], high=ends[1][known], alpha=alpha
    )


def shaded(found: FitResult) -> str:
    """What the shade along a law is."""
    return f"shaded along a law: its {100 * found.spec.level:g} % interval"


def guides(spec: FigureSpec, x: Array, panel: int, *, over: bool = False) -> list[Layer]:
    """The lines y(x) that an entry asks for, at ``x``; ``over``: readable on any colour."""
    return [
        Line(
            panel=panel,
            x=x,
            y=Expression(line.y).evaluate({GUIDE_VARIABLE: x}, len(x), finite=False),
            role="reference",
            style=j,
            over=over,
            label=line.label or f"y = {labels.pretty(line.y)}",
        )
        for j, line in enumerate(spec.lines)
    ]
