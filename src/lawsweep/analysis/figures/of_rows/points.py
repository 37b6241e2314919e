"""The rows a figure draws, and a sentence for each kind of row it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.figures.look import geometric_y, log_x, log_y
from lawsweep.analysis.figures.specs import FigureSpec
from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.censored.marks import mark
from lawsweep.analysis.laws.fitted import count
from lawsweep.core.errors import InvalidValueError


@dataclass(frozen=True)
class Points:
    """Rows that can be drawn: their index into the frame and their coordinates, shape (n,).

    ``planned_x``, ``planned_y`` are the finite coordinates of every row of the plan within
    ``where``, so that a heatmap can show the cells that have no result.
    """

    rows: Array
    x: Array
    y: Array
    z: Array | None
    planned_x: Array
    planned_y: Array
    notes: tuple[str, ...]


def read_points(columns: Columns, spec: FigureSpec, *, averaged: bool = False) -> Points:
    """Evaluate the figure's expressions over the rows within ``where``.

    ``averaged``: means of y will be drawn, and a geometric one takes positive rows alone.
    Raises InvalidValueError where no row can be drawn.
    """
    planned = columns.where(spec.where, f"{spec.name}.where")
    ok = columns.statuses(planned) == "ok"
    rows = planned[ok]
    rows = _values(columns, spec, rows)
    x = columns.numbers(spec.x, rows, f"{spec.name}.x")
    y = columns.numbers(spec.y, rows, f"{spec.name}.y")
    z = None if spec.z is None else columns.numbers(spec.z, rows, f"{spec.name}.z")
    keep = np.isfinite(x) & np.isfinite(y)
    if z is not None:
        keep &= np.isfinite(z)
    notes = []
    n_lost = int(np.sum(~keep))
    if n_lost:
        notes.append(f"{n_lost} of {len(rows)} ok rows without a finite value, not drawn")
    on_log = np.ones(len(rows), dtype=bool)
    for value, log in (
        (x, log_x(spec)),
        (y, geometric_y(spec) if averaged else log_y(spec)),
        (z, spec.logz),
    ):
        if log and value is not None:
            on_log &= value > 0
    n_negative = int(np.sum(keep & ~on_log))
    if n_negative:
        scale = "on a logarithmic scale" if not averaged else "where logarithms are taken"
        notes.append(f"{count(n_negative, 'row')} ≤ 0 {scale}, not drawn")
    keep &= on_log
    n_unsure = int(np.sum(columns.not_converged(rows[keep])))
    if n_unsure:
        notes.append(f"{count(n_unsure, 'row')} drawn did not converge")
    if not keep.any():
        raise InvalidValueError(
            f"Figure {spec.name} needs at least one ok row with finite {spec.x} and "
            f"{spec.z or spec.y}, got none of {len(planned)} rows"
            f"{' (' + '; '.join(notes) + ')' if notes else ''}. "
            "Run more of the sweep or change the figure's where."
        )
    px = columns.numbers_where_known(spec.x, planned, f"{spec.name}.x")
    py = columns.numbers_where_known(spec.y, planned, f"{spec.name}.y")
    known = np.isfinite(px) & np.isfinite(py)
    return Points(
        rows=rows[keep],
        x=x[keep],
        y=y[keep],
        z=None if z is None else z[keep],
        planned_x=px[known],
        planned_y=py[known],
        notes=tuple(notes),
    )


def _values(columns: Columns, spec: FigureSpec, rows: Array) -> Array:
    """The rows that the figure's law takes for values of y: its bounds are drawn with the law."""
    if spec.fit is None or not spec.fit.bounds:
        return rows

    def read(text: str, what: str) -> Array:
        return columns.numbers(text, rows, what)

    y = read(spec.y, f"{spec.name}.y")
    return np.asarray(rows[mark(columns, spec.fit, rows, y, read)[1] == 0])
