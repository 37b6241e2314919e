"""How a worker tells what it has finished: the same in every executor that has workers."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lawsweep.core.outcome import Outcome
from lawsweep.worker.execute import Batch
from lawsweep.worker.process_state import ProcessState

REPORT_S = 0.25  # a worker sends what it finished at least this often (after each longer run)
REPORT_BYTES = 16 * 2**20  # of large arrays, likewise


def reports(batch: Batch, state: ProcessState) -> Iterator[tuple[Outcome, ...]]:
    """Execute a batch, and give its outcomes in portions, until it is done or ``spoiled``."""
    ready: list[Outcome] = []
    last, n_bytes = time.monotonic(), 0
    while batch and batch.spoiled is None:
        found = batch.step(state)
        ready += found
        n_bytes += sum(a.nbytes for o in found for a in (o.arrays or {}).values())
        # No outcome: a fused form failed.  That is said at once, as a sign of life.
        if time.monotonic() - last >= REPORT_S or n_bytes >= REPORT_BYTES or not found:
            yield tuple(ready)
            ready, last, n_bytes = [], time.monotonic(), 0
    if ready:
        yield tuple(ready)
