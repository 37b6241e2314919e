"""What a run of ntk_min_eig costs, over arrays of points."""

from __future__ import annotations

from typing import Any

import numpy as np

from lawsweep import Cost
from lawsweep.experiments.columns import BETWEEN, by_dtype, over_structures
from lawsweep.experiments.ntk_min_eig.held import FUSE_UP_TO, stacked
from lawsweep.experiments.ntk_min_eig.network import SHAPES, described
from lawsweep.kernels.base.rates import stated
from lawsweep.kernels.eigmin import solvers

# Products with K of a matrix-free solve, both its starts, at N = 3000 and N = p / 4; more samples
# take more.  Within a factor of 3 either way, as N / p and the activation have it.
PRODUCTS, GROWTH = 900.0, 0.35
PRODUCT_FACTOR = 1.6  # what a step takes beside its product, and products below the full rate
ANEW = 3.0  # a product where the network's values are made anew for either half of it
# Samples whose passes are held at a time where no matrix is formed: three blocks of 2048, as one
# is let go when the next is made, and a product has its own.
BLOCK_ROWS = 3 * stated("cpu").sizes.rows_tile


def cost(p: Any) -> Cost:
    """Flops and bytes over arrays of points (leading terms).

    Gram: N^2 sum_l (n_{l-1} + n_l) by symmetry; passes: 4 N p; two factorisations of N^3 / 3,
    and about 70 steps of two triangular solves, N^2 each; a dense solve 9 N^3.  Matrix-free:
    4 N p a product with K and no N^2 memory, three times as much and the inputs alone where even
    the network's values do not fit.  ``auto`` forms K where it does on this machine.
    """
    n = np.asarray(p.n_samples, dtype=np.float64)
    columns, n_params, units, n_rank = _network_sizes(p)
    item = np.where(np.asarray(p.dtype) == "float32", 4.0, 8.0)
    asks_for_all, n_lowest = np.asarray(p.full_spectrum), np.asarray(p.n_lowest)
    solver, small = np.asarray(p.solver), n < solvers.DENSE_BELOW
    finds_all = asks_for_all | ((n_lowest > 0) & small)
    free = np.isin(solver, solvers.names("rows"))
    passes = item * (n * units + 2.0 * n_params)
    formed = solvers.MATRICES * item * n**2 + passes
    free = (free | ((solver == solvers.AUTO) & (formed > _room()))) & ~finds_all & (n_lowest == 0)
    stored, matrix_free = _matrix_free(p, n, item, columns, n_params)
    solve, squares = _formed(solver, finds_all, n)
    solve = solve + columns * n**2
    products = np.where(stored, 1.0, ANEW) * PRODUCTS * (n / 3000.0) ** GROWTH
    solve = np.where(free, PRODUCT_FACTOR * products * 4.0 * n * n_params, solve)
    squares = item * squares * n**2
    limit = (np.asarray(p.infinite_width_up_to) >= n) * (n**3 + 600.0 * n**2)
    skipped = (n > n_rank) & ~asks_for_all & (n_lowest == 0)
    flops = 4.0 * n * n_params + np.where(skipped, 0.0, solve) + limit
    whole = finds_all | np.isin(solver, ("dense",)) | ((solver == solvers.AUTO) & small)
    work = _work(p, n, columns, n_params, units, free=free, skipped=skipped, whole=whole,
                 products=products, limit=limit, item=item)  # fmt: skip
    by_blocks = item * np.minimum(n, BLOCK_ROWS) * units
    solving = np.where(free, matrix_free + by_blocks, passes + squares)
    passes = np.where(free, item * n * np.asarray(p.input_dim) + by_blocks, passes)
    memory = np.where(skipped, passes, solving)
    memory = memory + (limit > 0) * 8.0 * 6.0 * n**2 + 2e7
    # What is done one by one in a batch too holds what it holds alone; up to which order a stack is
    # solved at once a device's own table says.
    stack = stacked(n, n_params, units, item)
    fused = np.where(n <= FUSE_UP_TO, stack, np.maximum(stack, memory))
    fused = np.where(item == 8.0, fused, memory)
    return Cost(flops=flops, memory_bytes=memory, work=work, fused_bytes=fused)


