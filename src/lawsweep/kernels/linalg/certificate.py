"""What a Cholesky factor proves of lambda_min, whoever computed it.

The textbook's theorem (Higham, "Accuracy and stability of numerical algorithms", theorem 10.3;
Rump, "Verification of positive definiteness", BIT 46, 2006, section 2) is about substitution: inner
products in any order, divisions by pivots.  Libraries do otherwise: they multiply by reciprocals,
and cuBLAS, as others do, by inverses of small diagonal blocks, whose error grows with the blocks'
condition.  So what a library computed is not trusted but looked at, and only matrix products are
bounded beforehand.

Derivation.  A is symmetric, in blocks; L what came out, its lower triangle.  The recursion of
``cholesky.factorise`` forms for each block, by products,

    S_ik = fl(A_ik - sum_{j<k} L_ij L_kj^T),

and has a library find L_kk with L_kk L_kk^T ~ S_kk, or L_ik with L_ik L_kk^T ~ S_ik.  An inner
product with m terms, subtracted from a number, in whatever order and with or without fused
multiply-adds, gives s with |a - s - sum x y| <= gamma_m (|s| + sum |x y|) (Higham, lemma 8.4).  The
residual R_ik = S_ik - L_ik L_kk^T is computed by a product too: |R| <= (1 + gamma_b) |fl(R)| +
gamma_b |L_ik| |L_kk|^T, b the block's order.  With m + b <= N together, entry by entry,

    |A - L L^T| <= gamma_N |L| |L|^T + (1 + gamma_N)^2 |fl(R)|.

|| |L| |L|^T || <= ||L||_F^2 = tr L L^T, and that trace is tr A up to the trace of the left side:
tr L L^T <= (tr A + (1 + gamma)^2 sqrt(N) rho) / (1 - gamma), rho = ||fl(R)||_F.  Hence
||A - L L^T|| <= ``backward_error``, and lambda_min(A) >= -||A - L L^T||, as L L^T is positive
semidefinite.  rho is measured, about u tr A, a hundredth of the rest at N = 100; a factor that is
off, for whatever reason, has a large one, and proves as little as it should.

What is assumed: a product sums each entry's own terms, each rounded to the type (no fast
multiplication, no TF32, no emulation relative to a row's largest entry); ``precision`` asks for
that.  Underflow, gradual or to zero, is counted: each operation may lose the least normal number.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lawsweep.kernels.base.precision import prove_products
from lawsweep.kernels.base.rounding import gamma, tolerances
from lawsweep.kernels.linalg.cholesky import Residual, factorise, load


def cholesky_margin(n: int, trace: float, dtype: torch.dtype) -> float:
    """How negative lambda_min may be, of order ``n``, though a sound Cholesky completes.

    An estimate made beforehand, g / (1 - g) ``trace`` with g = gamma_{N+1}; what is proved
    afterwards is ``backward_error``, hardly more.
    """
    g = gamma(n + 1, dtype)
    return g / (1.0 - g) * trace if g < 1.0 else math.inf


def backward_error(n: int, trace: float, residual: float, dtype: torch.dtype) -> float:
    """A bound on ||A - L L^T||, from tr A and ``residual`` = rho; inf where there is none.

    See the module.  Sums of squares and traces (in float64) are rounded as well, by at most
    gamma_{N^2} and gamma_N of themselves.
    """
    g, double = gamma(n + 2, dtype), torch.float64
    if not g < 1.0 or not math.isfinite(trace + residual):
        return math.inf
    # Squares below the least normal number of float64 are lost, and each operation's own tiny.
    lost = n * math.sqrt(tolerances(double).tiny) + 2.0 * n * (n + 1) * tolerances(dtype).tiny
    rho = (1.0 + g) ** 2 * ((1.0 + gamma(n * n + 8, double)) * residual + lost)
    squares = ((1.0 + gamma(n + 8, double)) * trace + math.sqrt(n) * rho) / (1.0 - g)
    return g * squares + rho


def factorise_proving(work: Tensor) -> float | None:
    """Factorise ``work`` in place: a bound on -lambda_min of what it held, or None on breakdown.

    ``work`` (N, N) as ``cholesky.factorise`` takes it; it holds the factor afterwards.
    """
    prove_products(work.device, work.dtype)
    trace, residual = float(work.diagonal().sum(dtype=torch.float64)), Residual()
    if not factorise(work, residual=residual):
        return None
    return backward_error(len(work), trace, residual.norm(), work.dtype)


def prove_above(matrix: Tensor, tau: float, work: Tensor) -> float | None:
    """A proved lower bound on lambda_min(K), just below ``tau``, or None where it fails.

    ``work`` (N, N), row-major and of K's type, holds the factor of K - tau I afterwards.
    """
    # The arithmetic is K's: a tau between its numbers would be rounded behind our back.
    tau = float(torch.tensor(tau, dtype=matrix.dtype))
    load(matrix, work, shift=tau)
    rounding = float(shift_rounding(matrix.diagonal(), tau))
    error = factorise_proving(work)
    return None if error is None else tau - error - rounding


def shift_rounding(diagonals: Tensor, tau: float | Tensor) -> Tensor:
    """How far forming K_ii - tau may move an eigenvalue, of diagonals (..., N): (...).

    Each entry is rounded once, by at most u |K_ii - tau|; eps covers that of computing this too.
    """
    eps = tolerances(diagonals.dtype).eps
    return eps * (diagonals - tau).abs().amax(-1)


def bounds_proved(matrices: Tensor, shifted: Tensor, factors: Tensor, taus: Tensor) -> list[float]:
    """Lower bounds on lambda_min of ``matrices`` (B, N, N) by the factors of each K - tau I.

    ``shifted``: those, as they were factorised, each as a whole; ``factors`` their L, zero above
    the diagonal; ``taus`` (B,) of their type.
    """
    prove_products(matrices.device, matrices.dtype)
    n, dtype = matrices.shape[-1], matrices.dtype
    left = torch.baddbmm(shifted, factors, factors.mT, alpha=-1.0).tril_()
    norms = math.sqrt(2.0) * torch.linalg.vector_norm(left, dim=(-2, -1), dtype=torch.float64)
    traces = shifted.diagonal(dim1=-2, dim2=-1).sum(-1, dtype=torch.float64)
    rounding = shift_rounding(matrices.diagonal(dim1=-2, dim2=-1), taus.unsqueeze(-1))
    told = torch.stack([taus.double(), traces, norms, rounding.double()]).tolist()
    return [
        tau - backward_error(n, trace, norm, dtype) - moved
        for tau, trace, norm, moved in zip(*told, strict=True)
    ]
