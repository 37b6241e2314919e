"""Where an event stops happening along one axis: noise-aware bisection of one cell.

The model of a cell.  Along the axis, in the coordinate u (log of the value where all candidates are
positive, else the value), the event happens with probability

    P(event | u) = c + (1 - 2c) / (1 + exp((u - m) / s)),

so that it is one half at u = m: the threshold N* is the value at m.  s is the width of the
transition (P falls from 3/4 to 1/4 over 2 s log 3 = 2.2 s) and c the chance of an answer that says
nothing of u (a draw that fails at any size).  m, s and c have a prior on a lattice: flat in m over
the candidates and half their span beyond either end, so that "below the grid" and "above the grid"
are answers too; flat in log s; flat over a few c.  The posterior of m is what is reported.

Proposals are quantiles of that posterior, rounded to candidates: while it is wide next to s this
is a search by sections, and where it has become narrow all runs go where a run tells most of m.
It differs from bisection in that no single answer throws half of the axis away.

An interval at 90 % holds the threshold in 90 % of cells drawn from that prior, whatever rule ends a
search.  Of cells that are all alike, more or fewer: of 300 each, at a tolerance of 10 %, 99 % where
s = 0.01, 96 % at 0.03, 87 % at 0.08, 84 % at 0.15 (a search ends when its interval is narrow, and
in a wide transition some are narrow by luck).

What is run next depends on the answers alone, round by round, not on when or where they came: a
search that is run again walks the same way through the answers that are there and goes on where
they end.  Neither the tolerance nor the largest number of runs changes the way, only how far it
goes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lawsweep.grid.search_spec import SearchSpec

State = Literal["resolved", "open", "unresolved", "below_grid", "above_grid"]
STATES: tuple[State, ...] = ("resolved", "open", "unresolved", "below_grid", "above_grid")

Run = tuple[int, int]  # position of the candidate, position of the seed
Answers = Mapping[Run, bool | None]  # None: the run gave no answer (it failed)

N_WIDTHS = 12
CHANCES = np.array([0.005, 0.05, 0.15])
# Nodes of m between two neighbouring candidates, and bounds on the whole number.
PER_GAP, FEWEST, MOST = 4, 512, 2048


@dataclass(frozen=True)
class Threshold:
    """What is known of one cell.

    ``n_star`` is the posterior median of the threshold and ``low``, ``high`` the ends of its
    interval, in units of the axis.  Where the threshold lies beyond the grid ``n_star`` is None,
    and the end of the grid is the one bound there is; where the interval of a cell that is not
    resolved reaches beyond the grid, that end is None: the prior would be all that bounds it.  So
    is its median there.
    ``width`` is the posterior median of s: relative
    where the axis is logarithmic, in its units otherwise.  ``reason`` says why a search that is
    not ``resolved`` ended; ``n_runs`` counts runs that ended, ``n_unanswered`` those of them that
    gave no answer.
    """

    state: State
    n_star: float | None
    low: float | None
    high: float | None
    width: float | None
    n_runs: int
    n_unanswered: int
    n_visited: int
    reason: str = ""


class Lattice:
    """The prior of one set of candidates, and the likelihood of an answer at each of them."""

    def __init__(self, values: Sequence[float]):
        self.values = np.asarray(values, dtype=np.float64)
        self.log = bool(self.values[0] > 0)
        self.u = np.log(self.values) if self.log else self.values
        span, gap = float(self.u[-1] - self.u[0]), float(np.median(np.diff(self.u)))
        n = int(np.clip(math.ceil(2 * span / gap * PER_GAP), FEWEST, MOST))
        self.step = 2 * span / n
        self.m = self.u[0] - span / 2 + self.step * (np.arange(n) + 0.5)
        # From a step as seen from these candidates to one that they barely reach across.
        self.s = np.geomspace(max(gap / 4, span / 400), span / 2, N_WIDTHS)

    def value(self, u: float) -> float:
        """The value of the axis at coordinate ``u``."""
        return math.exp(u) if self.log else u

    def scale(self, value: float) -> float:
        """What a tolerance is a share of: the value, or the span of an axis that reaches 0."""
        return abs(value) if self.log else float(self.values[-1] - self.values[0])

    def log_likelihood(self, candidate: int, n_true: int, n_false: int) -> np.ndarray:
        """Of so many answers at one candidate, shape (n_m, n_s, n_c)."""
        happens, not_ = _log_probabilities(tuple(self.values.tolist()), candidate)
        return np.asarray(n_true * happens + n_false * not_)


@functools.lru_cache(maxsize=64)  # of at most 1.2 MB each
def _log_probabilities(values: tuple[float, ...], candidate: int) -> tuple[np.ndarray, np.ndarray]:
    """log P and log (1 - P) at one candidate over the lattice; P is at least the least chance."""
    lattice = Lattice(values)
    z = (lattice.u[candidate] - lattice.m[:, None]) / lattice.s
    with np.errstate(over="ignore"):
        below = (1.0 / (1.0 + np.exp(z)))[:, :, None]
    share = 1 - 2 * CHANCES
    return np.log(CHANCES + share * below), np.log(CHANCES + share * (1.0 - below))


class Posterior:
    """What the answers so far say of the threshold of one cell."""

    def __init__(self, lattice: Lattice):
        self.lattice = lattice
        self._counts: dict[int, tuple[int, int]] = {}
        # A node stands for an interval as wide as a step, so the CDF is piecewise linear.
        self._edges = lattice.m[0] + lattice.step * (np.arange(len(lattice.m) + 1) - 0.5)
        self._cdf = np.linspace(0.0, 1.0, len(lattice.m) + 1)
        self._widths = np.full(len(lattice.s), 1 / len(lattice.s))
        self.log_evidence = 0.0  # log of the answers' probability, over the prior

    def add(self, answers: Mapping[int, tuple[int, int]]) -> None:
        """Take in answers: of each candidate how many times the event happened, and did not."""
        for candidate, (n_true, n_false) in answers.items():
            before = self._counts.get(candidate, (0, 0))
            self._counts[candidate] = (before[0] + n_true, before[1] + n_false)
        # Summed afresh (a few milliseconds) and not kept: there may be thousands of cells.
        log = np.zeros((len(self.lattice.m), len(self.lattice.s), len(CHANCES)))
        for candidate in sorted(self._counts):
            log += self.lattice.log_likelihood(candidate, *self._counts[candidate])
        weights = np.exp(log - log.max())
        self.log_evidence = float(log.max() + np.log(weights.mean()))
        weights /= weights.sum()
        self._cdf = np.concatenate([[0.0], np.cumsum(weights.sum((1, 2)))])
        self._widths = weights.sum((0, 2))

    def quantiles(self, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Quantiles of m, as coordinates."""
        found: np.ndarray = np.interp(levels, self._cdf, self._edges)
        return found

    def mass_below(self, u: float) -> float:
        """Probability that m is at most ``u``."""
        return float(np.interp(u, self._edges, self._cdf))

    def width(self) -> float:
        """Median of s: the node at which half of its mass is reached."""
        at = int(np.searchsorted(np.cumsum(self._widths), 0.5))
        return float(self.lattice.s[min(at, len(self.lattice.s) - 1)])


