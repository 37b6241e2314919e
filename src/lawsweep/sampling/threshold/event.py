"""The event of a search as a question to a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.schema import FieldSpec
from lawsweep.grid.plan import Plan
from lawsweep.sampling.threshold.options import ThresholdOptions

# Names an event may read besides params and metrics.
_BESIDE = ("seed",)
# What stands for a metric's value where an event is checked before any run.
_TRIED: Mapping[str, tuple[Any, ...]] = {
    "bool": (True, False, True),
    "int": (1, 0, 1000),
    "float": (0.5, -1.0, 1e3),
    "str": ("a", "b", "c"),
}
_MOST_TRIED = 20  # settings of the params that a check goes through


class Event:
    """The event of a search; raises a LawsweepError where it is no question to these rows."""

    def __init__(self, plan: Plan, spec: ThresholdOptions):
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
        self._check()

    def answer(self, run: int, status: str, metrics: Mapping[str, Any]) -> bool | None:
        """Whether the event happened; None where the row does not tell.

        A row tells nothing where it is not ``ok``, did not converge (unless the event asks for
        that), lacks a metric that the event reads (unless it asks: ``loss == None``), or where the
        event cannot be computed of it.  A NaN compares as everywhere: every comparison with it is
        false, except ``!=``.
        """
        if status != "ok":
            return None
        if metrics.get("converged") is False and "converged" not in self.expression.names:
            return None
        point = run // len(self.plan.seeds)
        values = {**self._params_at(point), **metrics, "seed": self.plan.seed_of(run)}
        used = {n: values.get(n) for n in self.expression.names}
        unasked = [n for n in used if n not in self.expression.asks_null]
        if any(used[n] is None for n in unasked if n in metrics or n not in values):
            return None
        try:
            value = self.expression.evaluate(used, finite=False)
        except InvalidValueError:  # round(NaN), say, or a comparison with a param that is None
            return None
        return bool(value) if _is_answer(value) else None

    def _params_at(self, point: int) -> dict[str, Any]:
        given = {n: c[point] for n, c in {**self.plan.params, **self.plan.extra}.items()}
        return {**self._defaults, **given}

    def _check(self) -> None:
        """Ask it of made-up metrics: it must be true or false, and must not fail at all of them."""
        settings = self._settings()
        n_tried, failures = 0, []
        for used in self._tried(settings[:: max(1, -(-len(settings) // _MOST_TRIED))]):
            n_tried += 1
            try:
                value = self.expression.evaluate(used, finite=False)
            except InvalidValueError as error:
                failures.append(error)
                continue
            if not _is_answer(value):
                raise InvalidValueError(
                    f"search.event must be true or false, and {self.spec.event!r} gives "
                    f"{value.tolist()!r}; write a comparison."
                )
        if len(failures) == n_tried and len(settings) <= _MOST_TRIED:
            raise InvalidValueError(
                f"search.event can be answered by no row; change it. {failures[0]}"
            )

    def _settings(self) -> list[int]:
        """A point for each setting of the params that the event reads."""
        columns = {**self.plan.params, **self.plan.extra}
        read = [columns[n].tolist() for n in self.expression.names if n in columns]
        if not read:
            return [0]
        return list({key: point for point, key in enumerate(zip(*read, strict=True))}.values())

    def _tried(self, points: Sequence[int]) -> Iterator[dict[str, Any]]:
        metrics = {m.name: m for m in self.plan.experiment.metrics}
        for point in points:
            params = {**self._params_at(point), "seed": self.plan.seeds[0]}
            for k in range(3):
                yield {
                    n: _stand_in(metrics[n], k) if n in metrics else params.get(n)
                    for n in self.expression.names
                }


def _is_answer(value: np.ndarray) -> bool:
    return value.dtype == np.bool_ and value.ndim == 0


def _stand_in(metric: FieldSpec, k: int) -> Any:
    if metric.choices:
        return metric.choices[k % len(metric.choices)]
    return _TRIED[metric.kind][k] if metric.kind in _TRIED else None
