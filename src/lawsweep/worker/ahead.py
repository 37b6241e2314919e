"""The next run's inputs, drawn on the host while a card computes this one.

Draws are numpy's, in a thread of the host: the same numbers on every device (``core.randomness``).
At N = 3000, d = 977, L = 3 they take 50 ms of a core, where a card is expected to take 20 ms for
all the rest.  numpy draws without Python's lock, so a thread has them ready for the next run.

The worker says which run comes next (``coming``).  An experiment whose draws are a function of
params and seed takes its own by ``drawn``, and so has those of the next one begun::

    host = drawn(draws, params, seed, device)     # draws(params, seed), on the host

It holds the inputs of one more run in the host's memory, and nothing on the card.  On a CPU there
is nothing to wait for: the thread would take from the run what it gives to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Draws = Callable[[Any, int], Any]


class _Ahead:
    """Draws of one run, under way in a thread of their own."""

    def __init__(self, draws: Draws, params: Any, seed: int):
        self.draws, self.params, self.seed = draws, params, seed
        self.found: Any = None
        self.failed = False
        # A daemon: an interrupt or a deadline in the run does not wait for it.
        self._thread = threading.Thread(target=self._draw, name="draws", daemon=True)
        self._thread.start()

    def _draw(self) -> None:
        try:
            self.found = self.draws(self.params, self.seed)
        except BaseException:  # noqa: BLE001  (the run draws itself, and says it in its own row)
            self.failed = True

    def wait(self) -> None:
        self._thread.join()


# A process executes one run at a time: what comes after it, and what is drawn for that.
_coming: list[tuple[Any, int]] = []
_under_way: list[_Ahead] = []


def coming(params: Any = None, seed: int = 0) -> None:
    """Say which run is executed after the next one that draws; without params, that none is."""
    _coming[:] = [] if params is None else [(params, seed)]


def drawn(draws: Draws, params: Any, seed: int, device: str) -> Any:
    """``draws(params, seed)``, drawn ahead where that was done; begins the draws of what is coming.

    Raises what ``draws`` raises.
    """
    found = _taken(draws, params, seed)
    if found is None:
        found = draws(params, seed)
    if _coming and not str(device).startswith("cpu"):
        _under_way.append(_Ahead(draws, *_coming.pop()))
    return found


def forget() -> None:
    """Let go of what was drawn for a run that did not come; waits for a thread that draws."""
    _coming.clear()
    while _under_way:
        _under_way.pop().wait()


def _taken(draws: Draws, params: Any, seed: int) -> Any:
    if not _under_way:
        return None
    ahead = _under_way.pop()
    ahead.wait()
    mine = (ahead.draws, ahead.params, ahead.seed) == (draws, params, seed)
    return ahead.found if mine and not ahead.failed else None
