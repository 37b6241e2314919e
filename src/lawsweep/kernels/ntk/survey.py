"""``rank.rank_report`` of samples that come in blocks of rows: the inputs, no N x n features.

Where a kernel is solved without being formed, neither are all features and backprops at once; what
names an exact zero is gathered block by block.  How many samples share a pattern of units that are
on is about all of them together: it is answered by fingerprints of 128 bits a sample.  Equal
patterns have equal ones; that two of 10^6 different ones do has a chance of 1e-27, as the
multipliers are random numbers that no data knows of.  The inputs are kept as views.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.linearisation import Linearisation
from lawsweep.kernels.ntk.rank import (
    RankReport,
    Samples,
    ZeroReason,
    bounded,
    by_regions,
    by_units,
    live_parts,
    samples_of,
    samples_off,
    together,
    zero_gradients,
)


class Survey:
    """What the rank report of a network needs to know of its samples."""

    def __init__(self, network: Network) -> None:
        self._network, self._chosen, self._affine = network, network.chosen, False
        self._n_samples = 0
        # Truth values and counts stay on the samples' device until the report.
        self._zero: list[Tensor] = []
        self._live: list[tuple[Tensor, Tensor]] = []
        self._off: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._patterns: list[Tensor] = []

    @full_precision()
    def add(self, lin: Linearisation) -> None:
        """Take in some more samples: ``lin`` of one network, without batch dimensions."""
        self._chosen, self._affine = lin.chosen, lin.affine
        self._n_samples += lin.n_samples
        self._zero.append(zero_gradients(lin).any())
        self._rows.append(lin.features[0])
        if by_regions(self._network):
            self._patterns.append(_of_bits(torch.cat([f > 0 for f in lin.features[1:]], dim=1)))
        if by_units(self._network):
            off = [samples.sum() for samples in samples_off(lin)]
            before_off = self._off or [torch.zeros_like(count) for count in off]
            self._off = [a + b for a, b in zip(before_off, off, strict=True)]
            live = live_parts(lin)
            before = self._live or live
            self._live = [(a | c, b | d) for (a, b), (c, d) in zip(before, live, strict=True)]

    @full_precision()
    def report(self) -> RankReport:
        """The report of all samples so far; ValueError if there are none."""
        if not self._n_samples:
            raise ValueError("no samples were added; add some before asking for their report")
        x = self._rows[0] if len(self._rows) == 1 else torch.cat(self._rows)
        samples = samples_of(self._network, x, affine=self._affine)
        live = self._live if by_units(self._network) else None
        bound, ranked = bounded(self._network, self._chosen, self._affine, live, samples)
        zero = ZeroReason.RANK if ranked else self._reason(samples)
        return RankReport(bound, zero)

    def _reason(self, samples: Samples) -> ZeroReason | None:
        if bool(torch.stack(self._zero).any()):
            return ZeroReason.ZERO_GRADIENT
        if samples.zero is not None:
            return samples.zero
        if self._off and bool((torch.stack(self._off) > 1).any()):
            return ZeroReason.EQUAL_DEAD
        if self._patterns:
            region = _labels(self._patterns)
            crowd = int(torch.bincount(region).max())
            if crowd > samples.rank or together(region, samples.line) > 1 + self._affine:
                return ZeroReason.CROWDED_REGION
        return None


def _multipliers(n: int, like: Tensor) -> Tensor:
    """Two rows of ``n`` random odd 64-bit integers; the same for each block."""
    drawn = np.random.default_rng(0).integers(-(2**62), 2**62, (2, n))
    return torch.from_numpy(2 * drawn + 1).to(like.device)


def _of_bits(rows: Tensor) -> Tensor:
    """Fingerprints of rows of bits (N, n), shape (2, N): random sums of subsets."""
    zero = torch.zeros((), dtype=torch.int64, device=rows.device)
    multipliers = _multipliers(rows.shape[1], rows)
    return torch.stack([torch.where(rows, m, zero).sum(1) for m in multipliers])


def _labels(blocks: Sequence[Tensor]) -> Tensor:
    """Numbers 0, 1, ... that are the same for samples of one fingerprint, shape (N,)."""
    first, second = torch.cat(list(blocks), dim=1)
    order = first.argsort()
    first, second = first[order], second[order]
    new = torch.ones_like(first, dtype=torch.bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return torch.empty_like(first).scatter_(0, order, new.cumsum(0) - 1)
