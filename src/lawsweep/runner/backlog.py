"""The backlog: what is still to run, longest first, cut into batches as slots fall free."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.core.outcome import RunSpec
from lawsweep.core.plan import Plan
from lawsweep.runner.columns import params_of
from lawsweep.runner.costs import CostModel
from lawsweep.runner.fusing import kin_of

TARGET_S = 1.0  # a batch shorter than this is mostly overhead, a longer one holds back news
# A group of fused runs may take longer, as a long run does: it is cheaper whole than in pieces.
# This is also what a lost worker costs, and how long its runs keep their news.
GROUP_S = 5.0
FINEST_S = 0.1  # at the end no group is cut into pieces shorter than this: nobody waits so little
MAX_BATCH = 500
FIRST_BATCH = 4  # while nothing is known of the cost
Z_90 = 1.645  # two-sided 90 % of a normal


@dataclass(frozen=True)
class WorkLeft:
    """Expected seconds on one slot of what is left, with a 90 % interval."""

    expected_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Cut:
    """A batch: its runs, and the lengths of the groups they are to be fused in (none: alone)."""

    runs: tuple[RunSpec, ...]
    groups: tuple[int, ...] = ()


class Backlog:
    """Runs to do, by expected seconds; ``take`` cuts the next batch.

    With ``max_fused`` above 1 like runs stay together, so many at most.
    """

    def __init__(
        self,
        plan: Plan,
        costs: CostModel,
        todo: Iterable[int],
        attempts: Mapping[int, int],
        max_fused: int = 1,
    ):
        self.plan, self.costs, self.attempts = plan, costs, dict(attempts)
        self.max_fused = max_fused
        runs = np.fromiter(todo, dtype=np.int64)
        # Longest first, so that no long run starts last; plan order among equals.
        seconds = costs.seconds_of(runs)
        order = np.argsort(-seconds, kind="stable")
        if max_fused > 1:
            self._kin = kin_of(plan)
            order = _together(self._kin[runs // len(plan.seeds)], order)
        self._runs = deque(runs[order].tolist())
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

    def take(self, n_slots: int, slot_memory_bytes: float = math.inf) -> Cut:
        """The next batch: about TARGET_S of work, less where that would leave slots idle."""
        if self._again:
            # Alone even where they were fused: the fused form may be what cost the worker (all
            # of a group's memory at once), and runs alone answer one by one, which leaves fewer
            # to suspect when the next worker is lost.
            return Cut(self._again.popleft())
        slots = max(1, n_slots)
        if self.max_fused > 1:
            return self._cut_groups(slots, slot_memory_bytes)
        most = MAX_BATCH if self.costs.n_measured else FIRST_BATCH
        # The last batches are cut finer, so that all slots end at about the same time.
        most = min(most, max(1, len(self._runs) // (2 * slots)))
        n, seconds = 0, 0.0
        while n < len(self._runs) and n < most:
            seconds += self.costs.seconds(self._runs[n])
            if n and seconds > TARGET_S:
                break
            n += 1
        return Cut(self._next(n))

    def _cut_groups(self, slots: int, slot_memory_bytes: float) -> Cut:
        """A batch of whole groups, or one group, or a piece of one that is too long."""
        share_s = max(FINEST_S, self.work_left().expected_s / (2 * slots))
        most = MAX_BATCH if self.costs.n_measured else FIRST_BATCH
        runs: list[RunSpec] = []
        groups: list[int] = []
        seconds = 0.0
        while self._runs:
            n, cost = self._kindred(slot_memory_bytes), self.costs.seconds(self._runs[0])
            if groups and (len(runs) + n > most or seconds + n * cost > min(TARGET_S, share_s)):
                break
            fits = min(n, most, max(1, int(min(GROUP_S, share_s) / max(cost, 1e-9))))
            if fits < n:
                fits = -(-n // -(-n // fits))  # in pieces of about one length: 10 as 4, 3, 3
            runs += self._next(fits)
            groups.append(fits)
            seconds += fits * cost
        return Cut(tuple(runs), tuple(groups))

    def _kindred(self, slot_memory_bytes: float) -> int:
        """How many runs at the head may be computed at once."""
        first, n_seeds = self._runs[0], len(self.plan.seeds)
        most = min(self.max_fused, self.costs.most_fused(first, slot_memory_bytes))
        kin, n = self._kin[first // n_seeds], 1
        while n + 1 <= most and n < len(self._runs) and self._kin[self._runs[n] // n_seeds] == kin:
            n += 1
        return n

    def _next(self, n: int) -> tuple[RunSpec, ...]:
        """The next ``n`` runs, taken out of the backlog."""
        plan = self.plan
        runs = [self._runs.popleft() for _ in range(n)]
        return tuple(
            RunSpec(run, plan.run_ids[run], params, plan.seed_of(run), self.attempts.get(run, 1))
            for run, params in zip(runs, params_of(plan, runs), strict=True)
        )


def _together(kin: np.ndarray, order: np.ndarray) -> np.ndarray:
    """``order`` with the runs of each kin brought to where its first one stands."""
    _, group = np.unique(kin, return_inverse=True)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    first = np.full(group.max(initial=-1) + 1, len(order), dtype=np.int64)
    np.minimum.at(first, group, place)
    return np.lexsort((place, first[group]))
