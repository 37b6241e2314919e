"""What a worker process does: execute the batches it is sent, and send their outcomes back.

``python -c "..." FD``: it speaks over one end of a pipe, which it inherits.  When the other end is
gone, so is whoever wanted the runs, and it ends at once, also in the middle of one.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

STOP = b"stop"  # a run that is under way: what follows says which and why


def main() -> None:
    """Serve the executor at the other end until it goes."""
    wire = Connection(int(sys.argv[1]))
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(wire, inbox), daemon=True).start()
    from lawsweep.worker.process_state import ProcessState

    outbox = Outbox(wire)
    experiment = pickle.loads(inbox.get())
    experiment.load()  # what it sets when it is imported holds for all runs
    state = ProcessState()
    while True:
        task_id, batch = pickle.loads(inbox.get())
        _execute(outbox, experiment, task_id, batch, state)


def _listen(wire: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            news = wire.recv_bytes()
            if news.startswith(STOP):  # no pickle begins so
                from lawsweep.core.during.under_way import stop_run

                stop_run(*pickle.loads(news[len(STOP) :]))
            else:
                inbox.put(news)
    except (EOFError, OSError):
        os._exit(1)


class Outbox:
    """Messages to the executor, whole and in order.

    What a run tells in its middle is sent by a thread: a deadline raises in the main one, at any
    line, and half a message would be the last that is understood.
    """

    def __init__(self, wire: Connection):
        self._wire, self._lock = wire, threading.Lock()
        self._told: deque[Any] = deque()
        self._news = threading.Semaphore(0)
        threading.Thread(target=self._send_told, daemon=True).start()

    def tell(self, news: Any) -> None:
        """Send a message soon, from anywhere in a run."""
        self._told.append(news)
        self._news.release()

    def send(self, news: Any) -> None:
        """Send a message, after all that was told before; not within a run by its own thread."""
        with self._lock:
            self._drain()
            self._put(news)

    def _send_told(self) -> None:
        while True:
            self._news.acquire()
            with self._lock, suppress(OSError):  # the other end is gone: ``_listen`` ends us
                self._drain()

    def _drain(self) -> None:
        while self._told:
            self._put(self._told.popleft())

    def _put(self, news: Any) -> None:
        self._wire.send_bytes(pickle.dumps(news, protocol=pickle.HIGHEST_PROTOCOL))


def _execute(outbox: Outbox, experiment: Any, task_id: int, asked: Any, state: Any) -> None:
    from lawsweep.core.outcome import Told
    from lawsweep.worker.execute import Batch
    from lawsweep.worker.reporting import reports

    outbox.send((task_id, (), False, None))  # it has begun: its deadlines count from here
    runs, groups, timeout_s, memory_share = asked
    batch = Batch(experiment, runs, groups, "cpu", timeout_s, memory_share)

    def early(news: Any) -> None:
        if isinstance(news, Told):
            outbox.tell((task_id, news))
        else:
            outbox.send((task_id, news, False, None))

    for outcomes in reports(batch, state, early):
        outbox.send((task_id, outcomes, False, None))
    outbox.send((task_id, (), batch.spoiled is None, batch.spoiled))
    if batch.spoiled is not None:  # a deadline cut it off at any line: it is to be ended
        threading.Event().wait()
