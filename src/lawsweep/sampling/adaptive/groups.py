"""The fit of one group: whole seeds over some values of x, until a parameter's interval is narrow.

Coarse first: two seeds at few values spread over the range, then ``first`` seeds of them, so that
whenever one stops the law can be drawn and fitted.  After that each round either adds seeds at all
values that are run, or takes in more values with all their seeds, whichever is expected to reach
the target in the fewest predicted seconds (``design``).  What counts is the interval that the fit
itself quotes: that of the seeds' laws, as long as the seeds' noise accounts for the scatter of the
means about the law, and the wider of both elsewhere (or always: ``interval: wider``).  That of the
scatter does not shrink with seeds where the law does not hold: that is seen, said and the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lawsweep.analysis.laws.fitted import Parameter
from lawsweep.analysis.laws.straight import LACK, SEEDS, quoted
from lawsweep.sampling.adaptive.design import Forecast, Noise, coarse_set, noise_of
from lawsweep.sampling.adaptive.fit_reading import Curve
from lawsweep.sampling.adaptive.intervals import GROWTH, Interval
from lawsweep.sampling.adaptive.options import FitOptions
from lawsweep.sampling.adaptive.points import PROBE
from lawsweep.sampling.adaptive.units import NOTHING, Answers, Chunk, Proposal, Unit, show

BOUND_P = 0.01  # of the scatter about the law, if it were noise: below it the law is what scatters
CONFIRM = 3  # whole seeds that are to confirm a narrow interval
DOUBT = 1.1  # times the seeds, where the scatter about the law is in doubt
STUCK = 0.9  # a half width that is not below this share of what it was, half as many seeds ago


@dataclass
class GroupUnit(Unit):
    """``curve`` has the values of x of the group, ascending, with their runs and seconds."""

    options: FitOptions = field(kw_only=True)
    curve: Curve = field(kw_only=True)
    chosen: list[int] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)
    _asked_seeds: int = 0
    _n_whole: int = 0
    _needed: int | None = None
    _halves: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chosen = self._coarse()

    @property
    def n_seeds(self) -> int:
        """Whole seeds that have answers."""
        return self._n_whole

    @property
    def n_values(self) -> int:
        """Values of x that are run."""
        return len(self.chosen)

    def _usable(self) -> list[int]:
        return [i for i in range(len(self.curve)) if i not in self.dropped]

    def _coarse(self) -> list[int]:
        """The values that are run first: those there are, without the dropped."""
        usable, curve = self._usable(), self.curve
        if curve.v is None or len(usable) <= self._least:
            return usable
        fixed = [usable.index(i) for i in self.chosen if i not in self.dropped]
        found = coarse_set(curve.v[usable], curve.seconds[usable], self._least, fixed)
        return [usable[k] for k in found]

    @property
    def _least(self) -> int:
        """Values of x at least: two more than parameters, for scatter and a bend."""
        return max(self.options.keep, self.curve.n_parameters + 2)

    def propose(self, answers: Answers) -> Proposal | None:
        """See ``Unit``."""
        if not self.asked:
            n = min(PROBE, self.cap)
            return self._seeds(n, f"a coarse look at {len(self.chosen)} values of x")
        gone = self._drop(answers)
        if gone is not None:
            return gone
        if len(self.chosen) < self.curve.n_parameters + 1:
            return self.stop("failed", f"{len(self.chosen)} values of x give answers"
                                       f"{self._why_dropped()}")  # fmt: skip
        y = self.curve.table(answers, self.chosen, self._asked_seeds)
        whole = np.all(np.isfinite(y), axis=1)
        self._n_whole = int(whole.sum())
        first = min(self.options.first, self.cap)
        if self._n_whole < first:
            why = f"{first} seeds before an interval is believed"
            return self._seeds(first - self._n_whole, why)
        return self._decide(answers, y[whole])

    def _drop(self, answers: Answers) -> Proposal | None:
        """Leave out values of x that cannot be run; what comes in for them."""
        for i in self.chosen:
            told = [answers[r] for r in self.curve.runs(i, range(self._asked_seeds))]
            n_lost = sum(v is None for v in told)
            if n_lost >= PROBE and 2 * n_lost > len(told):
                self.dropped[i] = f"{n_lost} of {len(told)} runs without a value"
        if not self.dropped.keys() & set(self.chosen):
            return None
        before = [i for i in self.chosen if i not in self.dropped]
        self.chosen = before
        new = [i for i in self._coarse() if i not in before]
        if not new:
            return None
        return self._values(new, f"in place of values that cannot be run{self._why_dropped()}")

    def _why_dropped(self) -> str:
        told = [f"{self.curve.label(i)}: {why}" for i, why in sorted(self.dropped.items())]
        return f" ({'; '.join(told)})" if told else ""

    def _decide(self, answers: Answers, y: np.ndarray) -> Proposal | None:
        """What follows from the fit of all that was asked for."""
        found, why = self.curve.parameter(answers, self.asked)
        if found is None:
            self.interval = NOTHING
            return self._more_seeds(f"there is no interval: {why}", self._n_whole + 1)
        self.interval = Interval(found.estimate, found.low, found.high)
        self.target = self.options.target(found.estimate)
        half, target = self.interval.half, self.target
        told = f"half width {show(half)} of {show(target)}"
        if bool(np.all(np.ptp(y, axis=0) <= 1e-12 * np.max(np.abs(y), initial=0.0))):
            told += "; all seeds are alike, and the scatter is the law's"
            return self.stop("alike" if half > target else "resolved", told)
        if half <= target:
            if self.confirming:
                return self.stop("resolved", told)
            if self._asked_seeds >= self.cap:
                return self.stop("resolved", f"{told}; no seed is left to confirm it")
            more = min(CONFIRM, self.cap - self._asked_seeds)
            seeds = "one more seed is" if more == 1 else f"{more} more seeds are"
            return self._seeds(more, f"{told}: {seeds} to confirm it", "confirm")
        self._halves.append((self._n_whole, half))
        if self.curve.row is None or self.curve.v is None:
            return self._by_scale(found, told)
        noise = noise_of(self.curve.v[self.chosen], y, self.curve.row)
        return self._by_design(found, noise, told)

    def _by_design(self, found: Parameter, noise: Noise, told: str) -> Proposal | None:
        """The cheapest way to the target of a straight law: seeds, or values of x first."""
        curve, n = self.curve, self._n_whole
        assert curve.v is not None
        assert curve.row is not None
        # The interval of a C is one of log C: narrow ones are C times as wide.
        scale = abs(found.estimate) if found.name == "C" else 1.0
        target = self.target / max(scale, 1e-300)
        level = curve.spec.level
        scatters = quoted(curve.spec) != SEEDS or noise.p_lack < BOUND_P
        forecast = Forecast(
            curve.v, curve.seconds, curve.row, noise, level, self.cap, scatters=scatters
        )
        best, fullest = forecast.best(self.chosen, self._usable(), target, n)
        self._needed = best.n_seeds
        if noise.p_lack < BOUND_P and fullest.n_seeds is None and fullest.floor > target:
            floor = min(best.floor, fullest.floor) * scale
            return self.stop("bound", f"{told}; the scatter about the law alone is ± "
                                      f"{show(floor)} (p = {noise.p_lack:.1g} if it were noise): "
                                      "more seeds do not narrow it")  # fmt: skip
        if not scatters and noise.p_lack < LACK:
            # By chance or by the law: what tells is more seeds.
            told += f", by the scatter about the law (p = {noise.p_lack:.1g} if it is noise)"
            return self._more_seeds(told, max(best.n_seeds or self.cap, math.ceil(DOUBT * n)))
        new = [i for i in best.chosen if i not in self.chosen]
        if new:
            return self._values(new, f"{told}; {len(best.chosen)} values of x are expected to take "
                                     f"{show(best.seconds)} s from here, the least")  # fmt: skip
        return self._more_seeds(f"{told} at {n} seeds", best.n_seeds or self.cap)

    def _by_scale(self, found: Parameter, told: str) -> Proposal | None:
        """A law that is not straight: its interval is taken to shrink with √seeds, if it does."""
        n, half, target = self._n_whole, self.interval.half, self.target
        of_seeds = (found.seeds[1] - found.seeds[0]) / 2 if found.seeds else math.inf
        earlier = [h for k, h in self._halves if GROWTH * k <= n + 1]
        if earlier and half > STUCK * earlier[-1] and of_seeds <= target:
            new = [i for i in self._usable() if i not in self.chosen]
            if new:
                return self._values(new, f"{told}; seeds narrow it no more, so all values of x")
            return self.stop("bound", f"{told}; it was {show(earlier[-1])} with a third fewer "
                                      "seeds: the scatter about the law bounds it")  # fmt: skip
        ratio = min(half / target, 1e6) if target > 0 else 1e6
        self._needed = min(self.cap, math.ceil(n * ratio * ratio))
        return self._more_seeds(f"{told} at {n} seeds", self._needed)

    def _more_seeds(self, reason: str, needed: int) -> Proposal | None:
        n = self._n_whole
        goal = min(math.ceil(GROWTH * n), max(n + 1, needed))
        return self._seeds(goal - n, reason)

    def _seeds(self, n: int, reason: str, action: str = "seeds") -> Proposal | None:
        """``n`` more whole seeds, as many as there are; stops where there is none."""
        have = self._asked_seeds
        n = min(n, self.cap - have)
        if n <= 0:
            return self.stop("spent", f"no seed is left of {self.cap}: {reason}")
        chunks = [self._chunk(self.chosen, range(k, k + 1)) for k in range(have, have + n)]
        if not have:
            chunks = [self._chunk(self.chosen, range(n))]
        gain = 1 - math.sqrt(have / (have + n))
        return Proposal(action, reason, chunks, gain)

    def _values(self, new: Sequence[int], reason: str) -> Proposal:
        """More values of x, with all seeds that the others have."""
        at = ", ".join(self.curve.label(i) for i in new)
        chunk = self._chunk(new, range(self._asked_seeds))
        gain = len(new) / (len(new) + max(len(self.chosen), 1))
        return Proposal("values", f"{reason}: {at}", [chunk], gain, tuple(new))

    def _chunk(self, at: Sequence[int], seeds: range) -> Chunk:
        runs = tuple(r for i in at for r in self.curve.runs(i, seeds))
        return Chunk(runs, len(seeds) * float(self.curve.seconds[list(at)].sum()))

    def taken(self, proposal: Proposal, n_chunks: int) -> None:
        """New values of x, or as many more seeds as there are chunks."""
        if proposal.values:
            self.chosen = sorted({*self.chosen, *proposal.values})
        else:
            first = not self._asked_seeds
            self._asked_seeds += min(PROBE, self.cap) if first else n_chunks

    def ahead(self) -> list[int]:
        """Up to ``first`` and the seeds that confirm; then as many as seem needed."""
        if self.state != "open":
            return []
        goal = (self._needed or self.options.first) + CONFIRM
        seeds = range(self._asked_seeds, max(self._asked_seeds, min(self.cap, goal)))
        return [r for k in seeds for i in self.chosen for r in self.curve.runs(i, range(k, k + 1))]

    def most(self) -> list[int]:
        """All seeds at all values of x, while it is open."""
        if self.state != "open":
            return list(self.asked)
        return [r for i in self._usable() for r in self.curve.runs(i, range(self.cap))]
