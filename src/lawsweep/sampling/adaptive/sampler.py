"""The samplers of ``until``: each point until its interval is narrow, or each fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import Plan
from lawsweep.sampling.adaptive.fit_reading import FitReader, curve_of
from lawsweep.sampling.adaptive.groups import GroupUnit
from lawsweep.sampling.adaptive.options import FitOptions, UntilOptions, ValueOptions
from lawsweep.sampling.adaptive.points import PointUnit
from lawsweep.sampling.adaptive.reading import Reader, metrics_in, names_of
from lawsweep.sampling.adaptive.units import Unit
from lawsweep.sampling.adaptive.until import Until


class ValuesKnown(Until):
    """Seeds at each point until its mean, median or quantile is known."""

    Options = ValueOptions

    @classmethod
    def metrics(cls, plan: Plan, options: ValueOptions) -> list[str]:
        """What the expression reads, and whether a run converged."""
        return metrics_in(plan, [options.y])

    @classmethod
    def check(cls, plan: Plan, options: ValueOptions) -> None:
        """The expression, and the seeds there are."""
        Reader(plan, options.y, f"until.{options.what}")
        check_seeds(plan, options)

    @classmethod
    def inapplicable(cls, plan: Plan, options: Any, names: Collection[str]) -> str | None:
        """Why the expression cannot be read any more."""
        try:
            Reader(plan, options.y, f"until.{options.what}")
        except UnknownNameError as error:
            read = set(Expression(options.y).names)
            return str(error) if read <= {*names, *names_of(plan)} else None
        except InvalidValueError:
            return None
        return None

    def _units(self, plan: Plan, options: ValueOptions) -> list[PointUnit]:
        self._reader = Reader(plan, options.y, f"until.{options.what}")
        check_seeds(plan, options)
        n_seeds = len(plan.seeds)
        labels = point_labels(plan)
        cap, seconds = options.cap(n_seeds), self.seconds.tolist()
        return [
            PointUnit(labels[p], cap, options=options, first_run=p * n_seeds, run_s=seconds[p])
            for p in range(plan.n_points)
        ]

    def _answer(self, outcome: Outcome) -> float | None:
        return self._reader.value(outcome.index, outcome.status, outcome.metrics or {})


class ParameterKnown(Until):
    """Whole seeds over values of x until a parameter of each group's fit is known."""

    Options = FitOptions

    @classmethod
    def metrics(cls, plan: Plan, options: FitOptions) -> list[str]:
        """What the fit reads, and whether a run converged."""
        return FitReader(plan, options.entry).metrics

    @classmethod
    def check(cls, plan: Plan, options: FitOptions) -> None:
        """The fit, its parameter, the values of x and the seeds there are."""
        check_seeds(plan, options)
        _curves(plan, options, np.zeros(plan.n_points))

    @classmethod
    def inapplicable(cls, plan: Plan, options: Any, names: Collection[str]) -> str | None:
        """Why the plan has no such fit any more."""
        if not set(_names_read(options)) <= {*names, *names_of(plan)}:
            return None
        try:
            check_seeds(plan, options)
        except InvalidValueError:
            return None
        try:
            _curves(plan, options, np.zeros(plan.n_points))
        except (UnknownNameError, InvalidValueError) as error:
            return str(error)
        return None

    def _units(self, plan: Plan, options: FitOptions) -> list[GroupUnit]:
        check_seeds(plan, options)
        self._reader, curves = _curves(plan, options, self.seconds)
        self._name, cap = curves[0][1].name, options.cap(len(plan.seeds))
        return [GroupUnit(label, cap, options=options, curve=curve) for label, curve in curves]

    def _answer(self, outcome: Outcome) -> float | None:
        return self._reader.answer(outcome.index, outcome.status, outcome.metrics or {})

    def _count(self, n: int) -> str:
        return f"{n:,} fit{'' if n == 1 else 's'}"

    def _what(self, unit: Unit) -> str:
        return f"{self._name} of {self._reader.spec.name}"


def _curves(plan: Plan, options: FitOptions, seconds: np.ndarray) -> tuple[FitReader, list[Any]]:
    """The groups of the fit, by what they are called, with their curves."""
    reader = FitReader(plan, options.entry)
    found = []
    for values, points in reader.groups():
        label = ", ".join(f"{k}={_text(v)}" for k, v in values.items())
        try:
            found.append((label, curve_of(reader, points, seconds, options.parameter)))
        except InvalidValueError as error:
            raise InvalidValueError(f"{label}: {error}" if label else str(error)) from None
    if not found:
        raise InvalidValueError(
            f"until.fit has no point: its where {reader.spec.where!r} leaves none of the plan. "
            "Loosen it."
        )
    return reader, found


def _names_read(options: FitOptions) -> list[str]:
    entry: Mapping[str, Any] = options.entry
    by = entry.get("by") or []
    texts = [entry.get(key) for key in ("x", "y", "where")]
    texts += [by] if isinstance(by, str) else list(by)
    return [n for t in texts if isinstance(t, str) for n in Expression(t).names]


def check_seeds(plan: Plan, options: UntilOptions) -> None:
    """Refuse fewer seeds than an interval needs."""
    if len(plan.seeds) < 3:
        raise InvalidValueError(
            f"until adds seeds, and the sweep has {len(plan.seeds)}: that is the most it may run "
            "at a point. Give seeds, for example seeds: 40."
        )


def point_labels(plan: Plan) -> list[str]:
    """What tells the points apart, ``width=64, depth=3``."""
    columns = {**plan.extra, **plan.params}
    derived = set.intersection(*(set(d) for d in plan.derives)) if plan.derives else set()
    told = {n: c.tolist() for n, c in columns.items() if n not in derived}
    varying = [n for n, c in told.items() if len(set(map(str, c))) > 1]
    return [", ".join(f"{n}={_text(told[n][p])}" for n in varying) for p in range(plan.n_points)]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
