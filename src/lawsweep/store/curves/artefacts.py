"""Files that runs left, ``results/artefacts/<experiment>/<run_id>/<name>``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from lawsweep.core.during.keeper import ARTEFACTS
from lawsweep.core.errors import StoreError
from lawsweep.store.places.files import TEMPORARY
from lawsweep.store.places.folder import Folder


class Left(NamedTuple):
    """A file that a run left."""

    run_id: str
    name: str
    n_bytes: int
    folder: Folder


class Artefacts:
    """The files that the runs of one experiment left."""

    def __init__(self, results: Folder, experiment: str):
        self.folder = results / ARTEFACTS / experiment

    def of(self, run_id: str) -> list[Left]:
        """Those of one run, by name."""
        folder, found = self.folder / run_id, []
        for name in folder.names():
            if not name.startswith(TEMPORARY):
                with suppress(FileNotFoundError, StoreError):
                    found.append(Left(run_id, name, folder.size(name), folder))
        return found

    def all(self, run_ids: Iterable[str] | None = None) -> Iterator[Left]:
        """Those of all runs, or of some; by run id and name."""
        wanted = None if run_ids is None else set(run_ids)
        for run_id in self.folder.folders():
            if wanted is None or run_id in wanted:
                yield from self.of(run_id)

    def drop(self, run_ids: Iterable[str]) -> None:
        """Remove those of some runs."""
        for one in list(self.all(run_ids)):
            one.folder.delete(one.name)
