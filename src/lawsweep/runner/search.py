"""A search for thresholds over a plan: which of its runs are wanted next, cell by cell.

The plan holds every candidate of the axis with every seed; the cells are its other axes.  Which
runs are wanted follows from the answers that are there (``core/threshold.py``), so a search may be
killed, run again, run twice at once, and ends with the same thresholds.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions import Expression
from lawsweep.core.outcome import Outcome
from lawsweep.core.plan import Plan
from lawsweep.core.search import SearchSpec
from lawsweep.core.threshold import CellSearch, Run, Threshold

# Names an event may read besides params and metrics.
_BESIDE = ("seed",)


@dataclass(frozen=True)
class Cell:
    """One setting of the other axes: its candidates, ascending, and the point of each."""

    values: tuple[float, ...]
    points: tuple[int, ...]


class Search:
    """Cells, answers and what to run next; ``known`` are rows that are there already.

    ``known`` maps places in the plan to (status, metrics).  Raises a LawsweepError for an axis or
    an event that does not fit the plan.
    """

    def __init__(
        self,
        plan: Plan,
        spec: SearchSpec,
        known: Mapping[int, tuple[str, Mapping[str, Any]]] | None = None,
        derive: Mapping[str, str] | None = None,
    ):
        self.plan, self.spec = plan, spec
        self.event = Event(plan, spec)
        self.cells = find_cells(plan, spec.axis, derive or {})
        n_seeds = len(plan.seeds)
        self.searches = [CellSearch(cell.values, n_seeds, spec) for cell in self.cells]
        self._place = {
            point: (i, k)
            for i, cell in enumerate(self.cells)
            for k, point in enumerate(cell.points)
        }
        self._answers: list[dict[Run, bool | None]] = [{} for _ in self.cells]
        for run, (status, metrics) in (known or {}).items():
            i, at = self._locate(run)
            self._answers[i][at] = self.event.answer(run, status, metrics)
        self._pending: list[set[int]] = [self._advance(i) for i in range(len(self.cells))]
        self._outlook = [len(s.outlook()) for s in self.searches]
        self.n_before = self.n_asked - sum(map(len, self._pending))

    def _locate(self, run: int) -> tuple[int, Run]:
        i, candidate = self._place[run // len(self.plan.seeds)]
        return i, (candidate, run % len(self.plan.seeds))

    def _run(self, i: int, at: Run) -> int:
        return self.cells[i].points[at[0]] * len(self.plan.seeds) + at[1]

    def _advance(self, i: int) -> set[int]:
        return {self._run(i, at) for at in self.searches[i].advance(self._answers[i])}

    def wanted(self) -> list[int]:
        """Runs wanted now that have no row, in plan order."""
        return sorted(run for pending in self._pending for run in pending)

    def next(self, outcome: Outcome) -> list[int]:
        """Take in a run that ended; the runs wanted thereupon."""
        i, at = self._locate(outcome.index)
        if at in self._answers[i]:
            return []
        self._answers[i][at] = self.event.answer(
            outcome.index, outcome.status, outcome.metrics or {}
        )
        before = self._pending[i]
        self._pending[i] = self._advance(i)
        self._outlook[i] = len(self.searches[i].outlook())
        return sorted(self._pending[i] - before)

    @property
    def n_asked(self) -> int:
        """Runs asked for so far, with or without an answer."""
        return sum(len(s.asked) for s in self.searches)

    @property
    def n_expected(self) -> int:
        """About how many runs will have been asked for in the end."""
        return sum(
            len(s.asked) + max(0, more - len(pending))
            for s, more, pending in zip(self.searches, self._outlook, self._pending, strict=True)
        )

    @property
    def n_most(self) -> int:
        """Runs that the search asks for at most."""
        return sum(len(s.asked) if s.state != "open" else self.spec.max_runs for s in self.searches)

    def asked(self) -> list[int]:
        """Runs asked for so far, in plan order."""
        return sorted(self._run(i, at) for i, s in enumerate(self.searches) for at in s.asked)

    def outlook(self) -> list[int]:
        """Runs that are wanted and, as a guess, those that will be."""
        found = list(self.wanted())
        for i, search in enumerate(self.searches):
            found += [self._run(i, at) for at in search.outlook()[len(self._pending[i]) :]]
        return found

    def results(self) -> list[Threshold]:
        """What is known of each cell."""
        return [s.result() for s in self.searches]


class Event:
    """The event of a search as a question to a row."""

    def __init__(self, plan: Plan, spec: SearchSpec):
        self.plan, self.spec = plan, spec
        self.expression = Expression(spec.event)
        metrics = [m.name for m in plan.experiment.metrics]
        names = [*(p.name for p in plan.experiment.params), *plan.extra, *metrics, *_BESIDE]
        for name in self.expression.names:
            if name not in names:
                raise unknown_name("column", name, names, "search.event")
        if not set(self.expression.names) & set(metrics):
            raise InvalidValueError(
                f"search.event must say something of a metric, got {spec.event!r}; name one of "
                f"{', '.join(metrics)}."
            )
        self._defaults = {s.name: s.default for s in plan.experiment.params if s.has_default}

    def answer(self, run: int, status: str, metrics: Mapping[str, Any]) -> bool | None:
        """Whether the event happened; None where the row does not tell.

        A row tells nothing where it is not ``ok``, did not converge (unless the event asks for
        that), or lacks a metric that the event reads.
        """
        if status != "ok":
            return None
        if metrics.get("converged") is False and "converged" not in self.expression.names:
            return None
        point = run // len(self.plan.seeds)
        given = {n: c[point] for n, c in {**self.plan.params, **self.plan.extra}.items()}
        values = {**self._defaults, **given, **metrics, "seed": self.plan.seed_of(run)}
        used = {n: values.get(n) for n in self.expression.names}
        if any(v is None for n, v in used.items() if n in metrics or n not in values):
            return None
        value = self.expression.evaluate(used, finite=False)
        if value.dtype != np.bool_:
            raise InvalidValueError(
                f"search.event must be true or false, and {self.spec.event!r} gives "
                f"{value.item()!r}; write a comparison."
            )
        return bool(value)


def find_cells(plan: Plan, axis: str, derive: Mapping[str, str]) -> list[Cell]:
    """The cells of a plan in its order: points alike in all but the axis and what goes with it.

    ``derive`` are the sweep's derived params.  Those that read the axis do not tell cells apart,
    nor do axes that are no params and that the axis itself is derived from (a ratio, say).
    """
    columns = {**plan.params, **plan.extra}
    if axis not in columns:
        raise unknown_name("axis", axis, columns, "search")
    numbers = columns[axis]
    if numbers.dtype.kind not in "iuf":
        raise InvalidValueError(f"search.axis must hold numbers; {axis} does not. Name another.")
    tied = {axis, *sources(axis, derive, plan.extra)}
    others = [n for n in columns if n not in tied | dependents(tied, derive)]
    keys: Iterable[tuple[Any, ...]] = zip(*(columns[n].tolist() for n in others), strict=True)
    if not others:
        keys = [()] * plan.n_points
    found: dict[tuple[Any, ...], list[int]] = {}
    for point, key in enumerate(keys):
        found.setdefault(key, []).append(point)
    cells = []
    for key, points in found.items():
        ordered = sorted(points, key=lambda p: float(numbers[p]))
        values = tuple(float(numbers[p]) for p in ordered)
        if len(values) < 2 or any(a == b for a, b in itertools.pairwise(values)):
            at = ", ".join(f"{n}={v}" for n, v in zip(others, key, strict=True)) or "the sweep"
            raise InvalidValueError(
                f"search.axis {axis} needs at least 2 values in each cell, each once, got "
                f"{_few(values)} at {at}. Give it more values, or name the axis it is derived from."
            )
        cells.append(Cell(values, tuple(ordered)))
    return cells


def sources(axis: str, derive: Mapping[str, str], extra: Collection[str]) -> set[str]:
    """Axes that are no params and that ``axis`` is derived from, at first or at second hand."""
    found: set[str] = set()
    left = [axis]
    while left:
        names = set(Expression(derive[left[0]]).names) if left[0] in derive else set()
        left = [*left[1:], *(n for n in names if n in derive and n not in found)]
        found |= names
    return {n for n in found if n in extra}


def dependents(names: Collection[str], derive: Mapping[str, str]) -> set[str]:
    """Derived names that read one of ``names``, at first or at second hand."""
    found: set[str] = set()
    grown = True
    while grown:
        more = {
            name
            for name, text in derive.items()
            if name not in found and {*names, *found} & set(Expression(text).names)
        }
        grown = bool(more)
        found |= more
    return found


def all_derived(sweep_derive: Mapping[str, Any], axes: Any) -> dict[str, str]:
    """Derived params of a sweep, those of the grids of its unions included."""
    found = {str(k): str(v) for k, v in sweep_derive.items() if v is not None}
    if isinstance(axes, Sequence) and not isinstance(axes, str):
        for block in axes:
            found |= all_derived({}, block)
    elif isinstance(axes, Mapping):
        for key, value in axes.items():
            if key == "derive" and isinstance(value, Mapping):
                found |= {str(k): str(v) for k, v in value.items() if v is not None}
            elif key in ("union", "when", "axes"):
                found |= all_derived({}, value)
    return found


def _few(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values[:4]) + (", ..." if values[4:] else "")
