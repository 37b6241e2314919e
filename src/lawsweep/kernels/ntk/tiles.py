"""The Gram matrix tile by tile: sums of products of inner products, in the lower triangle only."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.base.crew import Crew

Factors = Sequence[tuple[Tensor, Tensor | None]]


def fill_symmetric(out: Tensor, factors: Factors, tile: int) -> None:
    """out (..., N, N) = sum over factors of (left left^T) o (right right^T), exactly symmetric.

    ``left`` (..., N, a), ``right`` (..., N, b) or None where that product is all 1; tiles of at
    most ``tile`` rows.
    """
    left, n = factors[0][0], out.shape[-1]
    tiles = list(_lower_tiles(0, n, tile))
    # The largest first, so that the threads end together.
    tiles.sort(key=lambda t: (t[0].stop - t[0].start) * (t[1].stop - t[1].start), reverse=True)
    rows, cols = tiles[0]
    size = math.prod(out.shape[:-2]) * (rows.stop - rows.start) * (cols.stop - cols.start)
    # A single tile of a batch is left to torch's own threads; that of one matrix is so small (below
    # GRAM_CUT) that one thread does as well, and where a core is busy elsewhere far better.
    alone = left.device.type != "cpu" or (len(tiles) == 1 and out.ndim > 2)
    n_threads = 1 if alone else torch.get_num_threads()
    with Crew(n_threads) as crew:
        # Reused scratch: fresh pages for each product would cost more than its last pass.
        n_pieces = min(crew.n_threads, len(tiles))
        free = deque(workspace.empty(left, (n_pieces, 3, size)))
        crew.run(partial(_fill_tile, out, factors, rows, cols, free) for rows, cols in tiles)


def _fill_tile(
    out: Tensor,
    factors: Factors,
    rows: slice,
    cols: slice,
    free: deque[Tensor],
) -> None:
    """One tile of K and its mirror image; ``free`` holds as much scratch as there are threads."""
    scratch = free.pop()
    block = _sum_of_products(factors, rows, cols, scratch)
    if rows != cols:
        out[..., rows, cols] = block
        mirror = out[..., cols, rows]
        for begin in range(0, block.shape[-2], devices.MIRRORED_ROWS):
            strip = slice(begin, begin + devices.MIRRORED_ROWS)
            mirror[..., strip].copy_(block[..., strip, :].mT)
    else:
        # A matrix product need not round (i, j) and (j, i) alike: their mean, in fewer passes
        # than a copy of one half.
        block *= 0.5
        torch.add(block, block.mT, out=out[..., rows, cols])
    free.append(scratch)


def _lower_tiles(begin: int, end: int, tile: int) -> Iterator[tuple[slice, slice]]:
    """Tiles that cover the lower triangle of [begin, end)^2, each once.

    Half of a tile on the diagonal is wasted work, so those are halved again and again: the squares
    below the diagonal that appear are whole work.
    """
    for i in range(begin, end, tile):
        rows = slice(i, min(i + tile, end))
        for j in range(begin, i, tile):
            yield rows, slice(j, j + tile)
        size = rows.stop - i
        if size >= devices.GRAM_CUT:
            yield from _lower_tiles(i, rows.stop, -(-size // 2))
        else:
            yield rows, rows


def _sum_of_products(factors: Factors, rows: slice, cols: slice, scratch: Tensor) -> Tensor:
    """Sum over factors of (left left^T) o (right right^T), at the given rows, columns.

    Summed up in ``scratch``, of which a view is returned: K's own memory, where a row of the tile
    is far from the next, is written once.
    """
    left = factors[0][0]
    shape = (*left.shape[:-2], rows.stop - rows.start, cols.stop - cols.start)
    total, one, two = (s[: math.prod(shape)].view(shape) for s in scratch)
    # Layers with a second factor first, so that the last one can be added by its own product.
    ordered = sorted(factors, key=lambda pair: pair[1] is None)
    for count, (left, right) in enumerate(ordered):
        a, b = left[..., rows, :], left[..., cols, :].mT
        if right is None and count and len(shape) == 2:
            total.addmm_(a, b)
            continue
        first = one if count else total
        torch.matmul(a, b, out=first)
        if right is not None:
            torch.matmul(right[..., rows, :], right[..., cols, :].mT, out=two)
            total.mul_(two) if count == 0 else total.addcmul_(one, two)
        elif count:
            total.add_(one)
    return total