class CellSearch:
    """The search of one cell; ``advance`` says what to run next.

    ``values`` are the cell's candidates, ascending and distinct, at least two; each may be run with
    ``n_seeds`` seeds.  A run takes the seed that the cell has used least: runs of one seed share
    their draws at all candidates, and an interval over few draws would not hold for others.
    """

    def __init__(self, values: Sequence[float], n_seeds: int, spec: SearchSpec):
        self.spec, self.n_seeds = spec, n_seeds
        self.lattice = Lattice(values)
        self.posterior = Posterior(self.lattice)
        self.asked: list[Run] = []
        self._taken: set[Run] = set()
        self._uses = [0] * n_seeds
        self._round: list[Run] = []
        self._n_told = self._n_unanswered = 0
        self._end: tuple[State, str] | None = None
        self._next_round()

    def advance(self, answers: Answers) -> list[Run]:
        """Go as far as the answers reach; the runs of the present round that lack one."""
        while self._end is None:
            pending = [run for run in self._round if run not in answers]
            if pending:
                return pending
            self._take(answers)
            self._end = self._verdict()
            if self._end is None:
                self._next_round()
        return []

    def _take(self, answers: Answers) -> None:
        """Take in the round, whole."""
        counts = {}
        for candidate in sorted({run[0] for run in self._round}):
            told = [answers[run] for run in self._round if run[0] == candidate]
            n_true, n_false = told.count(True), told.count(False)
            self._n_unanswered += told.count(None)
            if self.spec.rising:
                n_true, n_false = n_false, n_true
            if n_true or n_false:
                counts[candidate] = (n_true, n_false)
        if counts:
            self.posterior.add(counts)
        self._n_told += len(self._round)

    def _verdict(self) -> tuple[State, str] | None:
        """Whether the answers so far settle the cell, or nothing more can."""
        spec, u = self.spec, self.lattice.u
        if self.posterior.mass_below(u[0]) >= spec.confidence:
            return "below_grid", ""
        if self.posterior.mass_below(u[-1]) <= 1 - spec.confidence:
            return "above_grid", ""
        n_star, low, high = self._estimate()
        if (high - low) / 2 <= spec.tolerance * self.lattice.scale(n_star):
            return "resolved", ""
        values = self.lattice.values
        if np.searchsorted(values, low, "right") == np.searchsorted(values, high, "left"):
            return "unresolved", "no candidate lies within the interval: the axis is too coarse"
        if len(self.asked) >= spec.max_runs:
            return "unresolved", f"max_runs = {spec.max_runs} are spent"
        if len(self._taken) >= len(values) * self.n_seeds:
            return "unresolved", "every seed of every candidate is used"
        return None

    def _next_round(self) -> None:
        """Propose runs at quantiles of the posterior, each with a seed of its own."""
        k = self.spec.batch
        targets = self.posterior.quantiles((np.arange(k) + 0.5) / k)
        self._round = []
        # From the middle outwards, so that a round cut short by max_runs keeps the best.
        for target in sorted(targets, key=lambda t: abs(t - targets[k // 2])):
            room = self.spec.max_runs - len(self.asked)
            run = self._choose(float(target)) if room > 0 else None
            if run is None:
                break
            self._taken.add(run)
            self._uses[run[1]] += 1
            self.asked.append(run)
            self._round.append(run)

    def _choose(self, target: float) -> Run | None:
        """The nearest candidate that has a seed left, with the seed that is used least."""
        for candidate in np.argsort(abs(self.lattice.u - target), kind="stable").tolist():
            left = [k for k in range(self.n_seeds) if (candidate, k) not in self._taken]
            if left:
                return candidate, min(left, key=lambda k: (self._uses[k], k))
        return None

    def _estimate(self) -> tuple[float, float, float]:
        tail = (1 - self.spec.confidence) / 2
        low, middle, high = self.posterior.quantiles([tail, 0.5, 1 - tail])
        return tuple(self.lattice.value(float(u)) for u in (middle, low, high))  # type: ignore[return-value]

    @property
    def state(self) -> State:
        """Where the search stands."""
        return "open" if self._end is None else self._end[0]

    def result(self) -> Threshold:
        """What the whole rounds so far say."""
        values = self.lattice.values
        n_star, low, high = self._estimate()
        found: tuple[float | None, float | None, float | None] = (n_star, low, high)
        if self.state != "resolved":
            within = [v if values[0] <= v <= values[-1] else None for v in found]
            found = (within[0], within[1], within[2])
        if self.state == "below_grid":
            found = (None, None, float(values[0]))
        if self.state == "above_grid":
            found = (None, float(values[-1]), None)
        if self._n_told == self._n_unanswered:
            found = (None, None, None)
        told = self.asked[: self._n_told]
        return Threshold(
            self.state,
            *found,
            width=self.posterior.width() if found[0] is not None else None,
            n_runs=self._n_told,
            n_unanswered=self._n_unanswered,
            n_visited=len({candidate for candidate, _ in told}),
            reason="" if self._end is None else self._end[1],
        )

    @property
    def most(self) -> int:
        """Runs that are asked for at most: every seed of every candidate, or ``max_runs``."""
        return min(self.spec.max_runs, len(self.lattice.values) * self.n_seeds)

    def outlook(self) -> list[Run]:
        """Runs that the search may still need, the pending round included: a guess, for estimates.

        The interval's width falls like one over the root of the number of runs.
        """
        if self._end is not None:
            return []
        n_star, low, high = self._estimate()
        n = max(self._n_told, self.spec.batch)
        ratio = min(1e6, (high - low) / 2 / (self.spec.tolerance * self.lattice.scale(n_star)))
        # The first two rounds cut the grid into sections: no root of n yet.
        total = n * ratio**2 if self._n_told > 2 * self.spec.batch else self.spec.typical_runs
        more = int(np.clip(total, n + self.spec.batch, self.most)) - self._n_told
        more = max(more, len(self._round))
        targets = self.posterior.quantiles((np.arange(more) + 0.5) / more)
        nearest = [int(np.argmin(abs(self.lattice.u - t))) for t in targets]
        return [(candidate, k % self.n_seeds) for k, candidate in enumerate(nearest)]
