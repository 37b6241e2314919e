"""Find rows by run id in whatever tables there are, without their experiments' code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.skipping import tell_skipped
from lawsweep.store.table.attempts import IDENTITY, latest_rows
from lawsweep.store.table.parts import SkippedPart, check_experiment, steady_look, use_part
from lawsweep.store.table.reader import Wanted, read_columns

_COLUMNS = {*IDENTITY, "launch_id"}


def find_rows(tables: Path | str | Folder, prefix: str) -> Iterator[Mapping[str, Any]]:
    """The row of each run whose id begins with ``prefix``: the attempt that counts."""
    wanted = Wanted(prefix=prefix)
    for name in open_folder(tables).folders():
        folder = open_folder(tables) / name
        found = steady_look(folder, partial(_rows, folder, name, wanted))
        yield from latest_rows([row for rows in found.values() for row in rows])


def _rows(folder: Folder, experiment: str, wanted: Wanted, name: str) -> list[dict[str, Any]]:
    def hits(file: pq.ParquetFile) -> list[dict[str, Any]]:
        check_experiment(file.schema_arrow, experiment)
        rows: list[dict[str, Any]] = read_columns(file, wanted=wanted).to_pylist()
        return [r for r in rows if r.keys() >= _COLUMNS]

    try:
        return use_part(folder, name, hits)
    except SkippedPart as reason:
        tell_skipped(folder, {name: str(reason)})
        return []
