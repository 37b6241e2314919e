"""Rows made again because somebody says so: which, what they took, and going on after a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.study.amending.chosen import Asked, Rows, choose

if TYPE_CHECKING:
    from lawsweep.launch.report import RunReport
    from lawsweep.store.sweeps.forced import Forced
    from lawsweep.study.launch import Launch
    from lawsweep.study.opening import Opened


@dataclass(frozen=True)
class Again:
    """Rows that are to be made again.

    ``n_made``: of those that an earlier such launch was asked for, and ended before all were made;
    None where there was none.
    """

    rows: Rows
    n_made: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**self.rows.to_dict(), "n_made_before": self.n_made or 0}


def look(opened: Opened, wanted: Asked) -> Again:
    """What would be made again; nothing is changed.  Errors as ``choose``.

    Where the same was asked for before, and that launch ended early, it is what is left of it: the
    rows that were meant then, whatever the conditions would choose by now.
    """
    from lawsweep.store.sweeps.forced import read_forced
    from lawsweep.study.questions import open_own_folder

    kept = read_forced(open_own_folder(opened.sweep, opened.plan).folder, wanted.typed)
    if kept is None:
        return Again(choose(opened, wanted))
    left, n_made = _left(opened, kept)
    if not left and not n_made:  # the grid has none of them any more
        return Again(choose(opened, wanted))
    place = {run_id: i for i, run_id in enumerate(opened.plan.run_ids)}
    done = {r: opened.done[r] for r in left if r in opened.done}
    rows = Rows(
        wanted,
        tuple(sorted(place[r] for r in left)),
        tuple(left),
        dict(Counter(d.status for d in done.values()).most_common()),
        sum(d.wall_s or 0.0 for d in done.values()),
    )
    return Again(rows, n_made)


def _left(opened: Opened, kept: Forced) -> tuple[list[str], int]:
    """Which are not made yet, of those still in the plan; and how many are."""
    from lawsweep.store.sweeps.forced import attempts_of

    now, planned = attempts_of(opened.table, list(kept.n_attempts)), set(opened.plan.run_ids)
    waiting = [r for r, n in kept.n_attempts.items() if now[r] <= n]
    return [r for r in waiting if r in planned], len(kept.n_attempts) - len(waiting)


def unfinished(opened: Opened) -> tuple[tuple[int, str], ...]:
    """How many rows are left to be made again, and by which options, of each time it was asked."""
    from lawsweep.store.sweeps.forced import all_forced
    from lawsweep.study.questions import open_own_folder

    each = all_forced(open_own_folder(opened.sweep, opened.plan).folder)
    found = ((len(_left(opened, kept)[0]), kept.asked) for kept in each)
    return tuple((n, asked) for n, asked in found if n)


def _begin_anew(opened: Opened, rows: Rows) -> None:
    """A run that went well is made from its beginning: a checkpoint that was kept is its end."""
    from lawsweep.store.curves.checkpoints import Checkpoints

    table = opened.table
    well = [r for r in rows.run_ids if r in opened.done and opened.done[r].status == "ok"]
    Checkpoints(table.results, table.experiment.name).drop(well)


def make_again(opened: Opened, found: Again, launch: Callable[..., Launch]) -> RunReport:
    """Make the rows again: ``launch`` makes a launch of their places, as ``again``.

    What was asked for is kept in the sweep's folder until all of it is made.
    """
    from lawsweep.store.sweeps.forced import Forced, attempts_of, end_forced
    from lawsweep.study.questions import claim, open_own_folder

    made = launch(again=found.rows.places)  # refuses what cannot be, before anything is kept
    folder = open_own_folder(opened.sweep, opened.plan)
    if found.n_made is None and found.rows.places:
        claim(folder, opened.sweep, opened.plan)
        n_attempts = attempts_of(opened.table, found.rows.run_ids)
        Forced(found.rows.asked.typed, n_attempts).write(folder.folder)
        _begin_anew(opened, found.rows)
    report = made.run()
    if report.stopped is None:
        end_forced(folder.folder, found.rows.asked.typed)
    return report
