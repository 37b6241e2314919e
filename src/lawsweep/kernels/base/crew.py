"""Whole pieces of work shared among threads, each of which computes with one thread of torch.

torch shares every single operation among its threads, which then wait for the slowest, operation
by operation: small products lose a fifth of two threads' rate, a triangular solve half, and all of
them far more where another process holds a core for a while.  Where the work falls into pieces
that do not need each other, threads of Python (torch lets go of the interpreter while it
computes) each take the next piece instead, and meet once at the end of the list.

What a piece computes does not depend on how many threads there are.

The helping threads are the process's, started once and asleep between lists.  Nothing rests on how
many there are or what becomes of them: a list is begun by whoever comes, its owner among them, and
closed by its owner, who waits for those who came.  So a run's time limit or a Ctrl-C, which raise
in the owner at any line, leave no thread behind and nothing that the next list has to wait for.
(One that raises on the very threshold of a Crew leaves torch at one thread: what executes runs
puts that right after each.)
"""

from __future__ import annotations

import os
from _thread import get_ident, start_new_thread
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType

import torch

Piece = Callable[[], object]


class Crew:
    """As many threads as torch has here, this one among them.

    A context: within it torch computes with one thread, in this thread too.  ``n_threads``: how
    many, default ``torch.get_num_threads()``; with 1 the pieces are done in turn, each with the
    threads that torch has.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self._before = torch.get_num_threads()
        self.n_threads = self._before if n_threads is None else n_threads

    def __enter__(self) -> Crew:
        if self.n_threads > 1:
            torch.set_num_threads(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.n_threads > 1:
            torch.set_num_threads(self._before)

    def run(self, pieces: Iterable[Piece]) -> None:
        """Do all ``pieces``, begun in their order; raises the first error one of them raised.

        An error ends the list: pieces that others have begun are waited for, no more are begun.
        """
        left = deque(pieces)
        n_helpers = min(self.n_threads, len(left)) - 1
        if n_helpers < 1:
            _take(left)
            return
        job = _Job(left, n_helpers)
        try:
            _helpers.call(job, n_helpers)
            _take(left)
        finally:
            job.close()
        if job.errors:
            raise job.errors.pop(0)


class _Job:
    """A list of pieces, and who may help with it.

    Without a lock, which an exception in the owner could leave locked: each helper needs one of the
    ``tickets``, the owner takes back those that nobody came for, and hears from the others.
    """

    def __init__(self, left: deque[Piece], n_helpers: int) -> None:
        self._left, self._n_helpers = left, n_helpers
        self._tickets = deque(range(n_helpers))
        self._ended: SimpleQueue[None] = SimpleQueue()
        self.errors: list[BaseException] = []
        # These torch keeps for each thread.
        self._grad = torch.is_grad_enabled()
        self._inference = torch.is_inference_mode_enabled()

    def help(self) -> None:
        """Take pieces until none is left, unless the list is closed."""
        try:
            self._tickets.pop()
        except IndexError:
            return
        try:
            with torch.inference_mode(self._inference), torch.set_grad_enabled(self._grad):
                _take(self._left)
        except BaseException as error:  # noqa: BLE001  (raised again by run, in its own thread)
            self._left.clear()
            self.errors.append(error)
        finally:
            self._ended.put(None)

    def close(self) -> None:
        """Let nobody begin any more, and wait for those who have."""
        self._left.clear()  # empty already, unless this thread raised
        n_begun = self._n_helpers
        with suppress(IndexError):
            while True:
                self._tickets.pop()
                n_begun -= 1
        for _ in range(n_begun):
            self._ended.get()


class _Helpers:
    """The threads of this process that help; each has one thread of torch."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: a fork takes over no threads, and locks in any state."""
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        # Each enters itself, so that an interrupted start counts for what became of it.
        self._present: list[int] = []

    def call(self, job: _Job, n_helpers: int) -> None:
        """Offer ``job`` to so many, or to as many as the system gives."""
        while len(self._present) < n_helpers and self._start():
            pass
        for _ in range(n_helpers):
            self._jobs.put(job)

    def _start(self) -> bool:
        ready: SimpleQueue[None] = SimpleQueue()
        given = (self._jobs, self._present, ready)
        try:
            # As one step: threading's own start, cut off halfway, leaves its records wrong.
            start_new_thread(_serve, given)
        except RuntimeError:  # the system has no more: the owner of a list needs none
            return False
        # Its setting is also what torch gives threads yet to come, until a Crew puts its own back.
        ready.get()
        return True


def _serve(jobs: SimpleQueue[_Job], present: list[int], ready: SimpleQueue[None]) -> None:
    torch.set_num_threads(1)  # of this thread: torch counts for each its own
    present.append(get_ident())
    ready.put(None)
    while True:
        jobs.get().help()  # held by no name: what a list refers to is free once it is done


def _take(left: deque[Piece]) -> None:
    while True:
        try:
            piece = left.popleft()
        except IndexError:  # done, or another thread was faster
            return
        piece()


_helpers = _Helpers()
os.register_at_fork(after_in_child=_helpers.forget)
