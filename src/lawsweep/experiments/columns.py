"""Sizes of networks over the columns of a plan: one call for each structure that occurs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# What Python does between two operations, over sending one (counted and timed on a CPU: 18 to 30 us
# an operation of training, least squares and compression, where a bare one takes 7 to 10).
BETWEEN = 2.5


def by_dtype(dtype: Any, **flops: Any) -> dict[str, Any]:
    """``flops`` of kinds of work as ``core.cost.WORK`` names them: ``matmul`` as
    ``matmul_float64`` or ``matmul_float32``, by the dtype of each point."""
    single = np.asarray(dtype) == "float32"
    return {
        f"{kind}_{name}": np.where(single == (name == "float32"), n, 0.0)
        for kind, n in flops.items()
        for name in ("float64", "float32")
    }


def over_structures(
    measure: Callable[..., tuple[Any, ...]], structure: Sequence[Any], sizes: Sequence[Any]
) -> tuple[np.ndarray, ...]:
    """``measure(*structure, *sizes)`` over points, as arrays of their shape.

    ``structure``: what decides how many layers a network has and which of them count, a value or a
    column each; ``measure`` is called once for each combination that occurs, with Python values (a
    whole number is an int there, though a plan prices its columns as floats).
    ``sizes``: numbers (widths), given to it as columns of the points that share the combination.
    """
    cells = [_cells(c) for c in structure]
    wide = [np.asarray(s, dtype=np.float64) for s in sizes]
    shape = np.broadcast_shapes(*(c.shape for c in (*cells, *wide)))
    flat = [np.broadcast_to(s, shape).ravel() for s in wide]
    code, tables = np.zeros(flat[0].shape, dtype=np.int64), []
    for cell in cells:
        values, codes = _coded(cell)
        code = code * len(values) + np.broadcast_to(codes, shape).ravel()
        tables.append(values)
    found: list[np.ndarray] = []
    for one in np.unique(code):
        here, rest, chosen = code == one, int(one), []
        for values in reversed(tables):
            rest, place = divmod(rest, len(values))
            value = values[place]
            chosen.append(int(value) if isinstance(value, float) else value)
        answers = measure(*reversed(chosen), *(s[here] for s in flat))
        found = found or [np.empty(code.shape) for _ in answers]
        for whole, answer in zip(found, answers, strict=True):
            whole[here] = answer
    return tuple(whole.reshape(shape) for whole in found)


def _cells(value: Any) -> np.ndarray:
    """A column, or one value (a tuple too) as a column of no dimension."""
    if isinstance(value, tuple):
        cell = np.empty((), dtype=object)
        cell[()] = value
        return cell
    return np.asarray(value)


def _coded(cells: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """The different values of a column, and which of them each cell is."""
    if cells.dtype == object:
        places: dict[Any, int] = {}
        found = [places.setdefault(v, len(places)) for v in cells.ravel().tolist()]
        return list(places), np.array(found, dtype=np.int64).reshape(cells.shape)
    values, codes = np.unique(cells, return_inverse=True)
    return values.tolist(), codes.reshape(cells.shape)
