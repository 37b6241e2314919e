"""Rows by run id: the row groups that can hold none of those asked for are never read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.store.table.plain import arrow, plain


class Wanted:
    """The runs a reader asks for: some run ids, or all that begin with ``prefix``."""

    def __init__(self, run_ids: Collection[str] = (), prefix: str | None = None):
        # Not pc.is_in: for each part it would hash all that are wanted again.
        self._ids, self._prefix = frozenset(run_ids), prefix
        self._sorted: list[str] | None = None

    def __len__(self) -> int:
        """How many rows could be wanted, at one a run; of a prefix: few."""
        return len(self._ids) if self._prefix is None else 1

    def may_lie_in(self, low: str, high: str) -> bool:
        """Whether a run that is asked for can be among ids from ``low`` to ``high``."""
        if self._prefix is not None:
            return low[: len(self._prefix)] <= self._prefix <= high
        if self._sorted is None:
            self._sorted = sorted(self._ids)
        i = bisect_left(self._sorted, low)
        return i < len(self._sorted) and self._sorted[i] <= high

    def among(self, ids: pa.ChunkedArray) -> np.ndarray:
        """Which of the ids are asked for, shape (n_rows,), bool."""
        if self._prefix is not None:
            hits = pc.fill_null(pc.starts_with(ids, self._prefix), False)
            found: np.ndarray = hits.to_numpy(zero_copy_only=False)
            return found
        return np.fromiter(map(self._ids.__contains__, plain(ids)), dtype=bool, count=len(ids))


def read_columns(
    file: pq.ParquetFile,
    columns: Sequence[str] | None = None,
    wanted: Wanted | None = None,
    *,
    use_threads: bool = True,
) -> pa.Table:
    """The rows of a part (those ``wanted``) with some of its columns, checked.

    Row groups whose ids are all others are left on the disk, and so are the other columns of those
    that turn out to hold none; a table that was compacted is sorted by run id.  Checked at once is
    what Arrow leaves to whoever looks at a value first: raises ValueError (ArrowInvalid) for texts
    that are none, and times that no calendar has.
    """
    names = None if columns is None else list(columns)
    if wanted is None:
        return _checked(file.read(columns=names, use_threads=use_threads))
    groups = [g for g in range(file.metadata.num_row_groups) if _may_have(file, g, wanted)]
    n_rows = sum(file.metadata.row_group(g).num_rows for g in groups)
    hits: dict[int, np.ndarray] = {}
    if len(wanted) < n_rows:  # where most rows are wanted, looking first costs more than it saves
        for g in groups:
            ids = _checked(file.read_row_group(g, columns=["run_id"], use_threads=use_threads))
            hits[g] = wanted.among(_texts(ids["run_id"]))
        groups = [g for g in groups if hits[g].any()]
    read = names if names is None or "run_id" in names else [*names, "run_id"]
    table = _checked(file.read_row_groups(groups, columns=read, use_threads=use_threads))
    if hits:
        mask = np.concatenate([hits[g] for g in groups]) if groups else np.zeros(0, dtype=bool)
    else:
        mask = wanted.among(_texts(table["run_id"]))
    table = table if mask.all() else table.filter(arrow(mask))
    return table if read == names else table.select(names)


def said_nulls(file: pq.ParquetFile, column: str) -> int:
    """How many values of a column a file says are missing, as far as it says so."""
    return sum(
        said.null_count
        for g in range(file.metadata.num_row_groups)
        if (said := _said(file, g, column)) is not None and said.has_null_count
    )


def _may_have(file: pq.ParquetFile, group: int, wanted: Wanted) -> bool:
    """Whether a row group can hold a row that is asked for, by what the file says of its ids."""
    said = _said(file, group, "run_id")
    if said is None or not said.has_min_max:
        return True
    try:
        low, high = said.min, said.max
    except UnicodeDecodeError:  # no text: reading the column says which
        return True
    return not (isinstance(low, str) and isinstance(high, str)) or wanted.may_lie_in(low, high)


def _said(file: pq.ParquetFile, group: int, column: str) -> Any:
    """Statistics of a column in a row group; None where the file has none."""
    names = file.metadata.schema.names  # leaves: a list is one place here too, by another name
    chunk = file.metadata.row_group(group).column(names.index(column)) if column in names else None
    return chunk.statistics if chunk is not None and chunk.path_in_schema == column else None


def _texts(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return ids if pa.types.is_string(ids.type) else ids.cast(pa.string())


def _checked(table: pa.Table) -> pa.Table:
    table.validate(full=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            times = pc.min_max(column.cast(pa.timestamp("us"))).as_py
            try:
                times()
            except (OverflowError, ValueError):
                raise ValueError(f"{name} has a time out of range") from None
    return table
