"""Find rows by run id in whatever tables there are, without their experiments' code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.store.parquet import experiment_folders
from lawsweep.store.schema import FORMAT, part_format


def find_rows(tables: Path, prefix: str) -> Iterator[dict[str, Any]]:
    """The row of each run whose id begins with ``prefix``: latest successful attempt."""
    for name in experiment_folders(tables):
        best: dict[str, dict[str, Any]] = {}
        for path in sorted((tables / name).glob("part-*.parquet")):
            for row in _rows(path, prefix):
                old = best.get(row["run_id"])
                if old is None or _rank(row) >= _rank(old):
                    best[row["run_id"]] = row
        yield from best.values()


def _rank(row: dict[str, Any]) -> tuple[bool, int, Any]:
    return row["status"] == "ok", row["attempt"], row["started_at"]


def _rows(path: Path, prefix: str) -> list[dict[str, Any]]:
    try:
        file = pq.ParquetFile(path)
        written = part_format(file.schema_arrow)
        if written is None or written > FORMAT:
            return []
        hits = pc.starts_with(file.read(columns=["run_id"])["run_id"], prefix)
        if not pc.any(hits).as_py():
            return []
        rows: list[dict[str, Any]] = file.read().filter(hits).to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        return []
    return rows
