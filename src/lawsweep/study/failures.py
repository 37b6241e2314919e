"""Runs that failed, grouped by what went wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lawsweep.core.outcome import alike

SHOWN_ID = 8  # digits of a run id: enough to be told apart among a million
_LONGEST = 160  # of an error in a line


@dataclass(frozen=True)
class FailureGroup:
    """Runs that ended alike: the same status, and the same error but for its numbers.

    ``error`` and ``run_id`` are those of the first in plan order.
    """

    status: str
    n: int
    error: str
    run_id: str

    def line(self, elsewhere: str = "") -> str:
        """``4 failed: ValueError: n=3 is bad (lawsweep show d3c2baa0)``.

        ``elsewhere``: an override that names the results, where they are in no usual folder.
        """
        first = "".join(self.error.splitlines()[:1])
        if len(first) > _LONGEST:
            first = first[: _LONGEST - 3] + "..."
        said = f": {first}" if first else ""
        show = " ".join(w for w in ("lawsweep show", self.run_id[:SHOWN_ID], elsewhere) if w)
        return f"{self.n:,} {self.status}{said} ({show})"


def failure_groups(rows: Iterable[tuple[str, str, Any]]) -> tuple[FailureGroup, ...]:
    """Groups of (run id, status, error) rows, the largest first.  Rows come in plan order."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for run_id, status, error in rows:
        text = str(error or "")
        found.setdefault((status, alike(text)), []).append((run_id, text))
    groups = [
        FailureGroup(status, len(members), members[0][1], members[0][0])
        for (status, _), members in found.items()
    ]
    return tuple(sorted(groups, key=lambda g: -g.n))
