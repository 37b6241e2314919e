"""How far a sweep is, from the store alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lawsweep.core.outcome import FAILURES
from lawsweep.study.failures import FailureGroup, failure_groups
from lawsweep.study.opening import Opened
from lawsweep.study.questions import open_own_folder

MOST_GROUPS = 8  # kinds of failure that are listed


@dataclass(frozen=True)
class Reported:
    """Where a run under way is: its params that vary and its seed, and its latest report."""

    run_id: str
    attempt: int
    params: Mapping[str, Any]
    seed: int
    step: int
    metrics: Mapping[str, float]


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
    reported: tuple[Reported, ...] = ()
    # How many rows are still to be made again, and the options that said so: each time it was asked
    again: tuple[tuple[int, str], ...] = ()
    started_by: str = ""  # the command of an application, which starts its runs itself
    elsewhere: str = ""  # the override that names the results, where they are in no usual folder

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
        lines = [group.line(self.elsewhere) for group in shown]
        if rest := self.failures[MOST_GROUPS:]:
            lines.append(f"{sum(g.n for g in rest):,} that failed otherwise, in {len(rest):,} ways")
        lines += [f"{n:,} infeasible: {reason}" for reason, n in self.infeasible.items()]
        failed = sum(self.statuses.get(s, 0) for s in FAILURES)
        again, run = f"lawsweep rerun {sweep} --failed", f"lawsweep run {sweep}"
        if self.started_by:
            run, retry = self.started_by, "hydra.sweeper.retry=true"
            again = run if retry in run else f"{run} {retry}"
        if failed:
            lines.append(f"{failed:,} failed, oom or timeout: {again}")
        if self.missing:
            lines.append(f"{self.missing:,} missing: {run}")
        for n, options in self.again:
            lines.append(f"{n:,} still to be made again: lawsweep rerun {sweep} {options}")
        return lines


def status(opened: Opened) -> Status:
    """See ``Study.status``."""
    from lawsweep.study.amending.forcing import unfinished

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
        reported=tuple(_reported(opened, [sign.state for sign in live])),
        search=None if opened.chosen.whole else opened.sampler.summary(),
        again=unfinished(opened),
        started_by=started_by(opened),
        elsewhere=opened.sweep.elsewhere,
    )


def _reported(opened: Opened, signs: Iterable[Mapping[str, Any]]) -> Iterator[Reported]:
    """What runs under way reported last, as the signs of their launches have it."""
    said = [r for sign in signs for r in sign.get("reported") or () if isinstance(r, Mapping)]
    if not said:
        return
    plan = opened.plan
    place = {run_id: i for i, run_id in enumerate(plan.run_ids)}
    over = plan.over_points()
    varying = [n for n, c in over.items() if c.ndim and len({*c.tolist()}) > 1]
    for one in said:
        i, step, metrics = place.get(str(one.get("run_id"))), one.get("step"), one.get("metrics")
        if i is None or not isinstance(step, int) or not isinstance(metrics, Mapping):
            continue  # of another plan, or written by hand
        params = plan.params_of(i)
        numbers = {str(n): float(v) for n, v in metrics.items() if isinstance(v, int | float)}
        shown = {n: params[n] for n in varying if n in params}
        attempt = one.get("attempt")
        yield Reported(
            plan.run_ids[i], attempt if isinstance(attempt, int) else 1, shown, plan.seed_of(i),
            step, numbers,
        )  # fmt: skip


def started_by(opened: Opened) -> str:
    """The command that starts the sweep's runs, where lawsweep does not; else empty."""
    return str(getattr(opened.plan.experiment.function, "started_by", ""))


def certificate(statuses: Mapping[str, int], planned: int) -> str:
    """``870 planned: 866 ok, 2 infeasible, 1 oom, 1 missing``."""
    from lawsweep.analysis.completeness import completeness

    return completeness(statuses, planned)
