"""Expected seconds and memory of each run: a prior from the stated cost, corrected by rows."""

from __future__ import annotations

import functools
import math
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from lawsweep.core.cost import PRIOR_FLOPS_PER_S, PRIOR_OVERHEAD_S
from lawsweep.core.protocols import Done
from lawsweep.grid.plan import Plan
from lawsweep.grid.stated_costs import stated_costs
from lawsweep.launch.costs.card_memory import CardMemory
from lawsweep.launch.costs.features import Features
from lawsweep.launch.costs.memory_model import BASE_MEMORY_BYTES as BASE_MEMORY_BYTES
from lawsweep.launch.costs.memory_model import MEMORY_MARGIN as MEMORY_MARGIN
from lawsweep.launch.costs.memory_model import MemoryModel
from lawsweep.launch.costs.trend import Trend, fit_trend
from lawsweep.launch.flights import UnderWay

UNMEASURED_SD = 0.5  # of the logarithm of seconds, while nothing at all was measured
LOOK_AT, LEARN_FROM = 20_000, 800  # runs of the plan whose rows are read, and are fitted
# Of a launch's own runs the first so many are kept, which the backlog takes from all over the plan,
# and the latest.
KEPT_FIRST, KEPT_LATEST = 600, 600
# The fit is made again when so much more is known than at the last one: a fit takes milliseconds.
GROWN, GROWN_LARGE = 1.25, 2.0
LATE_GROWN = 1.3  # or runs under way for longer than expected have been so much longer
LARGE = 20_000  # points from which a fit, which prices all of them, is dear
CHUNK = 4096  # points priced at a time
FASTEST_S = 1e-7  # a clock may say 0


