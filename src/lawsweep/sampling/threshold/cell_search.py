"""Noise-aware search of one cell: which candidate to run next, and with which seed.

The model and its posterior are those of ``analysis.laws.threshold``; what is run next is what tells
most of the threshold (``design``).  A cell that has others beside it makes ``PILOT_RUNS`` runs, and
then takes what all of them say of widths and lapses for its prior (``pooling``); where it has twice
as many, four times, and so on, and where its runs are spent, it waits for the others again, and
what all say by then is the prior by which it ends.

A search ends when a cautious interval is narrow: one that holds also where the transition is wider
than it seems (``Posterior.cautious_interval``).  What that covers is measured by
``benchmarks/threshold.py``.  It ends too where something else than one falling edge explains the
answers (``alternatives``).  Sizes at which runs fail are left alone (``limits``).

What is run next depends on the answers alone, round by round, not on when or where they came: a
search that is run again walks the same way through the answers that are there and goes on where
they end.  Neither the tolerance nor the largest number of runs changes the way, only how far it
goes: of a batch that was chosen as one the last runs are held back where the first are expected to
be enough, and are asked for next where they were not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from lawsweep.analysis.laws.threshold.model import Lattice, Posterior, State, Threshold
from lawsweep.sampling.threshold.alternatives import DOUBT, EARLY, LATE, NONE, find_rival
from lawsweep.sampling.threshold.design import Choice, choose, choose_early, spread
from lawsweep.sampling.threshold.limits import find_limit
from lawsweep.sampling.threshold.options import ThresholdOptions

Run = tuple[int, int]  # position of the candidate, position of the seed
TOO_LARGE: Literal["too_large"] = "too_large"  # the run failed for its size: memory or time
Answer = bool | None | Literal["too_large"]  # None: it gave no answer (it failed otherwise)
Answers = Mapping[Run, Answer]
NO_EDGE: tuple[State, ...] = ("rises", "several_edges", "flat")
PILOT_RUNS = 12  # of a cell, before it looks at the others; again at twice as many, and so on


class CellSearch:
    """The search of one cell; ``advance`` says what to run next.

    ``values`` are the cell's candidates, ascending and distinct, at least two; each may be run with
    ``n_seeds`` seeds.  A run takes the seed that the cell has used least: runs of one seed share
    their draws at all candidates, and an interval over few draws would not hold for others.
    With ``pilot`` it waits for ``assume`` after its first ``PILOT_RUNS`` runs, and each time that
    these have doubled.
    """

    def __init__(
        self, values: Sequence[float], n_seeds: int, spec: ThresholdOptions, *, pilot: bool = False
    ):
        self.spec, self.n_seeds = spec, n_seeds
        self.lattice = Lattice(values)
        self.posterior = Posterior(self.lattice)
        self.asked: list[Run] = []
        self.waiting = False  # for what the other cells say
        self._pilot = pilot
        self._stage = PILOT_RUNS if pilot else None
        self._n_pooled = 0  # runs that it had when the others were looked at last
        self._taken: set[Run] = set()
        self._uses = [0] * n_seeds
        self._free = np.full(len(values), n_seeds)
        self._sizes: dict[int, tuple[int, int]] = {}  # of a candidate: runs that went well, failed
        self._limit: int | None = None
        self._sure = False
        self._rival = NONE
        self._round: list[Run] = []
        self._held_back: list[int] = []  # of the present batch
        self._shrunk: list[float] = []  # what is expected of each of these, one more in front
        self._n_told = self._n_unanswered = 0
        self._end: tuple[State, str] | None = None
        self._next_batch()

    def advance(self, answers: Answers) -> list[Run]:
        """Go as far as the answers reach; the runs of the present round that lack one."""
        while self._end is None and not self.waiting:
            pending = [run for run in self._round if run not in answers]
            if pending:
                return pending
            self._take(answers)
            self._go_on()
        return []

    def assume(self, prior: np.ndarray, alike: np.ndarray | None = None) -> None:
        """What the other cells say of s and c, (n_s, n_c): goes on with it where it waited.

        The first says what to run, too; the later ones when to end.  (How many answers the others
        have by then is the tolerance's doing, and it is not to change the way.)
        """
        if self.waiting:
            assert self._stage is not None
            self.posterior.assume(prior, alike, report=not self._pilot)
            self.waiting = self._pilot = False
            self._n_pooled = len(self.asked)
            while self._stage <= len(self.asked):
                self._stage *= 2
            self._go_on()

    def _go_on(self) -> None:
        self._round = []
        self._end = self._verdict()
        if self._end is not None:
            self.posterior.forget()
        elif self._held_back:
            self._ask()
        else:
            self.waiting = self._is_due()
            if not self.waiting:
                self._next_batch()

    def _is_due(self) -> bool:
        """Whether what the others say comes before all else: at each stage, and at the end."""
        if self._stage is None or self._n_pooled == len(self.asked):
            return False
        return len(self.asked) >= self._stage or self._is_spent()

    def _is_spent(self) -> bool:
        return len(self.asked) >= self.spec.max_runs or not self._open().any()

    def _take(self, answers: Answers) -> None:
        """Take in the round, whole."""
        counts = {}
        for candidate in sorted({run[0] for run in self._round}):
            told = [answers[run] for run in self._round if run[0] == candidate]
            n_true, n_false = told.count(True), told.count(False)
            n_failed = told.count(TOO_LARGE)
            self._n_unanswered += told.count(None) + n_failed
            well, failed = self._sizes.get(candidate, (0, 0))
            self._sizes[candidate] = (well + n_true + n_false, failed + n_failed)
            if self.spec.rising:
                n_true, n_false = n_false, n_true
            if n_true or n_false:
                counts[candidate] = (n_true, n_false)
        if counts:
            self.posterior.add(counts)
        self._n_told += len(self._round)
        self._limit, self._sure = find_limit(self._sizes)
        self._rival = find_rival(self.lattice, self.posterior.counts)

    def _verdict(self) -> tuple[State, str] | None:
        """Whether the answers so far settle the cell, or nothing more can."""
        spec = self.spec
        if self._sure and self._limit == 0:
            return "unresolved", "fails_everywhere"
        spent = self._is_spent()
        if self._pilot and len(self.asked) < PILOT_RUNS and not spent:
            return None
        other = self._rival.at(LATE if spent else EARLY)
        if other is not None:
            turned = "falling" if spec.rising else "rising"
            return other, turned if other == "rises" else other
        if self._is_due() and (self._pilot or spent):
            return None
        settled = None if self._doubtful and not spent else self._settled(spent)
        if settled is not None:
            return settled
        if len(self.asked) >= spec.max_runs:
            return "unresolved", "max_runs"
        if spent:
            return "unresolved", "fails_above" if self._sure else "seeds_used"
        return None

    def _settled(self, spent: bool) -> tuple[State, str] | None:
        """Whether the posterior is narrow enough, or all beyond what can be run."""
        spec, u = self.spec, self.lattice.u
        if self.posterior.mass_below(u[0]) >= spec.confidence:
            return "below_grid", ""
        if self.posterior.mass_below(u[self._last]) <= 1 - spec.confidence:
            if not self._sure:
                return "above_grid", ""
            if spent or self._limit_is_narrow():
                return "at_least", "fails_above"
        n_star, low, high = self._estimate()
        if (high - low) / 2 <= spec.tolerance * self.lattice.scale(n_star):
            return "resolved", ""
        values = self.lattice.values
        if np.searchsorted(values, low, "right") == np.searchsorted(values, high, "left"):
            return "unresolved", "axis_too_coarse"
        return None

    def _limit_is_narrow(self) -> bool:
        """Whether no run between the largest that went well and the limit would tell much more."""
        assert self._limit is not None
        low, high = (float(self.lattice.values[k]) for k in (self._last, self._limit))
        within = self.spec.tolerance * self.lattice.scale(low)
        return not self._open()[self._last + 1 :].any() or (high - low) / 2 <= within

    @property
    def _last(self) -> int:
        """The largest candidate; where larger ones fail, the largest whose run went well."""
        if not self._sure:
            return len(self.lattice.values) - 1
        return max((k for k, (well, _) in self._sizes.items() if well), default=0)

    def _open(self) -> np.ndarray:
        """How many runs each candidate has left, (n_candidates,): none from a limit on."""
        left = self._free.copy()
        if self._limit is not None:
            # One that is not sure yet is run once more; what lies above it is not.
            left[self._limit + (not self._sure) :] = 0
        return left

    @property
    def _doubtful(self) -> bool:
        """Whether the answers may well be no one falling edge's."""
        return self._rival.at(DOUBT) is not None

    def _next_batch(self) -> None:
        """Choose the most telling runs, all that are to be made before the next look."""
        k = min(self.spec.batch, self.spec.max_runs - len(self.asked))
        left = self._open()
        chosen: list[int] = []
        if self._limit is not None and not self._sure and left[self._limit]:
            chosen = [self._limit]
            left[self._limit :] = 0
        told = self._most_telling(left, k - len(chosen))
        self._held_back = chosen + told.candidates
        self._shrunk = [1.0, *(told.shrunk if not chosen else [])]
        self._ask()

    def _ask(self) -> None:
        """Ask for the batch, or for as much of it as is expected to be enough."""
        n = len(self._held_back)
        if not self._pilot and len(self._shrunk) == n + 1:
            n_star, low, high = self._estimate()
            enough = self._shrunk[0] * self.spec.tolerance * self.lattice.scale(n_star)
            enough /= max((high - low) / 2, 1e-300)
            n = next((j for j in range(1, n) if self._shrunk[j] <= enough), n)
        self._round = []
        for candidate in self._held_back[:n]:
            run = candidate, self._seed_for(candidate)
            self._taken.add(run)
            self._uses[run[1]] += 1
            self._free[candidate] -= 1
            self.asked.append(run)
            self._round.append(run)
        self._held_back, self._shrunk = self._held_back[n:], self._shrunk[n:]

    def _seed_for(self, candidate: int) -> int:
        """The seed that the cell has used least, and not at this candidate."""
        if len(self.asked) < self.n_seeds:
            return len(self.asked)
        seeds = [j for j in range(self.n_seeds) if (candidate, j) not in self._taken]
        return min(seeds, key=lambda j: (self._uses[j], j))

    def _most_telling(self, left: np.ndarray, k: int) -> Choice:
        """``k`` candidates; ``left`` says how many runs each has left."""
        if self._doubtful:  # what one edge expects to be telling is not what tells it from others
            return spread(left, k, len(self.asked))
        if self._pilot and self._limit is None:
            return choose_early(self.posterior, left, k)
        weights = self.posterior.weights()
        told = choose(self.lattice, weights, left, k)
        if self._sure and max(told.candidates, default=0) > self._last:
            # Between what went well and what fails: by halves, one run at a time, since each may
            # fail for its size; and one below, where the answers are cheap.
            above = np.flatnonzero(left)
            above = above[above > self._last]
            left[self._last + 1 :] = 0
            beside = choose(self.lattice, weights, left, min(1, k - 1))
            return Choice([int(above[len(above) // 2]), *beside.candidates], [])
        return told

    def _estimate(self) -> tuple[float, float, float]:
        middle = float(self.posterior.quantiles([0.5])[0])
        low, high = self.posterior.cautious_interval(self.spec.confidence)
        return tuple(self.lattice.value(u) for u in (middle, low, high))  # type: ignore[return-value]

    @property
    def round(self) -> tuple[Run, ...]:
        """The present round, answered or not; none where the search has ended, or waits."""
        return tuple(self._round) if self._end is None else ()

    @property
    def state(self) -> State:
        """Where the search stands."""
        return "open" if self._end is None else self._end[0]

    def result(self) -> Threshold:
        """What the whole rounds so far say."""
        told = self.asked[: self._n_told]
        found = self._found()
        return Threshold(
            self.state,
            *found,
            width=self.posterior.width() if found[0] is not None else None,
            n_runs=self._n_told,
            n_unanswered=self._n_unanswered,
            n_visited=len({candidate for candidate, _ in told}),
            reason="" if self._end is None else self._end[1],
        )

    def _found(self) -> tuple[float | None, float | None, float | None]:
        """The threshold and its interval, as far as the answers bound them."""
        values = self.lattice.values
        if self._n_told == self._n_unanswered or self.state in NO_EDGE:
            return None, None, None
        if self.state == "below_grid":
            return None, None, float(values[0])
        if self.state in ("above_grid", "at_least"):
            return None, float(values[self._last]), None
        found = self._estimate()
        if self.state == "resolved":
            return found
        within = [v if values[0] <= v <= values[self._last] else None for v in found]
        return within[0], within[1], within[2]

    @property
    def most(self) -> int:
        """Runs that are asked for at most: every seed of every candidate, or ``max_runs``."""
        return min(self.spec.max_runs, len(self.lattice.values) * self.n_seeds)

    @property
    def n_outlook(self) -> int:
        """How many runs the search may still need, the pending round included: a guess.

        The interval's width falls like one over the root of the number of runs.
        """
        if self._end is not None:
            return 0
        n_star, low, high = self._estimate()
        n = max(self._n_told, self.spec.batch)
        ratio = min(1e6, (high - low) / 2 / (self.spec.tolerance * self.lattice.scale(n_star)))
        # The first runs cut the grid into sections: no root of n yet.
        early = self._n_told < max(PILOT_RUNS, 2 * self.spec.batch)
        total = self.spec.typical_runs if early else n * ratio**2
        more = int(np.clip(total, n + self.spec.batch, self.most)) - self._n_told
        return max(more, len(self._round))

    def outlook(self) -> list[Run]:
        """Runs that the search may still need, the pending round included: for estimates."""
        more = self.n_outlook
        targets = self.posterior.quantiles((np.arange(more) + 0.5) / max(more, 1))
        nearest = [int(np.argmin(abs(self.lattice.u - t))) for t in targets]
        return [(candidate, k % self.n_seeds) for k, candidate in enumerate(nearest)]
