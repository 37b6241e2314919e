"""CPUs and GPUs of a task: the same for all, or by point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.outcome import RunSpec
from lawsweep.executors.ray.nodes import AUTO, classes, share_of
from lawsweep.grid.plan import Plan
from lawsweep.grid.stated_costs import stated_costs

Given = float | str


class Kind(NamedTuple):
    """What tasks of one kind need, and a point that is of it, to name in a message."""

    cpus: float
    gpus: float
    point: str
    card_bytes: float = 0.0  # where GPUs are shared by memory: what a run holds


class Needs:
    """``executor.cpus_per_task`` and ``gpus_per_task``: numbers, or expressions over the params.

    An expression is asked for every run; a task of several runs gets the largest answer, and its
    runs are chosen so that they agree (``over``).  ``cpus`` and ``gpus`` are those of the task
    asked about last (1 before, where there is an expression): like runs come one after the other,
    so the next task needs about as much.

    ``gpus`` may be ``auto``: by the memory that the experiment's cost function states, and that of
    a card, which is ``card_bytes`` as soon as it is known.
    """

    def __init__(self, cpus: Given, gpus: Given):
        self.given = {"cpus_per_task": cpus, "gpus_per_task": gpus}
        self.by_memory = gpus == AUTO
        self._rules = {
            n: Expression(g) for n, g in self.given.items() if isinstance(g, str) and g != AUTO
        }
        self.cpus, self.gpus = (1.0 if isinstance(g, str) else g for g in (cpus, gpus))
        self._experiment: Experiment | None = None
        self.card_bytes = float("inf")
        self._held = np.zeros(0)  # bytes of each point's runs, where GPUs are shared by memory
        self._n_seeds = 1

    @property
    def by_point(self) -> bool:
        """Whether tasks may need different amounts."""
        return bool(self._rules) or self.by_memory

    @property
    def threads_by_point(self) -> bool:
        """Whether their numerical threads may differ, which follow the CPUs."""
        return "cpus_per_task" in self._rules

    def bind(self, experiment: Experiment) -> None:
        """Check that the expressions read params.  Raises UnknownNameError."""
        known = {s.name for s in experiment.params}
        for option, rule in self._rules.items():
            for name in rule.names:
                if name not in known:
                    valid = known | {AUTO} if option == "gpus_per_task" else known
                    raise unknown_name("param", name, valid, f"executor.{option}")
        self._experiment = experiment

    def of(self, runs: Sequence[RunSpec]) -> tuple[float, float]:
        """CPUs and GPUs of a task of these runs.  Raises InvalidValueError for an odd answer."""
        assert self._experiment is not None
        points = {id(run.params): run.params for run in runs}.values()  # seeds share theirs
        full = [self._experiment.with_defaults(params) for params in points]
        found = dict(self.given)
        for option, rule in self._rules.items():
            found[option] = max(_checked(option, rule, values) for values in full)
        if self.by_memory:
            held = max((self._held[run.index // self._n_seeds] for run in runs), default=0.0)
            found["gpus_per_task"] = share_of(float(held), self.card_bytes)
        self.cpus, self.gpus = float(found["cpus_per_task"]), float(found["gpus_per_task"])
        return self.cpus, self.gpus

    def gpus_at(self, plan: Plan, runs: Iterable[int], card_bytes: float) -> np.ndarray:
        """GPUs of a task of each point, (n_points,), on cards of so much memory; raises like over.

        1 of points without runs, and of all where none are asked for.
        """
        found, runs = np.ones(plan.n_points), tuple(runs)
        if "cpus_per_task" in self._rules:
            Needs(self.given["cpus_per_task"], self.given["gpus_per_task"]).over(plan, runs)
        points = np.unique(np.fromiter(runs, dtype=np.int64) // len(plan.seeds))
        if self.by_memory:
            held = classes(stated_costs(plan)[1])
            for n_bytes in np.unique(held[points]).tolist():
                found[held == n_bytes] = share_of(n_bytes, card_bytes)
        elif "gpus_per_task" in self._rules:
            kinds, each = Needs(1, self.given["gpus_per_task"]).over(plan, runs)
            found[points] = np.array([kind.gpus for kind in each])[kinds[points]]
        elif self.given["gpus_per_task"]:
            found[:] = self.given["gpus_per_task"]
        return found

    def over(self, plan: Plan, runs: Iterable[int]) -> tuple[np.ndarray, list[Kind]]:
        """The kind of each point, (n_points,), and what each kind needs, the greediest first.

        Points of which no run is in ``runs`` are not asked about, and of kind 0.  Raises
        UnknownNameError, and InvalidValueError for an odd answer.
        """
        self.bind(plan.experiment)
        points = np.unique(np.fromiter(runs, dtype=np.int64) // len(plan.seeds))
        if not len(points):
            return np.zeros(plan.n_points, dtype=np.int64), []
        columns = {n: c if c.ndim == 0 else c[points] for n, c in plan.over_points().items()}
        each = []
        for option, given in self.given.items():
            rule = self._rules.get(option)
            if given == AUTO:
                self._held, self._n_seeds = classes(stated_costs(plan)[1]), len(plan.seeds)
                each.append(self._held[points])
                continue
            found = np.asarray(given if rule is None else rule.evaluate(columns))
            each.append(np.broadcast_to(found, points.shape))
            if rule is not None:
                _check_all(option, rule, each[-1], columns)
        needs = np.stack([c.astype(np.float64) for c in each], axis=1)
        if len(points) and not needs.any(axis=1).all():
            raise InvalidValueError(
                "executor.cpus_per_task=0 is for tasks that have a GPU; executor.gpus_per_task="
                f"{self.given['gpus_per_task']!r} gives some none. Give them CPUs."
            )
        distinct, first, number = np.unique(needs, axis=0, return_index=True, return_inverse=True)
        kinds = np.zeros(plan.n_points, dtype=np.int64)
        kinds[points] = len(distinct) - 1 - number.ravel()
        names = sorted({n for rule in self._rules.values() for n in rule.names})
        found_kinds = [
            self._kind(float(cpus), float(gpus), _spelt({n: columns[n] for n in names}, int(i)))
            for (cpus, gpus), i in zip(distinct, first, strict=True)
        ]
        return kinds, found_kinds[::-1]

    def _kind(self, cpus: float, gpus: float, point: str) -> Kind:
        if self.by_memory:
            return Kind(cpus, share_of(gpus, self.card_bytes), point, gpus)
        return Kind(cpus, gpus, point)


def _spelt(columns: dict[str, np.ndarray], i: int) -> str:
    return ", ".join(f"{n}={_plain(c, i)!r}" for n, c in columns.items()) or "every point"


def _check_all(
    option: str, rule: Expression, found: np.ndarray, columns: dict[str, np.ndarray]
) -> None:
    """Raise as ``_checked`` does, for the first point that gives an odd answer."""
    good = np.zeros(found.shape, dtype=bool)
    if found.dtype.kind in "iuf":
        of_gpus = option == "gpus_per_task"
        whole = (found <= 1) | (found == np.floor(found))
        good = ((found > 0) | ((found == 0) & of_gpus)) & (whole | (not of_gpus))
    if not good.all():
        i = int(np.argmin(good))
        _checked(option, rule, {n: _plain(columns[n], i) for n in rule.names})


def _plain(column: np.ndarray, i: int) -> Any:
    value = column[()] if column.ndim == 0 else column[i]
    return value.item() if isinstance(value, np.generic) else value


def _checked(option: str, rule: Expression, values: dict[str, Any]) -> float:
    value = rule.evaluate_one(values)
    of_gpus = option == "gpus_per_task"
    good = isinstance(value, int | float) and not isinstance(value, bool)
    good = good and (value >= 0 if of_gpus else value > 0)
    if not good or (of_gpus and value > 1 and value != int(value)):
        what = "from 0 to 1, or whole above 1" if of_gpus else "above 0"
        raise InvalidValueError(
            f"executor.{option}={rule.text!r} must give a number {what} at every point, "
            f"got {value!r} at { {n: values[n] for n in rule.names} }. Change the expression."
        )
    return float(value)
