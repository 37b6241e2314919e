"""The cells of a search: which points of a plan are one setting at several values of the axis."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression
from lawsweep.grid.plan import Plan


@dataclass(frozen=True)
class Cell:
    """One setting of the other axes: its candidates, ascending, and the point of each.

    ``moving`` are the columns that go with the axis and do not tell the cell from others.
    """

    values: tuple[float, ...]
    points: tuple[int, ...]
    moving: frozenset[str]


@dataclass(frozen=True)
class Chain:
    """What goes with the axis in one grid.

    ``moving`` are the axis, what is derived from it, and axes that are no params and that act
    through these alone (a ratio, say); ``law`` the expressions that tie them to one another.
    """

    moving: frozenset[str]
    law: tuple[tuple[str, str], ...]


def chain_of(axis: str, derive: Mapping[str, str], extra: Collection[str]) -> Chain:
    """What goes with ``axis`` in a grid that derives ``derive`` and has the axes ``extra``."""
    reads = {name: set(Expression(text).names) for name, text in derive.items()}
    follow = _followers(axis, reads)
    tied = {n for n in _sources(axis, reads) if n in extra}
    while loose := _read_elsewhere(axis, reads, follow, tied):
        tied -= loose
    law = set(follow)
    if any(reads[n] & tied for n in follow):
        law |= {n for n in (axis, *tied) if n in derive}
    return Chain(
        frozenset({axis, *follow, *tied}), tuple((n, derive[n].strip()) for n in sorted(law))
    )


def _read_elsewhere(
    axis: str, reads: Mapping[str, set[str]], follow: set[str], tied: set[str]
) -> set[str]:
    """Those of ``tied`` that tell points apart: to vary them is more than to go along the axis.

    What neither is the axis nor follows it reads them; or there are several, so that they are not
    known from the axis, and what follows it reads them.
    """
    chain = {axis, *tied} if sum(n not in reads for n in tied) > 1 else {axis, *follow, *tied}
    return {n for n in tied if any(n in r for m, r in reads.items() if m not in chain)}


def _sources(axis: str, reads: Mapping[str, set[str]]) -> set[str]:
    """What ``axis`` is derived from, at first or at second hand."""
    found: set[str] = set()
    left = [axis]
    while left:
        more = reads.get(left.pop(), set()) - found
        found |= more
        left += more
    return found


def _followers(axis: str, reads: Mapping[str, set[str]]) -> set[str]:
    """Derived names that read ``axis``, at first or at second hand."""
    found: set[str] = set()
    while more := {n for n, r in reads.items() if n not in found and {axis, *found} & r}:
        found |= more
    return found


def chains_of(plan: Plan, axis: str) -> dict[int, Chain]:
    """The chain of each grid of a plan that has points."""
    return {g: chain_of(axis, plan.derives[g], plan.extra) for g in np.unique(plan.grid).tolist()}


def find_cells(plan: Plan, axis: str) -> list[Cell]:
    """The cells of a plan in its order: points alike in all but the axis and what goes with it.

    A cell may have points of several grids of a union; what a grid derives goes for its own points.
    Raises a LawsweepError where the axis is none, or a cell has fewer than two candidates.
    """
    columns = {**plan.params, **plan.extra}
    if axis not in columns:
        raise unknown_name("axis", axis, columns, "search")
    numbers = columns[axis]
    if numbers.dtype.kind not in "iuf":
        raise InvalidValueError(f"search.axis must hold numbers; {axis} does not. Name another.")
    found: dict[tuple[Any, ...], list[int]] = {}
    moving: dict[tuple[Any, ...], frozenset[str]] = {}
    for grid, chain in chains_of(plan, axis).items():
        points = np.flatnonzero(plan.grid == grid)
        blank = [None] * len(points)
        told = (blank if n in chain.moving else c[points].tolist() for n, c in columns.items())
        for point, *values in zip(points.tolist(), *told, strict=True):
            key = (*values, chain.law)
            found.setdefault(key, []).append(point)
            moving.setdefault(key, chain.moving)
    return [_cell(plan, axis, points, moving[key]) for key, points in found.items()]


def _cell(plan: Plan, axis: str, points: list[int], moving: frozenset[str]) -> Cell:
    columns = {**plan.params, **plan.extra}
    numbers = columns[axis]
    ordered = sorted(points, key=lambda p: float(numbers[p]))
    values = tuple(float(numbers[p]) for p in ordered)
    if len(values) < 2 or any(a == b for a, b in itertools.pairwise(values)):
        others = {n: c[ordered[0]] for n, c in columns.items() if n not in moving}
        at = ", ".join(f"{n}={v}" for n, v in others.items()) or "the sweep"
        raise InvalidValueError(
            f"search.axis {axis} needs at least 2 values in each cell, each once, got "
            f"{_few(values)} at {at}. Give it more values, or name the axis it is derived from."
        )
    return Cell(values, tuple(ordered), moving)


def _few(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values[:4]) + (", ..." if values[4:] else "")
