"""Several launches of one sweep share its work: each leaves to the others what they have done.

Nobody is in charge and nothing is locked.  A launch looks at the table every few seconds, takes
what others have committed out of its backlog, and goes through it in an order of its own.  What no
row answers for stays in the backlog of each, so one that dies takes no run with it; the runs that
several are at in the end are done more than once, and readers bear that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from lawsweep.core.outcome import Outcome
from lawsweep.core.protocols import Sampler, Table
from lawsweep.grid.plan import Plan
from lawsweep.launch.backlog import Backlog
from lawsweep.launch.report import RunReport

LOOK_S = 0.5  # how often the table is looked at: a listing, where nothing has come
# Batches are shorter where somebody else works: what is in one cannot be left to others any more.
TARGET_S = 0.25


class Sharing:
    """Takes out of ``backlog`` what other launches have done, and tells the sampler of it."""

    def __init__(
        self,
        plan: Plan,
        table: Table,
        backlog: Backlog,
        report: RunReport,
        sampler: Sampler,
        clock: Callable[[], float],
        every_s: float = LOOK_S,
    ):
        self._plan, self._backlog, self._report = plan, backlog, report
        self._sampler, self._clock, self._every_s = sampler, clock, every_s
        self._news = getattr(table, "news", None)
        self._place: dict[str, int] = {}
        self._due = clock() + every_s

    def look(self) -> None:
        """Look whether others have added rows, now and then."""
        if self._news is None or self._clock() < self._due:
            return
        rows = self._news(self._sampler.reads)
        if rows:
            self._take(rows)
        self._due = self._clock() + self._every_s  # from its end: it may have taken a while

    def _take(self, rows: Any) -> None:
        if not self._place:
            self._place = {run_id: i for i, run_id in enumerate(self._plan.run_ids)}
        found: dict[int, Mapping[str, Any]] = {}
        for row in rows:
            i = self._place.get(row["run_id"])
            # A run that is tried again is done by an attempt as late as ours would be.
            if i is not None and row["attempt"] >= self._backlog.attempts.get(i, 1):
                found[i] = row
        if not found:
            return
        n_done = self._backlog.drop(found)
        self._backlog.target_s = TARGET_S
        self._report.by_others += n_done
        for i, row in found.items():
            metrics = {n: row[n] for n in self._sampler.reads}
            self._sampler.tell(Outcome(i, row["status"], metrics))
        self._backlog.add(self._sampler.ask())


def own_order(launch_id: str) -> int:
    """The seed of the order in which a launch takes its runs that others run beside."""
    return int.from_bytes(hashlib.blake2b(launch_id.encode(), digest_size=8).digest())
