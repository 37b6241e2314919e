"""Which rows of a fit are only bounds of y: ``floor``, ``censored``, ``censored_above``.

A number that is a rounding error, or that an evaluation cannot resolve, is known to be at most its
floor; a run that was stopped before it was done gives a bound to one side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.points import Points

UPPER, LOWER = -1, 1


def told(points: Points | None) -> dict[str, int]:
    """How many rows are bounds, and at how many points nothing else stands."""
    upper, lower = (np.zeros(0), np.zeros(0)) if points is None else points.bounds
    alone = 0 if points is None else int(np.sum((upper + lower == points.n) & (points.n > 0)))
    return {"upper": int(upper.sum()), "lower": int(lower.sum()), "points": alone}


def mark(
    columns: Columns, spec: FitSpec, rows: Array, y: Array, read: Callable[[str, str], Array]
) -> tuple[Array, Array, Array]:
    """y with floors in place of what is below them, which rows are bounds, and which are both.

    ``read`` evaluates an expression, called by its key, over the rows.  A bound is ``UPPER``,
    ``LOWER`` or 0.  A row that both conditions name says nothing: it is marked in the third.
    """
    bound = np.zeros(len(rows), dtype=np.int64)
    held = {}
    for key in ("censored", "censored_above"):
        text = getattr(spec, key)
        within = np.zeros(0) if text is None else columns.where(text, f"{spec.name}.{key}")
        held[key] = np.isin(rows, within)
    both = held["censored"] & held["censored_above"]
    bound[held["censored"]] = UPPER
    bound[held["censored_above"]] = LOWER
    if spec.floor is not None:
        floor = read(spec.floor, f"{spec.name}.floor")
        with np.errstate(invalid="ignore"):
            below = y <= floor  # of a floor that is NaN: not below
        y = np.where(below, floor, y)
        bound[below & (bound != LOWER)] = UPPER
    return y, bound, both
