"""Expected seconds and memory of each run: a prior from flops and bytes, corrected by rows."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.core.cost import PRIOR_FLOPS_PER_S, PRIOR_OVERHEAD_S
from lawsweep.core.protocols import Done
from lawsweep.grid.plan import Plan
from lawsweep.grid.stated_costs import stated_costs
from lawsweep.launch.costs.memory_model import BASE_MEMORY_BYTES as BASE_MEMORY_BYTES
from lawsweep.launch.costs.memory_model import MEMORY_MARGIN as MEMORY_MARGIN
from lawsweep.launch.costs.memory_model import MemoryModel

UNMEASURED_SD = 0.5  # of the ratio, relative, while nothing at all was measured
LEARN_FROM = 20_000
KEPT = 400  # ratios a bin remembers
FRESH = 16  # an estimate is made again when a sixteenth of what it stands on is new
OUTLIER = 5.0  # times the median of its like: a run slower than that is left out
GUESSED_CV = 0.25  # spread between like runs, below three of them
ENOUGH = 5  # runs of a bin that speak for themselves
# How far an experiment's seconds stray from its stated flops: per doubling, in the logarithm.
# 0.15 covers seconds like flops^0.8 to flops^1.2.
SLOPE_SD = 0.15


class _Ratios:
    """Measured over prior, of the runs of one bin: the latest few hundred."""

    def __init__(self) -> None:
        self.n = 0
        self._latest: deque[float] = deque(maxlen=KEPT)
        self._made: _Estimate | None = None
        self._due = 0

    def add(self, ratio: float) -> bool:
        """Take in a ratio; whether the estimate may have changed by it."""
        self.n += 1
        self._latest.append(ratio)
        if self.n >= self._due:
            self._made = None
        return self._made is None

    def estimate(self) -> _Estimate:
        """The estimate as of late: with a million runs it is not made anew for each."""
        if self._made is None:
            self._made = self._fresh()
            self._due = self.n + max(1, min(self.n, KEPT) // FRESH)
        return self._made

    def _fresh(self) -> _Estimate:
        """Mean without outliers: a run that was held up (a busy disk, a first call) is no rule.

        Not a trimmed mean: times are skewed, and leaving out their tails would bias a sum.
        """
        values = np.array(self._latest)
        kept = values[values <= OUTLIER * np.median(values)]
        mean = float(kept.mean())
        sd = float(kept.std(ddof=1)) if len(kept) > 2 else GUESSED_CV * mean
        return _Estimate(mean, sd, sd / math.sqrt(len(kept)))


@dataclass(frozen=True)
class _Estimate:
    """Measured over prior for a bin: mean, spread between runs, error of the mean."""

    mean: float
    sd: float
    error: float


class CostModel:
    """Seconds and memory a point, learnt from finished rows.

    The prior of a point is ``overhead + flops / rate``.  Measured runs give the ratio of wall
    time to prior; a run is predicted by the mean ratio among runs of like prior (bins of a factor
    of two), or by the trend over the bins, so neither the prior's rate nor its dependence on size
    has to be right.  Memory is predicted by the largest ratio, since too little is worse than too
    much.

    A run computed together with others (fused) is cheaper, so its seconds are kept apart, and
    speak for the runs to come where ``fusing`` says that these will be fused too.
    """

    def __init__(self, plan: Plan, flops_per_s: float = PRIOR_FLOPS_PER_S):
        self._n_seeds = len(plan.seeds)
        self.has_prior = plan.experiment.cost is not None
        flops, memory = stated_costs(plan)
        self.prior_s = PRIOR_OVERHEAD_S + flops / flops_per_s
        self.bins = np.floor(np.log2(self.prior_s)).astype(int)
        self.memory = MemoryModel(memory, self.bins, stated=self.has_prior)
        self.fusing = False
        self._alone: dict[int, _Ratios] = {}
        self._fused: dict[int, _Ratios] = {}
        self._estimates: dict[tuple[bool, int], _Estimate] = {}

    @property
    def n_measured(self) -> int:
        """How many wall times were learnt from."""
        return sum(r.n for kept in (self._alone, self._fused) for r in kept.values())

    def learn(
        self,
        run: int,
        wall_s: float | None,
        peak_memory_bytes: int | None = None,
        n_fused: int = 1,
    ) -> None:
        """Take in what a finished run took, where it is known."""
        point = run // self._n_seeds
        b = int(self.bins[point])
        if wall_s is not None:
            kept = self._fused if n_fused > 1 else self._alone
            if kept.setdefault(b, _Ratios()).add(wall_s / float(self.prior_s[point])):
                self._estimates.clear()
        if peak_memory_bytes is not None:
            self.memory.learn(point, peak_memory_bytes)

    def ran_out(self, run: int, had_bytes: float) -> None:
        """Take in that the worker of a run was killed for memory where it had so much."""
        self.memory.ran_out(run // self._n_seeds, had_bytes)

    def was_refused(self, run: int, peak_memory_bytes: int | None) -> None:
        """Take in that a run was refused memory, and lived to say what it held until then."""
        if peak_memory_bytes is not None:
            self.memory.reached(run // self._n_seeds, peak_memory_bytes)

    def learn_table(
        self,
        plan: Plan,
        known: Mapping[str, Done],
        device: str | None = None,
        n_threads: int | None = None,
    ) -> None:
        """Take in the rows that a plan's runs have already, of one kind of host if given.

        Rows of another device tell nothing of this one; rows with another number of threads are
        used only where there are none with this one.

        A row does not say whether it was fused.  It is taken for fused where the experiment has a
        fused form, no peak memory is told, and another row has the same wall time to the last bit:
        both hold for the members of a group, each given an equal share of the group's seconds.
        """
        fusable = plan.experiment.fused is not None
        alike_s = Counter(r.wall_s for r in known.values() if fusable and r.wall_s is not None)
        # Some thousands tell as much as a million; evenly taken, so that every size has its say.
        step = max(1, len(plan) // LEARN_FROM)
        rows = [
            (run, row)
            for run in range(0, len(plan), step)
            if (row := known.get(plan.run_ids[run])) is not None
            and row.status == "ok"
            and (device is None or row.device.partition(":")[0] == device)
        ]
        alike = [(run, row) for run, row in rows if n_threads in (None, row.n_threads)]
        for run, row in alike or rows:
            shared = row.peak_memory_bytes is None and alike_s[row.wall_s or 0.0] > 1
            n_fused = alike_s[row.wall_s or 0.0] if shared else 1
            self.learn(run, row.wall_s, row.peak_memory_bytes, n_fused)

    def ratio(self, b: int) -> tuple[float, float]:
        """Mean and standard deviation, between runs, of measured over prior for a bin."""
        found = self._estimate(b)
        return found.mean, found.sd

    def mean_error(self, b: int) -> float:
        """Standard error of a bin's mean ratio: shared by all runs of the bin."""
        return self._estimate(b).error

    def _estimate(self, b: int) -> _Estimate:
        key = (self.fusing, b)
        if key not in self._estimates:
            own = self._speaking().get(b)
            enough = own is not None and own.n >= ENOUGH
            self._estimates[key] = own.estimate() if own and enough else self._trend(b)
        return self._estimates[key]

    def _speaking(self) -> dict[int, _Ratios]:
        """For each measured bin, the runs that are like those to come."""
        first, second = (self._alone, self._fused)
        return {**first, **second} if self.fusing else {**second, **first}

    def _trend(self, b: int) -> _Estimate:
        """The ratio of a bin with few runs, from the trend over the measured bins.

        log ratio = c + slope * bin by least squares, weighted by the bins' errors, with a normal
        prior N(0, SLOPE_SD^2) on the slope: as long as little is known of it the ratio is the mean
        of all, and a run far from what was measured is known to be known badly.
        """
        ratios = self._speaking()
        if not ratios:
            return _Estimate(1.0, UNMEASURED_SD, UNMEASURED_SD)
        bins = np.array(list(ratios), dtype=float)
        found = [r.estimate() for r in ratios.values()]
        means = np.maximum([f.mean for f in found], 1e-12)
        counts = np.array([min(r.n, KEPT) for r in ratios.values()], dtype=float)
        spread = np.array([f.sd for f in found]) / means
        cv = max(0.05, float(np.average(spread, weights=counts)))
        weights = counts / cv**2
        centre = float(np.average(bins, weights=weights))
        level = float(np.average(np.log(means), weights=weights))
        off = bins - centre
        variance = 1.0 / (float((weights * off**2).sum()) + 1.0 / SLOPE_SD**2)
        slope = variance * float((weights * off * (np.log(means) - level)).sum())
        mean = math.exp(level + slope * (b - centre))
        error = math.sqrt(1.0 / float(weights.sum()) + variance * (b - centre) ** 2)
        return _Estimate(mean, cv * mean, min(error, 2.0) * mean)

    def seconds(self, run: int) -> float:
        """Expected seconds of one run."""
        point = run // self._n_seeds
        return float(self.prior_s[point]) * self.ratio(int(self.bins[point]))[0]

    def seconds_at_most(self, run: int) -> float:
        """Two standard errors of what is known above the expected seconds of one run."""
        b = int(self.bins[run // self._n_seeds])
        return self.seconds(run) + 2 * self.mean_error(b) * float(
            self.prior_s[run // self._n_seeds]
        )

    def seconds_of(self, runs: Iterable[int]) -> np.ndarray:
        """Expected seconds of many runs at once, shape (n_runs,)."""
        points = np.fromiter(runs, dtype=np.int64) // self._n_seeds
        bins, inverse = np.unique(self.bins[points], return_inverse=True)
        means = np.array([self.ratio(int(b))[0] for b in bins])
        return np.asarray(self.prior_s[points] * means[inverse]) if len(points) else np.zeros(0)

    def memory_bytes_of(self, runs: Iterable[int]) -> np.ndarray:
        """Expected peak memory of a worker during each of many runs, shape (n_runs,)."""
        return self.memory.bytes_of(np.fromiter(runs, dtype=np.int64) // self._n_seeds)

    def memory_bytes(self, run: int) -> float:
        """Expected peak memory of a worker during one run."""
        return float(self.memory_bytes_of([run])[0])

    def fused_memory_bytes(self, run: int, n: int) -> float:
        """Expected peak memory of a worker that computes ``n`` runs like ``run`` at once."""
        return float(self.memory.bytes_of(np.array([run // self._n_seeds]), n)[0])

    def to_reserve(self, runs: Sequence[int], groups: Sequence[int] = ()) -> float:
        """What a task should ask for: its most demanding run or group; 0 where nothing is known."""
        points = np.asarray(runs, dtype=np.int64) // self._n_seeds
        most, first = self.memory.to_reserve(points), 0
        for n in groups if self.has_prior else ():
            if n > 1:
                most = max(most, self.fused_memory_bytes(runs[first], n))
            first += n
        return most

    def most_fused(self, run: int, memory_bytes: float) -> float:
        """How many runs like ``run`` fit into so much memory at once; infinite where unknown."""
        one, two = (self.fused_memory_bytes(run, n) for n in (1, 2))
        return 1 + max(0.0, memory_bytes - one) / (two - one) if two > one else float("inf")
