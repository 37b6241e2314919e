"""Smallest eigenvalue of a symmetric positive (semi)definite matrix, with its evidence.

Method.  Lanczos on K^{-1}, whose largest eigenvalue 1 / lambda_min stands apart relatively even
where the small eigenvalues of K crowd (Lanczos on K itself sees their absolute gaps, a millionth
of its spectrum), through a Cholesky factor of K; for large float64 matrices one in float32 that
only steers (``eigmin_mixed``).  As soon as the value should be right to SLACK, the Cholesky of
K - tau I, tau just below it, is tried.  That it completes is the proof; and as tau then lies far
closer to lambda_min than to any other eigenvalue, two solves with that same factor bring the
vector to rounding level.  Where it breaks down, the estimate was too hopeful: Lanczos goes the
whole way and tau stays two residuals below.

Evidence.  Upper: a Rayleigh quotient theta = v^T K v never lies below lambda_min.  Lower: the
completed Cholesky (``eigmin_cholesky`` has the theorem).  Both bounds speak about the matrix as
it is stored, not about the rounding of what built it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import workspace
from lawsweep.kernels.eigmin.checked import checked, default_tol, scaled, start_vector
from lawsweep.kernels.eigmin.dense import dense_pairs
from lawsweep.kernels.eigmin.mixed import Estimate, mixed_estimate
from lawsweep.kernels.eigmin.result import (
    EigenReason,
    Facts,
    MinEigenvalue,
    Pair,
    judge,
    scaled_back,
)
from lawsweep.kernels.linalg.cholesky import (
    cholesky_margin,
    factorise,
    load,
    prove_above,
    solve,
)
from lawsweep.kernels.linalg.lanczos import Ritz, lanczos_largest

__all__ = ["MinEigenvalue", "smallest_eigenvalue"]

# Below this order all eigenvalues take no longer than the many small calls of Lanczos.
DENSE_BELOW = 500
# The most, relatively, that an estimate may lie above lambda_min when the proof below it is tried;
# the theorem's own margin is of that size for the NTK at N = 6000.
SLACK = 2e-6
# Inverse steps through the factor of the proof before Lanczos takes over.
POLISHING = 3


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

    ``start``: the Lanczos start, a vector (N,) or a generator to draw it from.  ``solver``:
    ``auto``, ``dense``, ``cholesky_lanczos`` (float64 or the matrix's type throughout) or
    ``mixed`` (a float32 factor steers; needs float64 and ``certify``); a solver that meets its
    limits hands over to the next slower one.  ``tol``: relative residual of the pair, default
    1e-10 (float32: 3e-4): some eigenvalue lies so close to the value.  It is lambda_min, and the
    error about tol^2 over the relative gap, unless another lies between ``lower`` and the value:
    of eigenvalues closer than the proof tells apart, the value may be any.  ``certify``: prove a
    tight lower bound; without it ``lower`` is what the factorisation of K proves, or -inf.  Memory
    beside ``matrix``: one N^2 factor; a dense solve takes about 3 N^2; and a copy of a matrix whose
    entries are near the ends of the floating-point range, which is scaled by a power of 2.

    A Cholesky that breaks down (lambda_min at rounding level) is followed by a dense solve; the
    certificate then brackets lambda_min around 0, ``sign_trusted`` is False, and ``converged``
    is False with the reason NUMERICALLY_SINGULAR: that value is rounding noise.

    Raises ValueError for a matrix that is not square, not floating point, not symmetric or not
    finite, and for an unknown solver.
    """
    matrix, norm, scale = scaled(checked(matrix, solver))
    vector, image = start_vector(matrix, norm, start)
    tol = default_tol(matrix.dtype) if tol is None else tol
    facts = Facts.of(matrix, norm)
    pair = None
    if solver not in ("auto", "dense") or (solver == "auto" and facts.n >= DENSE_BELOW):
        work = workspace.empty(matrix, matrix.shape)
        plan = _Plan(matrix, facts, vector, image, tol, max_iterations, work)
        if certify and matrix.dtype is torch.float64:
            # On a GPU a solve costs as much in either type, and the factorisation little in both.
            on_cpu = matrix.device.type == "cpu"
            mixed = solver == "mixed" or (solver == "auto" and on_cpu)
            pair = _hopeful(plan, mixed)
        if pair is None:
            pair = _strict(plan, certify)
        del work, plan
    if pair is None:
        pair = dense_pairs(matrix.unsqueeze(0), [facts], vector.unsqueeze(0), tol, certify)[0]
    return scaled_back(judge(facts, pair, certify), scale)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What every iterative way needs: ``work`` (N, N) holds one factor after the other.

    ``image``: K ``start``.
    """

    matrix: Tensor
    facts: Facts
    start: Tensor
    image: Tensor
    tol: float
    max_iterations: int
    work: Tensor

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


def _hopeful(plan: _Plan, mixed: bool) -> Pair | None:
    """An estimate good to SLACK, the proof just below it, and the vector taken through that.

    None where the estimate does not settle or the proof fails.
    """
    matrix, found = plan.matrix, None
    if mixed:
        found = mixed_estimate(
            matrix, plan.top, plan.start, plan.slack, plan.max_iterations, plan.work
        )
    solver = "cholesky_lanczos" if found is None else "mixed"
    if found is None:
        found = _estimate(plan)
    if found is None:
        return None
    room = plan.facts.room(found.value, plan.slack(found.value))
    lower = prove_above(matrix, found.value - room, plan.work)
    if lower is None:
        return None
    vector, count = found.vector, found.n_iterations
    for _ in range(POLISHING):
        vector = _inverse_step(plan.work, vector)
        count += 1
        value, residual = _quotient(matrix, vector)
        if residual <= plan.level(value):
            return plan.pair(solver, (value, residual), count, True, lower)
    # Several eigenvalues about as close as tau: only Lanczos tells them apart.
    ritz = lanczos_largest(lambda v: solve(plan.work, v), vector, plan.tol, plan.max_iterations)
    last = _quotient(matrix, _inverse_step(plan.work, ritz.vector))
    return plan.pair(solver, last, count + ritz.n_iterations, ritz.converged, lower)


def _estimate(plan: _Plan) -> Estimate | None:
    """Lanczos on K^{-1} through a factor of K itself until the value should be right to SLACK."""
    load(plan.matrix, plan.work)
    if not factorise(plan.work):
        return None
    found = lanczos_largest(
        lambda v: solve(plan.work, v),
        plan.start,
        plan.tol,
        plan.max_iterations,
        lambda t: plan.slack(1.0 / t) * t**2,
    )
    if not found.converged:
        return None
    vector = _inverse_step(plan.work, found.vector)
    return Estimate(_quotient(plan.matrix, vector)[0], vector, found.n_iterations)


def _strict(plan: _Plan, certify: bool) -> Pair | None:
    """Lanczos on K^{-1} to the full tolerance; None where the Cholesky of K breaks down.

    Where the proof fails then, the vector may belong to a close neighbour of lambda_min: once more
    to (nearly) rounding level.
    """
    matrix, work, pair = plan.matrix, plan.work, None
    for tol in (plan.tol, 1e-4 * plan.tol) if certify else (plan.tol,):
        load(matrix, work)
        if not factorise(work):
            return None
        found = lanczos_largest(lambda v: solve(work, v), plan.start, tol, plan.max_iterations)
        # One inverse step more damps what rounding put along the large eigenvectors.
        last = _quotient(matrix, _inverse_step(work, found.vector))
        done = found.estimate <= plan.tol * found.value
        pair = plan.pair("cholesky_lanczos", last, found.n_iterations, done, None)
        if not certify:
            # The factorisation of K itself completed: the proof at tau = 0.
            return replace(
                pair, lower=-cholesky_margin(plan.facts.n, plan.facts.trace, matrix.dtype)
            )
        doubt = 2.0 * pair.residual + plan.facts.level(0.0, pair.top, 0.0)
        lower = prove_above(matrix, pair.value - plan.facts.room(pair.value, doubt), work)
        if lower is not None or pair.reason is not EigenReason.CONVERGED:
            return replace(pair, lower=lower)
    return pair


def _inverse_step(factor: Tensor, v: Tensor) -> Tensor:
    v = solve(factor, v)
    return v / v.norm()


def _quotient(matrix: Tensor, v: Tensor) -> tuple[float, float]:
    """v^T K v and ||K v - (v^T K v) v|| for |v| = 1."""
    image = matrix @ v
    value: float = float(v @ image)
    return value, float((image - value * v).norm())
