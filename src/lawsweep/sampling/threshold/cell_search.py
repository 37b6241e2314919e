"""Noise-aware bisection of one cell: which candidate to run next, and with which seed.

The model and its posterior are those of ``analysis.laws.threshold``.  Proposals are quantiles of
that posterior, rounded to candidates: while it is wide next to s this is a search by sections, and
where it has become narrow all runs go where a run tells most of m.  It differs from bisection in
that no single answer throws half of the axis away.

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

from collections.abc import Mapping, Sequence

import numpy as np

from lawsweep.analysis.laws.threshold import Lattice, Posterior, State, Threshold
from lawsweep.sampling.threshold.options import ThresholdOptions

Run = tuple[int, int]  # position of the candidate, position of the seed
Answers = Mapping[Run, bool | None]  # None: the run gave no answer (it failed)


class CellSearch:
    """The search of one cell; ``advance`` says what to run next.

    ``values`` are the cell's candidates, ascending and distinct, at least two; each may be run with
    ``n_seeds`` seeds.  A run takes the seed that the cell has used least: runs of one seed share
    their draws at all candidates, and an interval over few draws would not hold for others.
    """

    def __init__(self, values: Sequence[float], n_seeds: int, spec: ThresholdOptions):
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
    def round(self) -> tuple[Run, ...]:
        """The present round, answered or not; none where the search has ended."""
        return tuple(self._round) if self._end is None else ()

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
