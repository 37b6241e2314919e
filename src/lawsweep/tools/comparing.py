"""Two sweeps side by side: where their metrics differ, and what only one of them has."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.laws.differences import Difference, difference
from lawsweep.core.circumstances import TOLERANCES
from lawsweep.core.errors import InvalidValueError, LawsweepError, unknown_name
from lawsweep.grid.sweep import Sweep
from lawsweep.study.reading.differing import threshold_differences
from lawsweep.study.study import Study, open_study
from lawsweep.tools.sameness import relative_difference, same_value

if TYPE_CHECKING:
    from lawsweep.analysis.laws.results import FitResult

Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """One metric over the ``n`` runs that are ok in both sweeps.

    ``n_same`` are equal bit for bit, and further ``n_close`` to 1e-9 relative, as two machines
    round.  ``chaotic`` metrics may differ by more between machines or fused groups and mean nothing
    by it, run by run.  The largest absolute and relative differences are over the
    ``n_numbers`` pairs of finite numbers, with the run each is at; ``mean_difference`` is the
    mean of B - A over them.  ``n_unlike`` pairs are no such numbers and differ (text, NaN against
    a number, a missing value); ``unlike_at`` is the first of them.
    """

    name: str
    n: int
    n_same: int
    n_close: int
    chaotic: bool
    n_numbers: int
    max_absolute: float | None
    max_absolute_at: Mapping[str, Any] | None
    max_relative: float | None
    max_relative_at: Mapping[str, Any] | None
    mean_difference: float | None
    n_unlike: int
    unlike_at: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class FitPair:
    """The same fit of the same group in both sweeps; each may have come to nothing (``reason``).

    ``differences``: B - A of each parameter that both have, with intervals.
    """

    name: str
    group: Mapping[str, Any]
    a: FitResult
    b: FitResult
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What ``compare`` found.  ``keys`` are the params the runs were joined on, and the seed.

    ``apart`` are params that are one value in A and another in B; ``own`` those that only one of
    the experiments has.  ``not_ok`` are runs of both that are ok in at most one, with statuses.
    ``thresholds``: B - A of each cell that a search of both has a threshold of.
    """

    keys: tuple[str, ...]
    apart: Mapping[str, tuple[Any, Any]]
    own: Mapping[str, str]
    n_both: int
    only_a: tuple[Mapping[str, Any], ...]
    only_b: tuple[Mapping[str, Any], ...]
    not_ok: tuple[Mapping[str, Any], ...]
    metrics: tuple[MetricDifference, ...]
    fits: tuple[FitPair, ...]
    notes: tuple[str, ...]
    thresholds: tuple[Difference, ...] = ()


def compare(
    a: Sweep | Study | str, b: Sweep | Study | str, ignore: Sequence[str] = ()
) -> Comparison:
    """Join two sweeps on the params both have and the seed, and compare the metrics both have.

    A param that has one value all over A and another all over B is what is being compared, and
    no key; ``ignore`` leaves further params out of the join (one that is derived otherwise, say).
    Raises InvalidValueError when the join is ambiguous.
    """
    first, second = open_study(a), open_study(b)
    shared, own = _params(first, second, ignore)
    metrics_b = {s.name for s in second.plan.experiment.metrics}
    measured = [s.name for s in first.plan.experiment.metrics if s.name in metrics_b]
    chaotic = {s.name for s in first.plan.experiment.metrics if s.info.chaotic}
    wanted = [*shared, "seed", "status", *measured]
    rows_a, rows_b = (s.rows().select(wanted).to_pylist() for s in (first, second))
    apart = _apart(rows_a, rows_b, shared)
    keys = tuple(n for n in shared if n not in apart)
    found_a, found_b = _by_key(first, rows_a, keys), _by_key(second, rows_b, keys)
    both = [k for k in found_a if k in found_b]
    pairs = [(found_a[k], found_b[k]) for k in both]
    ok = [(k, *p) for k, p in zip(both, pairs, strict=True) if _both(p, "ok")]
    names = (*keys, "seed")
    metrics = [
        _metric(m, m in chaotic, names, [(k, x[m], y[m]) for k, x, y in ok]) for m in measured
    ]
    fits, notes = _fits(first, second, apart)
    thresholds, more = threshold_differences(first, second, apart)
    return Comparison(
        keys=names,
        apart=apart,
        own=own,
        n_both=len(both),
        only_a=tuple(dict(zip(names, k, strict=True)) for k in found_a if k not in found_b),
        only_b=tuple(dict(zip(names, k, strict=True)) for k in found_b if k not in found_a),
        not_ok=tuple(
            {**dict(zip(names, k, strict=True)), "a": x["status"], "b": y["status"]}
            for k, (x, y) in zip(both, pairs, strict=True)
            if not _both((x, y), "ok")
        ),
        metrics=tuple(metrics),
        fits=fits,
        notes=(*notes, *more),
        thresholds=thresholds,
    )


