"""The backlog: what is still to run, longest first, cut into batches as slots fall free."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.core.outcome import RunSpec
from lawsweep.core.plan import Plan
from lawsweep.runner.costs import CostModel

TARGET_S = 1.0  # a batch shorter than this is mostly overhead, a longer one holds back news
MAX_BATCH = 500
FIRST_BATCH = 4  # while nothing is known of the cost
Z_90 = 1.645  # two-sided 90 % of a normal


@dataclass(frozen=True)
class WorkLeft:
    """Expected seconds on one slot of what is left, with a 90 % interval."""

    expected_s: float
    low_s: float
    high_s: float


class Backlog:
    """Runs to do, by expected seconds; ``take`` cuts the next batch."""

    def __init__(
        self, plan: Plan, costs: CostModel, todo: Iterable[int], attempts: Mapping[int, int]
    ):
        self.plan, self.costs, self.attempts = plan, costs, dict(attempts)
        runs = np.fromiter(todo, dtype=np.int64)
        # Longest first, so that no long run starts last; plan order among equals.
        seconds = costs.seconds_of(runs)
        self._runs = deque(runs[np.argsort(-seconds, kind="stable")].tolist())
        self._again: deque[tuple[RunSpec, ...]] = deque()
        # Unfinished work by bin, what is in flight included: prior seconds and their squares.
        self._left: dict[int, list[float]] = {}
        for run in runs.tolist():
            self._count(run, +1)

    def __len__(self) -> int:
        return len(self._runs) + sum(map(len, self._again))

    def _count(self, run: int, sign: int) -> None:
        point = run // len(self.plan.seeds)
        prior = float(self.costs.prior_s[point])
        sums = self._left.setdefault(int(self.costs.bins[point]), [0.0, 0.0])
        sums[0] += sign * prior
        sums[1] += sign * prior * prior

    def finished(self, run: int) -> None:
        """Take a finished run out of the work that is left."""
        self._count(run, -1)

    def put_back(self, runs: Sequence[RunSpec]) -> None:
        """Return runs whose worker was lost, as one batch that goes out next."""
        self._again.append(tuple(runs))

    def work_left(self) -> WorkLeft:
        """Seconds of all unfinished work, by bins: a few operations whatever the number of runs."""
        expected = variance = systematic = 0.0
        for b, (prior, squares) in self._left.items():
            mean, sd = self.costs.ratio(b)
            expected += max(0.0, prior) * mean
            variance += max(0.0, squares) * sd * sd
            # The bin's mean is itself an estimate, and an error of it is shared by all its runs.
            systematic += max(0.0, prior) * self.costs.mean_error(b)
        half = Z_90 * math.sqrt(variance + systematic * systematic)
        return WorkLeft(expected, max(0.0, expected - half), expected + half)

    def take(self, n_slots: int) -> tuple[RunSpec, ...]:
        """The next batch: about TARGET_S of work, less where that would leave slots idle."""
        if self._again:
            return self._again.popleft()
        known = self.costs.n_measured > 0
        most = MAX_BATCH if known else FIRST_BATCH
        # The last batches are cut finer, so that all slots end at about the same time.
        most = min(most, max(1, len(self._runs) // (2 * max(1, n_slots))))
        batch: list[RunSpec] = []
        seconds = 0.0
        while self._runs and len(batch) < most:
            cost = self.costs.seconds(self._runs[0])
            if batch and seconds + cost > TARGET_S:
                break
            seconds += cost
            batch.append(self._spec(self._runs.popleft()))
        return tuple(batch)

    def _spec(self, run: int) -> RunSpec:
        plan = self.plan
        return RunSpec(
            index=run,
            run_id=plan.run_ids[run],
            params=plan.params_of(run),
            seed=plan.seed_of(run),
            attempt=self.attempts.get(run, 1),
        )
