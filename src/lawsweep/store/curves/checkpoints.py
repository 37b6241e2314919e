"""Where the checkpoints of an experiment's runs are: a file a run, ``results/checkpoints``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from lawsweep.core.during.keeper import FOLDER, file_name
from lawsweep.core.errors import StoreError
from lawsweep.core.outcome import Place
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.parts import REQUESTS


class Checkpoints:
    """The checkpoints of one experiment under a results folder."""

    def __init__(self, results: Folder, experiment: str):
        self._results, self._experiment = results, experiment
        self.folder = results / FOLDER / experiment

    def place(self, code: str, *, keep: bool) -> Place:
        """Where runs of a launch keep theirs, as workers open it: a whole path, or a URL."""
        results = self._results
        url = str(Path(results.url).absolute()) if results.is_local else results.url
        return Place(url, self._experiment, code, keep)

    def drop(self, run_ids: Iterable[str]) -> None:
        """Remove those of some runs; one that cannot be removed now is left to ``gc``."""

        def drop(run_id: str) -> None:
            with suppress(StoreError):
                self.folder.delete(file_name(run_id))

        with ThreadPoolExecutor(1 if self.folder.is_local else REQUESTS) as pool:
            list(pool.map(drop, run_ids))

    def runs(self) -> Iterator[str]:
        """Run ids that have one."""
        ending = file_name("")
        yield from (n.removesuffix(ending) for n in self.folder.names() if n.endswith(ending))
