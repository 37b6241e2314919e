"""Expected seconds of each run: a prior from flops, corrected by what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from lawsweep.core.cost import PRIOR_FLOPS_PER_S, PRIOR_OVERHEAD_S, Cost
from lawsweep.core.plan import Plan


class _Columns:
    """The params as attributes, for a cost function."""

    def __init__(self, columns: dict[str, np.ndarray]):
        self.__dict__.update(columns)


class CostModel:
    """Seconds a point, learnt from wall times.

    The prior of a point is ``overhead + flops / rate``.  Measured runs give the ratio of wall
    time to prior; a run is predicted by the mean ratio among runs of like prior (bins of a factor
    of two), so neither the prior's rate nor its dependence on size has to be right.
    """

    def __init__(self, plan: Plan):
        self._n_seeds = len(plan.seeds)
        cost = plan.experiment.cost
        self.has_prior = cost is not None
        flops: np.ndarray = np.zeros(plan.n_points)
        memory: np.ndarray = np.zeros(plan.n_points)
        if cost is not None:
            found: Cost = cost(_Columns(plan.over_points()))
            flops = np.broadcast_to(np.asarray(found.flops, dtype=float), (plan.n_points,))
            memory = np.broadcast_to(np.asarray(found.memory_bytes, dtype=float), (plan.n_points,))
        self.prior_s = PRIOR_OVERHEAD_S + np.nan_to_num(flops) / PRIOR_FLOPS_PER_S
        self.memory_bytes = memory
        self._bin = np.floor(np.log2(self.prior_s)).astype(int)
        self._sums: dict[int, tuple[float, int]] = {}
        self._ratio_cache: dict[int, float] = {}

    @property
    def n_measured(self) -> int:
        """How many wall times were learnt from."""
        return sum(n for _, n in self._sums.values())

    def learn(self, run: int, wall_s: float | None) -> None:
        """Take in the wall time of a finished run, where it is known."""
        if wall_s is None:
            return
        point = run // self._n_seeds
        total, n = self._sums.get(int(self._bin[point]), (0.0, 0))
        ratio = wall_s / float(self.prior_s[point])
        self._sums[int(self._bin[point])] = (total + ratio, n + 1)
        self._ratio_cache.clear()

    def _ratio(self, b: int) -> float:
        if b not in self._ratio_cache:
            nearest = min(self._sums, key=lambda k: (abs(k - b), k), default=None)
            total, n = self._sums[nearest] if nearest is not None else (1.0, 1)
            self._ratio_cache[b] = total / n
        return self._ratio_cache[b]

    def seconds(self, run: int) -> float:
        """Expected seconds of one run."""
        point = run // self._n_seeds
        return float(self.prior_s[point]) * self._ratio(int(self._bin[point]))

    def total_s(self, runs: Iterable[int]) -> float:
        """Expected seconds of all these runs together, on one slot."""
        return math.fsum(self.seconds(run) for run in runs)
