"""Rows taken out of a sweep's table: what is lost with them, and doing it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.study.amending.chosen import Asked, Rows, choose

if TYPE_CHECKING:
    from lawsweep.store.upkeep.discard import Held
    from lawsweep.study.opening import Opened


@dataclass(frozen=True)
class Discarded:
    """Rows that are to go, or have gone (``removed``), and what is lost with them.

    ``shared``: other sweeps of the results folder whose plans have some of the runs.
    """

    rows: Rows
    held: Held
    shared: tuple[str, ...]
    removed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **self.rows.to_dict(),
            **dataclasses.asdict(self.held),
            "shared_with": list(self.shared),
            "removed": self.removed,
        }


def look(opened: Opened, wanted: Asked) -> Discarded:
    """What would go; nothing is changed.  Errors as ``choose``."""
    from lawsweep.store.upkeep.discard import held

    rows = choose(opened, wanted)
    return Discarded(rows, held(opened.table, rows.run_ids), tuple(_shared(opened, rows)))


def remove(opened: Opened, found: Discarded) -> Discarded:
    """Take the rows out, with all their attempts and arrays: their runs are as never run.

    May be killed at any moment: the same call then takes the rest.  Raises InvalidValueError while
    a launch of the experiment is under way, which would not know, and StoreError where the folder
    cannot be written to.
    """
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.forced import forget_runs
    from lawsweep.store.upkeep.discard import discard

    if not found.rows.places:
        return found
    refuse_launches(opened)
    try:
        discard(opened.table, found.rows.run_ids)
        sweeps = open_folder(opened.sweep.results) / "sweeps"
        for name in (opened.sweep.folder_name, *found.shared):
            forget_runs(sweeps / name, found.rows.run_ids)
    finally:
        opened.refresh()
    return dataclasses.replace(found, removed=True)


def refuse_launches(opened: Opened) -> None:
    """Raise InvalidValueError while a launch of the sweep's experiment is alive."""
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.signs import may_still_write

    results, name = open_folder(opened.sweep.results), opened.plan.experiment.name
    alive = [s for s in may_still_write(results, name, results.clock()) if s.is_alive]
    if alive:
        raise InvalidValueError(
            f"{alive[0]} is running {name}, and takes its rows for done. Discard when it has "
            "ended, or end it first (Ctrl-C there, lawsweep cancel on a cluster)."
        )


def _shared(opened: Opened, rows: Rows) -> Iterator[str]:
    """Folders of other sweeps whose frozen plan has one of the runs: the table is of all."""
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.sweep_folder import SweepFolder

    wanted = set(rows.run_ids)
    sweeps = open_folder(opened.sweep.results) / "sweeps"
    for name in sweeps.folders() if wanted else ():
        is_own = name == opened.sweep.folder_name
        if not is_own and not wanted.isdisjoint(SweepFolder(sweeps / name).frozen_run_ids()):
            yield name
