"""The neural tangent kernel at two sets of weights: lambda_min at either, and how far it moved.

All in float64, whatever type the network was trained in: float32 gets the sign of lambda_min
wrong where it matters.  Setting: arXiv 2205.10217.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.gram import gram, gram_error_bound
from lawsweep.kernels.ntk.linearisation import OutOfRangeError, linearise
from lawsweep.kernels.ntk.rank import rank_report


class KernelReason(Reason):
    """Why there is no kernel."""

    OUT_OF_RANGE = (
        "out_of_range",
        "features or gradients leave the range of float64; rescale the data or the weights",
    )


@dataclass(frozen=True)
class KernelEnd(Ended):
    """lambda_min of K at one set of weights.

    ``lower <= lambda_min(K) <= upper``; both are ``value`` = 0 for a zero that has a name, which
    ``reason`` gives, as it gives how a computation ended.  ``value`` is None where it is not known
    to a hundredth (``MinEigenvalue.converged``, the rounding that built K included).  ``positive``:
    lambda_min > 0 is proved, that rounding included.  All numbers are None where K leaves the range
    of float64.
    """

    value: float | None
    lower: float | None
    upper: float | None
    positive: bool | None
    reason: Reason


@dataclass(frozen=True)
class KernelChange:
    """K_start and K_end: their smallest eigenvalues, relative distance and cosine.

    ``end``, ``change`` and ``alignment`` are None where there are no weights to compare with, the
    last two also where a kernel is zero or out of range.
    """

    start: KernelEnd
    end: KernelEnd | None
    change: float | None
    alignment: float | None


@full_precision()
def kernel_change(
    network: Network,
    x: Tensor,
    initial: Sequence[Tensor],
    final: Sequence[Tensor] | None,
    *,
    start: np.random.Generator,
) -> KernelChange:
    """``change`` = |K_end - K_start|_F / |K_start|_F, ``alignment`` = their cosine.

    ``x`` (N, d); ``initial`` and ``final`` L tensors (n_{l-1}, n_l) with n_L = 1; ``start``
    chooses the eigensolver's first vectors.  Memory: three N x N matrices of float64.  Raises
    ValueError where shapes do not fit.
    """
    with torch.no_grad():
        first, before = _end(network, x, initial, start)
        if final is None:
            return KernelChange(first, None, None, None)
        last, after = _end(network, x, final, start)
        return KernelChange(first, last, *_compare(before, after))


@full_precision()
def kernel_end(
    network: Network,
    x: Tensor,
    weights: Sequence[Tensor],
    *,
    start: np.random.Generator,
    matrix: Tensor | None = None,
) -> KernelEnd:
    """lambda_min at one set of weights; ``matrix``: K in float64, where it is at hand already."""
    with torch.no_grad():
        return _end(network, x, weights, start, matrix)[0]


def _end(
    network: Network,
    x: Tensor,
    weights: Sequence[Tensor],
    start: np.random.Generator,
    matrix: Tensor | None = None,
) -> tuple[KernelEnd, Tensor | None]:
    """The verdict at these weights, and K."""
    wide = [w.to(torch.float64) for w in weights]
    try:
        lin = linearise(network, wide, x.to(torch.float64))
        zero = rank_report(lin).zero
        error = gram_error_bound(lin)
    except OutOfRangeError:
        return KernelEnd(None, None, None, None, KernelReason.OUT_OF_RANGE), None
    matrix = gram(lin) if matrix is None else matrix
    del lin
    if zero is not None:
        return KernelEnd(0.0, 0.0, 0.0, False, zero), matrix
    found = smallest_eigenvalue(matrix, start=start).given_error(error)
    value = found.value if found.converged else None
    return KernelEnd(value, found.lower, found.upper, found.lower > error, found.reason), matrix


def _compare(before: Tensor | None, after: Tensor | None) -> tuple[float | None, float | None]:
    """(relative distance, cosine) of two matrices; None for what does not exist."""
    if before is None or after is None:
        return None, None
    old, new = (float(torch.linalg.matrix_norm(k)) for k in (before, after))
    if not 0.0 < old < math.inf:
        return None, None
    if not 0.0 < new < math.inf:
        return 1.0 if new == 0 else None, None
    # By blocks of rows: no fourth matrix; and of quotients, so that no product leaves the range.
    blocks, step = [], devices.on(before.device).kernel_rows
    for begin in range(0, len(before), step):
        rows = slice(begin, begin + step)
        blocks.append(((before[rows] / old) * (after[rows] / new)).sum())
    inner = sum(torch.stack(blocks).tolist())
    moved = after.sub_(before)
    change = float(torch.linalg.matrix_norm(moved)) / old
    return change, max(-1.0, min(1.0, inner))
