"""What a row says of the quantity whose interval is to be narrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression
from lawsweep.grid.plan import Plan


def names_of(plan: Plan) -> list[str]:
    """What an expression of ``until`` may read: params, axes and metrics, and the seed."""
    fields = (s.name for s in (*plan.experiment.params, *plan.experiment.metrics))
    return [*dict.fromkeys((*fields, *plan.extra)), "seed"]


def metrics_in(plan: Plan, texts: Iterable[str]) -> list[str]:
    """The metrics that expressions read, and whether a run converged."""
    used = {name for text in texts for name in Expression(text).names} | {"converged"}
    return [m.name for m in plan.experiment.metrics if m.name in used]


def over_points(plan: Plan, text: str, place: str) -> np.ndarray:
    """An expression over params and axes, at each point, (n_points,); it reads no metric."""
    expression = Expression(text)
    columns: dict[str, Any] = {**plan.over_points(), **plan.extra}
    for name in expression.names:
        if name not in columns:
            metrics = [m.name for m in plan.experiment.metrics]
            if name in metrics or name == "seed":
                raise InvalidValueError(
                    f"{place} must be known before a run, and {text!r} reads {name}, which is not. "
                    "Write it over params and axes."
                )
            raise unknown_name("column", name, columns, place)
    used = {n: np.broadcast_to(columns[n], (plan.n_points,)) for n in expression.names}
    return np.asarray(expression.evaluate(used, plan.n_points, finite=False))


class Reader:
    """An expression over params and metrics, as a question to a row.

    Raises a LawsweepError where the plan has not what it reads.
    """

    def __init__(self, plan: Plan, text: str, place: str):
        self.plan, self.expression = plan, Expression(text)
        metrics = {m.name: m for m in plan.experiment.metrics}
        valid = names_of(plan)
        for name in self.expression.names:
            if name not in valid:
                raise unknown_name("column", name, valid, place)
            if name in metrics and metrics[name].kind not in ("bool", "int", "float"):
                raise InvalidValueError(
                    f"{place} must be a number, and {name} holds {metrics[name].kind}. Choose a "
                    "numeric expression."
                )
        if not set(self.expression.names) & set(metrics):
            raise InvalidValueError(
                f"{place} must say something of a metric, got {text!r}; name one of "
                f"{', '.join(metrics)}."
            )
        self._columns = {**plan.over_points(), **plan.extra}

    def value(self, run: int, status: str, metrics: Mapping[str, Any]) -> float | None:
        """The number; None where the row has none: it failed, did not converge, or is NaN."""
        if status != "ok" or metrics.get("converged") is False:
            return None
        point, seed = divmod(run, len(self.plan.seeds))
        used: dict[str, Any] = {}
        for name in self.expression.names:
            if name in metrics:
                used[name] = metrics[name]
            elif name == "seed":
                used[name] = self.plan.seeds[seed]
            elif name in self._columns:
                column = self._columns[name]
                used[name] = column[point] if column.ndim else column[()]
            if used.get(name) is None:
                return None
        try:
            found = float(self.expression.evaluate(used, finite=False))
        except (InvalidValueError, TypeError, ValueError, OverflowError):
            return None
        return found if np.isfinite(found) else None
