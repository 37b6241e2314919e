"""Columns as plain Python values, a million at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FEW = 20_000  # for so many numpy gains less than the 0.2 s in which pyarrow imports pandas for it


def plain(column: pa.ChunkedArray) -> list[Any]:
    """``column.to_pylist()``, made by numpy: some ten times as fast for texts and numbers."""
    if len(column) < FEW:
        return list(column.to_pylist())
    kind = column.type
    if pa.types.is_string(kind) and column.null_count == 0:
        if pc.count_distinct(column.slice(0, 1000)).as_py() > 250:
            return list(column.to_numpy(zero_copy_only=False))
        coded = column.combine_chunks().dictionary_encode()  # a status, a device: share the few
        texts = np.array(coded.dictionary.to_pylist(), dtype=object)
        shared: list[Any] = texts[coded.indices.to_numpy()].tolist()
        return shared
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return list(column.to_pylist())
    values: list[Any] = column.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    if column.null_count:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        for i in np.flatnonzero(missing).tolist():
            values[i] = None
    return values


def numbers(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Whole numbers as numpy, 0 where there is none: int64, shape (n,)."""
    if len(column) < FEW:
        return np.array([v or 0 for v in column.to_pylist()], dtype=np.int64)
    found: np.ndarray = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)


def arrow(values: np.ndarray) -> pa.Array:
    """``pa.array`` of a mask, or of places (int64), shape (n,).

    That would import pandas, which takes 0.2 s of a verb that needs none.
    """
    is_mask = values.dtype == np.bool_
    data = np.packbits(values, bitorder="little") if is_mask else values.astype(np.int64)
    kind = pa.bool_() if is_mask else pa.int64()
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(data)])
