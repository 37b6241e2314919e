"""Which attempt of a run counts: the latest that succeeded, else the latest.  Said here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lawsweep.store.table.plain import arrow, numbers, plain

IDENTITY = ("run_id", "status", "attempt", "started_at")  # what makes a row one
ATTEMPT = ("run_id", "attempt", "started_at")  # what an array's values name their row by


def latest(table: pa.Table) -> pa.Table:
    """One row a run, in order of appearance; of equal attempts the one further down.

    Columns of IDENTITY beside ``run_id`` may be absent (somebody else's table): they tell nothing
    apart then.
    """
    if len(set(plain(table["run_id"]))) == table.num_rows:  # half the time of count_distinct
        return table
    return table.take(arrow(_counting(table)))


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
    return table if len(first) == table.num_rows else table.take(arrow(np.sort(first)))


def _counting(table: pa.Table) -> np.ndarray:
    """Places of the rows that count, ascending."""
    codes, n = _codes(table), table.num_rows
    ok = np.ones(n, dtype=bool)
    if "status" in table.column_names:
        ok = np.array([status == "ok" for status in plain(table["status"])], dtype=bool)
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
    return numbers(ids.indices)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int64)
    return numbers(table[name].cast(pa.int64()))
