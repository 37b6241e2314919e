"""Columns of the table of thresholds that a sweep with a ``search`` block makes, one row a cell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.plan import Plan
from lawsweep.grid.search_spec import SearchSpec
from lawsweep.sampling.cells import chains_of, find_cells
from lawsweep.sampling.event import Event

# Besides the cell's own params: unit and meaning.
COLUMNS: Mapping[str, tuple[str, str]] = {
    "n_star": ("", "posterior median of the threshold; missing where it is beyond the grid"),
    "low": (
        "",
        "lower end of its interval; of a threshold above the grid, the grid's end; missing where "
        "the interval reaches below the grid",
    ),
    "high": (
        "",
        "upper end of its interval; of a threshold below the grid, the grid's end; missing where "
        "the interval reaches above the grid",
    ),
    "transition_width": (
        "",
        "posterior median of s: the event's probability falls from 3/4 to 1/4 over 2.2 s; relative "
        "where the candidates are all positive, else in units of the axis",
    ),
    "state": ("", "resolved, open, unresolved, below_grid or above_grid"),
    "reason": ("", "why the search of an unresolved cell ended"),
    "n_runs": ("", "runs that the threshold rests on, those without an answer included"),
    "n_unanswered": ("", "runs of them that gave no answer: failed, or without the metric"),
    "n_visited": ("", "candidates that were run"),
    "n_candidates": ("", "candidates of the cell"),
    "confidence": ("", "probability that the interval holds the threshold"),
}


def threshold_columns(plan: Plan, spec: SearchSpec) -> tuple[str, ...]:
    """Names of all columns."""
    return (*cell_columns(plan, spec.axis), *COLUMNS)


def cell_columns(plan: Plan, axis: str) -> list[str]:
    """Params and axes that tell the cells of a search along ``axis`` apart."""
    return [n for n in _telling(plan, axis) if n not in COLUMNS]


def check_search(plan: Plan, spec: SearchSpec) -> None:
    """Raise a LawsweepError where a search does not fit its sweep; no row is read."""
    Event(plan, spec)
    find_cells(plan, spec.axis)
    columns = {**plan.params, **plan.extra}
    for name in _telling(plan, spec.axis):
        if name in COLUMNS and len(set(columns.get(name, np.zeros(1)).tolist())) > 1:
            raise InvalidValueError(
                f"{name!r} is a column of the table of thresholds, and here also the name of "
                "a param or an axis: a search cannot tell them apart. Call it otherwise."
            )


def _telling(plan: Plan, axis: str) -> list[str]:
    """Params and axes that tell cells apart, or might."""
    moving = frozenset.intersection(*(c.moving for c in chains_of(plan, axis).values()))
    return [n for n in (*(s.name for s in plan.experiment.params), *plan.extra) if n not in moving]


def cells_of(made: Plan, spec: SearchSpec | None) -> tuple[str, ...]:
    """Names of the columns of the table of thresholds; none where there is no search."""
    if spec is None:
        return ()
    return threshold_columns(made, spec)
