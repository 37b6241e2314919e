"""Read and follow what a job prints, and how far it is."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from lawsweep.core.errors import ExecutorError, StoreError
from lawsweep.remote.server import JobServer, Unreachable
from lawsweep.remote.states import Job, find_job, folder_of

LOOK_S = 2.0  # how often the head is asked, and the sign of life read
DRAIN_S = 10.0  # how long the rest of a log is waited for when its job has ended
MOST_TEXTS = 200  # are handed on between two looks at the head, however much is printed
PATIENCE_S = 30.0  # how long a head may be silent before it is taken for gone


def job_log(job: Job) -> str:
    """All that a job has printed.  Raises ExecutorError when its head does not answer."""
    return JobServer(job.address).log(job.id)


def follow(
    job: Job, results_dir: str, *, signs: bool = True
) -> Iterator[str | dict[str, Any] | Job]:
    """What a job prints, as it comes; signs of life of its driver; at last the job as it ended.

    Without ``signs`` the store is not read (in an object store each look is a request).  Raises
    ExecutorError when the head is gone, with what the store knows of the job.
    """
    sweep = job.folder
    server = JobServer(job.address)
    tail = _Tail(server, job.id)
    seen, silent_since = 0.0, None
    while True:
        yield from tail.lines()
        if time.monotonic() - seen < LOOK_S:
            continue
        seen = time.monotonic()
        if signs and (state := _sign(results_dir, sweep, job.id)) is not None:
            yield state
        try:
            look = server.look(job.id)
        except Unreachable:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > PATIENCE_S:
                found = find_job(results_dir, sweep, job.id, address=job.address)
                raise ExecutorError(
                    f"The job {job.id} cannot be followed further: {found.text}. What had finished "
                    "is in the table; submit again to go on."
                ) from None
            continue
        silent_since = None
        if look.ended:
            break
        tail.restart_if_broken()
    yield from tail.rest()
    ended = find_job(results_dir, sweep, job.id, address=job.address)
    yield dataclasses.replace(ended, state=look.state, exit_code=look.exit_code)


def _sign(results_dir: str, sweep: str, job: str) -> dict[str, Any] | None:
    with contextlib.suppress(StoreError):
        folder = folder_of(results_dir, sweep)
        # In an object store its clock is three requests, and this is asked every two seconds.
        signs = folder.live(None if folder.folder.is_local else time.time())
        return next((dict(s.state) for s in signs if s.state.get("job") == job), None)
    return None


class _Tail:
    """A thread that reads a job's log, and hands on what has not been handed on before."""

    def __init__(self, server: JobServer, job: str):
        self._server, self._job = server, job
        self._queue: queue.Queue[str] = queue.Queue()
        self._n_handed = 0
        self._start()

    def _start(self) -> None:
        to_skip = self._n_handed
        texts: queue.Queue[str] = queue.Queue()

        def put(text: str) -> None:
            nonlocal to_skip
            if to_skip < len(text):
                texts.put(text[to_skip:])
            to_skip = max(0, to_skip - len(text))

        def read() -> None:
            with contextlib.suppress(ExecutorError):  # the head is asked besides
                self._server.follow(self._job, put)

        self._queue = texts
        self._thread = threading.Thread(target=read, daemon=True)
        self._thread.start()

    def restart_if_broken(self) -> None:
        """Read on from where it broke off, as a connection does now and then."""
        if not self._thread.is_alive() and self._queue.empty():
            self._start()

    def lines(self, wait_s: float = 0.2) -> Iterator[str]:
        """What has come since, waiting a moment for some."""
        with contextlib.suppress(queue.Empty):
            for _ in range(MOST_TEXTS):
                text = self._queue.get(timeout=wait_s)
                self._n_handed += len(text)
                yield text
                wait_s = 0.001

    def rest(self) -> Iterator[str]:
        """What is left of the log of a job that has ended; asked for once, if it broke off."""
        end = time.monotonic() + DRAIN_S
        while self._thread.is_alive() and time.monotonic() < end:
            yield from self.lines()
        while not self._queue.empty():
            yield from self.lines(0.001)
        with contextlib.suppress(ExecutorError):
            yield self._server.log(self._job)[self._n_handed :]
