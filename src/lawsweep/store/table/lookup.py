"""Find rows by run id in whatever tables there are, without their experiments' code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.skipping import tell_skipped
from lawsweep.store.table.parts import (
    SkippedPart,
    check_experiment,
    read_columns,
    steady_look,
    use_part,
)

_COLUMNS = {"run_id", "status", "attempt", "started_at", "launch_id"}


def find_rows(tables: Path | str | Folder, prefix: str) -> Iterator[dict[str, Any]]:
    """The row of each run whose id begins with ``prefix``: latest successful attempt."""
    for name in open_folder(tables).folders():
        best: dict[str, dict[str, Any]] = {}
        for row in _steady(open_folder(tables) / name, name, prefix):
            old = best.get(row["run_id"])
            if old is None or _rank(row) >= _rank(old):
                best[row["run_id"]] = row
        yield from best.values()


def _rank(row: dict[str, Any]) -> tuple[bool, int, Any]:
    return row["status"] == "ok", row["attempt"], row["started_at"]


def _steady(folder: Folder, experiment: str, prefix: str) -> list[dict[str, Any]]:
    """The rows of all parts; listed again when one is merged away meanwhile."""
    found = steady_look(folder, lambda name: _rows(folder, experiment, name, prefix))
    return [row for rows in found.values() for row in rows]


def _rows(folder: Folder, experiment: str, name: str, prefix: str) -> list[dict[str, Any]]:
    def hits(file: pq.ParquetFile) -> list[dict[str, Any]]:
        check_experiment(file.schema_arrow, experiment)
        found = pc.starts_with(read_columns(file, ["run_id"])["run_id"], prefix)
        if not pc.any(found).as_py():
            return []
        rows: list[dict[str, Any]] = read_columns(file).filter(found).to_pylist()
        return [r for r in rows if r.keys() >= _COLUMNS]

    try:
        return use_part(folder, name, hits)
    except SkippedPart as reason:
        tell_skipped(folder, {name: str(reason)})
        return []
