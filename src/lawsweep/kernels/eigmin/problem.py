"""What a solver of lambda_min is given: a checked and scaled matrix, a start, room to work."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.base.answers import numbers
from lawsweep.kernels.base.crew import Crew
from lawsweep.kernels.base.rounding import gamma, tolerances
from lawsweep.kernels.eigmin.result import EigenReason, Facts, Pair
from lawsweep.kernels.linalg.certificate import cholesky_margin
from lawsweep.kernels.linalg.lanczos import Ritz, lanczos_largest

# Inverse iteration squares numbers up to 1 / lambda_min, so entries are held within this power of
# the largest number of their type (1e-77 .. 1e77 in float64, 2e-10 .. 4e9 in float32).
SAFE_RANGE = 0.25
# The most, relatively, that an estimate may lie above lambda_min when the proof below it is tried;
# the theorem's own margin is of that size for the NTK at N = 6000.
SLACK = 2e-6


def default_tol(dtype: torch.dtype) -> float:
    """Relative residual asked of a pair: some eigenvalue of K lies so close to the value.

    It is lambda_min, and the error of the residual squared over the gap, unless a second eigenvalue
    lies between the proved lower bound and the value: of eigenvalues closer together than the
    proof can tell (``cholesky_margin``) the value may be any.
    """
    return tolerances(dtype).residual


def checked(matrix: Tensor) -> Tensor:
    """``matrix``; ValueError for a bad shape or type."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"expected a square matrix (N, N), got shape {tuple(matrix.shape)}")
    if matrix.dtype not in (torch.float64, torch.float32):
        raise ValueError(f"expected float64 or float32, got {matrix.dtype}; convert the matrix")
    return matrix


def scaled(matrix: Tensor) -> tuple[Tensor, float, float]:
    """(K / s, ||K / s||_F, s), s a power of 2 that brings K within SAFE_RANGE, mostly 1.

    A power of 2 changes no digit but those below the range: entries under 2^-1022 (2^-126 in
    float32) after scaling, of no account beside the largest, about 1.
    """
    high = torch.finfo(matrix.dtype).max ** SAFE_RANGE
    norm = _norm(matrix)  # finite only if every entry is: no N^2 temporary
    if 1.0 / high <= norm <= high:
        return matrix, norm, 1.0
    least, most = torch.aminmax(matrix)
    size = max(abs(float(least)), abs(float(most)))
    if not math.isfinite(size):
        raise ValueError("the matrix has NaN or infinite entries; check what built it")
    if size == 0.0:
        return matrix, 0.0, 1.0
    exponent = math.frexp(size)[1] - 1
    # 2^-exponent may not be a number of this type (for subnormal entries): two factors are.
    half = exponent // 2
    matrix = (matrix * 2.0**-half).mul_(2.0 ** (half - exponent))
    return matrix, _norm(matrix), 2.0**exponent


def _norm(matrix: Tensor) -> float:
    parts = matrix.split(devices.on(matrix.device).norm_rows)
    norms = matrix.new_empty(len(parts))
    with Crew(min(torch.get_num_threads(), len(parts))) as crew:
        pairs = zip(parts, norms, strict=True)
        crew.run(partial(torch.linalg.vector_norm, part, out=norm) for part, norm in pairs)
    return float(norms.norm())


def start_vector(
    matrix: Tensor, norm: float, start: np.random.Generator | Tensor
) -> tuple[Tensor, Tensor]:
    """The start vector v, of unit norm, and K v.

    ValueError for a bad one or a matrix that it shows lopsided.
    """
    n = matrix.shape[0]
    if isinstance(start, np.random.Generator):
        start = torch.from_numpy(start.standard_normal(n))
    vector = start.to(device=matrix.device, dtype=matrix.dtype)
    if vector.shape != (n,) or not bool(torch.isfinite(vector).all()) or not bool(vector.any()):
        raise ValueError(f"the start must be {n} finite numbers, not all 0")
    vector = vector / vector.abs().amax()  # so that its norm neither over- nor underflows
    vector = vector / vector.norm()
    # K v = K^T v for one vector tells a non-symmetric matrix apart without an N^2 temporary.
    # Either product is off by at most gamma_N | |K| |v| | <= gamma_N ||K||_F |v|.
    image = matrix @ vector
    gap = float((image - vector @ matrix).norm())
    if gap > 2.0 * gamma(n, matrix.dtype) * norm:
        raise ValueError("the matrix is not symmetric; pass (K + K.T) / 2 if that is meant")
    return vector, image


@dataclass(eq=False)
class Problem:
    """One matrix (N, N) and how its smallest eigenvalue is asked for.

    ``start`` of unit norm, ``image`` = K ``start``, ``tol`` and ``certify`` as in
    ``smallest_eigenvalue``.  ``proof_failed``: a bound just below a good estimate could not be
    proved, so the estimate was of no use and none like it will be.
    """

    matrix: Tensor
    facts: Facts
    start: Tensor
    image: Tensor
    tol: float
    max_iterations: int
    certify: bool
    proof_failed: bool = field(default=False, init=False)

    @cached_property
    def work(self) -> Tensor:
        """Numbers (N, N) that hold one factor after the other."""
        return workspace.empty(self.matrix, self.matrix.shape)

    def release(self) -> None:
        """Let ``work`` go, where what comes next needs the room."""
        self.__dict__.pop("work", None)

    @cached_property
    def top(self) -> Ritz:
        """The largest eigenpair, for lambda_max to nearly all digits: no reason to go further."""
        tol = max(self.tol, math.sqrt(torch.finfo(self.matrix.dtype).eps))
        return lanczos_largest(
            lambda v: self.matrix @ v, self.start, tol, self.max_iterations, image=self.image
        )

    def slack(self, value: float) -> float:
        """How far above lambda_min an estimate may lie for the proof below it to be tried.

        As much as the theorem's own margin, which widens the bracket no further than twice.
        """
        facts = self.facts
        return min(cholesky_margin(facts.n, facts.trace, facts.dtype), SLACK * abs(value))

    def level(self, value: float) -> float:
        """The residual that a pair should have."""
        return self.facts.level(value, self.top.value, self.tol)

    def quotient(self, v: Tensor) -> tuple[float, float]:
        """v^T K v and ||K v - (v^T K v) v|| for |v| = 1."""
        image = self.matrix @ v
        value = v @ image
        found, residual = numbers(value, (image - value * v).norm())
        return found, residual

    def pair(
        self, solver: str, found: tuple[float, float], count: int, done: bool, lower: float | None
    ) -> Pair:
        """A vector's quotient and residual after ``count`` steps, with the verdict they allow."""
        value, residual = found
        reason = EigenReason.CONVERGED
        if not (done and self.top.converged):
            reason = EigenReason.MAX_ITERATIONS
        elif not residual <= 10.0 * self.level(value):
            reason = EigenReason.LARGE_RESIDUAL
        top = self.top
        top_residual = float((self.matrix @ top.vector - top.value * top.vector).norm())
        return Pair(solver, value, residual, top.value, top_residual, count, reason, lower)
