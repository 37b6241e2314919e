"""Large arrays beside the rows: a folder an array, ``results/arrays/<experiment>/<name>``.

A part has the columns run_id, attempt, started_at, shape and values (row-major).  The first three
are those of the row that acknowledges the value, which is written after it; a value without its
row (the writer died between) is an orphan that no reader takes.  Parts are immutable, named by
their content and whole or absent, as the rows' are; duplicates are harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.core.errors import StoreError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.store.arrays.values import KEYS, ArrayValues
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.part_writer import PartWriter
from lawsweep.store.table.parts import (
    SkippedPart,
    digest,
    steady_look,
    use_part,
)
from lawsweep.store.table.reader import read_columns
from lawsweep.store.table.schema import FORMAT

PART_BYTES = 128 * 2**20  # of values in one part
GROUP_BYTES = 2**20  # of values in one row group: what is read to get at one value
GROUP_ROWS = 65_536
MERGE_BYTES = 8 * 2**20  # of small parts of one writer that become one


def array_schema(experiment: Experiment, name: str) -> pa.Schema:
    """The columns of an array's parts; ``values`` carries its unit and meaning."""
    spec = next(s for s in experiment.arrays if s.name == name)
    told = {"unit": spec.info.unit, "meaning": spec.info.meaning or name.replace("_", " ")}
    return pa.schema(
        [
            pa.field("run_id", pa.string(), metadata={"meaning": "run the value belongs to"}),
            pa.field("attempt", pa.int64(), metadata={"meaning": "attempt that made it"}),
            pa.field("started_at", pa.timestamp("us", tz="UTC")),
            pa.field("shape", pa.list_(pa.int64()), metadata={"meaning": "length of each axis"}),
            pa.field("values", pa.list_(pa.float64()), metadata=told),
        ],
        metadata={
            "lawsweep.format": str(FORMAT),
            "lawsweep.experiment": experiment.name,
            "lawsweep.array": name,
        },
    )


def encode(keys: pa.Table, values: Sequence[np.ndarray], schema: pa.Schema) -> pa.Table:
    """Arrays of any shape as a table: ``keys`` has one row for each of them."""
    flat = [np.ascontiguousarray(v, dtype=np.float64).reshape(-1) for v in values]
    ends = np.cumsum([0, *(v.size for v in flat)])
    whole = pa.array(np.concatenate(flat) if flat else np.zeros(0))
    return pa.Table.from_arrays(
        [
            *(keys[n].cast(schema.field(n).type) for n in KEYS),
            pa.array([list(v.shape) for v in values], type=pa.list_(pa.int64())),
            pa.ListArray.from_arrays(pa.array(ends, type=pa.int32()), whole),
        ],
        schema=schema,
    )


def parquet_bytes(table: pa.Table) -> bytes:
    """A table of arrays as a Parquet file whose row groups hold about ``GROUP_BYTES``."""
    sink = pa.BufferOutputStream()
    # A dictionary of doubles would save nothing; bounds of a column of values tell nothing.
    options = {
        "compression": "zstd",
        "use_dictionary": False,
        "write_statistics": KEYS,
        "write_page_checksum": True,  # a flipped bit is an error, not another number
    }
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        for start, stop in _slices(table, GROUP_BYTES, GROUP_ROWS):
            writer.write_table(table.slice(start, stop - start), row_group_size=stop - start)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _slices(table: pa.Table, max_bytes: int, max_rows: int) -> Iterator[tuple[int, int]]:
    """Consecutive rows of at most ``max_bytes`` of values each, one row at the least."""
    start, held = 0, 0
    sizes = 8 * pc.list_value_length(table["values"]).to_numpy().astype(np.int64)
    for i, size in enumerate(sizes.tolist()):
        if i > start and (held + size > max_bytes or i - start >= max_rows):
            yield start, i
            start, held = i, 0
        held += size
    if start < table.num_rows:
        yield start, table.num_rows


