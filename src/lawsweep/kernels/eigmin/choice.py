"""Which solver a smallest eigenvalue takes where none was named: by size, memory and device."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

# K, a factor of it and what is beside them, in units of N^2 numbers.
MATRICES = 2.2
# Vectors of N numbers beside the network's values: basis and image (100 each), blocks in work.
VECTORS = 220


def matrix_bytes(n_samples: int, itemsize: int = 8) -> float:
    """Peak memory of a solve that forms K."""
    return MATRICES * itemsize * float(n_samples) ** 2


def matrix_free_bytes(
    n_samples: int, widths: Sequence[int], itemsize: int = 8, *, store: bool = True
) -> float:
    """Peak memory of a matrix-free solve in one shard; of s shards each takes about 1 / s.

    ``widths``: (n_0, ..., n_L).  Features and backprops (``store``; else the inputs alone), the
    vectors, and the preconditioner's columns in float32.
    """
    columns = sum(a + b for a, b in pairwise(widths))
    kept = columns - widths[-1] if store else widths[0]
    n_params = sum(a * b for a, b in pairwise(widths))
    rank = min(columns, n_samples // 8)
    per_sample = itemsize * (kept + VECTORS) + 4 * rank
    return float(n_samples) * per_sample + 8.0 * (4 * n_params + 3 * rank**2)


def network_bytes(n_samples: int, widths: Sequence[int], itemsize: int = 8) -> float:
    """What a forward and a backward pass of so many samples hold at their peak.

    Features, preactivations and backprops, and one more in work.
    """
    hidden = widths[1:-1]
    return float(itemsize) * n_samples * (widths[0] + 3 * sum(hidden) + max(hidden, default=0))


def stores(
    n_samples: int,
    widths: Sequence[int],
    memory_bytes: float,
    *,
    itemsize: int = 8,
    n_shards: int = 1,
) -> bool:
    """Whether a matrix-free solve keeps features and backprops: where they fit.

    Else it makes them anew from the inputs at every product, which takes three times as long.
    """
    return matrix_free_bytes(n_samples, widths, itemsize) / n_shards <= memory_bytes


def choose_solver(
    n_samples: int,
    widths: Sequence[int],
    memory_bytes: float,
    *,
    itemsize: int = 8,
    n_shards: int = 1,
) -> str:
    """``auto`` (of ``eigmin``, which forms K), ``matrix_free`` or ``sharded``.

    The first that fits: a solve that forms K is certified, so it goes first wherever the network's
    values, K and a factor of it fit in ``memory_bytes`` (of one device).  Past that the matrix-free
    solve, on one device or else over ``n_shards`` of them; both first with what ``stores`` asks of,
    then without.  Raises MemoryError where nothing fits.
    """
    formed = matrix_bytes(n_samples, itemsize) + network_bytes(n_samples, widths, itemsize)
    if formed <= memory_bytes:
        return "auto"
    for store in (True, False):
        need = matrix_free_bytes(n_samples, widths, itemsize, store=store)
        if need <= memory_bytes:
            return "matrix_free"
        if n_shards > 1 and need / n_shards <= memory_bytes:
            return "sharded"
    raise MemoryError(
        f"N = {n_samples} needs {need / n_shards:.3g} bytes on each of {n_shards} shards, "
        f"there are {memory_bytes:.3g}; take more shards"
    )
