"""Compaction: many small parts become few large ones, and nobody who reads or writes notices.

Every attempt is kept; only rows equal to another in every bit (left by a try that was repeated)
are dropped.  Parts get the columns of all of them, each as wide as it must be and a param filled in
with its default, as our readers do it: so what those make of the table is the same before, during
and after, and any other reader finds one schema.  Parts that cannot have it stay apart.

* A new part is durable before the parts it replaces go, and only parts that were read to the end,
  and hold what their name's digest says, are ever replaced.  What is torn, damaged, foreign or
  newer is left alone, and named.
* A new part lists, in its footer, the digests of those it replaces.  If the compaction dies before
  they are gone, the next one sees that they are covered, and removes them without merging twice.
* Nothing is locked.  Writers only add parts, which no compaction that began before looks at; two
  compactions at once leave, at worst, duplicates.  Parts that are gone by the time that theirs is
  to be written are not merged: another compaction has them, or a discard took rows out.
* Rows are sorted by run id: the bounds of a row group then tell which few hold a given run.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.core.errors import StoreError
from lawsweep.store.arrays import arrays
from lawsweep.store.curves import curves
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.one_schema import JOINED, joined, one_schema
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.parts import (
    REQUESTS,
    SkippedPart,
    digest,
    encode,
    part_names,
    use_part,
)
from lawsweep.store.table.reader import read_columns
from lawsweep.store.upkeep.bits import row_classes, same_values

TARGET_BYTES = 128 * 2**20  # of one part, as a file
TARGET_ROWS = 1_000_000
MEMORY_BYTES = 2**30  # of rows held at once: texts may be far larger than their file
WINDOW = 64  # parts read ahead at most
ORDER = [("run_id", "ascending"), ("attempt", "ascending"), ("started_at", "ascending")]
_NAME = re.compile(r"part-([0-9a-f]{16})-([0-9a-f]{16})(-compact)?\.parquet\Z")
_PIECE = 2**20  # bytes hashed at once
_COVERS = b"lawsweep.compacts"
T = TypeVar("T")


@dataclass
class Compacted:
    """What a compaction did to the parts in one folder."""

    folder: str
    n_parts_before: int = 0
    n_parts_after: int = 0
    n_rows_moved: int = 0
    n_duplicates_dropped: int = 0
    n_covered_removed: int = 0  # parts that an earlier compaction had replaced and not removed
    bytes_before: int = 0
    bytes_after: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)  # of another schema, and why


def compact(
    table: ParquetTable, *, target_bytes: int = TARGET_BYTES, target_rows: int = TARGET_ROWS
) -> list[Compacted]:
    """Compact the rows of a table, each of its arrays, and its curves; one report a folder.

    Parts that have half a target's bytes or rows are settled, and stay, if they have the columns
    and types of all others.  May be killed at any
    moment, and run beside drivers, readers and other compactions.  Raises StoreError when the
    folder cannot be read or written; nothing is lost then.
    """
    done = [_compact_folder(table.folder, encode, target_bytes, target_rows)]
    beside = table.results / "arrays" / table.experiment.name
    for name in beside.folders():
        done.append(_compact_folder(beside / name, arrays.parquet_bytes, target_bytes, target_rows))
    points = table.curve_table.folder
    if part_names(points):
        done.append(_compact_folder(points, curves.parquet_bytes, target_bytes, 4 * target_rows))
    return done


def _compact_folder(
    folder: Folder, write: Callable[[pa.Table], bytes], target_bytes: int, target_rows: int
) -> Compacted:
    report = Compacted(str(folder))
    names = part_names(folder)
    sizes = _sizes(folder, names)
    report.n_parts_before, report.bytes_before = len(sizes), sum(sizes.values())
    covered = remove_covered(folder, list(sizes), dry=False)
    report.n_covered_removed = len(covered)
    batches: dict[bytes, _Batch] = {}
    here = [n for n in sizes if n not in covered]
    one = one_schema(folder, here)
    report.apart |= one.apart
    small = {n: sizes[n] for n in here if sizes[n] < target_bytes / 2 or n in one.mixed}
    settled = {n: math.inf if n in one.mixed else target_rows / 2 for n in small}
    for name, read in _load_all(folder, _windows(small, target_bytes), settled, report.skipped):
        part = one.made(name, read)
        told = {k: v for k, v in (part.schema.metadata or {}).items() if k not in JOINED}
        key = part.schema.with_metadata(told).serialize().to_pybytes()
        batch = batches.setdefault(key, _Batch())
        if batch.would_exceed(part, sizes[name], target_bytes, target_rows):
            _flush(folder, batch, write, report)
            batch = batches[key] = _Batch()
        batch.add(name, part, sizes[name], rewrite=name in one.mixed)
    for batch in batches.values():
        _flush(folder, batch, write, report)
    left = _sizes(folder, part_names(folder))
    report.n_parts_after, report.bytes_after = len(left), sum(left.values())
    return report


def _sizes(folder: Folder, names: list[str]) -> dict[str, int]:
    def size(name: str) -> int | None:
        try:
            return folder.size(name)
        except (FileNotFoundError, StoreError):
            return None  # gone, or a loop of links: nothing that could be compacted

    found = zip(names, _each(folder, size, names), strict=True)
    return {n: s for n, s in found if s is not None}


def _each(folder: Folder, do: Callable[[str], T], names: Iterable[str]) -> list[T]:
    """``do`` to each name; where each costs a round trip, to several at the same time."""
    if folder.is_local:
        return [do(name) for name in names]
    with ThreadPoolExecutor(REQUESTS) as pool:
        return list(pool.map(do, names))


@dataclass
class _Batch:
    """Parts of one schema, to become one part."""

    parts: dict[str, pa.Table] = field(default_factory=dict)
    n_rows: int = 0
    file_bytes: int = 0
    memory_bytes: int = 0
    rewrite: bool = False  # even where nothing is merged

    def would_exceed(self, part: pa.Table, size: int, max_bytes: int, max_rows: int) -> bool:
        return (
            self.n_rows + part.num_rows > max_rows
            or self.file_bytes + size > max_bytes
            or self.memory_bytes > MEMORY_BYTES
        )

    def add(self, name: str, part: pa.Table, size: int, *, rewrite: bool) -> None:
        self.parts[name] = part
        self.rewrite |= rewrite
        self.n_rows += part.num_rows
        self.file_bytes += size
        self.memory_bytes += part.nbytes


def _windows(sizes: dict[str, int], max_bytes: int) -> Iterator[list[str]]:
    """Parts that are read at the same time, in order."""
    some: list[str] = []
    for name in sizes:
        if some and (len(some) == WINDOW or sum(map(sizes.__getitem__, some)) > max_bytes / 2):
            yield some
            some = []
        some.append(name)
    yield some


def _load_all(
    folder: Folder,
    windows: Iterable[list[str]],
    settled: Mapping[str, float],
    skipped: dict[str, str],
) -> Iterator[tuple[str, pa.Table]]:
    """The parts that are to be merged, in order; one of ``settled`` rows stays as it is."""
    with ThreadPoolExecutor(4 if folder.is_local else REQUESTS) as pool:
        for some in windows:
            found = pool.map(lambda name: load_part(folder, name, skipped, settled[name]), some)
            yield from ((n, part) for n, part in zip(some, found, strict=True) if part is not None)


def load_part(
    folder: Folder, name: str, skipped: dict[str, str], settled_rows: float = math.inf
) -> pa.Table | None:
    """A part as it was written; None when it is settled, gone, or (``skipped``) none of ours."""
    try:
        data = folder.read(name)
    except FileNotFoundError:
        return None
    except StoreError as error:
        if not folder.is_local:
            raise
        skipped[name] = str(error)
        return None
    if (said := said_digest(name)) is not None and said != digest(data):
        skipped[name] = "damaged: its content is not what its name says"
        return None
    try:
        part = use_part(cast(Folder, _Held(data)), name, lambda file: _whole(file, settled_rows))
    except SkippedPart as reason:
        skipped[name] = str(reason)
        return None
    if part is not None and not {n for n, _ in ORDER} <= set(part.schema.names):
        skipped[name] = "not a part of this table"
        return None
    return part


def _whole(file: pq.ParquetFile, settled_rows: float) -> pa.Table | None:
    if file.metadata.num_rows >= settled_rows:
        return None
    part = read_columns(file, use_threads=False)  # several parts are read at a time
    told = {k: v for k, v in (part.schema.metadata or {}).items() if k != _COVERS}
    return part.replace_schema_metadata(told)


class _Held:
    """A file that is in memory already, as what ``use_part`` needs of a folder."""

    is_local = True

    def __init__(self, data: bytes):
        self.data = data

    def open(self, name: str) -> pa.NativeFile:
        return pa.BufferReader(self.data)


def _flush(
    folder: Folder, batch: _Batch, write: Callable[[pa.Table], bytes], report: Compacted
) -> None:
    """Write a batch as one part; then, when that is durable, remove what it replaces."""
    if len(batch.parts) < 2 and not batch.rewrite:
        return
    merged, n_duplicates = merge(list(batch.parts.values()))
    said = (said_digest(n) for n in batch.parts)
    words = joined([p.schema for p in batch.parts.values()])
    told = {**(merged.schema.metadata or {}), **words, _COVERS: " ".join(s for s in said if s)}
    data = write(merged.replace_schema_metadata(told))
    # Named after its newest source, so that it stands where they stood among the other parts.
    when = max((m.group(1) for n in batch.parts if (m := _NAME.match(n))), default="0" * 16)
    name = f"part-{when}-{digest(data)}-compact.parquet"
    if not batch.parts.keys() <= set(folder.names()):
        return  # one was replaced meanwhile: rows that somebody took out would come back
    folder.write(name, data)
    _each(folder, folder.delete, [old for old in batch.parts if old != name])
    report.n_rows_moved += merged.num_rows
    report.n_duplicates_dropped += n_duplicates


def merge(tables: list[pa.Table]) -> tuple[pa.Table, int]:
    """Rows of tables of one schema, sorted by run id, attempt and time, without exact duplicates.

    The sort is stable, and of equal rows the last one stays: where rows agree in all three and
    differ elsewhere, the one that a reader takes is the same as before.
    """
    table = pa.concat_tables(tables).combine_chunks()
    table = table.take(pc.sort_indices(table, sort_keys=ORDER))
    if pc.count_distinct(table["run_id"]).as_py() == table.num_rows:
        return table, 0
    again = np.ones(table.num_rows - 1, dtype=bool)
    for name, _ in ORDER:
        again &= same_values(table[name].slice(1), table[name].slice(0, table.num_rows - 1))
    tied = np.flatnonzero(np.append(again, False) | np.append(False, again))
    classes = row_classes(table.take(pa.array(tied)))
    last = np.unique(classes[::-1], return_index=True)[1]
    keep = np.ones(table.num_rows, dtype=bool)
    keep[tied] = False
    keep[tied[len(tied) - 1 - last]] = True
    return table.filter(pa.array(keep)), len(tied) - len(last)


def said_digest(name: str) -> str | None:
    """The digest of its content that a part's name gives; None for a name of another form."""
    match = _NAME.match(name)
    return match.group(2) if match else None


def remove_covered(folder: Folder, names: Iterable[str], *, dry: bool) -> dict[str, str]:
    """Parts that a part made by a compaction replaces, and which of those it is.

    With ``dry`` false they are removed, once the replacing part is seen to be whole.
    """
    by_digest = {said: n for n in names if (said := said_digest(n))}
    found: dict[str, str] = {}
    for name in by_digest.values():
        if not name.endswith("-compact.parquet") or name in found:
            continue
        try:
            metadata = use_part(folder, name, lambda file: file.schema_arrow.metadata)
            replaced = (metadata or {}).get(_COVERS, b"").decode(errors="replace").split()
            here = [by_digest[d] for d in replaced if by_digest.get(d, name) != name]
            if here and is_whole(folder, name):
                found |= dict.fromkeys(here, name)
        except (SkippedPart, FileNotFoundError):
            continue
    if not dry:
        _each(folder, folder.delete, found)
    return found


def is_whole(folder: Folder, name: str) -> bool:
    """Whether a part holds what its name's digest says."""
    found = hashlib.blake2b(digest_size=8)
    with folder.open(name) as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return said_digest(name) == found.hexdigest()
