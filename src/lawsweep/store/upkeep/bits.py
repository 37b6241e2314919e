"""Equal in every bit: NaN is NaN, and 0.0 is not -0.0."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def same_values(left: pa.ChunkedArray, right: pa.ChunkedArray) -> np.ndarray:
    """Where two columns of one type are equal in every bit: NaN is NaN, 0.0 is not -0.0."""
    a, b = (c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in (left, right))
    if pa.types.is_list(a.type):
        return np.array([_same_list(x, y) for x, y in zip(a, b, strict=True)], dtype=bool)
    equal = pc.fill_null(pc.equal(_as_bits(a), _as_bits(b)), False)
    both_missing = pc.and_(pc.is_null(a), pc.is_null(b))
    found: np.ndarray = pc.or_(equal, both_missing).to_numpy(zero_copy_only=False)
    return found


def _same_list(x: pa.ListScalar, y: pa.ListScalar) -> bool:
    if x.values is None or y.values is None:
        return x.values is None and y.values is None
    return bool(_as_bits(x.values).equals(_as_bits(y.values)))


def _as_bits(array: pa.Array) -> pa.Array:
    return array.view(pa.int64()) if pa.types.is_float64(array.type) else array


def row_classes(table: pa.Table) -> np.ndarray:
    """A number for each row, the same for rows that are equal in every bit of every column."""
    classes = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        codes = _codes(column.combine_chunks())
        if codes.any():
            pairs = classes * (codes.max() + 1) + codes
            classes = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
    return classes


def _codes(array: pa.Array) -> np.ndarray:
    """A number from 0 for each value, the same for equal ones."""
    if not pa.types.is_list(array.type):
        found = _as_bits(array).dictionary_encode(null_encoding="encode").indices
        numbers: np.ndarray = found.to_numpy(zero_copy_only=False).astype(np.int64)
        return numbers
    seen: dict[object, int] = {}
    spelled = (None if v.values is None else _spell(v.values) for v in array)
    return np.array([seen.setdefault(text, len(seen)) for text in spelled], dtype=np.int64)


def _spell(values: pa.Array) -> object:
    if pa.types.is_float64(values.type) and not values.null_count:
        return values.to_numpy(zero_copy_only=False).tobytes()
    return repr(values.to_pylist())  # repr keeps NaN, -0.0 and None apart
