"""CPUs and GPUs of a task: the same for all, or by point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions import Expression
from lawsweep.core.outcome import RunSpec

Given = float | str


class Needs:
    """``executor.cpus_per_task`` and ``gpus_per_task``: numbers, or expressions over the params.

    An expression is asked for every run; a task of several runs gets the largest answer.  ``cpus``
    and ``gpus`` are those of the task asked about last (1 before, where there is an expression):
    runs come longest first, so the next task needs about as much.
    """

    def __init__(self, cpus: Given, gpus: Given):
        self.given = {"cpus_per_task": cpus, "gpus_per_task": gpus}
        self._rules = {n: Expression(g) for n, g in self.given.items() if isinstance(g, str)}
        self.cpus, self.gpus = (1.0 if isinstance(g, str) else g for g in (cpus, gpus))
        self._experiment: Experiment | None = None

    @property
    def by_point(self) -> bool:
        """Whether tasks may need different amounts."""
        return bool(self._rules)

    def bind(self, experiment: Experiment) -> None:
        """Check that the expressions read params.  Raises UnknownNameError."""
        known = {s.name for s in experiment.params}
        for option, rule in self._rules.items():
            for name in rule.names:
                if name not in known:
                    raise unknown_name("param", name, known, f"executor.{option}")
        self._experiment = experiment

    def of(self, runs: Sequence[RunSpec]) -> tuple[float, float]:
        """CPUs and GPUs of a task of these runs.  Raises InvalidValueError for an odd answer."""
        assert self._experiment is not None
        points = {id(run.params): run.params for run in runs}.values()  # seeds share theirs
        full = [self._experiment.with_defaults(params) for params in points]
        found = dict(self.given)
        for option, rule in self._rules.items():
            found[option] = max(_checked(option, rule, values) for values in full)
        self.cpus, self.gpus = float(found["cpus_per_task"]), float(found["gpus_per_task"])
        return self.cpus, self.gpus


def _checked(option: str, rule: Expression, values: dict[str, Any]) -> float:
    value = rule.evaluate_one(values)
    good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if not good or (option == "gpus_per_task" and value > 1 and value != int(value)):
        rest = ", or whole above 1" if option == "gpus_per_task" else ""
        raise InvalidValueError(
            f"executor.{option}={rule.text!r} must give a number above 0{rest} at every point, "
            f"got {value!r} at { {n: values[n] for n in rule.names} }. Change the expression."
        )
    return float(value)
