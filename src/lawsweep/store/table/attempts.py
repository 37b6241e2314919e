"""Which attempt of a run counts: the latest that succeeded, else the latest.  Said here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lawsweep.store.table.plain import plain

IDENTITY = ("run_id", "status", "attempt", "started_at")  # what makes a row one
ATTEMPT = ("run_id", "attempt", "started_at")  # what an array's values name their row by


def latest(table: pa.Table) -> pa.Table:
    """One row a run, in order of appearance; of equal attempts the one further down.

    Columns of IDENTITY beside ``run_id`` may be absent (somebody else's table): they tell nothing
    apart then.
    """
    if len(set(plain(table["run_id"]))) == table.num_rows:  # half the time of count_distinct
        return table
    return table.take(pa.array(_counting(table)))


def latest_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As ``latest``, of rows that may have columns of their own; each has those of IDENTITY."""
    if len({r["run_id"] for r in rows}) == len(rows):
        return list(rows)
    table = pa.table({name: [r[name] for r in rows] for name in IDENTITY})
    return [rows[i] for i in _counting(table).tolist()]


def distinct(table: pa.Table) -> pa.Table:
    """The table without the attempts that stand in two parts (an interrupted merge)."""
    keys = np.stack([_codes(table), *(_numbers(table, name) for name in ATTEMPT[1:])])
    _, first = np.unique(keys, axis=1, return_index=True)
    return table if len(first) == table.num_rows else table.take(pa.array(np.sort(first)))


def _counting(table: pa.Table) -> np.ndarray:
    """Places of the rows that count, ascending."""
    codes, n = _codes(table), table.num_rows
    ok = np.ones(n, dtype=bool)
    if "status" in table.column_names:
        ok = pc.fill_null(pc.equal(table["status"], "ok"), False).to_numpy(zero_copy_only=False)
    # Sorted so that the row to keep comes last in its run; ties fall to the later part.
    order = np.lexsort(
        (np.arange(n), _numbers(table, "started_at"), _numbers(table, "attempt"), ok, codes)
    )
    last = np.append(codes[order][1:] != codes[order][:-1], True)[:n]
    found: np.ndarray = np.sort(order[last])
    return found


def _codes(table: pa.Table) -> np.ndarray:
    ids = table["run_id"].combine_chunks().dictionary_encode()
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    codes: np.ndarray = ids.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int64)
    numbers: np.ndarray = pc.fill_null(table[name].cast(pa.int64()), 0).to_numpy(
        zero_copy_only=False
    )
    return numbers
