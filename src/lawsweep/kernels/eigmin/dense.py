"""lambda_min of one or many small matrices by all their eigenvalues, with the same evidence.

LAPACK's eigenvalues without vectors cost half of those with.  The vector comes from the
Cholesky that proves the lower bound: tau lies so close below lambda_min that two solves turn any
start into the eigenvector; the top one, for its residual, comes from one of mu I - K likewise.
Many matrices (B, N, N) go through each step as one call; a single one is a batch of one, so that
either way gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lawsweep.kernels.base import workspace
from lawsweep.kernels.eigmin.problem import Problem
from lawsweep.kernels.eigmin.result import EigenReason, Facts, Pair
from lawsweep.kernels.eigmin.solvers import MatrixSolver
from lawsweep.kernels.linalg.certificate import bounds_proved, prove_above

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
    below = _Shifted.of(matrices, taus, 1.0)
    low_pairs = _quotients(matrices, below.vectors(starts))
    proved = below.proved() if certify else [None] * len(facts)
    top_pairs = _quotients(matrices, _Shifted.of(matrices, above, -1.0).vectors(starts))
    pairs = []
    for i, fact in enumerate(facts):
        (value, residual), (peak, peak_residual) = low_pairs[i], top_pairs[i]
        # A NaN fails these: a factorisation that broke down, or a vector that overflowed.
        good = residual <= 10.0 * fact.level(value, peak, tol)
        good = good and peak_residual <= 10.0 * fact.level(peak, peak, tol)
        if good and (proved[i] is not None or not certify):
            found = (value, residual, peak, peak_residual, 0, EigenReason.CONVERGED, proved[i])
            pairs.append(Pair(Dense.name, *found, finds_all=True))
        else:
            pairs.append(_with_vectors(matrices[i], fact, certify))
    return pairs


def _doubt(facts: Facts, low: float, top: float) -> float:
    """What the solver's values may be off by, in practice: 8 eps ||K||."""
    return 8.0 * float(torch.finfo(facts.dtype).eps) * max(abs(low), abs(top))


class _Shifted(NamedTuple):
    """sign (K - shift I) of many K (B, N, N), as it was factorised, and its factors."""

    matrices: Tensor
    shifts: Tensor
    shifted: Tensor
    factors: Tensor
    info: Tensor

    @classmethod
    def of(cls, matrices: Tensor, shifts: Sequence[float], sign: float) -> _Shifted:
        shift = torch.tensor(shifts, dtype=matrices.dtype, device=matrices.device)
        shifted = matrices * sign
        shifted.diagonal(dim1=-2, dim2=-1).sub_(sign * shift.unsqueeze(-1))
        return cls(matrices, shift, shifted, *torch.linalg.cholesky_ex(shifted))

    def vectors(self, starts: Tensor) -> Tensor:
        """Inverse iteration from ``starts`` (B, N): unit columns (B, N, 1)."""
        v = starts.unsqueeze(-1)
        for _ in range(STEPS):
            v = torch.linalg.solve_triangular(self.factors, v, upper=False)
            v = torch.linalg.solve_triangular(self.factors.mT, v, upper=True)
            v = v / v.norm(dim=-2, keepdim=True)
        return v

    def proved(self) -> list[float | None]:
        """The bound below each lambda_min where its factorisation completed, for sign = 1."""
        bounds = bounds_proved(self.matrices, self.shifted, self.factors, self.shifts)
        complete = (self.info == 0).tolist()
        return [b if done else None for b, done in zip(bounds, complete, strict=True)]


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
