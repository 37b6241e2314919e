"""The values of an array, read when they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lawsweep.core.errors import StoreError
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.parts import LOOKS

KEYS = ["run_id", "attempt", "started_at"]  # of the row that a value belongs to
CACHE_BYTES = 64 * 2**20


class ArrayValues(Mapping[str, np.ndarray]):
    """Run id to float64 array, read when it is asked for.

    ``index`` looks at the parts in ``folder``: a table of KEYS, ``part`` and ``row``, one row a
    value, and the parts' names.  Values that belong to none of ``rows`` (which has KEYS) are left
    out.  Iterates in the order in which the values are stored, so that a loop reads each part
    once.  Every access returns a new array.
    """

    def __init__(
        self,
        folder: Folder,
        index: Callable[[], tuple[pa.Table, list[str]]],
        rows: pa.Table | None,
    ):
        self._folder, self._index, self._rows = folder, index, rows
        self._cache: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()
        self._held = 0
        self._look()

    def _look(self) -> None:
        found, self._names = self._index()
        self._footers: dict[int, pq.FileMetaData] = {}
        if self._rows is not None:
            kinds = {n: found.schema.field(n).type for n in KEYS}
            wanted = pa.table({n: self._rows[n].cast(t) for n, t in kinds.items()})
            wanted = wanted.group_by(KEYS).aggregate([])
            found = found.select([*KEYS, "part", "row"]).join(wanted, KEYS, join_type="inner")
        # Sorted so that the value to keep comes last for its run; ties fall to the later part.
        order = [(n, "ascending") for n in ("attempt", "started_at", "part", "row")]
        found = found.sort_by(order)
        ids, parts, rows = (found[n].to_pylist() for n in ("run_id", "part", "row"))
        last = dict(zip(ids, zip(parts, rows, strict=True), strict=True))
        self._where = dict(sorted(last.items(), key=lambda item: item[1]))

    def __len__(self) -> int:
        return len(self._where)

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._where

    def __getitem__(self, run_id: str) -> np.ndarray:
        for _ in range(LOOKS):
            part, row = self._where[run_id]
            try:
                return self._value(part, row)
            except FileNotFoundError:
                self._look()  # merged away since: the value is in a newer part
        raise StoreError(f"The parts in {self._folder} keep changing; try again.")

    def _value(self, part: int, row: int) -> np.ndarray:
        footer, group = self._footer(part), 0
        while row >= footer.row_group(group).num_rows:
            row -= footer.row_group(group).num_rows
            group += 1
        return decode(self._group(part, group), row)

    def _footer(self, part: int) -> pq.FileMetaData:
        if part not in self._footers:
            with self._open(part, None) as file:
                self._footers[part] = file.metadata
        return self._footers[part]

    def _group(self, part: int, group: int) -> pa.Table:
        key = self._names[part], group
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        with self._open(part, self._footer(part)) as file:
            table = file.read_row_group(group, columns=["shape", "values"])
        self._cache[key] = table
        self._held += table.nbytes
        while self._held > CACHE_BYTES and len(self._cache) > 1:
            self._held -= self._cache.popitem(last=False)[1].nbytes
        return table

    @contextmanager
    def _open(self, part: int, footer: pq.FileMetaData | None) -> Iterator[pq.ParquetFile]:
        folder, name = self._folder, self._names[part]
        try:
            with folder.open(name) as source:
                yield pq.ParquetFile(source, metadata=footer, page_checksum_verification=True)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise StoreError(
                f"Cannot read {folder}/{name}: {first_line(error)}. The file is damaged: put a "
                "copy of it back, or remove it and run its runs again."
            ) from None


def decode(table: pa.Table, row: int) -> np.ndarray:
    """The array in a row of a table of arrays: a copy."""
    values = table["values"][row].values
    shape = table["shape"][row].as_py()
    return np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(shape)


def first_line(error: BaseException) -> str:
    """What an error says, in one short line."""
    text = str(error)
    return text.splitlines()[0][:200] if text else type(error).__name__
