"""Runs that are stopped early: which ones, by the curves of the others.

A run is asked at the points of its curve that are kept, from ``grace`` on; what it is worth at a
step is the best it has reported by then.  Not finite is worse than anything.

``median`` (Golovin et al., Google Vizier, KDD 2017, section 3.2): it is stopped where that is
worse than the median, over the runs that have ended well and came so far, of the mean of what each
had reported by that step.  It needs ``min_runs`` of them.  With the same runs ended the answer is
the same; which have ended depends on timing.

``halving`` (asynchronous successive halving: Li et al., MLSys 2020, algorithm 2, as a rule that
stops): at the steps grace, factor grace, factor^2 grace, ... it goes on where it is among the best
1/factor of those that have come there so far, itself included.  Who comes first goes on: the answer
depends on the order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lawsweep.core.during.curve import check_name
from lawsweep.core.errors import InvalidValueError, nearest
from lawsweep.core.experiment import Experiment
from lawsweep.core.options import check_options, read_options
from lawsweep.core.outcome import Point
from lawsweep.core.protocols import Executor
from lawsweep.core.schema import Field
from lawsweep.grid.sweep import Sweep

MOST_STEPS = 256  # of a curve that is compared with: more are every second one, and so on
MOST_ASKED = 2048  # steps at which what the ended runs had is remembered


@dataclass(frozen=True, kw_only=True)
class StopRuns:
    """The ``stop_runs`` block of a sweep."""

    metric: Annotated[str, Field("what is reported and compared")]
    rule: Literal["median", "halving"] = "median"
    mode: Literal["min", "max"] = "min"
    grace: Annotated[int, Field("the first step at which a run may be stopped", ge=1)] = 1
    min_runs: Annotated[int, Field("runs ended well, of the median", ge=1)] = 5
    factor: Annotated[int, Field("one in so many goes on, of halving", ge=2)] = 3

    def __post_init__(self) -> None:
        check_options(self, "stop_runs")
        check_name(self.metric)


def read_stop_runs(block: Mapping[str, Any] | None) -> StopRuns | None:
    """The block, checked; None where there is none.  Raises a LawsweepError."""
    if block is None:
        return None
    if "metric" not in block:
        raise InvalidValueError(
            "stop_runs needs the metric that runs report, and names none. Give one, for example "
            "stop_runs: {rule: median, metric: loss}."
        )
    options = read_options(StopRuns, block, "stop_runs")
    of_another = {"median": "factor", "halving": "min_runs"}[options.rule]
    if of_another in block:
        other = "halving" if options.rule == "median" else "median"
        raise InvalidValueError(
            f"stop_runs.{of_another} is a setting of the rule {other}, and the rule is "
            f"{options.rule}. Leave it out, or say rule: {other}."
        )
    return options


class _Run:
    """What one run has reported so far."""

    def __init__(self, next_rung: int = 0) -> None:
        self.best, self.total, self.n = math.inf, 0.0, 0
        self.steps, self.means = array("q"), array("d")  # the means are of all by then
        self.next_rung = next_rung

    def add(self, step: int, loss: float) -> None:
        self.n += 1
        self.best = min(self.best, loss)
        self.total += loss
        self.steps.append(step)
        mean = self.total / self.n
        self.means.append(math.inf if math.isnan(mean) else mean)  # of -inf, by overflow, and inf
        if len(self.steps) > 2 * MOST_STEPS:  # the last stays
            self.steps, self.means = self.steps[1::2], self.means[1::2]

    def mean_at(self, step: int) -> float | None:
        """Of what it had reported by a step; None where it has not come so far."""
        i = bisect_right(self.steps, step)
        return None if not i or self.steps[-1] < step else self.means[i - 1]


class Stopping(ABC):
    """Asked for each point that a run tells; remembers runs by their places in the plan."""

    def __init__(self, options: StopRuns):
        self.options = options
        self._under_way: dict[int, _Run] = {}
        self._n_ended, self._is_reported = 0, False
        self._others: set[str] = set()  # what is reported without the metric

    def tell(self, run: int, points: Iterable[Point]) -> str | None:
        """A run under way reported these; why it is to be stopped, if it is."""
        why = None
        for state, step in self._came(run, points):
            if why is None:
                why = self._judge(state, step)
        return why

    def _came(self, run: int, points: Iterable[Point]) -> Iterator[tuple[_Run, int]]:
        """Take points; where the run came to with each, from ``grace`` on."""
        state = self._under_way.setdefault(run, _Run())
        for step, metrics in points:
            value = metrics.get(self.options.metric)
            if value is None:
                self._others.update(metrics)
                continue
            self._is_reported = True
            if state.steps and step <= state.steps[-1]:  # it began anew, in another attempt
                state = self._under_way[run] = _Run(state.next_rung)
            state.add(step, self._loss(value))
            if step >= self.options.grace:
                yield state, step

    def _loss(self, value: float) -> float:
        if not math.isfinite(value):
            return math.inf
        return value if self.options.mode == "min" else -value

    def ended(self, run: int, points: Iterable[Point], *, well: bool) -> None:
        """A run has ended, having reported these besides."""
        for at in self._came(run, points):
            self._passed(*at)
        state = self._under_way.pop(run)
        self._n_ended += 1
        if well and state.n:
            self._keep(state)

    def notes(self) -> tuple[str, ...]:
        """What a person is told at the end: that no run has reported the metric."""
        if self._is_reported or not self._n_ended:
            return ()
        metric = self.options.metric
        said = f"stop_runs cannot stop any run: none reported {metric!r}"
        if not self._others:
            return (f"{said}, nor anything else; lawsweep.report(step, {metric}=...) does",)
        close = nearest(metric, sorted(self._others))
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        return (f"{said}, but {', '.join(sorted(self._others))}{hint}",)

    def _said(self, step: int, state: _Run, against: str) -> str:
        sign = 1.0 if self.options.mode == "min" else -1.0
        return (
            f"stopped at step {step:,} (stop_runs): its best {self.options.metric}, "
            f"{sign * state.best:.6g}, {against}"
        )

    @abstractmethod
    def _judge(self, state: _Run, step: int) -> str | None:
        """Why a run that is at a step is to be stopped."""

    @abstractmethod
    def _passed(self, state: _Run, step: int) -> None:
        """A run that has ended came to a step."""

    @abstractmethod
    def _keep(self, state: _Run) -> None:
        """A run ended well."""


class Median(Stopping):
    """See above."""

    def __init__(self, options: StopRuns):
        super().__init__(options)
        self._ended: list[_Run] = []
        # By step: what the first so many of them had by then, in order.
        self._had: dict[int, tuple[array[float], int]] = {}

    def _passed(self, state: _Run, step: int) -> None:
        """It is compared with when it has ended."""

    def _keep(self, state: _Run) -> None:
        self._ended.append(state)

    def _judge(self, state: _Run, step: int) -> str | None:
        means = self._means(step)
        if len(means) < self.options.min_runs:
            return None
        half = len(means) // 2
        middle = means[half] if len(means) % 2 else (means[half - 1] + means[half]) / 2
        if not state.best > middle:
            return None
        sign = 1.0 if self.options.mode == "min" else -1.0
        against = f"is worse than the median {sign * middle:.6g} of {len(means)} that ended"
        return self._said(step, state, against)

    def _means(self, step: int) -> array[float]:
        """What those that ended and came so far had by a step, in order: looked up once a run."""
        means, n = self._had.pop(step, (array("d"), 0))
        for run in self._ended[n:]:
            if (mean := run.mean_at(step)) is not None:
                insort(means, mean)
        self._had[step] = means, len(self._ended)
        if len(self._had) > MOST_ASKED:
            del self._had[next(iter(self._had))]  # that was asked for the longest ago
        return means


class Halving(Stopping):
    """See above."""

    def __init__(self, options: StopRuns):
        super().__init__(options)
        self._rungs: list[list[float]] = []  # what came to each, in order

    def _passed(self, state: _Run, step: int) -> None:
        self._judge(state, step)

    def _keep(self, state: _Run) -> None:
        """It stands in the rungs that it came to."""

    def _judge(self, state: _Run, step: int) -> str | None:
        k, factor = state.next_rung, self.options.factor
        if step < self.options.grace * factor**k:
            return None
        state.next_rung += 1
        if k == len(self._rungs):
            self._rungs.append([])
        here = self._rungs[k]
        insort(here, state.best)
        n_on = max(1, len(here) // factor)
        if len(here) == 1 or state.best <= here[n_on - 1]:
            return None
        return self._said(
            step, state, f"is not among the best {n_on} of {len(here)} that came so far"
        )


def make_stopping(options: StopRuns) -> Stopping:
    """The rule of a ``stop_runs`` block."""
    return Median(options) if options.rule == "median" else Halving(options)


def check_stopping(sweep: Sweep, experiment: Experiment, executor: Executor) -> None:
    """Raise InvalidValueError for a ``stop_runs`` that is wrong, or of no use with the rest."""
    if read_stop_runs(sweep.stop_runs) is None:
        return
    if sweep.search is not None or sweep.until is not None:
        other = "search" if sweep.search is not None else "until"
        raise InvalidValueError(
            f"Sweep {sweep.name} has both stop_runs and {other}, which needs the runs that it asks "
            "for to end. Leave one of them out."
        )
    if experiment.of_command:
        raise InvalidValueError(
            "stop_runs ends a function at its next report; a command is not told. Leave stop_runs "
            "out, or call the program from a function that reports."
        )
    if experiment.fused is not None and executor.fuse and executor.max_fused > 1:
        raise InvalidValueError(
            f"stop_runs is of runs that report one by one, and {experiment.name} computes many at "
            "once. Set executor.fuse=false, or leave stop_runs out."
        )
