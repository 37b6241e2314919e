"""The table: a grow-only set of rows in immutable Parquet parts, keyed by ``run_id``.

Parts are named by their content and written whole (``files.write_atomic``), so writers need no
lock and two drivers may run at once.  Duplicates are harmless: the reader keeps the latest
successful attempt.  A torn, foreign or newer file is named and skipped.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.core.errors import IncompatibleTableError, StoreError
from lawsweep.core.experiment import Experiment
from lawsweep.core.protocols import Done
from lawsweep.store.files import check_writable, store_error, write_atomic
from lawsweep.store.schema import (
    FORMAT,
    changed_defaults,
    conflicts,
    defaults,
    part_format,
    table_schema,
)

_KEYS = [
    "run_id", "status", "attempt", "wall_s", "peak_memory_bytes", "device", "n_threads",
    "started_at",
]  # fmt: skip

_PART = re.compile(r"part-.*\.parquet\Z")
MERGE = 16  # small parts of one writer that become one
MAX_LOOKS = 20


@dataclass
class ParquetTable:
    """All outcomes of one experiment in the folder ``root/<experiment>``.

    ``skipped`` names the files the last read passed over, each with its reason.
    """

    root: Path
    experiment: Experiment
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.root) / self.experiment.name
        self.schema = table_schema(self.experiment)
        self._own: list[list[Path]] = []  # parts this object wrote, by how often they were merged

    def parts(self) -> list[Path]:
        """The files that may be parts, in name order (roughly the order of writing)."""
        try:
            names = [n for n in os.listdir(self.folder) if _PART.match(n)]  # noqa: PTH208
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f"Cannot read {self.folder}: {error.strerror}. Check results_dir."
            ) from None
        return [self.folder / n for n in sorted(names)]

    def check_writable(self) -> None:
        """Raise StoreError if no part can be written, IncompatibleTableError if none should be."""
        check_writable(self.folder)
        for path in self.parts():
            schema = self._schema_of(path)
            if schema is None:
                continue
            written = part_format(schema)
            if written is not None and written > FORMAT:
                raise IncompatibleTableError(
                    f"The table {self.folder} was written by a newer lawsweep: {path.name} has "
                    f"format {written}, this one writes {FORMAT}. Update lawsweep, or set "
                    "results_dir to another folder."
                )
            wrong = conflicts(self.schema, schema) if written is not None else []
            if wrong:
                raise IncompatibleTableError(
                    f"The table {self.folder} holds other columns than {self.experiment.name} "
                    f"version {self.experiment.version} ({path.name}: {'; '.join(wrong)}). "
                    "Rename the field, or set results_dir to another folder."
                )

            changed = changed_defaults(self.experiment, schema) if written is not None else []
            if changed:
                raise IncompatibleTableError(
                    f"{self.experiment.name} version {self.experiment.version} has rows under "
                    f"other defaults ({'; '.join(changed)}), and a run id leaves defaults out. "
                    "Raise the version of the experiment, or restore the default."
                )

    def _schema_of(self, path: Path) -> pa.Schema | None:
        try:
            return pq.read_schema(path)
        except (pa.ArrowException, OSError, ValueError):
            return None

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows as one part: durable when this returns, absent if it raises StoreError."""
        if not rows:
            return
        arrays = [pa.array([r.get(f.name) for r in rows], type=f.type) for f in self.schema]
        self._write(_parquet_bytes(pa.Table.from_arrays(arrays, schema=self.schema)), 0)

    def _write(self, data: bytes, level: int) -> None:
        digest = hashlib.blake2b(data, digest_size=8).hexdigest()
        path = self.folder / f"part-{time.time_ns():016x}-{digest}.parquet"
        write_atomic(path, data)
        while len(self._own) <= level:
            self._own.append([])
        self._own[level].append(path)
        if len(self._own[level]) >= MERGE:
            self._merge(level)

    def _merge(self, level: int) -> None:
        """Put the parts this writer made on one level into one part of the next.

        So a long launch leaves some tens of files, not one every two seconds.  The merged part is
        durable before the others go: a kill between leaves duplicates, which are harmless.
        """
        parts, self._own[level] = self._own[level], []
        try:
            tables = [pq.read_table(path) for path in parts]
        except (pa.ArrowException, OSError):
            return  # somebody moved them: they are no longer ours to merge
        self._write(_parquet_bytes(pa.concat_tables(tables)), level + 1)
        for path in parts:
            path.unlink(missing_ok=True)

    def done(self, run_ids: Collection[str] | None = None) -> dict[str, Done]:
        """What is known of each run (of all, or of those asked for) that has a row."""
        table = self._latest(self._read(_KEYS))
        if run_ids is not None and table.num_rows:
            wanted = pa.array(list(run_ids), type=pa.string())
            table = table.filter(pc.is_in(table["run_id"], value_set=wanted))
        ids, *facts = (table[name].to_pylist() for name in _KEYS[:-1])
        with _no_collection():
            return dict(zip(ids, map(Done._make, zip(*facts, strict=True)), strict=True))

    def reasons(self, known: Mapping[str, Done], status: str) -> dict[str, int]:
        """The errors of the known runs with a status, and how often each; the commonest first."""
        wanted = [run_id for run_id, row in known.items() if row.status == status]
        if not wanted:
            return {}
        table = self._latest(self._read([*_KEYS, "error"]))
        table = table.filter(pc.is_in(table["run_id"], value_set=pa.array(wanted)))
        return dict(Counter(e or "" for e in table["error"].to_pylist()).most_common())

    def read(self, run_ids: Sequence[str] | None = None) -> pa.Table:
        """Rows as an Arrow table with today's schema: all, or those asked for in that order."""
        table = self._latest(self._read(None))
        if run_ids is None:
            return table
        where = {name: i for i, name in enumerate(table["run_id"].to_pylist())}
        return table.take(pa.array([where[r] for r in run_ids if r in where], type=pa.int64()))

    def _read(self, columns: list[str] | None) -> pa.Table:
        """All rows of all readable parts, with the columns of today's schema."""
        fields = [f for f in self.schema if columns is None or f.name in columns]
        schema = pa.schema(fields, metadata=self.schema.metadata)
        for _ in range(MAX_LOOKS):
            self.skipped = {}
            try:
                tables = [self._read_part(path, schema) for path in self.parts()]
            except FileNotFoundError:
                continue  # merged away since it was listed: its rows are in a newer part
            return pa.concat_tables([schema.empty_table(), *(t for t in tables if t is not None)])
        raise StoreError(f"The parts in {self.folder} keep changing; try again.")

    def _read_part(self, path: Path, schema: pa.Schema) -> pa.Table | None:
        try:
            with pq.ParquetFile(path) as file:
                found = file.schema_arrow
                written = part_format(found)
                if written is None:
                    self.skipped[path.name] = "not a part of this table"
                elif written > FORMAT:
                    self.skipped[path.name] = f"written by a newer lawsweep (format {written})"
                elif wrong := conflicts(schema, found):
                    self.skipped[path.name] = "; ".join(wrong)
                else:
                    names = [n for n in schema.names if n in found.names]
                    return self._conform(file.read(columns=names), schema)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            self.skipped[path.name] = f"torn or not Parquet ({reason})"
        return None

    def _conform(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        """An older part in today's schema: a column it lacks is its default, or missing."""
        filled = defaults(self.experiment)
        arrays = []
        for f in schema:
            if f.name in table.column_names:
                arrays.append(table[f.name].cast(f.type))
            else:
                default = pa.scalar(filled.get(f.name), type=f.type)
                arrays.append(pa.chunked_array([pa.repeat(default, table.num_rows)], type=f.type))
        return pa.Table.from_arrays(arrays, schema=schema)

    @staticmethod
    def _latest(table: pa.Table) -> pa.Table:
        """One row a run: the latest successful attempt, else the latest attempt."""
        ids = table["run_id"]
        if pc.count_distinct(ids).as_py() == table.num_rows:
            return table
        codes = ids.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        ok = pc.equal(table["status"], "ok").to_numpy(zero_copy_only=False)
        started = table["started_at"].cast(pa.int64()).to_numpy(zero_copy_only=False)
        attempt = table["attempt"].to_numpy(zero_copy_only=False)
        # Sorted so that the row to keep comes last in its run; ties fall to the later part.
        order = np.lexsort((np.arange(len(codes)), started, attempt, ok, codes))
        last = np.append(codes[order][1:] != codes[order][:-1], True)
        return table.take(pa.array(np.sort(order[last])))


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection while a million small tuples are made: it would double the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def experiment_folders(root: Path) -> list[str]:
    """Names of the experiments that have a table under ``root``."""
    try:
        found: Iterable[Path] = sorted(p for p in Path(root).iterdir() if p.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error(Path(root), error, "read") from None
    return [p.name for p in found]
