"""One flat vector that holds the weights of many seeds, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep.kernels.base.threads import aligned_size


class LayerMajor:
    """One flat vector as L blocks (S, n_{l-1}, n_l), layer after layer, then padding of zeros.

    Each block is contiguous, so batched products can write into it, and an optimiser needs one
    call for all layers and seeds.  What is left over at the end of an elementwise operation, or
    of a thread's share of it, is computed by scalar code, which need not round as the vector code
    does (with torch 2.13 and float64 it does): so the vector is padded to whole ones, lest a
    weight's last bits depend on the other seeds or on the threads.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.shapes = list(shapes)
        sizes = [s * a * b for s, a, b in self.shapes]
        self._sizes = [*sizes, aligned_size(sum(sizes)) - sum(sizes)]

    def flat(self, blocks: Sequence[Tensor]) -> Tensor:
        """A new flat vector of the blocks' values."""
        padding = blocks[0].new_zeros(self._sizes[-1])
        return torch.cat([*(b.reshape(-1) for b in blocks), padding])

    def views(self, flat: Tensor) -> list[Tensor]:
        """The blocks, sharing memory with ``flat``."""
        parts = torch.split(flat, self._sizes)[:-1]
        return [t.view(s) for t, s in zip(parts, self.shapes, strict=True)]

    def selected(self, n_seeds: int) -> LayerMajor:
        """The layout of ``n_seeds`` seeds."""
        return LayerMajor([(n_seeds, a, b) for _, a, b in self.shapes])

    def select(self, flat: Tensor, keep: Tensor) -> Tensor:
        """The flat vector of the seeds at positions ``keep`` alone (a copy)."""
        return self.selected(len(keep)).flat([v[keep] for v in self.views(flat)])
