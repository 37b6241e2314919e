"""``ntk_rank.rank_report`` of samples that come in blocks of rows: N numbers, no N x n features.

Where a kernel is solved without being formed, neither are all features and backprops at once; what
names an exact zero is gathered block by block.  Two questions are about all samples together: are
two equal, and how many share a pattern of units that are on?  They are answered by fingerprints of
128 bits a sample.  Equal rows have equal ones; that two of 10^6 different rows do has a chance of
1e-27, as the multipliers are random numbers that no data knows of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.ntk import Linearisation, check_layers
from lawsweep.kernels.ntk_rank import (
    HOMOGENEOUS,
    ODD,
    RankReport,
    ZeroReason,
    live_bound,
    live_parts,
    rank_bound,
    samples_off,
    up_to_sign,
    zero_gradients,
)


class Survey:
    """What the rank report of a network needs to know of its samples."""

    def __init__(self, act: Activation, layers: Sequence[int] | None = None) -> None:
        self._act, self._layers = act, layers
        self._n_samples, self._widths, self._bias = 0, [0], False
        self._zero = False
        self._live: list[tuple[Tensor, Tensor]] = []
        self._off: list[int] = []
        self._rows: list[Tensor] = []
        self._up_to_sign: list[Tensor] = []
        self._patterns: list[Tensor] = []

    def add(self, lin: Linearisation) -> None:
        """Take in some more samples: ``lin`` of one network, without batch dimensions."""
        chosen = check_layers(self._layers, lin.depth)
        x = lin.features[0]
        self._widths, self._bias = [f.shape[1] for f in lin.features] + [1], lin.bias
        self._n_samples += lin.n_samples
        self._zero |= bool(zero_gradients(lin, self._act, chosen).any())
        self._rows.append(_of_numbers(x))
        if self._act.name in ODD and not lin.bias:
            self._up_to_sign.append(_of_numbers(up_to_sign(x)))
        if self._act.name in HOMOGENEOUS and lin.depth > 1:  # without hidden units, rank says it
            self._patterns.append(_of_bits(torch.cat([f > 0 for f in lin.features[1:]], dim=1)))
        if self._act.name == "relu":
            off = [int(samples.sum()) for samples in samples_off(lin)]
            self._off = [a + b for a, b in zip(self._off or [0] * len(off), off, strict=True)]
            live = live_parts(lin, chosen)
            before = self._live or live
            self._live = [(a | c, b | d) for (a, b), (c, d) in zip(before, live, strict=True)]

    def report(self) -> RankReport:
        """The report of all samples so far; ValueError if there are none."""
        if not self._n_samples:
            raise ValueError("no samples were added; add some before asking for their report")
        chosen = check_layers(self._layers, len(self._widths) - 1)
        bound = rank_bound(self._widths, self._act.name, bias=self._bias, layers=chosen)
        if self._act.name == "relu":
            bound = min(bound, live_bound(self._live, chosen, self._bias))
        return RankReport(bound, self._reason(bound))

    def _reason(self, bound: int) -> ZeroReason | None:
        if self._n_samples > bound:
            return ZeroReason.RANK
        if self._zero:
            return ZeroReason.ZERO_GRADIENT
        if _most_equal(self._rows) > 1:
            return ZeroReason.DUPLICATE
        if self._up_to_sign and _most_equal(self._up_to_sign) > 1:
            return ZeroReason.ANTIPODAL
        if any(count > 1 for count in self._off):
            return ZeroReason.EQUAL_DEAD
        if self._patterns and _most_equal(self._patterns) > self._widths[0] + self._bias:
            return ZeroReason.CROWDED_REGION
        return None


def _multipliers(n: int, like: Tensor) -> Tensor:
    """Two rows of ``n`` random odd 64-bit integers; the same for each block."""
    drawn = np.random.default_rng(0).integers(-(2**62), 2**62, (2, n))
    return torch.from_numpy(2 * drawn + 1).to(like.device)


def _of_numbers(rows: Tensor) -> Tensor:
    """Fingerprints of rows of numbers (N, n), shape (2, N); 0 and -0 are one number."""
    bits = (rows + 0.0).to(torch.float64).view(torch.int64)
    # Numbers that differ in few high bits alone, as 1 and -1 do, shall differ in low ones too.
    bits = bits ^ (bits >> 32)
    parts = []
    for multiplier in _multipliers(rows.shape[1], rows):
        mixed = bits * multiplier  # modulo 2^64
        parts.append((mixed ^ (mixed >> 29)).sum(1))
    return torch.stack(parts)


def _of_bits(rows: Tensor) -> Tensor:
    """Fingerprints of rows of bits (N, n), shape (2, N): random sums of subsets."""
    zero = torch.zeros((), dtype=torch.int64, device=rows.device)
    multipliers = _multipliers(rows.shape[1], rows)
    return torch.stack([torch.where(rows, m, zero).sum(1) for m in multipliers])


def _most_equal(blocks: Sequence[Tensor]) -> int:
    """How many samples share the most common fingerprint."""
    first, second = torch.cat(list(blocks), dim=1)
    order = first.argsort()
    first, second = first[order], second[order]
    new = torch.ones_like(first, dtype=torch.bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return int(torch.bincount(new.cumsum(0) - 1).max())
