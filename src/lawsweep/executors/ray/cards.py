"""GPUs that failed workers: kept from the runs that they failed, and set aside where it goes on.

Ray gives a task any GPU of a node, so none can be asked for and none left out.  But what is held
is given to nobody: a worker whose GPU failed is left alone for a while, idle, before it is ended,
and until then its part of the GPU is not lent again.  So the run that it failed goes to another,
and a GPU on which everything fails at once does not draw in one run after the other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from lawsweep.core.outcome import Task

HOLD_S = 20.0  # at first; twice as long each time, until a run goes well there
LOST_IN_A_ROW = 3  # workers, none of which brought a good run, while other GPUs did


class Began(NamedTuple):
    """A worker has taken a task; ``card`` is its GPU, empty where it has none.

    ``turned_away``: it has not, since the card failed a run of the task before.  ``stale``: it has
    not, since its process uses another GPU than the one that Ray gave it now.
    """

    card: str
    turned_away: bool = False
    stale: bool = False


@dataclass
class _Held:
    card: str
    since: float
    seconds: float
    lost: bool  # else it was only turned away from a card that had failed its run


class Cards:
    """Which GPUs failed, and the workers that hold them; ``due`` says whom to end.

    ``per_card``: how many tasks share a GPU.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._held: dict[Any, _Held] = {}
        self._lost: Counter[str] = Counter()  # by card, since a run went well there
        self._first: dict[str, int] = {}  # when the first of these was, counted in news
        self._well: dict[str, int] = {}  # by card: when a run went well last
        self._news = 0
        self._turned: Counter[int] = Counter()  # tasks, by id
        self._aside: dict[str, None] = {}

    @property
    def n_held(self) -> int:
        """Slots that are not lent."""
        return len(self._held)

    def avoided(self, task: Task, n_slots: int, per_card: int) -> tuple[str, ...]:
        """Where a worker is to turn this task away, since it may have better."""
        others = n_slots - self.n_held > per_card
        return task.avoid if others and self._turned[task.id] < per_card else ()

    def begun(self, task: Task, card: str) -> None:
        """A task has begun on this card: those that it was to avoid are free again."""
        for held in self._held.values():
            if held.card in task.avoid and held.card != card:
                held.seconds = 0.0

    def went_well(self, card: str) -> None:
        """A run ended well there."""
        if card:
            self._news += 1
            self._well[card] = self._news
            self._lost.pop(card, None)

    def lost(self, worker: Any, card: str) -> None:
        """Its card failed this worker, which lives on and holds it."""
        self._news += 1
        if self._lost[card] == 0:
            self._first[card] = self._news
        self._lost[card] += 1
        seconds = HOLD_S * 2.0 ** (self._lost[card] - 1)
        self._held[worker] = _Held(card, self._clock(), seconds, lost=True)

    def turned_away(self, worker: Any, task: Task, card: str) -> None:
        """A worker that did not take this task waits until it has begun elsewhere."""
        self._turned[task.id] += 1
        self._held[worker] = _Held(card, self._clock(), HOLD_S, lost=False)

    def due(self, n_slots: int) -> list[Any]:
        """The workers to end now; the last slot is always lent, whatever it did."""
        now = self._clock()
        ended = [
            worker
            for worker, held in self._held.items()
            if now - held.since >= held.seconds and not (held.lost and self._is_bad(held.card))
        ]
        kept = [worker for worker in self._held if worker not in ended]
        while kept and n_slots - len(kept) < 1:
            ended.append(kept.pop(0))
        for worker in ended:
            del self._held[worker]
        self._aside |= {held.card: None for held in self._held.values() if self._is_bad(held.card)}
        return ended

    def _is_bad(self, card: str) -> bool:
        """Whether it is the card, and not what runs on it: others have done well meanwhile."""
        if self._lost[card] < LOST_IN_A_ROW:
            return False
        since = self._first[card]
        return any(at > since for other, at in self._well.items() if other != card)

    @property
    def workers(self) -> list[Any]:
        """All that are held."""
        return list(self._held)

    def notes(self) -> tuple[str, ...]:
        """What a person should be told."""
        return tuple(
            f"{card} failed {LOST_IN_A_ROW} workers in a row while others did well, and was set "
            "aside until the end of the launch; have it looked at"
            for card in self._aside
        )
