"""Columns as plain Python values, a million at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def plain(column: pa.ChunkedArray) -> list[Any]:
    """``column.to_pylist()``, made by numpy: some ten times as fast for texts and numbers."""
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
