"""Smallest eigenvalue of a symmetric positive (semi)definite matrix, with its evidence.

Method.  One Cholesky factorisation K = L L^T, then Lanczos on K^{-1}, whose largest eigenvalue
1 / lambda_min stands apart relatively even where the small eigenvalues of K crowd (Lanczos on K
itself sees their absolute gaps, a millionth of its spectrum).

Evidence.  Upper: a Rayleigh quotient theta = v^T K v never lies below lambda_min.  Lower: if the
floating-point Cholesky of A = K - tau I completes, then L L^T = A + E with
||E|| <= g tr(L L^T) <= g / (1 - g) tr A, g = gamma_{N+1} = (N+1) u / (1 - (N+1) u), so
lambda_min(A) >= -g / (1 - g) tr A  (Rump, "Verification of positive definiteness", BIT 2006,
section 2; Higham, "Accuracy and stability", theorem 10.3).  Both bounds speak about the matrix
as it is stored, not about the rounding of what built it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.eigmin_input import checked, gamma, scaled, start_vector
from lawsweep.kernels.eigmin_lanczos import lanczos_largest
from lawsweep.kernels.ntk import empty_like_device

# Below this order a dense solve takes no longer than the many small calls of Lanczos.
DENSE_BELOW = 300


class Reason(StrEnum):
    """Why a computation of lambda_min ended as it did."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "Lanczos met its iteration limit; raise max_iterations or take solver=dense"
    LARGE_RESIDUAL = "the residual exceeds its rounding level; take solver=dense or float64"
    NOT_SMALLEST = "Lanczos missed a smaller eigenvalue; take another start vector or solver=dense"
    NUMERICALLY_SINGULAR = (
        "lambda_min lies at the rounding level of the matrix: neither value nor sign is known"
    )


@dataclass(frozen=True)
class MinEigenvalue:
    """lambda_min of K and what supports it.

    ``lower <= lambda_min(K) <= upper`` always, with ``lower`` = -inf where nothing was proved;
    ``certified``: the tight lower bound was.
    ``value`` is the Rayleigh quotient (or a dense solver's value), ``residual`` the norm
    ||K v - value v|| with |v| = 1, ``n_iterations`` the Lanczos steps (0 for a dense solve),
    ``solver`` what actually ran.  ``sign_trusted``: lower > 0.  ``converged`` is False
    whenever ``value`` should not be used as lambda_min; ``reason`` says why.
    """

    value: float
    residual: float
    lower: float
    upper: float
    certified: bool
    lambda_max: float
    lambda_max_residual: float
    n_iterations: int
    solver: str
    converged: bool
    reason: Reason

    @property
    def sign_trusted(self) -> bool:
        """Whether lambda_min(K) > 0 is proved."""
        return self.lower > 0.0


def smallest_eigenvalue(
    matrix: Tensor,
    *,
    start: np.random.Generator | Tensor,
    solver: str = "auto",
    tol: float | None = None,
    max_iterations: int = 300,
    certify: bool = True,
) -> MinEigenvalue:
    """lambda_min of the symmetric ``matrix`` (N, N), which is read and never written.

    ``start``: the Lanczos start, a vector (N,) or a generator to draw it from.  ``tol``:
    relative residual of the inverse iteration, default sqrt(eps); the eigenvalue's relative
    error is about tol^2 over the relative gap.  ``certify``: spend a second factorisation on a
    tight lower bound; without it ``lower`` is what the first one proves, or -inf.  Memory
    beside ``matrix``: one N^2 factor; a dense solve takes about 3 N^2; and a copy of a matrix
    whose entries are near the ends of the floating-point range, which is scaled by a power of 2.

    A Cholesky that breaks down (lambda_min at rounding level) is followed by a dense solve; the
    certificate then brackets lambda_min around 0, ``sign_trusted`` is False, and ``converged``
    is False with the reason NUMERICALLY_SINGULAR: that value is rounding noise.

    Raises ValueError for a matrix that is not square, not floating point, not symmetric or not
    finite, and for an unknown solver.
    """
    matrix, norm, scale = scaled(checked(matrix, solver))
    vector = start_vector(matrix, norm, start)
    tol = math.sqrt(torch.finfo(matrix.dtype).eps) if tol is None else tol
    pair = None
    if solver == "cholesky_lanczos" or (solver == "auto" and matrix.shape[0] >= DENSE_BELOW):
        pair = _inverse_lanczos(matrix, vector, tol, max_iterations)
    if pair is None:
        pair = _dense(matrix)
    return _scaled_back(_judge(matrix, norm, pair, certify), scale)


