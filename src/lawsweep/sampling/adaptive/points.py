"""One point of a plan: seeds are added until the interval of its mean or quantile is narrow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lawsweep.sampling.adaptive.intervals import (
    GROWTH,
    Interval,
    alike,
    looks,
    mean_interval,
    quantile_interval,
    ranks_of,
    skewness,
    student,
)
from lawsweep.sampling.adaptive.options import ValueOptions
from lawsweep.sampling.adaptive.units import Answers, Chunk, Proposal, Unit, show

CONFIRM = 0.1  # of the seeds, where values are skewed: as many more are to confirm an interval
PROBE = 2  # seeds of the first round: a point that cannot be run costs no more


@dataclass
class PointUnit(Unit):
    """Runs ``first_run`` and those behind it are the seeds of the point, in order."""

    options: ValueOptions = field(kw_only=True)
    first_run: int = field(kw_only=True)
    run_s: float = field(kw_only=True)
    _n_answers: int = 0

    @property
    def n_seeds(self) -> int:
        """Seeds that have a value."""
        return self._n_answers

    def taken(self, proposal: Proposal, n_chunks: int) -> None:
        """What was asked is count enough."""

    def propose(self, answers: Answers) -> Proposal | None:
        """See ``Unit``."""
        told = [answers[run] for run in self.asked]
        values = np.array([v for v in told if v is not None], dtype=np.float64)
        self._n_answers, n_lost = len(values), len(told) - len(values)
        if n_lost >= PROBE and n_lost > len(values):
            return self.stop(
                "failed", f"{n_lost} of {len(told)} seeds have no value, so it is asked no more"
            )
        first = min(self.options.first, self.cap)
        if len(told) < PROBE:
            return self._ask(min(PROBE, first), "the first look")
        if len(values) < first:
            return self._ask(first - len(values), f"{first} seeds before an interval is believed")
        self.interval = self._interval_of(values)
        self.target = self.options.target(self.interval.estimate)
        if alike(values):
            return self.stop("alike", f"{len(values)} seeds agree to rounding: there is no "
                                      "scatter to judge by")  # fmt: skip
        return self._decide(values)

    def _decide(self, values: np.ndarray) -> Proposal | None:
        n, half, target = len(values), self.interval.half, self.target
        told = f"half width {show(half)} of {show(target)}"
        if half <= target:
            if self.options.what != "mean" or self.confirming:
                return self.stop("resolved", told)
            if len(self.asked) >= self.cap:
                return self.stop("resolved", f"{told}; no seed is left to confirm it")
            more = max(1, math.ceil(CONFIRM * n * min(1.0, skewness(values))))
            seeds = "one more seed is" if more == 1 else f"{more} more seeds are"
            return self._ask(more, f"{told}: {seeds} to confirm it", "confirm")
        return self._ask(self._next(n) - n, f"{told} at {n} seeds")

    def _interval_of(self, values: np.ndarray) -> Interval:
        options = self.options
        if options.what == "mean":
            return mean_interval(values, options.confidence)
        sizes = looks(options.first, self.cap)
        ranks = ranks_of(options.level_q, options.confidence, sizes)
        at = max((k for k, n in enumerate(sizes) if n <= len(values)), default=None)
        if at is None:
            return quantile_interval(values, options.level_q, None)
        return quantile_interval(values[: sizes[at]], options.level_q, ranks[at])

    def _next(self, n: int) -> int:
        """How many values to look at next: as many as seem needed, at most half as many more."""
        if self.options.what != "mean":
            return next((k for k in looks(self.options.first, self.cap) if k > n), self.cap + 1)
        return min(math.ceil(GROWTH * n), max(n + 1, self._needed(n)))

    def _needed(self, n: int) -> int:
        """Values at which the half width would be the target, if the scatter stays."""
        half, target = self.interval.half, self.target
        if not math.isfinite(half) or not target > 0:
            return self.cap
        if half <= target:
            return n
        ratio = half / target
        if self.options.what == "mean" and n > 1:
            level = self.options.confidence
            limit = student(1e9, level) / student(n - 1, level)
            ratio *= max(limit, 1 / ratio) ** 0.5  # t falls on the way: about half of it is had
        needed = n * ratio * ratio
        return math.ceil(needed) if needed < self.cap else self.cap

    def _ask(self, n: int, reason: str, action: str = "seeds") -> Proposal | None:
        """The next ``n`` seeds, as many as there are; stops where there is none."""
        have = len(self.asked)
        n = min(n, self.cap - have)
        if n <= 0:
            told = f"no seed is left of {self.cap}"
            return self.stop("spent", f"{told} at a {reason}" if have else told)
        runs = range(self.first_run + have, self.first_run + have + n)
        gain = 1 - math.sqrt(max(have, 1) / (have + n)) if have else 1.0
        chunks = [Chunk((run,), self.run_s) for run in runs]
        if have < PROBE:
            chunks = [Chunk(tuple(runs), n * self.run_s)]
        return Proposal(action, reason, chunks, gain)

    def ahead(self) -> list[int]:
        """Up to ``first`` before anything is known, then as many as seem needed."""
        have = len(self.asked)
        if self.state != "open":
            return []
        known = math.isfinite(self.interval.half)
        goal = self._needed(self._n_answers) + 1 if known else self.options.first + 1
        return list(range(self.first_run + have, self.first_run + max(have, min(self.cap, goal))))

    def most(self) -> list[int]:
        """All seeds up to the cap, while it is open."""
        if self.state != "open":
            return list(self.asked)
        return list(range(self.first_run, self.first_run + self.cap))
