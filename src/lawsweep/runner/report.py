"""What a launch says: where it is while it runs, and what it did when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lawsweep.core.outcome import Outcome


@dataclass(frozen=True)
class Snapshot:
    """Where a launch is: for a progress display and for the sign of life in the store."""

    planned: int
    done_before: int
    statuses: Mapping[str, int]
    running: int
    elapsed_s: float
    rate: float
    eta_s: float | None
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    new_failures: tuple[Outcome, ...] = ()

    @property
    def finished(self) -> int:
        """Runs finished by this launch."""
        return sum(self.statuses.values())


@dataclass
class RunReport:
    """What a launch did.  ``stopped`` is None, ``interrupted`` or ``same_failure``.

    ``notes`` are what a person should be told besides (a fused form that fails).
    """

    planned: int
    done_before: int
    statuses: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None
    message: str = ""
    wall_s: float = 0.0
    notes: tuple[str, ...] = ()


Watcher = Callable[[Snapshot], None]


def describe_report(report: RunReport) -> dict[str, Any]:
    """A report as plain values, for the provenance record and ``--json``."""
    return {
        "planned": report.planned,
        "done_before": report.done_before,
        "statuses": dict(report.statuses),
        "stopped": report.stopped,
        "message": report.message,
        "wall_s": report.wall_s,
        "notes": list(report.notes),
    }
