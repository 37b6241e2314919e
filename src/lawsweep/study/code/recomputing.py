"""Runs whose row is made again since the code has changed: which, and what that is to cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lawsweep.study.code.lacking import lacking
from lawsweep.study.code.rows import CodeOfRows, code_of_rows, some_files
from lawsweep.study.opening import Opened

if TYPE_CHECKING:
    from lawsweep.launch.report import RunReport


@dataclass(frozen=True)
class Again:
    """What a launch with ``recompute`` runs again, and why: ``places`` in the plan.

    ``lack``: how many successful rows lack each metric that came since; ``n_missing`` runs have no
    row yet, and are run too (of a sweep with a search, those that it comes to ask for).
    """

    places: tuple[int, ...]
    code: CodeOfRows
    lack: dict[str, int]
    n_missing: int

    def lines(self) -> Iterator[str]:
        """What is run again and why, and what is left as it is."""
        stale, n = self.code.stale, len(self.places)
        if not n:
            yield "nothing to recompute: no row is known to be of other code than today's"
        reasons = []
        if stale:
            files = sorted({f for other in self.code.open for f in other.files})
            reasons.append(f"{len(stale):,} made by other code ({some_files(files)})")
        reasons += [f"{k:,} without the metric {name}" for name, k in self.lack.items()]
        if n:
            rest = f", besides {self.n_missing:,} that have no row" if self.n_missing else ""
            yield f"recompute: {n:,} runs again, {', '.join(reasons)}{rest}"
        if same := sum(len(o.places) for o in self.code.others if o.accepted is not None):
            yield f"{same:,} rows by code that was accepted stay"
        if unknown := self.code.unknown():
            yield f"{unknown}; they stay"


def again(opened: Opened) -> Again:
    """Runs whose row is to be made again: by other code that nobody accepted, or without a metric.

    What an earlier such launch has done by today's code is not among them, so that one which was
    killed goes on.
    """
    code, lack = code_of_rows(opened), lacking(opened)
    places = {*code.stale, *(place for each in lack.values() for place in each)}
    n_missing = len(opened.sampler.wanted())
    return Again(tuple(sorted(places)), code, {n: len(p) for n, p in lack.items()}, n_missing)


def again_and_missing(opened: Opened) -> list[int] | None:
    """What a launch with ``recompute`` gives its sampler: of the whole grid all that it is to run.

    None where nothing is to be made again.
    """
    places = again(opened).places
    if not places:
        return None
    missing = opened.sampler.wanted() if opened.chosen.whole else ()
    return sorted({*places, *missing})


def failed_again(report: RunReport) -> Iterator[str]:
    """A note where runs that were made again gave no answer: an older one then still counts."""
    n = sum(k for status, k in report.statuses.items() if status != "ok")
    if n:
        yield (
            f"{n:,} runs gave no metrics: where an earlier attempt did, by other code, its row "
            "still counts"
        )
