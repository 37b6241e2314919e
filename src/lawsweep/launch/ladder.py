"""What becomes of a run whose worker was lost, or that ran out of memory."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from lawsweep.core.outcome import Loss, Status

# A node that goes is no run's fault, so it does not count as one of its attempts; but a run that
# takes every node along must end some day.
NODE_LOSSES = 8
# The runs that are tried again after they ran out plan with so much of what is free.
SHARE_AFTER_OOM = 0.5

Again = Literal["again", "apart"]


class Ladder:
    """Says, loss by loss, what to do with a run that was alone in its batch.

    ``again``: try it elsewhere.  ``apart``: try it with a node to itself and a smaller share of
    the memory to plan with, once.  Else the status of the row that ends it.
    """

    def __init__(self, max_attempts: int):
        self._max_attempts = max_attempts
        self._crashes: Counter[int] = Counter()
        self._node_losses: Counter[int] = Counter()
        self._apart: set[int] = set()

    def after_loss(self, run: int, why: Loss) -> Again | Status:
        """Its worker was lost."""
        if why is Loss.TIMEOUT:
            return "timeout"
        if why is Loss.OUT_OF_MEMORY:
            return self.after_oom(run)
        if why is Loss.NODE:
            self._node_losses[run] += 1
            return self._once_more(run) if self._node_losses[run] <= NODE_LOSSES else "failed"
        self._crashes[run] += 1
        return self._once_more(run) if self._crashes[run] < self._max_attempts else "failed"

    def after_oom(self, run: int) -> Again | Status:
        """It ran out of memory, with or without its worker.

        Once it is tried apart, whatever else befell it before: that its workers crashed says
        nothing of whether it fits.
        """
        if run in self._apart or self._max_attempts < 2:
            return "oom"
        self._apart.add(run)
        return "apart"

    def notes(self) -> tuple[str, ...]:
        """What a person should be told."""
        if not self._apart:
            return ()
        n = len(self._apart)
        runs, each = ("a run", "") if n == 1 else (f"{n:,} runs", "each ")
        return (
            f"{runs} ran out of memory, and {'was' if n == 1 else 'were'} tried again {each}with a "
            f"node to itself and {SHARE_AFTER_OOM:g} of the free memory to plan with",
        )

    def _once_more(self, run: int) -> Again:
        return "apart" if run in self._apart else "again"
