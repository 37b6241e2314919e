"""The plan: the table of all runs of a sweep, made and checked before anything executes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawsweep.core.errors import EmptyPlanError, InvalidValueError
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import run_ids
from lawsweep.core.schema import INT64_MAX
from lawsweep.grid.grids import Columns
from lawsweep.grid.points import MAX_POINTS, Points, make_points


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep, point-major: run ``i`` is point ``i // n_seeds``, seed ``i % n_seeds``.

    ``params`` holds a column for each param that was given (others are at their default),
    ``extra`` the axes that are no params; both have one entry a point, as has ``grid``: which grid
    of a union the point is of, as a place in ``derives``, the expressions of each grid.
    """

    experiment: Experiment
    params: Columns
    extra: Columns
    n_points: int
    seeds: tuple[int, ...]
    run_ids: list[str]
    grid: np.ndarray
    derives: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:  # as a prompt shows it: the columns have a value a run
        n = f"{self.n_points:,} points x {len(self.seeds):,} seeds"
        return f"Plan({len(self):,} runs of {self.experiment.name}: {n})"

    def __len__(self) -> int:
        return len(self.run_ids)

    def params_of(self, run: int) -> dict[str, Any]:
        """The given params of run ``run``, as plain Python values."""
        point = run // len(self.seeds)
        return {n: _plain(c[point]) for n, c in self.params.items()}

    def seed_of(self, run: int) -> int:
        """The seed of run ``run``."""
        return self.seeds[run % len(self.seeds)]

    def own_modules(self) -> list[str]:
        """Modules of the user's own that params name (``activation: module:function``), sorted."""
        found = {
            value.partition(":")[0]
            for spec in self.experiment.params
            if spec.own is not None and spec.name in self.params
            for value in np.unique(self.params[spec.name]).tolist()
            if spec.is_own(value)
        }
        return sorted(found)

    def over_points(self) -> dict[str, np.ndarray]:
        """A column for every param over the points, defaults filled in (as 0-d arrays)."""
        return {
            s.name: self.params[s.name] if s.name in self.params else _scalar(s.default)
            for s in self.experiment.params
        }


def _scalar(value: Any) -> np.ndarray:
    cell = np.empty((), dtype=object)
    cell[()] = value
    return cell if value is None or isinstance(value, tuple) else np.asarray(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def make_plan(
    experiment: Experiment,
    *,
    params: Mapping[str, Any] | None = None,
    axes: Any = None,
    derive: Mapping[str, Any] | None = None,
    where: Any = None,
    seeds: Any = 1,
    max_points: int = MAX_POINTS,
) -> Plan:
    """Plan a sweep: expand, check every point, name every run.  Raises a LawsweepError."""
    points = make_points(
        experiment,
        params=params or {},
        axes=axes,
        derive=derive or {},
        where=where,
        max_points=max_points,
    )
    chosen = read_seeds(seeds)
    if not experiment.takes_seed and chosen != (0,):
        way = "write {seed} in the command" if experiment.of_command else "give it seed: int"
        raise InvalidValueError(
            f"{experiment.name} takes no seed: runs of several would be the same one; got "
            f"seeds={seeds}. Leave seeds out, or {way}."
        )
    if points.n * len(chosen) > 10 * max_points:
        raise InvalidValueError(
            f"{points.n:,} points times {len(chosen):,} seeds are more than ten times the limit "
            f"of {max_points:,}. Lower seeds, or raise max_points if you mean it."
        )
    ids = run_ids(experiment, points.params, points.n, chosen)
    if len(set(ids)) < len(ids):
        points, ids = _distinct(points, ids, len(chosen))
    return Plan(
        experiment,
        points.params,
        points.extra,
        points.n,
        chosen,
        ids,
        points.grid,
        points.derives,
        points.notes,
    )


def _distinct(points: Points, ids: list[str], n_seeds: int) -> tuple[Points, list[str]]:
    """Drop repeated points (of a union that overlaps), and say so."""
    # Built from the end, so that of points alike the first one stays.
    first = dict(zip(reversed(ids[::n_seeds]), range(points.n - 1, -1, -1), strict=True))
    keep = np.sort(np.fromiter(first.values(), dtype=np.int64, count=len(first)))
    note = f"{points.n - len(keep):,} of {points.n:,} points are repeated; each is run once"
    kept = Points(
        {n: c[keep] for n, c in points.params.items()},
        {n: c[keep] for n, c in points.extra.items()},
        len(keep),
        (*points.notes, note),
        points.grid[keep],
        points.derives,
    )
    return kept, [ids[i * n_seeds + k] for i in keep.tolist() for k in range(n_seeds)]


def read_seeds(seeds: Any) -> tuple[int, ...]:
    """``5`` means seeds 0 to 4; a list is taken as it is.  Raises for anything else."""
    if hasattr(seeds, "tolist"):  # numpy's, from Python
        seeds = seeds.tolist()
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if not 0 <= seeds <= MAX_POINTS:
            raise InvalidValueError(
                f"seeds must be a count from 1 to {MAX_POINTS:,}, or a list of integers, got "
                f"{seeds}."
            )
        seeds = range(seeds)
    if not isinstance(seeds, Sequence | range) or isinstance(seeds, str):
        raise InvalidValueError(f"seeds must be a count or a list of integers, got {seeds!r}.")
    chosen = tuple(seeds)
    for seed in chosen:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= INT64_MAX:
            raise InvalidValueError(f"A seed must be an integer from 0 to 2**63-1, got {seed!r}.")
    if not chosen:
        raise EmptyPlanError("seeds is empty; give a count from 1 or a list of integers.")
    if len(set(chosen)) < len(chosen):
        raise InvalidValueError(f"seeds must differ, got {list(chosen)}. Drop the repeated ones.")
    return chosen
