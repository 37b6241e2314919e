"""Whole pieces of work shared among threads, each of which computes with one thread of torch.

torch shares every single operation among its threads, which then wait for the slowest, operation
by operation: small products lose a fifth of two threads' rate, a triangular solve half, and all of
them far more where another process holds a core for a while.  Where the work falls into pieces
that do not need each other, threads of Python (torch lets go of the interpreter while it
computes) each take the next piece instead, and meet once at the end of the list.

What a piece computes does not depend on how many threads there are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from types import TracebackType

import torch

Piece = Callable[[], object]


class Crew:
    """As many threads as torch has here, this one among them; one, and the work is done in turn.

    A context: within it torch computes with one thread, in this thread too.  ``n_threads``: how
    many, default ``torch.get_num_threads()``.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = torch.get_num_threads() if n_threads is None else n_threads
        self._before = torch.get_num_threads()
        self._lists: SimpleQueue[deque[Piece] | None] = SimpleQueue()
        self._ended = threading.Semaphore(0)
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Crew:
        if self.n_threads > 1:
            torch.set_num_threads(1)
            for _ in range(self.n_threads - 1):
                self._threads.append(threading.Thread(target=self._serve, daemon=True))
                self._threads[-1].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in self._threads:
            self._lists.put(None)
        for thread in self._threads:
            thread.join()
        if self.n_threads > 1:
            torch.set_num_threads(self._before)

    def run(self, pieces: Iterable[Piece]) -> None:
        """Do all ``pieces``, begun in their order; raises the first error one of them raised."""
        left = deque(pieces)
        n_helpers = min(len(self._threads), len(left) - 1)
        for _ in range(n_helpers):
            self._lists.put(left)
        self._take(left)
        for _ in range(n_helpers):
            self._ended.acquire()
        if self._errors:
            raise self._errors.pop(0)

    def _serve(self) -> None:
        torch.set_num_threads(1)  # of this thread: torch counts for each its own
        while (left := self._lists.get()) is not None:
            self._take(left)
            self._ended.release()

    def _take(self, left: deque[Piece]) -> None:
        try:
            while left:
                try:
                    piece = left.popleft()
                except IndexError:  # another thread was faster
                    return
                piece()
        except BaseException as error:  # noqa: BLE001  (raised again by run, in its own thread)
            left.clear()
            self._errors.append(error)
