"""The next run's inputs, drawn on the host while a card computes this one.

Draws are numpy's, in a thread of the host: the same numbers on every device (``core.randomness``).
At N = 3000, d = 977, L = 3 they take 50 ms of a core, where a card is expected to take 20 ms for
all the rest.  numpy draws without Python's lock, so a thread has them ready for the next run.

The worker says which run comes next (``coming``).  An experiment whose draws are a function of
params and seed takes its own by ``drawn``, and so has those of the next one begun::

    host = drawn(draws, params, seed, device)     # draws(params, seed), on the host

A batch of fused runs takes all of its own by ``drawn_together``, and those of the batch that comes
next are begun: of the same group (``experiments.batches``), or of the next one of the task.

It holds the inputs of one more run, or batch, in the host's memory, and nothing on the card.  On a
CPU there is nothing to wait for: the thread would take from the run what it gives to the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lawsweep.core.experiment import Experiment
    from lawsweep.core.outcome import RunSpec

Draws = Callable[..., Any]
Run = tuple[Any, int]  # params and seed


class _Ahead:
    """Draws of one run, or of a batch, under way in a thread of their own."""

    def __init__(self, draws: Draws, *what: Any):
        self.draws, self.what = draws, what
        self.found: Any = None
        self.failed = False
        # A daemon: an interrupt or a deadline in the run does not wait for it.
        self._thread = threading.Thread(target=self._draw, name="draws", daemon=True)
        self._thread.start()

    def _draw(self) -> None:
        try:
            self.found = self.draws(*self.what)
        except BaseException:  # noqa: BLE001  (the run draws itself, and says it in its own row)
            self.failed = True

    def wait(self) -> None:
        self._thread.join()


# A process executes one run at a time: what comes after it, and what is drawn for that.
_coming: list[tuple[Any, ...]] = []  # what its draws are called with
_later: list[Run] = []  # the group that comes after the one that is executed
_under_way: list[_Ahead] = []


def coming(params: Any = None, seed: int = 0) -> None:
    """Say which run is executed after the next one that draws; without params, that none is."""
    _coming[:] = [] if params is None else [(params, seed)]


def announce(experiment: Experiment, piece: Sequence[RunSpec], device: str) -> None:
    """Say what comes after the piece of a task that is about to begin: a run, a group, nothing."""
    coming_group()
    if not piece or device.startswith("cpu"):
        return
    with suppress(Exception):  # of params that are refused the run itself will tell
        runs = [(experiment.build(run.params), run.seed) for run in piece]
        if len(runs) == 1:
            coming(*runs[0])
        else:
            coming_group(runs)


def coming_group(runs: Sequence[Run] = ()) -> None:
    """Say which group is executed after the one that is about to begin."""
    coming()
    _later[:] = runs


def later() -> Sequence[Run]:
    """The group that was said to come."""
    return tuple(_later)


def coming_batch(runs: Sequence[Run]) -> None:
    """Say which batch comes after the one that draws next; none where there are no runs."""
    _coming[:] = [(tuple(runs),)] if runs else []


def drawn(draws: Draws, params: Any, seed: int, device: str) -> Any:
    """``draws(params, seed)``, drawn ahead where that was done; begins the draws of what is coming.

    Raises what ``draws`` raises.
    """
    return _drawn(draws, (params, seed), device)


def drawn_together(draws: Draws, runs: Sequence[Run], device: str) -> Any:
    """``draws(runs)`` of a batch, likewise."""
    return _drawn(draws, (tuple(runs),), device)


def forget() -> None:
    """Let go of what was drawn for a run that did not come; waits for a thread that draws."""
    _coming.clear()
    _later.clear()
    while _under_way:
        _under_way.pop().wait()


def _drawn(draws: Draws, what: tuple[Any, ...], device: str) -> Any:
    found = _taken(draws, what)
    if found is None:
        found = draws(*what)
    # What comes may be a run alone where this is a batch, and is drawn otherwise.
    if _coming and len(_coming[0]) == len(what) and not str(device).startswith("cpu"):
        _under_way.append(_Ahead(draws, *_coming.pop()))
    return found


def _taken(draws: Draws, what: tuple[Any, ...]) -> Any:
    if not _under_way:
        return None
    ahead = _under_way.pop()
    ahead.wait()
    mine = (ahead.draws, ahead.what) == (draws, what)
    return ahead.found if mine and not ahead.failed else None