@dataclass(frozen=True)
class _Pair:
    """The eigenvalues a solver found, before they are judged."""

    solver: str
    value: float
    residual: float
    top: float
    top_residual: float
    n_iterations: int
    reason: Reason


def _inverse_lanczos(
    matrix: Tensor, start: Tensor, tol: float, max_iterations: int
) -> _Pair | None:
    """Lanczos on K^{-1}; None where the Cholesky of K breaks down."""
    factor = empty_like_device(matrix, tuple(matrix.shape)).mT
    if not _factorise(matrix, 0.0, factor):
        return None
    largest = lanczos_largest(lambda v: matrix @ v, start, tol, max_iterations)
    found = lanczos_largest(lambda v: _solve(factor, v), start, tol, max_iterations)
    # One inverse step more damps what rounding put along the large eigenvectors.
    v = _solve(factor, found.vector)
    v = v / v.norm()
    image = matrix @ v
    value = float(v @ image)
    residual = float((image - value * v).norm())
    noise = math.sqrt(len(v)) * torch.finfo(matrix.dtype).eps * abs(largest.value)
    reason = Reason.CONVERGED
    if not (found.converged and largest.converged):
        reason = Reason.MAX_ITERATIONS
    elif not residual <= 10.0 * (tol * abs(value) + noise):
        reason = Reason.LARGE_RESIDUAL
    return _Pair(
        "cholesky_lanczos",
        value,
        residual,
        largest.value,
        _residual(matrix, largest.vector, largest.value),
        found.n_iterations,
        reason,
    )


def _factorise(matrix: Tensor, shift: float, factor: Tensor) -> bool:
    """Cholesky of K - shift I into ``factor`` (column-major); False where it breaks down.

    LAPACK works in place on column-major storage, so one copy and no temporary is needed: K is
    symmetric, and its transpose is copied along its rows.
    """
    factor.mT.copy_(matrix)
    factor.diagonal().sub_(shift)
    info = torch.empty((), dtype=torch.int32, device=matrix.device)
    torch.linalg.cholesky_ex(factor, out=(factor, info))
    return int(info) == 0


def cholesky_margin(n: int, trace: float, dtype: torch.dtype) -> float:
    """g / (1 - g) * trace: how negative lambda_min may be though the Cholesky completes."""
    g = gamma(n + 1, dtype)
    return g / (1.0 - g) * trace if g < 1.0 else math.inf


def _scaled_back(found: MinEigenvalue, scale: float) -> MinEigenvalue:
    """The result for s K; a bound that leaves the range is rounded outwards."""
    if scale == 1.0:
        return found
    lower, upper = found.lower * scale, found.upper * scale
    return replace(
        found,
        value=found.value * scale,
        residual=found.residual * scale,
        lower=lower if lower / scale == found.lower else math.nextafter(lower, -math.inf),
        upper=upper if upper / scale == found.upper else math.nextafter(upper, math.inf),
        lambda_max=found.lambda_max * scale,
        lambda_max_residual=found.lambda_max_residual * scale,
    )


def _solve(factor: Tensor, v: Tensor) -> Tensor:
    """K^{-1} v from the lower factor: two triangular solves (cholesky_solve is 10 x slower)."""
    half = torch.linalg.solve_triangular(factor, v.unsqueeze(1), upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True).squeeze(1)


def _residual(matrix: Tensor, v: Tensor, value: float) -> float:
    return float((matrix @ v - value * v).norm())


