"""What a run of ntk_min_eig costs, over arrays of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lawsweep import Cost
from lawsweep.experiments.ntk_min_eig.network import CONJUGATE, FULL, hidden_widths, kernel_layers
from lawsweep.kernels.base import devices

LANCZOS_STEPS = 70.0  # two triangular solves each
# Memory traffic makes a flop of a triangular solve ten times dearer than one of a matrix product.
SOLVE_FACTOR = 10.0
# Products with K of a matrix-free solve, both its starts, at N = 3000 and N = p / 4; more samples
# take more.  Within a factor of 3 either way, as N / p and the activation have it.
PRODUCTS, GROWTH = 900.0, 0.35
PRODUCT_FACTOR = 1.6  # what a step takes beside its product, and products below the full rate
ANEW = 3.0  # a product where the network's values are made anew for either half of it
# Samples whose passes are held at a time where no matrix is formed: three blocks of 2048, as one
# is let go when the next is made, and a product has its own.
BLOCK_ROWS = 3 * devices.ROWS_TILE.cpu


def cost(p: Any) -> Cost:
    """Flops and bytes over arrays of points (leading terms).

    Gram: N^2 sum_l (n_{l-1} + n_l) by symmetry; passes: 4 N p; two factorisations of N^3 / 3,
    and about 70 steps of two triangular solves, N^2 each; a dense solve 9 N^3.  Matrix-free:
    4 N p a product with K and no N^2 memory, three times as much and the inputs alone where even
    the network's values do not fit.  ``auto`` forms K where it does on this machine.
    """
    from lawsweep.kernels.eigmin.solvers import MATRICES

    n = np.asarray(p.n_samples, dtype=np.float64)
    columns, n_params, units, n_rank = _network_sizes(p)
    item = np.where(np.asarray(p.dtype) == "float32", 4.0, 8.0)
    asks_for_all, n_lowest = np.asarray(p.full_spectrum), np.asarray(p.n_lowest)
    solver, small = np.asarray(p.solver), n < 500
    dense = (solver == "dense") | asks_for_all | ((n_lowest > 0) & small)
    free = (solver == "matrix_free") | (solver == "sharded")
    passes = item * (n * units + 2.0 * n_params)
    free = (free | ((solver == "auto") & (MATRICES * item * n**2 + passes > _room()))) & ~dense
    free &= n_lowest == 0
    stored, matrix_free = _matrix_free(p, n, item, columns, n_params)
    solve = (2.0 / 3.0) * n**3 + LANCZOS_STEPS * 2.0 * SOLVE_FACTOR * n**2
    solve = np.where(dense, 9.0 * n**3, solve) + columns * n**2
    products = np.where(stored, 1.0, ANEW) * PRODUCTS * (n / 3000.0) ** GROWTH
    solve = np.where(free, PRODUCT_FACTOR * products * 4.0 * n * n_params, solve)
    squares = item * np.where(dense, 4.0, MATRICES) * n**2
    limit = (np.asarray(p.infinite_width_up_to) >= n) * (n**3 + 600.0 * n**2)
    skipped = (n > n_rank) & ~asks_for_all & (n_lowest == 0)
    flops = 4.0 * n * n_params + np.where(skipped, 0.0, solve) + limit
    by_blocks = item * np.minimum(n, BLOCK_ROWS) * units
    solving = np.where(free, matrix_free + by_blocks, passes + squares)
    passes = np.where(free, item * n * np.asarray(p.input_dim) + by_blocks, passes)
    memory = np.where(skipped, passes, solving)
    return Cost(flops=flops, memory_bytes=memory + (limit > 0) * 8.0 * 6.0 * n**2 + 2e7)


def _matrix_free(p: Any, n: Any, item: Any, columns: Any, n_params: Any) -> tuple[Any, Any]:
    """Whether the network's values are kept, and bytes: ``eigmin.solvers``' over points."""
    from lawsweep.kernels.eigmin.solvers import VECTORS

    rank = np.minimum(columns, n / 8.0)
    beside = n * (item * VECTORS + 4.0 * rank) + 8.0 * (4.0 * n_params + 3.0 * rank**2)
    kept = beside + item * n * columns
    stored = kept <= _room()
    return stored, np.where(stored, kept, beside + item * n * np.asarray(p.input_dim))


def _room() -> float:
    """Bytes up to which ``auto`` forms K: of this machine's memory, as a plan knows no other."""
    import psutil

    from lawsweep.experiments.ntk_min_eig.choice import SHARE

    return SHARE * float(psutil.virtual_memory().total)


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
        return columns, n_params, d + 3.0 * w * (depth - 1.0) + w, rank
    cells = (p.input_dim, p.width, p.depth, p.bias, p.kernel, p.shape, p.widths)
    spread = np.broadcast_arrays(*(_cells(c) for c in cells))
    keys = list(zip(*(c.ravel().tolist() for c in spread), strict=True))
    known = {key: _sizes(*key) for key in dict.fromkeys(keys)}
    table = np.array([known[key] for key in keys]).reshape(*spread[0].shape, 4)
    return tuple(np.moveaxis(table, -1, 0))


def _passes(widths: Sequence[int]) -> int:
    """Numbers a sample at the peak: features, preactivations, backprops, one in work."""
    hidden = widths[1:-1]
    return widths[0] + 3 * sum(hidden) + max(hidden)


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
    return columns, n_params, _passes(n), sum(pairs[k - 1][0] * pairs[k - 1][1] for k in chosen)
