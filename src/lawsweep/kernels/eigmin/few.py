"""The k smallest eigenvalues of a symmetric positive definite matrix, and whether none is missing.

Lanczos on K^{-1} through a Cholesky factor, then Rayleigh-Ritz of K itself on the k vectors.  A
Krylov space has one vector of each eigenspace, so copies of a multiple eigenvalue can be missed,
and rounding only sometimes brings them in.  Hence the count: V V^T of k - 1 vectors lifts at most
k - 1 eigenvalues (Weyl), so

    K + a V V^T - mu I positive definite  =>  fewer than k eigenvalues of K lie below mu.

With mu just below the k-th value found, that its Cholesky completes proves that none was missed.
Where it breaks down Lanczos starts again, orthogonal to what it has; in the end a dense solve
decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import workspace
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Ended
from lawsweep.kernels.base.rounding import gamma
from lawsweep.kernels.eigmin.problem import checked, default_tol, scaled, start_vector
from lawsweep.kernels.eigmin.result import RESOLUTION, EigenReason, Facts
from lawsweep.kernels.eigmin.solvers import is_large
from lawsweep.kernels.linalg.certificate import (
    cholesky_margin,
    factorise_proving,
    shift_rounding,
)
from lawsweep.kernels.linalg.cholesky import factorise, load, solve
from lawsweep.kernels.linalg.lanczos import lanczos_largest

FEW = 0.05  # for more than this share of the spectrum, a dense solve is faster
ROUNDS = 3  # starts of Lanczos before a dense solve takes over


@dataclass(frozen=True, eq=False)
class LowestEigenvalues(Ended):
    """The k smallest eigenvalues, ascending, with their vectors and what supports them.

    ``values`` (k,), ``vectors`` (N, k) orthonormal, ``residuals`` (k,): ||K v - value v||.
    ``lower``: proved, fewer than k eigenvalues of the stored matrix lie below it (-inf where
    nothing was proved); ``complete``: that bound lies just below the k-th value, so none is
    missing.  ``converged``: every residual is at its tolerance or rounding level.  ``known`` (k,):
    which values may be used: residual and worst-case rounding are at most a hundredth of them.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    known: Tensor
    lower: float
    complete: bool
    n_iterations: int
    solver: str
    converged: bool

    @property
    def reason(self) -> EigenReason:
        """Converged where every value may be used."""
        if not self.converged:
            return EigenReason.LARGE_RESIDUAL
        return EigenReason.CONVERGED if bool(self.known.all()) else EigenReason.UNRESOLVED


@full_precision()
def smallest_eigenvalues(
    matrix: Tensor,
    k: int,
    *,
    start: np.random.Generator | Tensor,
    tol: float | None = None,
    max_iterations: int = 600,
    certify: bool = True,
) -> LowestEigenvalues:
    """The ``k`` smallest eigenvalues of the symmetric ``matrix`` (N, N), which is not written.

    ``start``, ``tol`` (relative residual of each pair) and ``certify`` (spend a
    factorisation on the count) as in ``smallest_eigenvalue``.  Memory beside ``matrix``: one N^2
    factor and the Lanczos basis; a dense solve takes about 3 N^2.

    Raises ValueError as ``smallest_eigenvalue`` does, and for k outside 1..N.
    """
    matrix, norm, scale = scaled(checked(matrix))
    n = len(matrix)
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to N={n}, got {k}")
    vector, _ = start_vector(matrix, norm, start)
    facts = Facts.of(matrix, norm)
    tol = default_tol(matrix.dtype) if tol is None else tol
    work = workspace.empty(matrix, matrix.shape)
    found = None
    if k <= FEW * n and is_large(n, matrix.device):
        found = _by_lanczos(matrix, facts, vector, k, tol, max_iterations, certify, work)
    if found is None:
        values, vectors = torch.linalg.eigh(matrix)
        found = _judged(
            matrix, facts, values[:k], vectors[:, :k].contiguous(), tol, certify, work, 0
        )
    return LowestEigenvalues(
        found.values * scale,
        found.vectors,
        found.residuals * scale,
        found.known,
        found.lower * scale,
        found.complete,
        found.n_iterations,
        found.solver,
        found.converged,
    )


@full_precision()
def spectrum(matrix: Tensor) -> Tensor:
    """All eigenvalues of the symmetric ``matrix`` (N, N), ascending, by LAPACK.

    Each is off by a few eps ||K||, so values below that carry no digit.  About 3 N^2 of memory.
    Raises ValueError as ``smallest_eigenvalue`` does for a matrix it cannot take.
    """
    matrix, _, scale = scaled(checked(matrix))
    values: Tensor = torch.linalg.eigvalsh(matrix) * scale
    return values