def _dense(matrix: Tensor) -> _Pair:
    values, vectors = torch.linalg.eigh(matrix)
    value, top = float(values[0]), float(values[-1])
    return _Pair(
        "dense",
        value,
        _residual(matrix, vectors[:, 0], value),
        top,
        _residual(matrix, vectors[:, -1], top),
        0,
        Reason.CONVERGED,
    )


def _judge(matrix: Tensor, norm: float, pair: _Pair, certify: bool) -> MinEigenvalue:
    """The bounds, and the verdict they allow."""
    n, dtype, diagonal = matrix.shape[0], matrix.dtype, matrix.diagonal()
    # The computed quotient differs from v^T K v by at most gamma_{2N+4} |v|^T |K| |v|, and
    # || |K| || <= ||K||_F; a dense value is within its residual of its vector's quotient.
    upper = pair.value + pair.residual * (pair.solver == "dense")
    upper += gamma(2 * n + 4, dtype) * norm
    lower, certified, reason = -math.inf, False, pair.reason
    if certify:
        lower, certified = _certificate(matrix, pair.value - _room(diagonal, pair))
    elif pair.solver == "cholesky_lanczos":
        # The factorisation of K itself completed: the certificate at tau = 0.
        lower = -cholesky_margin(n, float(diagonal.sum()), dtype)
    # No entry exceeds this: K - lambda_min I is positive semidefinite, so its entries lie below
    # its largest diagonal one.
    largest = float(diagonal.abs().amax()) + max(0.0, -pair.value)
    # Entries rounded to eps |K_ij|, independently, move eigenvalues by about sqrt(N) eps max K_ij
    # (the norm of a random matrix): nothing below a few times that is known about lambda_min.
    noise = 8.0 * math.sqrt(n) * torch.finfo(dtype).eps * largest
    if reason is Reason.CONVERGED and abs(pair.value) <= max(noise, 2.0 * pair.residual):
        reason = Reason.NUMERICALLY_SINGULAR
    # A dense solve misses no eigenvalue; there a failed certificate only leaves the bound open.
    missed = certify and not certified and pair.solver == "cholesky_lanczos"
    if reason is Reason.CONVERGED and missed:
        reason = Reason.NOT_SMALLEST
    return MinEigenvalue(
        value=pair.value,
        residual=pair.residual,
        lower=lower,
        upper=upper,
        certified=certified,
        lambda_max=pair.top,
        lambda_max_residual=pair.top_residual,
        n_iterations=pair.n_iterations,
        solver=pair.solver,
        converged=reason is Reason.CONVERGED,
        reason=reason,
    )


def _room(diagonal: Tensor, pair: _Pair) -> float:
    """How far below ``pair.value`` the shift tau goes, for the factorisation to complete.

    It does for certain where lambda_min(A) = lambda_min - tau > margin(tr A), A = K - tau I (the
    theorem of the certificate, read the other way).  To first order tr A is
    sum(K_ii - lambda_min) >= 0, whatever the sign of K.  Beside it: the residual, twice; and some
    ulps of the numbers that tau is subtracted from, without which -I or 0 I would leave A = 0.
    """
    value = pair.value
    spread = float((diagonal - value).sum().clamp_min(0.0))
    info = torch.finfo(diagonal.dtype)
    ulps = 4.0 * info.eps * max(float(diagonal.abs().amax()), abs(value)) + info.tiny
    margin = cholesky_margin(len(diagonal), spread, diagonal.dtype)
    return margin + 2.0 * pair.residual + float(ulps)


def _certificate(matrix: Tensor, tau: float) -> tuple[float, bool]:
    """(lower bound, True) if the Cholesky of K - tau I completes, else (-inf, False)."""
    diagonal = matrix.diagonal() - tau
    # Forming that diagonal rounds each entry once: at most u |K_ii - tau|.
    rounding = torch.finfo(matrix.dtype).eps * float(diagonal.abs().amax())
    factor = empty_like_device(matrix, tuple(matrix.shape)).mT
    if not _factorise(matrix, tau, factor):
        return -math.inf, False
    margin = cholesky_margin(matrix.shape[0], float(diagonal.sum()), matrix.dtype)
    return tau - margin - rounding, True