class CostModel:
    """Seconds and memory a point, learnt from finished rows.

    The prior of a point is ``overhead + cost``, by ``seconds`` a point where these are given and by
    its flops over ``flops_per_s`` else.  Measured runs are fitted by the params that vary
    (``features``, ``trend``): where a cost is stated the fit is of measured over stated seconds, so
    neither the prior's rate nor its dependence on size has to be right; where none is, of the
    seconds themselves.  Memory is predicted by the largest ratio, since too little is worse than
    too much.

    A run computed together with others (fused) is cheaper: whether it was is a column of the fit,
    and ``fusing`` says which the runs to come will be.  ``revision`` changes with every new fit.
    """

    def __init__(
        self,
        plan: Plan,
        flops_per_s: float = PRIOR_FLOPS_PER_S,
        seconds: np.ndarray | None = None,
    ):
        self._plan, self._n_seeds = plan, len(plan.seeds)
        flops, self._stated_bytes = stated_costs(plan)
        stated = flops / flops_per_s if seconds is None else seconds
        self.has_prior = bool((stated > 0).any())
        self.prior_s = PRIOR_OVERHEAD_S + stated
        self._sizes = np.floor(np.log2(self.prior_s)).astype(int)
        self.memory = MemoryModel(
            self._stated_bytes, self._sizes, stated=plan.experiment.cost is not None
        )
        self._fusing = False
        self.revision = 0
        self._features: Features | None = None
        # (point, log seconds over prior, fused) of the table's rows, the first and the latest own;
        # and which of the table's were made on another kind of card.
        self._table: list[tuple[int, float, bool]] = []
        self._elsewhere: list[bool] = []
        self._first: list[tuple[int, float, bool]] = []
        self._latest: deque[tuple[int, float, bool]] = deque(maxlen=KEPT_LATEST)
        self._n_table = self._n_own = 0
        self._trend: Trend | None = None
        self._fit_at = 0.0  # how many measured runs make a new fit due
        # Runs under way for longer than was expected: (point, log seconds over prior, fused).
        self._late: list[tuple[int, float, bool]] = []
        self._late_s = 0.0
        self._means = self.prior_s if self.has_prior else np.full(plan.n_points, PRIOR_OVERHEAD_S)

    @functools.cached_property
    def on_cards(self) -> CardMemory:
        """What runs hold on GPUs."""
        return CardMemory(self._plan, self._stated_bytes, self._sizes)

    @property
    def n_measured(self) -> int:
        """How many wall times were learnt from."""
        return self._n_table + self._n_own

    @property
    def fusing(self) -> bool:
        """Whether the runs to come will be fused."""
        return self._fusing

    @fusing.setter
    def fusing(self, fusing: bool) -> None:
        if fusing != self._fusing:
            self._fusing, self._fit_at = fusing, min(self._fit_at, self.n_measured)

    def learn(
        self,
        run: int,
        wall_s: float | None,
        peak_memory_bytes: int | None = None,
        n_fused: int = 1,
    ) -> None:
        """Take in what a finished run took, where it is known; not what it held on a GPU."""
        point = run // self._n_seeds
        if wall_s is not None:
            kept = self._first if len(self._first) < KEPT_FIRST else self._latest
            kept.append(self._told(point, wall_s, n_fused))
            self._n_own += 1
        if peak_memory_bytes is not None:
            self.memory.learn(point, peak_memory_bytes)

    def see_under_way(self, under_way: Sequence[UnderWay]) -> None:
        """Take in runs that are not done.

        Of runs that are handed out together the short ones answer first, so answers alone say
        that all are short.  One that takes longer than expected is known to take as long at least.
        """
        if not self.n_measured:
            return
        late = []
        for one in under_way:
            point, each_s = one.run // self._n_seeds, one.since / one.n
            if not one.n_behind and each_s > self._means[point]:
                late.append((point, each_s, one.n))
        total = sum(since for _, since, _ in late)
        if total > LATE_GROWN * self._late_s:
            self._fit_at = min(self._fit_at, self.n_measured)
        self._late = [self._told(*one) for one in late]

    def _told(self, point: int, wall_s: float, n_fused: int) -> tuple[int, float, bool]:
        over = float(self.prior_s[point]) if self.has_prior else 1.0
        return point, math.log(max(wall_s, FASTEST_S) / over), n_fused > 1

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
        elsewhere: Collection[str] = (),
    ) -> None:
        """Take in the rows that a plan's runs have already, of one kind of host if given.

        ``elsewhere``: run ids of those that were made on another kind of card, with the seconds
        that they would have taken here: they say how seconds grow, and the level only where rows
        of this kind are few.

        Rows of another device tell nothing of this one; rows with another number of threads are
        used only where there are none with this one.

        A row does not say whether it was fused.  It is taken for fused where the experiment has a
        fused form, no peak memory is told, and another row has the same wall time to the last bit:
        both hold for the members of a group, each given an equal share of the group's seconds.
        """
        fusable = plan.experiment.fused is not None
        alike_s = Counter(r.wall_s for r in known.values() if fusable and r.wall_s is not None)
        # Some thousands tell as much as a million; evenly taken, so that every size has its say.
        step = max(1, len(plan) // LOOK_AT)
        rows = [
            (run, row)
            for run in range(0, len(plan), step)
            if (row := known.get(plan.run_ids[run])) is not None
            and row.status == "ok"
            and (device is None or row.device.partition(":")[0] == device)
        ]
        alike = [(run, row) for run, row in rows if n_threads in (None, row.n_threads)] or rows
        for run, row in alike:
            point = run // self._n_seeds
            # What a process held beside its GPU is no measure of what a run holds there.
            if row.device != "cpu" and row.peak_device_bytes is not None:
                self.on_cards.learn(point, row.peak_device_bytes, row.device_name)
            elif row.device == "cpu" and row.peak_memory_bytes is not None:
                self.memory.learn(point, row.peak_memory_bytes)
        timed = [(run, row) for run, row in alike if row.wall_s is not None]
        self._n_table += len(timed)
        for run, row in timed[:: max(1, -(-len(timed) // LEARN_FROM))]:
            wall_s = row.wall_s or 0.0
            shared = row.peak_memory_bytes is None and alike_s[wall_s] > 1
            n_fused = alike_s[wall_s] if shared else 1
            self._table.append(self._told(run // self._n_seeds, wall_s, n_fused))
            self._elsewhere.append(plan.run_ids[run] in elsewhere)

    def _means_now(self) -> np.ndarray:
        """Expected seconds of every point; the fit is made anew where that is due."""
        n = self.n_measured
        if n and n >= self._fit_at:
            grown = GROWN_LARGE if self._plan.n_points > LARGE else GROWN
            self._fit_at = max(n + 1, n * grown)
            self._fit()
        return self._means

    def _fit(self) -> None:
        told = [*self._table, *self._first, *self._latest, *self._late]
        points, logs, fused = (np.array(column) for column in zip(*told, strict=True))
        earlier = np.arange(len(told)) < len(self._table)
        if self._features is None:
            cost = np.log(self.prior_s) if self.has_prior else None
            self._features = Features(self._plan, cost)
        features = self._features
        other = np.zeros(len(told), dtype=bool)
        other[: len(self._elsewhere)] = self._elsewhere
        rows = features.rows(points.astype(np.int64), fused, earlier, other)
        self._trend = fit_trend(rows, logs, features.sd, features.bends, len(self._late))
        over = self.prior_s if self.has_prior else np.ones(self._plan.n_points)
        self._late_s = sum(float(over[point]) * math.exp(log) for point, log, _ in self._late)
        means = np.empty(self._plan.n_points)
        for at in range(0, len(means), CHUNK):
            some = np.arange(at, min(at + CHUNK, len(means)))
            means[some] = self._trend.mean(features.rows(some, self._fusing))
        self._means = means * self.prior_s if self.has_prior else means
        self.revision += 1

    @property
    def spread(self) -> float:
        """Standard deviation of a run's seconds between like runs, over their mean."""
        self._means_now()
        return UNMEASURED_SD if self._trend is None else self._trend.cv

    @property
    def dof(self) -> float:
        """How many measured runs speak for ``spread``."""
        return math.inf if self._trend is None else self._trend.dof

    def error_of(self, counts: np.ndarray) -> float:
        """Standard error of the logarithm of the expected seconds of so many runs of each point.

        It is what they share: the fit's error, and not the scatter of single runs.
        """
        means = self._means_now()
        if self._trend is None or self._features is None:
            return UNMEASURED_SD
        weights = counts * means
        points = np.flatnonzero(weights > 0)
        total = float(weights.sum())
        if not total:
            return 0.0
        mean_row = np.zeros(len(self._features.sd))
        for at in range(0, len(points), CHUNK):
            some = points[at : at + CHUNK]
            mean_row += weights[some] @ self._features.rows(some, self._fusing)
        return self._trend.error(mean_row / total)

    def seconds_of_points(self) -> np.ndarray:
        """Expected seconds of a run of each point, (n_points,)."""
        return self._means_now()

    def seconds(self, run: int) -> float:
        """Expected seconds of one run."""
        return float(self._means_now()[run // self._n_seeds])

    def seconds_at_most(self, run: int) -> float:
        """Two standard errors of what is known above the expected seconds of one run."""
        mean, point = self.seconds(run), np.array([run // self._n_seeds])
        if self._trend is None or self._features is None:
            return mean * (1.0 + 2.0 * UNMEASURED_SD)
        error = self._trend.error(self._features.rows(point, self._fusing)[0])
        return mean * (1.0 + 2.0 * min(error, 2.0))

    def seconds_of(self, runs: Iterable[int]) -> np.ndarray:
        """Expected seconds of many runs at once, shape (n_runs,)."""
        points = np.fromiter(runs, dtype=np.int64) // self._n_seeds
        return np.asarray(self._means_now()[points])

    def stated_bytes(self, points: np.ndarray) -> np.ndarray:
        """What the cost function says that runs of some points hold, beside the worker itself."""
        return np.asarray(self._stated_bytes[points])

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

    def most_fused_on_card(self, run: int, room_bytes: float) -> float:
        """The same of a GPU on which runs may hold so much."""
        return self.on_cards.most_fused(run // self._n_seeds, room_bytes)

    def most_fused(self, run: int, memory_bytes: float) -> float:
        """How many runs like ``run`` fit into so much memory at once; infinite where unknown."""
        one, two = (self.fused_memory_bytes(run, n) for n in (1, 2))
        return 1 + max(0.0, memory_bytes - one) / (two - one) if two > one else float("inf")
