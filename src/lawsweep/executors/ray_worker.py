"""What a Ray worker does with a task: execute its runs and stream their outcomes back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from lawsweep.core.execute import Batch
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Outcome, RunSpec
from lawsweep.executors import sharded

REPORT_S = 0.25  # a worker sends what it finished at least this often (after each longer run)
REPORT_BYTES = 16 * 2**20  # of large arrays, likewise


def run_batch(
    experiment: Experiment,
    runs: tuple[RunSpec, ...],
    groups: tuple[int, ...],
    timeout_s: float | None,
    device: str,
    shards: Mapping[str, Any] | None = None,
    memory_share: float = 1.0,
) -> Iterator[tuple[Outcome, ...]]:
    """Say that it began, then execute and report."""
    yield ()
    with sharded.installed(shards):
        yield from _outcomes(Batch(experiment, runs, groups, device, timeout_s, memory_share))


def _outcomes(batch: Batch) -> Iterator[tuple[Outcome, ...]]:
    ready: list[Outcome] = []
    last, n_bytes = time.monotonic(), 0
    while batch:
        found = batch.step()
        ready += found
        n_bytes += sum(a.nbytes for o in found for a in (o.arrays or {}).values())
        # No outcome: a fused form failed.  That is said at once, as a sign of life.
        if time.monotonic() - last >= REPORT_S or n_bytes >= REPORT_BYTES or not found:
            yield tuple(ready)
            ready, last, n_bytes = [], time.monotonic(), 0
    if ready:
        yield tuple(ready)
