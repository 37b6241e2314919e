"""What becomes of a run whose worker was lost, or that ran out of memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from lawsweep.core.outcome import Loss, Lost, Mishap, Status

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
        self._crowded: Counter[int] = Counter()
        self._cards: dict[int, list[str]] = {}  # by run: those that failed it, in order
        self._card_losses: list[str] = []  # what was said, worker by worker

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

    def after_mishap(self, run: int, mishap: Mishap) -> Again | Status:
        """Its GPU failed, or others held the memory that it lacked there; its answer is here.

        A card that fails may do so by the run's doing (an index that is out of range): it counts
        as a crash.  A neighbour's memory is no fault of the run, and no measure of what it needs.
        """
        self._note_card(run, mishap.card)
        if mishap.kind == "card":
            self._card_losses.append(f"{mishap.card}: {mishap.detail}".removeprefix(": "))
            return self.after_loss(run, Loss.CARD)
        self._crowded[run] += 1
        if self._crowded[run] < self._max_attempts:
            return self._once_more(run)
        return self.after_oom(run)

    def group_lost(self, runs: Iterable[int], lost: Lost) -> None:
        """Its GPU failed a fused group: no run's attempt, and each is better tried elsewhere."""
        self._card_losses.append(f"{lost.card}: {lost.detail}".removeprefix(": "))
        for run in runs:
            self._note_card(run, lost.card)

    def _note_card(self, run: int, card: str) -> None:
        if card:
            self._cards.setdefault(run, []).append(card)

    def avoided(self, runs: Iterable[int]) -> tuple[str, ...]:
        """The cards that failed one of these runs."""
        if not self._cards:
            return ()
        return tuple(dict.fromkeys(c for run in runs for c in self._cards.get(run, ())))

    def told(self, run: int, mishap: Mishap) -> str:
        """What the last row of a run says of it."""
        cards = self._cards.get(run) or [c for c in (mishap.card,) if c]
        where = f", on {', '.join(dict.fromkeys(cards))}" if cards else ""
        n = f" in each of {len(cards)} attempts" if len(cards) > 1 else ""
        if mishap.kind == "card":
            return f"its GPU failed{n}{where}"
        return f"its GPU was full{n}{where}: {mishap.detail}"

    def notes(self) -> tuple[str, ...]:
        """What a person should be told."""
        return (*self._of_cards(), *self._of_memory())

    def _of_cards(self) -> tuple[str, ...]:
        found = []
        if n := len(self._card_losses):
            one = "a worker lost its GPU and was"
            many = f"{n:,} workers lost their GPU and were"
            found.append(
                f"{one if n == 1 else many} replaced; what was under way was tried again elsewhere "
                f"(first: {self._card_losses[0]})"
            )
        if n := len(self._crowded):
            runs = "a run" if n == 1 else f"{n:,} runs"
            found.append(
                f"{runs} lacked memory on a GPU that others held, and "
                f"{'was' if n == 1 else 'were'} tried again elsewhere"
            )
        return tuple(found)

    def _of_memory(self) -> tuple[str, ...]:
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
