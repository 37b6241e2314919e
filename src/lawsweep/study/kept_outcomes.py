"""The outcomes of a launch, for who iterates over it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence

from lawsweep.core.outcome import Outcome

KEPT = 100_000  # outcomes that a launch keeps for who iterates over it later


class Kept:
    """Outcomes in the order they came, for any number of iterators in other threads."""

    def __init__(self) -> None:
        self._list: list[Outcome] = []
        self._n_gone, self._ended = 0, False
        self._news = threading.Condition()

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Take in outcomes, and drop the earliest of too many."""
        with self._news:
            self._list += outcomes
            if len(self._list) > 2 * KEPT:
                self._n_gone += len(self._list) - KEPT
                del self._list[:-KEPT]
            self._news.notify_all()

    def end(self) -> None:
        """No more will come."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def __iter__(self) -> Iterator[Outcome]:
        at = 0
        while True:
            with self._news:
                while at >= self._n_gone + len(self._list) and not self._ended:
                    self._news.wait()
                if (missed := self._n_gone - at) > 0:
                    warnings.warn(
                        f"the first {missed:,} outcomes are not kept any more; they are in the "
                        "table",
                        stacklevel=2,
                    )
                    at = self._n_gone
                some = self._list[at - self._n_gone :]
            if not some:
                return
            at += len(some)
            yield from some
