"""Signs of life: ``launches/<launch>.live``, written anew every few seconds while a launch lives.

How old a sign is says the clock of the store: those of two hosts may differ by an hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lawsweep.core.errors import StoreError
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.records import MOST_RECORD, parse_record
from lawsweep.worker.presence import is_dead

SUFFIX = ".live"
ALIVE_S = 20.0  # a sign older than this is none: launches give one every 2 to 8 s
PATIENCE_S = 60.0  # of a launch that does not say how long it waits for its store
MARGIN_S = 3600.0  # beyond its patience: the last try to write takes a while, and so may a machine


@dataclass(frozen=True)
class Sign:
    """A launch's sign of life, ``age_s`` old by the store's clock; ``state`` is what it says."""

    launch_id: str
    age_s: float
    state: Mapping[str, Any]

    @property
    def is_alive(self) -> bool:
        """Whether its launch gave it a moment ago and, where that can be seen, still runs."""
        return abs(self.age_s) < ALIVE_S and not is_dead(self.state)

    @property
    def may_write(self) -> bool:
        """Whether its launch may still write what it holds.

        It promised to wait for its store so long; a sign may be that old since it was the store
        that could not be written to.
        """
        patience = self.state.get("patience_s")
        good = isinstance(patience, int | float) and patience == patience
        held_s = (max(0.0, float(patience)) if good else PATIENCE_S) + MARGIN_S  # type: ignore[arg-type]
        return self.age_s < held_s and not is_dead(self.state)

    def __str__(self) -> str:
        who, since = self.state.get("by") or self.state.get("host"), self.state.get("started_at")
        return f"launch {self.launch_id} ({who or '?'}, since {since or '?'})"


def signs(launches: Folder, now: float) -> Iterator[Sign]:
    """Whole signs in a folder of launches, by name; ``now`` is the store's (``Folder.clock``)."""
    for name in launches.names():
        if not name.endswith(SUFFIX):
            continue
        with suppress(OSError, ValueError, StoreError):
            age_s = now - launches.modified(name)
            state = parse_record(launches.read(name, most=MOST_RECORD))
            yield Sign(name.removesuffix(SUFFIX), age_s, state)


def may_still_write(results: Folder, experiment: str, now: float) -> list[Sign]:
    """Signs under ``results`` of launches that may yet write rows of an experiment."""
    sweeps = results / "sweeps"
    found = [s for name in sweeps.folders() for s in signs(sweeps / name / "launches", now)]
    return [s for s in found if s.may_write and s.state.get("experiment", experiment) == experiment]