def _work(
    p: Any, n: Any, columns: Any, n_params: Any, units: Any, *, free: Any, skipped: Any,
    whole: Any, products: Any, limit: Any, item: Any,
) -> dict[str, Any]:  # fmt: skip
    """By kind: passes and Gram; factors, or all eigenvalues; solves of Lanczos; passes over K.

    Operations sent, counted at N = 600 and 1200: 40 a layer of a pass, 45 a step of Lanczos, 600
    beside, and the blocks of a factor; of a matrix-free solve 12 a layer and product.
    """
    formed = ~free & ~skipped
    steps = np.where(whole, 0.0, solvers.LANCZOS_STEPS)
    depth = np.asarray(p.depth, dtype=np.float64)
    matmul = 4.0 * n * n_params + np.where(formed, columns * n**2, 0.0)
    matmul = matmul + np.where(free & ~skipped, products * 4.0 * n * n_params, 0.0)
    factor = np.where(whole, 9.0 * n**3, (2.0 / 3.0) * n**3)
    # A Gram is multiplied together layer by layer; K is copied, shifted and checked.
    passed = item * (formed * n**2 * (6.0 * depth + 12.0) + 6.0 * n * units)
    passed = passed + free * ~skipped * products * item * 4.0 * n * units
    sent = 40.0 * depth + formed * (600.0 + 45.0 * steps + 1.2 * n)
    sent = sent + free * ~skipped * products * 12.0 * depth
    kinds = by_dtype(
        p.dtype, matmul=matmul, cholesky=formed * factor, solve=formed * steps * 2.0 * n**2
    )
    kinds["cholesky_float64"] = kinds["cholesky_float64"] + np.asarray(limit)
    return {
        **kinds,
        "bandwidth": passed,
        "launch": BETWEEN * sent,
        "draws": n * p.input_dim + n_params,
    }


def _formed(solver: Any, finds_all: Any, n: Any) -> tuple[Any, Any]:
    """Flops of a solve that forms K, and its peak memory over N^2 numbers, over points."""
    *iterative, last = (solvers.line(name) for name in solvers.names("matrix"))
    flops, squares = solvers.iterative_flops(n), np.full_like(n, solvers.MATRICES)
    for chosen, line in (*((solver == one.name, one) for one in iterative),
                         (finds_all | (solver == last.name), last)):  # fmt: skip
        flops = np.where(chosen, line.flops(n), flops)
        squares = np.where(chosen, line.squares, squares)
    return flops, squares


def _matrix_free(p: Any, n: Any, item: Any, columns: Any, n_params: Any) -> tuple[Any, Any]:
    """Whether the network's values are kept, and bytes: ``eigmin.solvers``' over points."""
    rank = np.minimum(columns, n / 8.0)
    beside = n * (item * solvers.VECTORS + 4.0 * rank) + 8.0 * (4.0 * n_params + 3.0 * rank**2)
    kept = beside + item * n * columns
    stored = kept <= _room()
    return stored, np.where(stored, kept, beside + item * n * np.asarray(p.input_dim))


def _room() -> float:
    """Bytes up to which ``auto`` forms K: of this machine's memory, as a plan knows no other."""
    import psutil

    from lawsweep.experiments.batches import SHARE

    return SHARE * float(psutil.virtual_memory().total)


def _network_sizes(p: Any) -> tuple[Any, ...]:
    """(columns of the Gram's factors, p, numbers kept a sample, largest rank) over points."""
    structure = (p.depth, p.shape, p.widths, p.kernel, p.bias)
    return over_structures(_sizes, structure, (p.input_dim, p.width))


def _sizes(
    depth: float, shape: str, widths: Any, kernel: str, bias: bool, input_dim: Any, width: Any
) -> tuple[Any, ...]:
    hidden = tuple(widths) or SHAPES[shape](width, int(depth) - 1)
    network = described(input_dim, hidden, kernel, activation="linear", bias=bool(bias))
    return network.columns, network.n_params, network.passed, network.n_counted