@dataclass
class ArrayTable:
    """All values of one array of an experiment, under the folder ``root`` of all arrays.

    ``skipped`` names the files the last look passed over, each with its reason.  Raises
    UnknownNameError for a name that is no array of the experiment.
    """

    root: Folder | Path | str
    experiment: Experiment
    name: str
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [s.name for s in self.experiment.arrays]
        if self.name not in known:
            raise unknown_name("array", self.name, known, f"experiment {self.experiment.name}")
        self.folder = (open_folder(self.root) / self.experiment.name / self.name).held()
        self.schema = array_schema(self.experiment, self.name)
        self._writer = PartWriter(self.folder, self._whole, parquet_bytes, MERGE_BYTES)
        self._written: dict[str, str] = {}  # parts of the append before: digest to name

    def append(self, rows: Sequence[Mapping[str, Any]], values: Sequence[np.ndarray]) -> None:
        """Write the values of these rows: durable when this returns.  Raises StoreError.

        ``rows`` need ``run_id``, ``attempt`` and ``started_at`` only; ``values`` has one float64
        array of any shape for each.
        """
        if len(rows) != len(values):
            raise ValueError(f"Expected one array a row, got {len(values)} for {len(rows)} rows.")
        if not rows:
            return
        types = {n: self.schema.field(n).type for n in KEYS}
        keys = pa.table({n: pa.array([r[n] for r in rows], type=t) for n, t in types.items()})
        before, self._written = self._written, {}
        start = held = 0
        for i, size in enumerate([v.nbytes for v in values] + [PART_BYTES + 1]):
            if i > start and held + size > PART_BYTES:
                data = parquet_bytes(
                    encode(keys.slice(start, i - start), values[start:i], self.schema)
                )
                # Tried again because the rows could not be written: these are durable already,
                # unless somebody has removed or merged them since.
                name = before.get(digest(data))
                if name is None or not self._is_there(name):
                    name = self._writer.write(data)
                self._written[digest(data)] = name
                start, held = i, 0
            held += size
        self._writer.merge()

    def _is_there(self, name: str) -> bool:
        try:
            return self.folder.size(name) > 0
        except (FileNotFoundError, StoreError):
            return False

    def _whole(self, name: str) -> pa.Table:
        def whole(file: pq.ParquetFile) -> pa.Table:
            check_part(file.schema_arrow, self.schema)
            return read_columns(file).cast(self.schema)

        return use_part(self.folder, name, whole)

    def index(self) -> tuple[pa.Table, list[str]]:
        """Where every value is: its keys and shape, ``part`` and ``row``; and the parts' names."""
        self.skipped = {}
        found = steady_look(self.folder, self._look)
        parts = [(n, keys) for n, keys in found.items() if keys is not None]
        empty = _located(self._keys().empty_table(), 0)
        tables = [_located(keys, i) for i, (_, keys) in enumerate(parts)]
        return pa.concat_tables([empty, *tables]), [n for n, _ in parts]

    def _keys(self) -> pa.Schema:
        return pa.schema([self.schema.field(n).remove_metadata() for n in (*KEYS, "shape")])

    def _look(self, name: str) -> pa.Table | None:
        """Keys and shapes of a part; None, with the reason in ``skipped``, when it is none."""

        def keys(file: pq.ParquetFile) -> pa.Table:
            check_part(file.schema_arrow, self.schema)
            return read_columns(file, [*KEYS, "shape"]).cast(self._keys())

        try:
            return use_part(self.folder, name, keys)
        except SkippedPart as reason:
            self.skipped[name] = str(reason)
        return None

    def values(self, rows: pa.Table | None = None) -> ArrayValues:
        """The values of all runs, latest attempt; or those that belong to the given rows.

        ``rows`` has ``run_id``, ``attempt`` and ``started_at``; a value belongs to a row when all
        three are equal, so that it is of the attempt that the row reports.
        """
        return ArrayValues(self.folder, self.index, rows)


class ArrayStore:
    """The arrays of one experiment, each a table of its own, under the folder of all arrays."""

    def __init__(self, root: Folder | Path | str, experiment: Experiment):
        self.root, self.experiment = open_folder(root).held(), experiment
        self._tables: dict[str, ArrayTable] = {}

    def table(self, name: str) -> ArrayTable:
        """The table of one array.  Raises UnknownNameError for a name that is none."""
        if name not in self._tables:
            self._tables[name] = ArrayTable(self.root, self.experiment, name)
        return self._tables[name]

    def append(
        self,
        rows: Sequence[Mapping[str, Any]],
        arrays: Sequence[Mapping[str, np.ndarray] | None],
    ) -> None:
        """Write the arrays of these rows; all are durable when this returns."""
        if len(rows) != len(arrays):
            raise ValueError(f"Expected one entry a row, got {len(arrays)} for {len(rows)} rows.")
        for name in sorted({n for entry in arrays for n in entry or ()}):
            has = [(r, a[name]) for r, a in zip(rows, arrays, strict=True) if a and name in a]
            self.table(name).append([r for r, _ in has], [v for _, v in has])


def _located(keys: pa.Table, part: int) -> pa.Table:
    n = keys.num_rows
    keys = keys.append_column("part", pa.array(np.full(n, part, dtype=np.int64)))
    return keys.append_column("row", pa.array(np.arange(n, dtype=np.int64)))


def check_part(found: pa.Schema, schema: pa.Schema) -> None:
    """Raise SkippedPart unless a schema is that of a part of the array with ``schema``."""
    told, ours = found.metadata or {}, schema.metadata
    if told.get(b"lawsweep.array") != ours[b"lawsweep.array"]:
        raise SkippedPart("not a part of this array")
    kinds = [found.field(n).type if n in found.names else None for n in schema.names]
    wrong = [n for n, k in zip(schema.names, kinds, strict=True) if k != schema.field(n).type]
    if wrong:
        raise SkippedPart(f"other types than this array's: {', '.join(wrong)}")
