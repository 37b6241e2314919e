"""How far a sweep is, from the store alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lawsweep.core.outcome import FAILURES
from lawsweep.study.failures import FailureGroup, failure_groups
from lawsweep.study.opening import Opened
from lawsweep.study.questions import open_own_folder

MOST_GROUPS = 8  # kinds of failure that are listed


@dataclass(frozen=True)
class Status:
    """How far a sweep is: counts by status, and launches that are alive.

    Of a search, ``planned`` are the runs it has asked for so far and those that have a row anyway,
    and ``search`` says where it stands.
    """

    planned: int
    statuses: Mapping[str, int]
    launches: tuple[Mapping[str, Any], ...]
    skipped: Mapping[str, str]
    infeasible: Mapping[str, int] = dataclasses.field(default_factory=dict)
    failures: tuple[FailureGroup, ...] = ()
    search: str | None = None

    @property
    def missing(self) -> int:
        """Planned runs without a row."""
        return self.planned - sum(self.statuses.values())

    @property
    def running(self) -> int:
        """Runs in flight in launches that are alive."""
        return sum(int(x.get("running", 0)) for x in self.launches)

    def gaps(self, sweep: str) -> list[str]:
        """What is not ``ok``, each with the command that closes the gap; ``sweep`` as one types it.

        An infeasible point is an answer: its reasons are listed instead.  Failures are grouped by
        what went wrong, each group with the command that shows its first run.
        """
        shown = self.failures[:MOST_GROUPS]
        lines = [group.line() for group in shown]
        if rest := self.failures[MOST_GROUPS:]:
            lines.append(f"{sum(g.n for g in rest):,} that failed otherwise, in {len(rest):,} ways")
        lines += [f"{n:,} infeasible: {reason}" for reason, n in self.infeasible.items()]
        failed = sum(self.statuses.get(s, 0) for s in FAILURES)
        if failed:
            lines.append(f"{failed:,} failed, oom or timeout: lawsweep rerun {sweep} --failed")
        if self.missing:
            lines.append(f"{self.missing:,} missing: lawsweep run {sweep}")
        return lines


def status(opened: Opened) -> Status:
    """See ``Study.status``."""
    known = opened.done
    planned = len(opened.plan)
    if not opened.chosen.whole:
        planned = len({opened.plan.run_ids[i] for i in opened.sampler.asked()} | set(known))
    live = open_own_folder(opened.sweep, opened.plan).live()
    return Status(
        planned=planned,
        statuses=Counter(d.status for d in known.values()),
        launches=tuple(sign.state for sign in live),
        skipped=dict(opened.table.skipped),
        infeasible=opened.table.reasons(known, "infeasible"),
        failures=failure_groups(opened.table.errors(known, FAILURES)),
        search=None if opened.chosen.whole else opened.sampler.summary(),
    )


def certificate(statuses: Mapping[str, int], planned: int) -> str:
    """``870 planned: 866 ok, 2 infeasible, 1 oom, 1 missing``."""
    from lawsweep.analysis.completeness import completeness

    return completeness(statuses, planned)
