"""What a launch says: where it is while it runs, and what it did when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from heapq import nsmallest
from typing import Any

from lawsweep.core.outcome import RunSpec
from lawsweep.core.shown import Shown

N_SLOWEST = 3  # of the runs under way, so many are named


@dataclass(frozen=True)
class UnderWay:
    """A run that a worker is at, and for how many seconds it has been."""

    seconds: float
    params: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Snapshot:
    """Where a launch is: for a progress display and for the sign of life in the store.

    ``n_busy`` of ``n_slots`` slots have a batch that has begun; ``slot`` is what one of them
    holds (``CPU``, ``0.25 GPU``).  ``slowest``: the runs that are longest under way.
    ``finishing_s``: it was interrupted, and waits at most so long for those under way.
    """

    planned: int
    done_before: int
    statuses: Mapping[str, int]
    running: int
    elapsed_s: float
    rate: float
    eta_s: float | None
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    n_slots: int = 0
    n_busy: int = 0
    slot: str = "CPU"
    slowest: tuple[UnderWay, ...] = ()
    finishing_s: float | None = None

    @property
    def finished(self) -> int:
        """Runs finished by this launch."""
        return sum(self.statuses.values())

    def at_end(self, report: RunReport) -> Snapshot:
        """The same when the launch has ended: nothing is under way, and nothing is awaited."""
        return replace(
            self,
            statuses=dict(report.statuses),
            running=0,
            n_busy=0,
            slowest=(),
            eta_s=None,
            eta_low_s=None,
            eta_high_s=None,
            finishing_s=None,
        )


@dataclass
class RunReport(Shown):
    """What a launch did.  ``stopped`` is None or why: ``interrupted``, ``same_failure``,
    ``failures`` (as many as may) or ``error``.

    ``by_others``: runs that it was to do and other launches did meanwhile.
    ``notes`` are what a person should be told besides (a fused form that fails).  ``unseeded``
    counts runs by the global random generators that they drew from without seeding them.
    """

    planned: int
    done_before: int
    statuses: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None
    message: str = ""
    wall_s: float = 0.0
    notes: tuple[str, ...] = ()
    by_others: int = 0
    unseeded: Counter[str] = field(default_factory=Counter)

    def _shown(self) -> tuple[str, Mapping[str, Any]]:
        return f"{sum(self.statuses.values()):,} runs in {self.wall_s:.3g} s", {
            "planned": f"{self.planned:,}",
            "done before": f"{self.done_before:,}",
            **{status: f"{n:,}" for status, n in self.statuses.items()},
            "stopped": f"{self.stopped}: {self.message}" if self.stopped else "",
            "notes": "; ".join(self.notes),
        }


Watcher = Callable[[Snapshot], None]


def describe_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as plain values, for the sign of life in the store."""
    plain = {f.name: getattr(snapshot, f.name) for f in fields(snapshot)}
    plain["statuses"] = dict(snapshot.statuses)
    plain["slowest"] = [
        {"seconds": round(u.seconds, 1), "params": dict(u.params), "seed": u.seed}
        for u in snapshot.slowest
    ]
    return {**plain, "finished": snapshot.finished}


def slowest(begun: Iterable[tuple[float, RunSpec]], now: float) -> tuple[UnderWay, ...]:
    """The runs longest under way, of pairs of when a worker was last heard of and its next run.

    A batch is done in order, so its first run without an answer is the one the worker is at.
    """
    first = nsmallest(N_SLOWEST, begun, key=lambda pair: pair[0])
    return tuple(UnderWay(now - since, run.params, run.seed) for since, run in first)


def slot_name(executor: Mapping[str, Any]) -> str:
    """What a slot of an executor holds, from its description: ``2 CPUs``, ``0.25 GPU``."""
    gpus, cpus = executor.get("gpus_per_task") or 0, executor.get("cpus_per_task") or 1
    if isinstance(gpus, str) or (isinstance(cpus, str) and not gpus):
        return "GPU" if gpus else "CPU"  # by point: slots are as large as the runs need
    if not gpus and str(executor.get("device", "cpu")).startswith("cuda"):
        gpus = 1
    n, kind = (gpus, "GPU") if gpus else (cpus, "CPU")
    return kind if n == 1 else f"{n:g} {kind}{'s' if n > 1 else ''}"


class UnseededDrawsWarning(UserWarning):
    """Runs drew from a global random generator that they had not seeded."""


def told_unseeded(report: RunReport, experiment: str) -> tuple[str, ...]:
    """A sentence on runs that drew from global random generators; none where there are none."""
    if not report.unseeded:
        return ()
    which = ", ".join(sorted({n for names in report.unseeded for n in names.split(", ")}))
    n, n_all = report.unseeded.total(), report.statuses.total()
    return (
        f"{experiment} drew from the global generator of {which} without seeding it, in {n:,} of "
        f"{n_all:,} runs: these numbers are the same in every run, whatever its seed. Draw from "
        "numpy.random.default_rng(seed) or lawsweep.stream(seed, name), or seed it by the run's "
        "seed first",
    )


def describe_report(report: RunReport) -> dict[str, Any]:
    """A report as plain values, for the provenance record and ``--json``."""
    return {
        "planned": report.planned,
        "done_before": report.done_before,
        "by_others": report.by_others,
        "statuses": dict(report.statuses),
        "stopped": report.stopped,
        "message": report.message,
        "wall_s": report.wall_s,
        "notes": list(report.notes),
    }
