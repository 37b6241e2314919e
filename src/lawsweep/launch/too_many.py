"""When failures stop a launch: the first runs all fail alike, or as many fail as may.

Of the first the sweep is at fault, and not a point of it.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from lawsweep.core.outcome import FAILURES, Outcome, alike


class Stop(NamedTuple):
    """Why to stop, as a word and a sentence."""

    why: Literal["same_failure", "failures"]
    message: str


class TooManyFailures:
    """Watches the first ``alike`` outcomes, counts up to ``at_all`` failures; 0 does neither."""

    def __init__(self, alike: int, at_all: int = 0):
        self._k, self._at_all, self._n, self._n_failed = alike, at_all, 0, 0
        self._alike: Counter[str] = Counter()
        self._example = ""

    def after(self, outcome: Outcome) -> Stop | None:
        """Why to stop, once, when it is time to."""
        self._n += 1
        said = outcome.error or outcome.status
        if outcome.status in FAILURES:
            self._n_failed += 1
            if self._n_failed == self._at_all:
                first = "".join(said.splitlines()[:1])
                how_many = "a run" if self._at_all == 1 else f"{self._at_all:,} runs"
                return Stop("failures", f"{how_many} failed: {first}")
        if self._n > self._k:
            return None
        if outcome.status in FAILURES:
            self._alike[alike(said)] += 1
            self._example = self._example or "".join(said.splitlines()[:1])
        if self._n < self._k or max(self._alike.values(), default=0) < self._k:
            return None
        return Stop("same_failure", f"the first {self._k} runs all failed alike: {self._example}")
