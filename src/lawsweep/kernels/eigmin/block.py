"""Smallest eigenvalue of K = J J^T where K does not fit: block Davidson over row shards.

Method.  Davidson's (``davidson``), its preconditioner (``ntk.precondition``) chosen by the number
of products K v, which are nearly all of the time.  Measured on a sigmoid network, N = 3000, d = 75,
L = 3, to a residual of 1e-2: 266 products with a basis of 100 vectors, 256 with all of them, 262
with 6 (LOBPCG's memory); 502 in a block of 2, which brings the second eigenvalue too; 3129 without
a preconditioner.  Inverse iteration pays 37 products for one solve to 1e-2 with the same
preconditioner, and needs many solves where lambda_2 / lambda_1 = 1.02.

Evidence.  theta = |J^T x|^2 / |x|^2 lies above lambda_min: ``upper`` is theta with the rounding of
J^T x added.  SOME eigenvalue lies within ``residual`` of theta.  That it is the smallest is not
proved: ``lower`` is -inf and ``certified`` False.  What speaks for it: random starts, a block of
Ritz values beside it, and a second start from other numbers that must come to the same value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.base.rounding import gamma
from lawsweep.kernels.eigmin.davidson import Davidson, Found
from lawsweep.kernels.eigmin.result import EigenReason, resolved
from lawsweep.kernels.ntk.row_shard import Shards

MAX_BLOCK = 64  # a sample's random signs are the bits of one word


@dataclass(frozen=True)
class BlockEigenvalue(Ended):
    """lambda_min of K and what supports it; fields as those of ``MinEigenvalue`` where shared.

    ``value`` = |J^T x|^2 for the unit vector x found, ``residual`` = ||K x - value x||, both
    computed anew in float64.  ``upper``: lambda_min <= upper is proved for the features and
    backprops as stored.  ``lower`` is -inf, ``certified`` False: see the module.
    ``rounding``: first-order error of ``value`` from the rounding of the network's values,
    2 u sqrt(value tr K); in float32 about 1e-7 sqrt(N mean(K_ii) / value) relative.
    ``ritz_values``: the block's, lowest first.  ``other_start``: the value found from an
    independent start, None if there was none.  ``n_matvecs``: products K v of all starts, those
    for ``lambda_max`` too.  ``converged``: the residual is at most ``tol`` of the value, the starts
    agree, and ``upper - value + rounding`` is at most a hundredth of it.
    """

    value: float
    residual: float
    lower: float
    upper: float
    certified: bool
    lambda_max: float
    lambda_max_residual: float
    n_iterations: int
    n_matvecs: int
    n_restarts: int
    ritz_values: tuple[float, ...]
    other_start: float | None
    rounding: float
    preconditioner_rank: int
    solver: str
    converged: bool
    reason: Reason

    @property
    def sign_trusted(self) -> bool:
        """Whether lambda_min(K) > 0 is proved: never here."""
        return self.lower > 0.0


@full_precision()
def smallest_eigenvalue_block(
    shards: Shards,
    *,
    key: int,
    layers: Sequence[int],
    tol: float = 1e-2,
    block: int = 1,
    rank: int | None = None,
    max_basis: int = 100,
    max_matvecs: int = 5000,
    n_starts: int = 1,
    solver: str = "matrix_free",
) -> BlockEigenvalue:
    """lambda_min of K = J J^T, J held by ``shards`` (see ``row_shard``) row by row.

    ``key``: an integer (128 bits) that fixes the random starts.  ``layers``: the layers of the
    shards' rows.  ``tol``: relative residual asked for; where the wanted eigenvalue stands apart
    the value's error is about tol^2 over its relative gap.  ``block``: vectors an iteration;
    ``rank`` of the preconditioner, default sum_l (n_{l-1} + n_l), at most N / 8.  ``max_basis``:
    memory is 2 max_basis N numbers beside the shards' own; ``n_starts`` 1 or 2.

    Raises ValueError for settings out of range; what the shards raise passes through.
    """
    _check(tol, block, max_basis, max_matvecs, n_starts)
    solve = Davidson(shards, tuple(layers), rank, block, max_basis, max_matvecs)
    top, top_residual = solve.largest(key)
    found = [solve.smallest((key + start) % 2**128, tol) for start in range(n_starts)]
    best = min(found, key=lambda f: f.value)
    root, trace = math.sqrt(best.value), math.sqrt(solve.trace)
    # || fl(J^T x) - J^T x || <= gamma_{N+6} ||J||_F: sums of N products of three numbers.
    above = root + gamma(solve.n + 6, torch.float64) * trace
    upper = above * above * (1.0 + 8.0 * float(np.finfo(float).eps))
    rounding = solve.eps * root * trace
    reason = _verdict(found, tol, solve.floor, upper - best.value + rounding)
    return BlockEigenvalue(
        value=best.value,
        residual=best.residual,
        lower=-math.inf,
        upper=upper,
        certified=False,
        lambda_max=top,
        lambda_max_residual=top_residual,
        n_iterations=sum(f.n_iterations for f in found),
        n_matvecs=solve.n_matvecs,
        n_restarts=sum(f.n_restarts for f in found),
        ritz_values=best.ritz_values,
        other_start=max(f.value for f in found) if n_starts > 1 else None,
        rounding=rounding,
        preconditioner_rank=solve.prec.rank,
        solver=solver,
        converged=reason is EigenReason.CONVERGED,
        reason=reason,
    )


def _check(tol: float, block: int, max_basis: int, max_matvecs: int, n_starts: int) -> None:
    if not 0.0 < tol < 1.0:
        raise ValueError(f"tol must lie between 0 and 1, got {tol}; 1e-2 asks for a percent")
    if not 1 <= block <= MAX_BLOCK or max_basis < 6 * block or max_matvecs < block:
        raise ValueError(
            f"expected block from 1 to {MAX_BLOCK}, max_basis >= 6 block and max_matvecs >= block, "
            f"got {block}, {max_basis}, {max_matvecs}; raise the latter two or lower block"
        )
    if n_starts not in (1, 2):
        raise ValueError(f"n_starts must be 1 or 2, got {n_starts}")


def _verdict(found: Sequence[Found], tol: float, floor: float, doubt: float) -> EigenReason:
    """Whether the best of ``found`` may be used as lambda_min.

    ``doubt``: what rounding may have done to it, to be little beside it.
    """
    best = min(found, key=lambda f: f.value)
    if best.value <= floor or not resolved(best.value, doubt):
        return EigenReason.NUMERICALLY_SINGULAR
    if any(f.exhausted for f in found):
        return EigenReason.MAX_MATVECS
    if not best.residual <= tol * best.value:
        return EigenReason.ROUNDING
    spread = max(f.value for f in found) - best.value
    if spread > sum(f.residual for f in found):
        return EigenReason.STARTS_DISAGREE
    return EigenReason.CONVERGED
