"""lambda_min of one or many small matrices by all their eigenvalues, with the same evidence.

LAPACK's eigenvalues without vectors cost half of those with.  The vector comes from the
Cholesky that proves the lower bound: tau lies so close below lambda_min that two solves turn any
start into the eigenvector; the top one, for its residual, comes from one of mu I - K likewise.
Many matrices (B, N, N) go through each step as one call; a single one is a batch of one, so that
either way gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lawsweep.kernels.base import workspace
from lawsweep.kernels.eigmin.problem import Problem
from lawsweep.kernels.eigmin.result import EigenReason, Facts, Pair
from lawsweep.kernels.eigmin.solvers import MatrixSolver
from lawsweep.kernels.linalg.cholesky import bounds_proved, prove_above

# Solves with the shifted factor.  After each, what is left of the other eigenvectors shrinks by
# (lambda_1 - tau) / (lambda_2 - tau), a rounding error over a gap: a second one serves starts that
# were all but orthogonal.
STEPS = 2


class Dense(MatrixSolver):
    """Whatever the matrix: about 3 N^2 of memory beside it."""

    name = "dense"
    finds_all = True
    batched = True

    def suits(self, n: int, dtype: torch.dtype, device: torch.device, certify: bool) -> bool:
        """Whatever none before it suits."""
        return True

    def pair(self, problem: Problem) -> Pair:
        """A batch of one."""
        problem.release()
        matrices, starts = problem.matrix.unsqueeze(0), problem.start.unsqueeze(0)
        return self.pairs(matrices, [problem.facts], starts, problem.tol, problem.certify)[0]

    def pairs(
        self, matrices: Tensor, facts: Sequence[Facts], starts: Tensor, tol: float, certify: bool
    ) -> list[Pair]:
        """Each step one call for all matrices."""
        return _pairs(matrices, facts, starts, tol, certify)


def _pairs(
    matrices: Tensor, facts: Sequence[Facts], starts: Tensor, tol: float, certify: bool
) -> list[Pair]:
    values = torch.linalg.eigvalsh(matrices)
    low, top = values[:, 0].tolist(), values[:, -1].tolist()
    # The eigenvalues of a backward stable solver are off by a few eps ||K||: no doubt beyond the
    # ulps and the margin that room() adds.
    taus = [v - f.room(v, _doubt(f, v, t)) for f, v, t in zip(facts, low, top, strict=True)]
    above = [t + f.room(-t, _doubt(f, v, t)) for f, v, t in zip(facts, low, top, strict=True)]
    lower_vectors, shifts, proved = _vectors(matrices, taus, starts, 1.0)
    upper_vectors, _, _ = _vectors(matrices, above, starts, -1.0)
    low_pairs = _quotients(matrices, lower_vectors)
    top_pairs = _quotients(matrices, upper_vectors)
    bounds = bounds_proved(matrices.diagonal(dim1=-2, dim2=-1), shifts)
    pairs = []
    for i, fact in enumerate(facts):
        (value, residual), (peak, peak_residual) = low_pairs[i], top_pairs[i]
        # A NaN fails these: a factorisation that broke down, or a vector that overflowed.
        good = residual <= 10.0 * fact.level(value, peak, tol)
        good = good and peak_residual <= 10.0 * fact.level(peak, peak, tol)
        if good and (proved[i] or not certify):
            lower = bounds[i] if certify else None
            found = (value, residual, peak, peak_residual, 0, EigenReason.CONVERGED, lower)
            pairs.append(Pair(Dense.name, *found, finds_all=True))
        else:
            pairs.append(_with_vectors(matrices[i], fact, certify))
    return pairs


def _doubt(facts: Facts, low: float, top: float) -> float:
    """What the solver's values may be off by, in practice: 8 eps ||K||."""
    return 8.0 * float(torch.finfo(facts.dtype).eps) * max(abs(low), abs(top))


def _vectors(
    matrices: Tensor, shifts: Sequence[float], starts: Tensor, sign: float
) -> tuple[Tensor, list[float], list[bool]]:
    """Inverse iteration with sign (K - shift I): vectors (B, N), the shifts used, completion."""
    shift = torch.tensor(shifts, dtype=matrices.dtype, device=matrices.device)
    shifted = matrices * sign
    shifted.diagonal(dim1=-2, dim2=-1).sub_(sign * shift.unsqueeze(-1))
    factors, info = torch.linalg.cholesky_ex(shifted)
    v = starts.unsqueeze(-1)
    for _ in range(STEPS):
        v = torch.linalg.solve_triangular(factors, v, upper=False)
        v = torch.linalg.solve_triangular(factors.mT, v, upper=True)
        v = v / v.norm(dim=-2, keepdim=True)
    return v, shift.tolist(), (info == 0).tolist()


def _quotients(matrices: Tensor, v: Tensor) -> list[tuple[float, float]]:
    image = matrices @ v
    value = (v * image).sum(-2, keepdim=True)
    residual = (image - value * v).norm(dim=-2)
    return list(zip(value.flatten().tolist(), residual.flatten().tolist(), strict=True))


def _with_vectors(matrix: Tensor, facts: Facts, certify: bool) -> Pair:
    """LAPACK's eigenvectors, where a shifted factor gave none (a zero matrix, close multiples)."""
    values, vectors = torch.linalg.eigh(matrix)
    value, top = float(values[0]), float(values[-1])
    residual, top_residual = (
        float((matrix @ vectors[:, i] - values[i] * vectors[:, i]).norm()) for i in (0, -1)
    )
    lower = None
    if certify:
        work = workspace.empty(matrix, matrix.shape)
        lower = prove_above(matrix, value - facts.room(value, 2.0 * residual), work)
    found = (value, residual, top, top_residual, 0, EigenReason.CONVERGED, lower)
    return Pair(Dense.name, *found, quotient=False, finds_all=True)
