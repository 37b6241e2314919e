"""Rows taken out of a table, so that their runs count as not run: the one way a row ever goes.

Parts never change, so one that holds such rows is written again without them, and the old one goes
when the new one is durable.  A reader meanwhile, or after a kill at any moment, sees either all of
a part's rows or none of those that go; the same command then takes the rest.  Rows go before their
arrays and curves: values without rows are what ``gc`` collects anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.core.errors import StoreError
from lawsweep.store.arrays.arrays import parquet_bytes
from lawsweep.store.curves import curves
from lawsweep.store.curves.artefacts import Artefacts
from lawsweep.store.curves.checkpoints import Checkpoints
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.parts import (
    SkippedPart,
    digest,
    encode,
    part_name,
    part_names,
    steady_look,
    use_part,
)
from lawsweep.store.table.reader import Wanted, read_columns

T = TypeVar("T")
LOOKS = 20  # at a table that others merge meanwhile
_NAME = re.compile(r"part-([0-9a-f]{16})-[0-9a-f]{16}(-compact)?\.parquet\Z")


@dataclass(frozen=True)
class Held:
    """What a table holds of some runs: every attempt, its seconds, and what is kept beside it.

    Values of arrays, points of curves, and files that the runs left.
    """

    n_runs: int
    n_rows: int
    wall_s: float
    n_values: int
    array_bytes: int
    n_points: int
    n_artefacts: int
    artefact_bytes: int
    skipped: tuple[str, ...]  # parts that cannot be read, and may hold more


def held(table: ParquetTable, run_ids: Collection[str]) -> Held:
    """What would be lost with the rows of these runs.  Raises StoreError."""
    rows = table.attempts(run_ids, ["wall_s"])
    n_values = array_bytes = 0
    skipped = [f"{table.folder}/{name}" for name in table.skipped]
    for folder in _arrays(table):
        shapes = steady_look(folder, _shapes_of(folder, run_ids)).values()
        for found in shapes:
            n_values += len(found)
            array_bytes += sum(8 * int(np.prod(shape, dtype=np.int64)) for shape in found)
    left = list(Artefacts(table.results, table.experiment.name).all(run_ids))
    return Held(
        n_runs=pc.count_distinct(rows["run_id"]).as_py() or 0,
        n_rows=rows.num_rows,
        wall_s=float(pc.sum(rows["wall_s"]).as_py() or 0.0),
        n_values=n_values,
        array_bytes=array_bytes,
        n_points=table.curve_table.read(list(run_ids)).num_rows,
        n_artefacts=len(left),
        artefact_bytes=sum(one.n_bytes for one in left),
        skipped=tuple(skipped),
    )


def discard(table: ParquetTable, run_ids: Collection[str]) -> int:
    """Take every attempt of these runs out of the table; how many rows that were.

    With its arrays, its curve, its checkpoint and its artefacts; these two before the rows, so that
    where it is ended in between the same rows can still be named.

    Raises StoreError, before anything goes where the folder cannot be written to.
    """
    table.folder.check_writable()
    results, name = table.results, table.experiment.name
    Checkpoints(results, name).drop(run_ids)  # left behind, the run made anew would go on from it
    Artefacts(results, name).drop(run_ids)  # nothing else collects them
    n = _without(table.folder, run_ids, encode)
    for folder in _arrays(table):
        _without(folder, run_ids, parquet_bytes)
    _without(table.curve_table.folder, run_ids, curves.parquet_bytes)
    return n


def _arrays(table: ParquetTable) -> list[Folder]:
    beside = table.results / "arrays" / table.experiment.name
    return [beside / name for name in beside.folders()]


def _shapes_of(folder: Folder, run_ids: Collection[str]) -> Callable[[str], list[list[int]]]:
    wanted = Wanted(run_ids)

    def read(file: pq.ParquetFile) -> list[list[int]]:
        if "shape" not in file.schema_arrow.names:
            raise SkippedPart("not a part of this table")
        table = read_columns(file, ["run_id", "shape"], wanted)
        return list(table["shape"].to_pylist())

    def shapes(name: str) -> list[list[int]]:
        try:
            return use_part(folder, name, read)
        except SkippedPart:
            return []

    return shapes


def _without(folder: Folder, run_ids: Collection[str], write: Callable[[pa.Table], bytes]) -> int:
    """Write the parts of a folder that hold some of these runs again, without them.

    Whoever merges parts at the same time may bring rows back: so until a look finds none.
    """
    wanted, n_gone = Wanted(run_ids), 0

    def count(file: pq.ParquetFile) -> int:
        return int(read_columns(file, ["run_id"], wanted).num_rows)

    for _ in range(LOOKS):
        holders = [n for n in part_names(folder) if _read(folder, n, count)]
        if not holders:
            return n_gone
        for name in holders:
            n_gone += _rewrite(folder, name, run_ids, write)
    raise StoreError(f"The parts in {folder} keep changing; try again when nobody writes there.")


def _rewrite(
    folder: Folder, name: str, run_ids: Collection[str], write: Callable[[pa.Table], bytes]
) -> int:
    part = _read(folder, name, read_columns)
    if part is None:
        return 0
    gone = pc.is_in(part["run_id"].cast(pa.string()), value_set=pa.array(sorted(run_ids)))
    rest = part.filter(pc.invert(gone))
    if rest.num_rows:
        data = write(rest)
        if name not in folder.names():  # another rewrote it: what went there would come back
            return 0
        folder.write(_name_of(name, data), data)
    folder.delete(name)
    return int(part.num_rows - rest.num_rows)


def _name_of(old: str, data: bytes) -> str:
    """Where the old part stood among the others, and of its kind."""
    match = _NAME.match(old)
    if match is None:
        return part_name(data)
    return f"part-{match.group(1)}-{digest(data)}{match.group(2) or ''}.parquet"


def _read(folder: Folder, name: str, read: Callable[[pq.ParquetFile], T]) -> T | None:
    """None for a part that has gone, or is none of ours."""
    try:
        return use_part(folder, name, read)
    except (SkippedPart, FileNotFoundError):
        return None