def _by_lanczos(
    matrix: Tensor,
    facts: Facts,
    start: Tensor,
    k: int,
    tol: float,
    max_iterations: int,
    certify: bool,
    work: Tensor,
) -> LowestEigenvalues | None:
    """None where the Cholesky of K breaks down, or pairs are still missing after ROUNDS."""
    vectors, count = matrix.new_empty((len(matrix), 0)), 0
    for _ in range(ROUNDS):
        load(matrix, work)
        if not factorise(work):
            return None
        known = vectors

        def inverse(v: Tensor, known: Tensor = known) -> Tensor:
            w = solve(work, v - known @ (known.mT @ v))
            return w - known @ (known.mT @ w)

        start = start - known @ (known.mT @ start)
        ritz = lanczos_largest(inverse, start, tol, max_iterations, count=k)
        count += ritz.n_iterations
        if not ritz.converged:
            return None
        values, vectors = _rayleigh_ritz(matrix, work, known, ritz.basis, k)
        found = _judged(matrix, facts, values, vectors, tol, certify, work, count)
        if found.converged and (found.complete or not certify):
            return found
        # A start that was not in the first Krylov space: its own powers of two, sign by sign.
        start = start.flip(0) * torch.where(
            torch.arange(len(start), device=start.device) % 2 == 0, 1, -1
        )
    return None


def _rayleigh_ritz(
    matrix: Tensor, factor: Tensor, known: Tensor, basis: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """The k lowest Ritz pairs of K on what is known and found, after one inverse step."""
    space = torch.cat([known, basis.mT], dim=1)
    small = space.mT @ (matrix @ space)
    coefficients = torch.linalg.eigh((small + small.mT) / 2)[1][:, : 2 * k]
    # The step damps what rounding put along the large eigenvectors.
    space, _ = torch.linalg.qr(solve(factor, space @ coefficients))
    small = space.mT @ (matrix @ space)
    values, c = torch.linalg.eigh((small + small.mT) / 2)
    return values[:k], space @ c[:, :k]


def _judged(
    matrix: Tensor,
    facts: Facts,
    values: Tensor,
    vectors: Tensor,
    tol: float,
    certify: bool,
    work: Tensor,
    n_iterations: int,
) -> LowestEigenvalues:
    residuals = (matrix @ vectors - vectors * values).norm(dim=0)
    level = tol * values.abs() + math.sqrt(facts.n) * torch.finfo(facts.dtype).eps * facts.norm
    lower = _fewer_below(matrix, facts, values, residuals, vectors, work) if certify else None
    converged = bool((residuals <= 10.0 * level).all())
    # As wide as the bracket of lambda_min: a proof's margin below and a quotient's rounding above.
    rounding = cholesky_margin(facts.n, facts.trace, facts.dtype)
    rounding += gamma(2 * facts.n + 4, facts.dtype) * facts.norm
    known = (residuals + rounding <= RESOLUTION * values.abs()) & converged
    return LowestEigenvalues(
        values,
        vectors,
        residuals,
        known,
        -math.inf if lower is None else lower,
        lower is not None,
        n_iterations,
        "cholesky_lanczos" if n_iterations else "dense",
        converged,
    )


def _fewer_below(
    matrix: Tensor, facts: Facts, values: Tensor, residuals: Tensor, vectors: Tensor, work: Tensor
) -> float | None:
    """A bound just below the k-th value with fewer than k eigenvalues below it, if provable."""
    k, dtype = len(values), facts.dtype
    low, last = float(values[0]), float(values[-1])
    lift = 2.0 * (last - low) + float(torch.finfo(dtype).eps) * facts.peak
    known = vectors[:, : k - 1]
    # Forming K + a V V^T rounds each entry by at most gamma_{k+2} (|K| + a |V| |V|^T).
    rounding = gamma(k + 3, dtype) * (facts.norm + lift * k)
    doubt = 2.0 * float(residuals.amax()) + 2.0 * rounding
    mu = last - facts.room(last, doubt)
    mu = float(torch.tensor(mu, dtype=dtype))
    load(matrix, work)
    if k > 1:
        work.addmm_(known, known.mT, alpha=lift)
    shift = float(shift_rounding(work.diagonal(), mu))
    work.diagonal().sub_(mu)
    error = factorise_proving(work)
    return None if error is None else mu - error - rounding - shift
