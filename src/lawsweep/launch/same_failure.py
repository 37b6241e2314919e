"""The first runs of a launch that all fail alike: the sweep is at fault, and not a point of it."""

from __future__ import annotations

from collections import Counter

from lawsweep.core.outcome import FAILURES, Outcome, alike


class SameFailure:
    """Watches the first ``k`` outcomes; 0 watches none."""

    def __init__(self, k: int):
        self._k, self._n = k, 0
        self._alike: Counter[str] = Counter()
        self._example = ""

    def after(self, outcome: Outcome) -> str | None:
        """Why to stop, once, when ``k`` runs have ended and all of them failed alike."""
        self._n += 1
        if self._n > self._k:
            return None
        if outcome.status in FAILURES:
            said = outcome.error or outcome.status
            self._alike[alike(said)] += 1
            self._example = self._example or "".join(said.splitlines()[:1])
        if self._n < self._k or max(self._alike.values(), default=0) < self._k:
            return None
        return f"the first {self._k} runs all failed alike: {self._example}"
