"""How a worker tells what it has finished: the same in every executor that has workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

from lawsweep.core.during.under_way import listened
from lawsweep.core.outcome import Outcome, Told
from lawsweep.worker.execute import Batch
from lawsweep.worker.process_state import ProcessState

REPORT_S = 0.25  # a worker sends what it finished at least this often (after each longer run)
REPORT_BYTES = 16 * 2**20  # of large arrays, likewise
EARLY_S = 1.0  # what waits for so long behind a run is told beside it

Early = Callable[[tuple[Outcome, ...] | Told], None]


def reports(
    batch: Batch, state: ProcessState, early: Early | None = None
) -> Iterator[tuple[Outcome, ...]]:
    """Execute a batch, and give its outcomes in portions, until it is done or ``spoiled``.

    ``early`` is told, from another thread, of those that wait while a run takes long; in their
    turn they are given again, so that nothing depends on it.  And by a run that is under way, about
    once a second, of what that reports, which is not given again.
    """
    ready: list[Outcome] = []
    last, n_bytes = time.monotonic(), 0
    with closing(_Waiting(early)) as waiting:
        while batch and batch.spoiled is None:
            waiting.watch(ready)
            with listened(early):
                found = batch.step(state)
            waiting.leave()
            ready += found
            n_bytes += sum(a.nbytes for o in found for a in (o.arrays or {}).values())
            # No outcome: a fused form failed.  That is said at once, as a sign of life.
            if time.monotonic() - last >= REPORT_S or n_bytes >= REPORT_BYTES or not found:
                yield tuple(ready)
                ready, last, n_bytes = [], time.monotonic(), 0
    if ready:
        yield tuple(ready)


class _Waiting:
    """Outcomes that a run keeps waiting; its thread begins with the first of them."""

    def __init__(self, tell: Early | None):
        self._tell, self._lock, self._end = tell, threading.Lock(), threading.Event()
        self._held: Sequence[Outcome] = ()
        self._since = 0.0
        self._thread: threading.Thread | None = None

    def watch(self, held: Sequence[Outcome]) -> None:
        """A run begins: these wait from now on, unchanged until ``leave``."""
        if self._tell is None or not held:
            return
        with self._lock:
            self._held, self._since = held, time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True, name="lawsweep-early")
            self._thread.start()

    def leave(self) -> None:
        """It has ended."""
        if self._thread is not None:
            with self._lock:
                self._held = ()

    def close(self) -> None:
        self.leave()
        self._end.set()

    def _look(self) -> None:
        assert self._tell is not None
        while not self._end.wait(EARLY_S / 4):
            with self._lock:
                if self._held and time.monotonic() - self._since >= EARLY_S:
                    with suppress(Exception):  # they are told in their turn too
                        self._tell(tuple(self._held))
                    self._held = ()
