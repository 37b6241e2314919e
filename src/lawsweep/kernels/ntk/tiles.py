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

Factors = Sequence[tuple[Tensor, Tensor | None, int]]  # left, right, tokens


def fill_symmetric(out: Tensor, factors: Factors, tile: int) -> None:
    """out (..., N, N) = sum over factors of (left left^T) o (right right^T), exactly symmetric.

    ``left`` (..., N tokens, a), ``right`` (..., N tokens, b) or None where that product is all 1,
    and their number of tokens, over which the products are summed; tiles of at most ``tile`` rows.
    """
    left, n = factors[0][0], out.shape[-1]
    tiles = list(_lower_tiles(0, n, tile, devices.on(left.device).gram_cut))
    # The largest first, so that the threads end together.
    tiles.sort(key=lambda t: (t[0].stop - t[0].start) * (t[1].stop - t[1].start), reverse=True)
    rows, cols = tiles[0]
    size = math.prod(out.shape[:-2]) * (rows.stop - rows.start) * (cols.stop - cols.start)
    # A single tile of a batch is left to torch's own threads; that of one matrix is so small (below
    # the cut) that one thread does as well, and where a core is busy elsewhere far better.
    alone = left.device.type != "cpu" or (len(tiles) == 1 and out.ndim > 2)
    n_threads = 1 if alone else torch.get_num_threads()
    with Crew(n_threads) as crew:
        # Reused scratch: fresh pages for each product would cost more than its last pass.
        n_pieces = min(crew.n_threads, len(tiles))
        free = deque(workspace.empty(left, (n_pieces, 3, size)))
        crew.run(partial(_fill_tile, out, factors, rows, cols, free) for rows, cols in tiles)


def block(factors: Factors, rows: slice, cols: slice) -> Tensor:
    """The sum at some rows and columns, in memory of its own."""
    left = factors[0][0]
    size = math.prod(left.shape[:-2]) * (rows.stop - rows.start) * (cols.stop - cols.start)
    return _sum_of_products(factors, rows, cols, left.new_empty((3, size)))


def _fill_tile(
    out: Tensor,
    factors: Factors,
    rows: slice,
    cols: slice,
    free: deque[Tensor],
) -> None:
    """One tile of K and its mirror image; ``free`` holds as much scratch as there are threads."""
    scratch = free.pop()
    found = _sum_of_products(factors, rows, cols, scratch)
    if rows != cols:
        out[..., rows, cols] = found
        mirror = out[..., cols, rows]
        step = devices.on(found.device).mirrored_rows
        for begin in range(0, found.shape[-2], step):
            strip = slice(begin, begin + step)
            mirror[..., strip].copy_(found[..., strip, :].mT)
    else:
        # A matrix product need not round (i, j) and (j, i) alike: their mean, in fewer passes
        # than a copy of one half.
        found *= 0.5
        torch.add(found, found.mT, out=out[..., rows, cols])
    free.append(scratch)


def _lower_tiles(begin: int, end: int, tile: int, cut: int) -> Iterator[tuple[slice, slice]]:
    """Tiles that cover the lower triangle of [begin, end)^2, each once.

    Half of a tile on the diagonal is wasted work, so those are halved again and again: the squares
    below the diagonal that appear are whole work.
    """
    for i in range(begin, end, tile):
        rows = slice(i, min(i + tile, end))
        for j in range(begin, i, tile):
            yield rows, slice(j, j + tile)
        size = rows.stop - i
        if size >= cut:
            yield from _lower_tiles(i, rows.stop, -(-size // 2), cut)
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
    ordered = sorted(factors, key=lambda part: part[1] is None)
    for count, (left, right, tokens) in enumerate(ordered):
        if tokens > 1:
            part = _over_tokens(left, right, tokens, rows, cols)
            total.add_(part) if count else total.copy_(part)
            continue
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


def _over_tokens(
    left: Tensor, right: Tensor | None, tokens: int, rows: slice, cols: slice
) -> Tensor:
    """One tile of (left left^T) o (right right^T) summed over pairs of the samples' tokens."""
    here, there = (slice(s.start * tokens, s.stop * tokens) for s in (rows, cols))
    product = left[..., here, :] @ left[..., there, :].mT
    if right is not None:
        product *= right[..., here, :] @ right[..., there, :].mT
    return product.unflatten(-1, (-1, tokens)).sum(-1).unflatten(-2, (-1, tokens)).sum(-2)
