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
from multiprocessing.connection import Connection
from typing import Any

_SENDING = threading.Lock()


def main() -> None:
    """Serve the executor at the other end until it goes."""
    wire = Connection(int(sys.argv[1]))
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(wire, inbox), daemon=True).start()
    from lawsweep.worker.process_state import ProcessState

    experiment = pickle.loads(inbox.get())
    experiment.load()  # what it sets when it is imported holds for all runs
    state = ProcessState()
    while True:
        task_id, batch = pickle.loads(inbox.get())
        _execute(wire, experiment, task_id, batch, state)


def _listen(wire: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            inbox.put(wire.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)


def _execute(wire: Connection, experiment: Any, task_id: int, asked: Any, state: Any) -> None:
    from lawsweep.worker.execute import Batch
    from lawsweep.worker.reporting import reports

    _send(wire, (task_id, (), False, None))  # it has begun: its deadlines count from here
    runs, groups, timeout_s, memory_share = asked
    batch = Batch(experiment, runs, groups, "cpu", timeout_s, memory_share, lambda: False)

    def early(outcomes: Any) -> None:
        _send(wire, (task_id, outcomes, False, None))

    for outcomes in reports(batch, state, early):
        _send(wire, (task_id, outcomes, False, None))
    _send(wire, (task_id, (), batch.spoiled is None, batch.spoiled))
    if batch.spoiled is not None:  # a deadline cut it off at any line: it is to be ended
        threading.Event().wait()


def _send(wire: Connection, news: Any) -> None:
    packed = pickle.dumps(news, protocol=pickle.HIGHEST_PROTOCOL)
    with _SENDING:  # a message is written in pieces, and two threads have some
        wire.send_bytes(packed)
