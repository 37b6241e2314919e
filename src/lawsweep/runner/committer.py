"""The committer: finished rows become durable by count and by time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from lawsweep.core.outcome import Outcome
from lawsweep.core.plan import Plan
from lawsweep.core.protocols import Table


class Committer:
    """Collects outcomes as rows and appends them to the table.

    At most ``every_s`` seconds of finished work, or ``every_n`` rows, are ever unwritten.  (That
    a long launch leaves few files all the same is the table's doing: it merges small parts.)
    """

    def __init__(
        self,
        table: Table,
        plan: Plan,
        launch_id: str,
        every_s: float = 2.0,
        every_n: int = 20_000,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.table, self.plan, self.launch_id = table, plan, launch_id
        self.every_s, self.every_n, self._clock = every_s, every_n, clock
        self._rows: list[Mapping[str, Any]] = []
        self._oldest = 0.0

    def add(self, outcome: Outcome) -> None:
        """Take an outcome; it is durable after the next flush."""
        if not self._rows:
            self._oldest = self._clock()
        self._rows.append(self._row(outcome))

    def due(self) -> bool:
        """Whether the rows held are old or many enough to be written."""
        if not self._rows:
            return False
        return len(self._rows) >= self.every_n or self._clock() - self._oldest >= self.every_s

    def flush(self) -> None:
        """Write what is held.  On StoreError the rows are kept, for another try."""
        if self._rows:
            self.table.append(self._rows)
            self._rows = []

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        run, experiment = outcome.index, self.plan.experiment
        defaults = {s.name: s.default for s in experiment.params if s.has_default}
        return {
            **defaults,
            **self.plan.params_of(run),
            **(outcome.metrics or {}),
            "run_id": self.plan.run_ids[run],
            "experiment": experiment.name,
            "version": experiment.version,
            "seed": self.plan.seed_of(run),
            "status": outcome.status,
            "error": outcome.error,
            "traceback": outcome.traceback,
            "wall_s": outcome.wall_s,
            "peak_memory_bytes": outcome.peak_memory_bytes,
            "attempt": outcome.attempt,
            "device": outcome.device,
            "host": outcome.host,
            "n_threads": outcome.n_threads,
            "started_at": datetime.fromtimestamp(outcome.started_at, UTC),
            "launch_id": self.launch_id,
        }
