"""What a run of ntk_min_eig costs, over arrays of points."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from lawsweep import Cost
from lawsweep.experiments._ntk_network import CONJUGATE, FULL, hidden_widths, kernel_layers

LANCZOS_STEPS = 70.0  # two triangular solves each
MATRIX_FREE_STEPS = 600.0  # of products with K, two starts; within a factor of 3 either way
VECTORS = 220.0  # of N numbers that a matrix-free solve keeps beside the network's values
# Memory traffic makes a flop of a triangular solve ten times dearer than one of a matrix product.
SOLVE_FACTOR = 10.0


def cost(p: Any) -> Cost:
    """Flops and bytes over arrays of points (leading terms).

    Gram: N^2 sum_l (n_{l-1} + n_l) by symmetry; passes: 4 N p; two factorisations of N^3 / 3,
    and about 70 steps of two triangular solves, N^2 each; a dense solve 9 N^3.  Matrix-free:
    4 N p a product with K and no N^2 memory.  ``auto`` is taken to form K.
    """
    n = np.asarray(p.n_samples, dtype=np.float64)
    columns, n_params, units, n_rank = _network_sizes(p)
    solver = np.asarray(p.solver)
    item = np.where(np.asarray(p.dtype) == "float32", 4.0, 8.0)
    singular = n > n_rank
    all_values = np.asarray(p.full_spectrum)
    dense = (solver == "dense") | all_values | ((np.asarray(p.n_lowest) > 0) & (n < 500))
    free = ((solver == "matrix_free") | (solver == "sharded")) & ~dense
    solve = (2.0 / 3.0) * n**3 + LANCZOS_STEPS * 2.0 * SOLVE_FACTOR * n**2
    solve = np.where(dense, 9.0 * n**3, solve) + columns * n**2
    solve = np.where(free, MATRIX_FREE_STEPS * 4.0 * n * n_params, solve)
    squares = np.where(dense, 4.0, 2.2) * n**2
    # A sharded run's other processes hold the rows; this one their share at most.
    squares = np.where(free, (VECTORS + np.minimum(columns, n / 8.0)) * n, squares)
    limit = (np.asarray(p.infinite_width_up_to) >= n) * (n**3 + 600.0 * n**2)
    skipped = singular & ~all_values & (np.asarray(p.n_lowest) == 0)
    flops = 4.0 * n * n_params + np.where(skipped, 0.0, solve) + limit
    memory = item * (np.where(skipped, 0.0, squares) + n * units + 2.0 * n_params)
    return Cost(flops=flops, memory_bytes=memory + (limit > 0) * 8.0 * 6.0 * n**2 + 2e7)


def _network_sizes(p: Any) -> tuple[Any, Any, Any, Any]:
    """(columns of the Gram's factors, p, numbers kept a sample, largest rank) over points."""
    d, w, depth = (np.asarray(a, dtype=np.float64) for a in (p.input_dim, p.width, p.depth))
    kernel, bias = np.asarray(p.kernel), np.asarray(p.bias, dtype=np.float64)
    plain = np.all(np.asarray(p.shape) == "rectangle") and _none_given(p.widths)
    if plain and np.all((kernel == FULL) | np.char.isdigit(kernel.astype(str))):
        # Equal layers, all of them or one: no loop over a hundred thousand points.
        full = kernel == FULL
        columns = np.where(full, d + 2.0 * w * (depth - 1.0), np.maximum(d + w, 2.0 * w))
        n_params = d * w + (depth - 2.0) * w * w + w
        biases = bias * ((depth - 1.0) * w + 1.0)
        rank = np.where(full, n_params + biases, np.inf)
        return columns, n_params, 2.0 * d + 4.0 * w * depth, rank
    cells = (p.input_dim, p.width, p.depth, p.bias, p.kernel, p.shape, p.widths)
    spread = np.broadcast_arrays(*(_cells(c) for c in cells))
    keys = list(zip(*(c.ravel().tolist() for c in spread), strict=True))
    known = {key: _sizes(*key) for key in dict.fromkeys(keys)}
    table = np.array([known[key] for key in keys]).reshape(*spread[0].shape, 4)
    return tuple(np.moveaxis(table, -1, 0))


def _cells(value: Any) -> np.ndarray:
    """A column, or one value (a tuple too) as a column of no dimension."""
    if isinstance(value, tuple):
        cell = np.empty((), dtype=object)
        cell[()] = value
        return cell
    return np.asarray(value)


def _none_given(widths: Any) -> bool:
    return all(not w for w in _cells(widths).ravel().tolist())


def _sizes(
    input_dim: float, width: float, depth: float, bias: bool, kernel: str, shape: str, widths: Any
) -> tuple[float, float, float, float]:
    n = (int(input_dim), *hidden_widths(int(width), int(depth), shape, tuple(widths)), 1)
    pairs = [(a + int(bias), b) for a, b in pairwise(n)]
    chosen: Iterable[int] = kernel_layers(kernel, int(depth)) or range(1, int(depth) + 1)
    if kernel == CONJUGATE:
        chosen = [int(depth)]
    # The last layer's second factor is all ones: no product.
    columns = sum(pairs[k - 1][0] + (pairs[k - 1][1] if k < int(depth) else 0) for k in chosen)
    n_params = sum(a * b for a, b in pairs)
    return columns, n_params, 2 * sum(n), sum(pairs[k - 1][0] * pairs[k - 1][1] for k in chosen)
