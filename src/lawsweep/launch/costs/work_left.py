"""The work that is left of a launch, and how long it will take."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.grid.plan import Plan
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.flights import UnderWay

DRAWS = 8
Z_90 = 1.645  # two-sided 90 % of a normal


@dataclass(frozen=True)
class WorkLeft:
    """Expected seconds on one slot of what is left, with a 90 % interval."""

    expected_s: float
    low_s: float
    high_s: float


class Left:
    """Unfinished runs of each point, what is in flight included.

    Sums are kept up run by run and made anew when the cost model was fitted anew.
    """

    def __init__(self, plan: Plan, costs: CostModel, runs: np.ndarray):
        self._n_seeds, self._costs = len(plan.seeds), costs
        self._counts = np.bincount(runs // self._n_seeds, minlength=plan.n_points)
        self._asked = self._counts.copy()
        self.n = len(runs)  # how many runs are left
        self._revision = -1
        self._sum = self._squares = self._error = self._typical = 0.0
        self._means = costs.seconds_of_points()

    def add(self, runs: np.ndarray) -> None:
        """Runs that came to be wanted."""
        for counts in (self._counts, self._asked):
            np.add.at(counts, runs // self._n_seeds, 1)
        self.n += len(runs)
        self._revision = -1

    def finished(self, run: int) -> None:
        """A run that is not left any more."""
        point = run // self._n_seeds
        self._counts[point] -= 1
        self.n -= 1
        mean = float(self._means[point])
        self._sum -= mean
        self._squares -= mean * mean

    def work(
        self,
        under_way: Sequence[UnderWay] = (),
        n_more: int = 0,
        overhead_s: float = 0.0,
    ) -> WorkLeft:
        """The work left.

        ``under_way``: what has begun.  ``n_more`` runs like those so far will come to be wanted;
        beside its own seconds each run costs ``overhead_s``.
        """
        self._refresh()
        spread = self._costs.spread
        more = n_more * self._typical
        expected = max(0.0, self._sum) + more
        variance = (max(0.0, self._squares) + more * self._typical) * spread**2
        for one in under_way:
            expected += self.still_to_come(one) - one.n * self.mean_of(one.run)
        expected = max(0.0, expected)
        beside = overhead_s * max(0, self.n + n_more)
        if not self.n + n_more or not expected + beside:
            return WorkLeft(0.0, 0.0, 0.0)
        # The interval is one of the logarithm: what is known within a factor is known so.
        random = math.log1p(variance / max(expected, 1e-12) ** 2)
        sd = math.sqrt(random + self._error**2)
        half = math.exp(min(quantile_90(self._costs.dof) * sd, 50.0))
        return WorkLeft(expected + beside, expected / half + beside, expected * half + beside)

    def mean_of(self, run: int) -> float:
        """Expected seconds of a run, by the latest fit that the sums are of."""
        return float(self._means[run // self._n_seeds])

    def still_to_come(self, one: UnderWay) -> float:
        """Expected seconds until what is under way has ended."""
        mean = one.n * self.mean_of(one.run)
        if one.n_behind:
            return max(0.0, mean - one.since)
        return still_to_come(mean, self._costs.spread, one.since)

    def _refresh(self) -> None:
        means = self._costs.seconds_of_points()
        if self._revision == self._costs.revision:
            return
        self._revision, self._means = self._costs.revision, means
        self._sum = float(self._counts @ means)
        self._squares = float(self._counts @ means**2)
        self._typical = float(self._asked @ means) / max(1, int(self._asked.sum()))
        self._error = self._costs.error_of(self._counts if self.n else self._asked)


def expected_end(coming: Sequence[float], queue: Sequence[float], n_slots: int, cv: float) -> float:
    """When the last of a queue ends, on average over what runs may take.

    ``coming``: seconds until the slots in use fall free.
    """
    rng, n = np.random.default_rng(0), len(coming) + len(queue)
    sd = math.sqrt(math.log1p(cv * cv))
    ends = []
    for _ in range(DRAWS):
        noise = np.exp(sd * rng.standard_normal(n) - 0.5 * sd * sd)
        seconds = (noise * [*coming, *queue]).tolist()
        free = [*seconds[: len(coming)], *([0.0] * (n_slots - len(coming)))]
        heapq.heapify(free)
        for one in seconds[len(coming) :]:
            heapq.heapreplace(free, free[0] + one)
        ends.append(max(free))
    return float(np.mean(ends))


def still_to_come(mean: float, cv: float, since: float) -> float:
    """E[T - t | T > t] of lognormal seconds T of this mean and relative spread, t = ``since``."""
    if since <= 0.0 or mean <= 0.0:
        return mean
    sd = math.sqrt(math.log1p(cv * cv))
    middle = math.log(mean) - 0.5 * sd * sd
    z = (math.log(since) - middle) / max(sd, 1e-3)
    if z > 6.0:  # far beyond what was ever seen: as long again as it has been
        return since
    tail = _above(z)
    return max(0.0, mean * _above(z - sd) / tail - since)


def _above(z: float) -> float:
    """P(Z > z) of a standard normal."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def quantile_90(dof: float) -> float:
    """Two-sided 90 % of Student's t (Cornish and Fisher's expansion; Abramowitz, Stegun 26.7.5)."""
    z = Z_90
    if not math.isfinite(dof):
        return z
    return z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof * dof)