def _both(pair: tuple[Mapping[str, Any], Mapping[str, Any]], status: str) -> bool:
    return all(row["status"] == status for row in pair)


def _params(a: Study, b: Study, ignore: Collection[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Params of both, and those of one alone with the sweep that has them."""
    names_a, names_b = ([s.name for s in x.plan.experiment.params] for x in (a, b))
    for name in ignore:
        if name not in {*names_a, *names_b}:
            raise unknown_name("param", name, {*names_a, *names_b}, "--ignore")
    shared = tuple(n for n in names_a if n in names_b and n not in ignore)
    own = {n: "a" for n in names_a if n not in names_b}
    return shared, own | {n: "b" for n in names_b if n not in names_a}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _apart(
    rows_a: Sequence[Mapping[str, Any]], rows_b: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, tuple[Any, Any]]:
    """Params that are constant in each sweep and differ between them."""
    found = {}
    for name in names:
        values = [{_plain(row[name]) for row in rows} for rows in (rows_a, rows_b)]
        if all(len(v) == 1 for v in values) and values[0] != values[1]:
            found[name] = (values[0].pop(), values[1].pop())
    return found


def _by_key(
    study: Study, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> dict[Key, Mapping[str, Any]]:
    found: dict[Key, Mapping[str, Any]] = {}
    for row in rows:
        key = (*(_plain(row[n]) for n in keys), row["seed"])
        if key in found:
            at = ", ".join(f"{n}={v}" for n, v in zip((*keys, "seed"), key, strict=True))
            others = [n for n in study.plan.params if n not in keys]
            raise InvalidValueError(
                f"Sweep {study.sweep.name} has several runs at {at}, so they cannot be paired: "
                f"they differ in {', '.join(others)}. Pin that param in an override, or join on it."
            )
        found[key] = row
    return found


def _metric(
    name: str, chaotic: bool, names: Sequence[str], cells: Sequence[tuple[Key, Any, Any]]
) -> MetricDifference:
    """The differences of one metric over (key, value in A, value in B); ``names`` are the keys'."""
    n_same, n_close, unlike, gaps = 0, 0, [], []
    absolute: tuple[float, Key] | None = None
    relative: tuple[float, Key] | None = None
    for key, a, b in cells:
        x, y = _plain(a), _plain(b)
        same, by = same_value(x, y), relative_difference(x, y)
        n_same += same
        n_close += not same and same_value(x, y, TOLERANCES["float64"])
        if by is None:
            if not same:
                unlike.append(key)
            continue
        gap = y - x
        gaps.append(gap)
        if absolute is None or abs(gap) > absolute[0]:
            absolute = abs(gap), key
        if relative is None or by > relative[0]:
            relative = by, key

    def at(key: Key) -> dict[str, Any]:
        return dict(zip(names, key, strict=True))

    return MetricDifference(
        name=name,
        n=len(cells),
        n_same=n_same,
        n_close=n_close,
        chaotic=chaotic,
        n_numbers=len(gaps),
        max_absolute=absolute and absolute[0],
        max_absolute_at=absolute and at(absolute[1]),
        max_relative=relative and relative[0],
        max_relative_at=relative and at(relative[1]),
        mean_difference=math.fsum(gaps) / len(gaps) if gaps else None,
        n_unlike=len(unlike),
        unlike_at=at(unlike[0]) if unlike else None,
    )


def _fits(
    a: Study, b: Study, apart: Collection[str]
) -> tuple[tuple[FitPair, ...], tuple[str, ...]]:
    """Fits of the same law and group in both; a note where a sweep cannot be fitted."""
    found: list[dict[Any, FitResult]] = []
    notes = []
    for study in (a, b):
        name = study.sweep.name
        try:
            results = study.fit() if study.sweep.fits else []
        except LawsweepError as error:
            notes.append(f"{name} cannot be fitted: {error}")
            results = []
        lost = [r for r in results if r.spec.by and not r.group]  # as a whole, before its groups
        notes += [f"{name} cannot be fitted: {r.summary()}" for r in lost]
        found.append({_fit_key(r, apart): r for r in results})
    pairs = []
    for k, r in found[0].items():
        if (other := found[1].get(k)) is not None:
            apart_by = tuple(difference(r, other, names=("A", "B")))
            pairs.append(
                FitPair(name=r.spec.name, group=dict(r.group), a=r, b=other, differences=apart_by)
            )
    return tuple(pairs), tuple(notes)


def _fit_key(result: FitResult, apart: Collection[str]) -> tuple[Any, ...]:
    spec = result.spec
    group = tuple((n, _plain(v)) for n, v in result.group.items() if n not in apart)
    return (spec.law, *result.law.expressions(spec), *map(repr, sorted(spec.own.items())), group)
