"""The committer: finished rows become durable by count and by time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from lawsweep.core.circumstances import OF_OUTCOME
from lawsweep.core.outcome import Outcome
from lawsweep.core.plain.learning import Learner
from lawsweep.core.protocols import Arrays, Table
from lawsweep.grid.plan import Plan
from lawsweep.launch.columns import params_of
from lawsweep.launch.record.curves import Curves

_circumstances = attrgetter(*OF_OUTCOME)
LATER_S = 0.5  # than the launch would have written it: then that is at a long run
EVERY_BYTES = 64 * 2**20  # large arrays held unwritten at most, about


class Committer:
    """Collects outcomes as rows and appends them to the table.

    At most ``every_s`` seconds of finished work, ``every_n`` rows, or ``every_bytes`` of large
    arrays (and the run that went past it) are ever unwritten.  (That a long launch leaves few
    files all the same is the table's doing: it merges small parts.)
    """

    def __init__(
        self,
        table: Table,
        plan: Plan,
        launch_id: str,
        every_s: float = 2.0,
        every_n: int = 20_000,
        every_bytes: int = EVERY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.table, self.plan, self.launch_id = table, plan, launch_id
        self.every_s, self.every_n, self.every_bytes = every_s, every_n, every_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._outcomes: list[Outcome] = []
        self._n_bytes = 0
        self.machines: dict[str, Mapping[str, Any]] = {}  # of each host that computed
        self.tell_machines: Callable[[Mapping[str, Any]], None] = lambda known: None
        experiment = plan.experiment
        defaults = {s.name: s.default for s in experiment.params if s.has_default}
        self._same = {
            **defaults,
            "experiment": experiment.name,
            "version": experiment.version,
            "launch_id": launch_id,
        }
        self.drop_checkpoints: Callable[[list[str]], None] = lambda run_ids: None
        self._oldest = 0.0
        self._learner = Learner(experiment) if experiment.learns else None
        self._written = experiment  # with the metrics that the table knows
        self.curves = Curves(plan, lambda points: table.append_curves(points))  # noqa: PLW0108  (later)

    def add(self, outcome: Outcome) -> Outcome:
        """Take an outcome; it is durable after the next flush.

        Returns it as the table has it: of an experiment that learns its metrics, in their types.
        """
        with self._lock:
            if self._learner is not None:
                outcome = self._learner.take(outcome)
            outcome = self.curves.ended(outcome)
            if not self._outcomes:
                self._oldest = self._clock()
            self._outcomes.append(outcome)
            if outcome.machine is not None:
                self._meet(outcome.host, outcome.machine)
            if outcome.arrays:
                self._n_bytes += sum(a.nbytes for a in outcome.arrays.values())
            return outcome

    @contextmanager
    def by_time(self) -> Iterator[None]:
        """Within, what is due is written by a thread of its own: a run of an hour keeps none.

        For runs that are executed in the thread of the launch.  An error is left to that, whose
        own ``flush`` meets it, and waits for the store where this does not.
        """
        ended = threading.Event()

        def write() -> None:
            while not ended.wait(self.every_s / 4 or LATER_S):
                if self._outcomes and self._clock() - self._oldest >= self.every_s + LATER_S:
                    with suppress(Exception):
                        self._write(getattr(self.table, "impatient", self.table))

        thread = threading.Thread(target=write, daemon=True, name="lawsweep-committer")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _meet(self, host: str, machine: Mapping[str, Any]) -> None:
        """A host as it was first told, and all tables of sizes that decided there."""
        known = self.machines.setdefault(host, machine)
        tables = {**known.get("calibrations", {}), **machine.get("calibrations", {})}
        if tables:
            self.machines[host] = {**known, "calibrations": tables}

    def due(self) -> bool:
        """Whether the rows held are old or many enough to be written."""
        if not self._outcomes:
            return self.curves.n_held >= self.every_n
        full = len(self._outcomes) >= self.every_n or self._n_bytes >= self.every_bytes
        return full or self._clock() - self._oldest >= self.every_s

    def flush(self) -> None:
        """Write what is held.  On StoreError the outcomes are kept, for another try.

        Curves first; where they cannot be written the rows, which have more patience, decide.
        """
        self._write(self.table)
        self.curves.flush()

    def _write(self, table: Table) -> None:
        self.curves.try_flush()
        with self._lock:
            if not self._outcomes:
                return
            self.tell_machines(self.machines)
            if self._learner is not None and self._learner.experiment is not self._written:
                self._written = self._learner.experiment
                table.learn(self._written)
            rows = self._rows()
            arrays: list[Arrays | None] = [o.arrays for o in self._outcomes]
            if any(arrays):
                table.append(rows, arrays)
            else:
                table.append(rows)
            over = [o for o in self._outcomes if o.saved and o.status in ("ok", "infeasible")]
            self._outcomes, self._n_bytes = [], 0
            if over:  # only now: its row is durable
                self.drop_checkpoints([self.plan.run_ids[o.index] for o in over])

    def _rows(self) -> list[dict[str, Any]]:
        params = params_of(self.plan, [o.index for o in self._outcomes])
        return [
            {
                **self._same,
                **given,
                **(outcome.metrics or {}),
                "run_id": self.plan.run_ids[outcome.index],
                "seed": self.plan.seed_of(outcome.index),
                "status": outcome.status,
                **dict(zip(OF_OUTCOME, _circumstances(outcome), strict=True)),
                "started_at": datetime.fromtimestamp(outcome.started_at, UTC),
            }
            for outcome, given in zip(self._outcomes, params, strict=True)
        ]
