"""What a search found: the table of thresholds, one row a cell, and a line a cell for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lawsweep.analysis.laws.threshold.model import REASONS, STATES, Threshold
from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.plan import Plan
from lawsweep.sampling.sampler import Column, Findings
from lawsweep.sampling.threshold.cells import Cell, chains_of, find_cells
from lawsweep.sampling.threshold.event import Event
from lawsweep.sampling.threshold.options import ThresholdOptions

# Besides the cell's own params: unit and meaning.
COLUMNS: Mapping[str, tuple[str, str]] = {
    "n_star": ("", "posterior median of the threshold; missing where it is beyond the grid"),
    "low": (
        "",
        "lower end of its interval; of a threshold above the grid, the grid's end, of one above "
        "the sizes that can be run the largest of these; missing where the interval reaches below "
        "the grid",
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
    "state": ("", ", ".join(STATES[:-1]) + f" or {STATES[-1]}"),
    "reason": ("", "code of why a search that is not resolved ended"),
    "n_runs": ("", "runs that the threshold rests on, those without an answer included"),
    "n_unanswered": ("", "runs of them that gave no answer: failed, or without the metric"),
    "n_visited": ("", "candidates that were run"),
    "n_candidates": ("", "candidates of the cell"),
    "confidence": ("", "probability that the interval holds the threshold"),
}


def cell_columns(plan: Plan, axis: str) -> list[str]:
    """Params and axes that tell the cells of a search along ``axis`` apart."""
    return [n for n in _telling(plan, axis) if n not in COLUMNS]


def check(plan: Plan, spec: ThresholdOptions) -> None:
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


def table(
    plan: Plan, options: ThresholdOptions, cells: Sequence[Cell], found: Sequence[Threshold]
) -> Findings:
    """The cells with what is known of each."""
    values: dict[str, list[Any]] = {
        "n_star": [t.n_star for t in found],
        "low": [t.low for t in found],
        "high": [t.high for t in found],
        "transition_width": [t.width for t in found],
        "state": [t.state for t in found],
        "reason": [t.reason for t in found],
        "n_runs": [t.n_runs for t in found],
        "n_unanswered": [t.n_unanswered for t in found],
        "n_visited": [t.n_visited for t in found],
        "n_candidates": [len(c.values) for c in cells],
        "confidence": [options.confidence for _ in found],
    }
    columns = {}
    for name, (unit, meaning) in COLUMNS.items():
        kind: type[int] | type[float] | type[str] = float
        if name in ("state", "reason"):
            kind = str
        elif name.startswith("n_") and name != "n_star":
            kind = int
        columns[name] = Column(values[name], kind, meaning, unit)
    return Findings(
        settings=cell_columns(plan, options.axis),
        runs=[cell.points[0] * len(plan.seeds) for cell in cells],
        hidden=[cell.moving for cell in cells],
        columns=columns,
    )


def lines(
    plan: Plan, axis: str, cells: Sequence[Cell], found: Sequence[Threshold], limit: int
) -> list[str]:
    """A line a cell, the first few of many."""
    columns = {**plan.params, **plan.extra}
    derived = set.intersection(*(set(derive) for derive in plan.derives))
    told = [
        n
        for n in cell_columns(plan, axis)
        if n in columns and n not in derived and len(set(columns[n].tolist())) > 1
    ]
    shown = []
    for cell, t in list(zip(cells, found, strict=True))[:limit]:
        at = ", ".join(
            f"{n}={_text(columns[n][cell.points[0]])}" for n in told if n not in cell.moving
        )
        shown.append(f"{at + ': ' if at else ''}{_line(axis, cell, t)}")
    if len(cells) > limit:
        shown.append(f"... and {len(cells) - limit:,} more cells")
    return shown


def _line(axis: str, cell: Cell, t: Threshold) -> str:
    low = "below the grid" if t.low is None else f"{t.low:.4g}"
    high = "above the grid" if t.high is None else f"{t.high:.4g}"
    runs = f"{t.n_runs} runs at {t.n_visited} of {len(cell.values)} candidates"
    if t.n_unanswered:
        runs += f", {t.n_unanswered} without an answer"
    if t.state == "below_grid":
        what = f"{axis}* is below {cell.values[0]:g}"
    elif t.state == "at_least":
        what = f"{axis}* is at least {t.low:g}"
    elif t.state in ("rises", "several_edges", "flat"):
        what = f"{axis}* is not one falling edge"
    elif t.state == "above_grid":
        what = f"{axis}* is above {cell.values[-1]:g}"
    elif t.n_star is not None:
        wide = f"{100 * (t.width or 0):.2g} %" if cell.values[0] > 0 else f"{t.width:.2g}"
        what = f"{axis}* = {t.n_star:.4g} [{low}, {high}]"
        runs += f", transition {wide} wide"
    elif t.low is None and t.high is None:
        what = f"{axis}* is not known"
    else:
        what = f"{axis}* is in [{low}, {high}]"
    why = f"; {t.state}" if t.state not in ("resolved", "below_grid", "above_grid") else ""
    why += f": {REASONS[t.reason]}" if t.reason else ""
    return f"{what}  ({runs}{why})"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
