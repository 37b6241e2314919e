"""lambda_min by Lanczos on K^{-1}, through a Cholesky factor of K.

The largest eigenvalue 1 / lambda_min of the inverse stands apart relatively even where the small
eigenvalues of K crowd (Lanczos on K itself sees their absolute gaps, a millionth of its spectrum).
As soon as the value should be right to SLACK, the Cholesky of K - tau I, tau just below it, is
tried.  That it completes is the proof; and as tau then lies far closer to lambda_min than to any
other eigenvalue, two solves with that same factor bring the vector to rounding level.  Where it
breaks down, the estimate was too hopeful: Lanczos goes the whole way and tau stays two residuals
below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lawsweep.kernels.eigmin.problem import Problem
from lawsweep.kernels.eigmin.result import EigenReason, Pair
from lawsweep.kernels.eigmin.solvers import MatrixSolver, is_large
from lawsweep.kernels.linalg.certificate import factorise_proving, prove_above
from lawsweep.kernels.linalg.cholesky import factorise, load, solve
from lawsweep.kernels.linalg.lanczos import lanczos_largest

# Inverse steps through the factor of the proof before Lanczos takes over.
POLISHING = 3


@dataclass(frozen=True, eq=False)
class Estimate:
    """An approximate lowest eigenpair: ``vector`` (N,) of unit norm, its quotient, the steps."""

    value: float
    vector: Tensor
    n_iterations: int


class CholeskyLanczos(MatrixSolver):
    """In the matrix's own type throughout; None where its Cholesky breaks down."""

    name = "cholesky_lanczos"

    def suits(self, n: int, dtype: torch.dtype, device: torch.device, certify: bool) -> bool:
        """Whatever is large enough."""
        return is_large(n, device)

    def pair(self, problem: Problem) -> Pair | None:
        """From a good estimate, where a proof is asked for in float64; else by Lanczos alone."""
        double = problem.matrix.dtype is torch.float64
        if problem.certify and double and not problem.proof_failed:
            estimate = _estimate(problem)
            if estimate is not None:
                pair = proved(problem, estimate, self.name)
                if pair is not None:
                    return pair
        return _strict(problem, self.name)


def proved(problem: Problem, found: Estimate, solver: str) -> Pair | None:
    """The proof just below an estimate good to SLACK, and the vector taken through that.

    None, and ``problem.proof_failed``, where the proof fails.
    """
    matrix, work = problem.matrix, problem.work
    room = problem.facts.room(found.value, problem.slack(found.value))
    lower = prove_above(matrix, found.value - room, work)
    if lower is None:
        problem.proof_failed = True
        return None
    vector, count = found.vector, found.n_iterations
    for _ in range(POLISHING):
        vector = _inverse_step(work, vector)
        count += 1
        value, residual = problem.quotient(vector)
        if residual <= problem.level(value):
            return problem.pair(solver, (value, residual), count, True, lower)
    # Several eigenvalues about as close as tau: only Lanczos tells them apart.
    ritz = lanczos_largest(lambda v: solve(work, v), vector, problem.tol, problem.max_iterations)
    last = problem.quotient(_inverse_step(work, ritz.vector))
    return problem.pair(solver, last, count + ritz.n_iterations, ritz.converged, lower)


def _estimate(problem: Problem) -> Estimate | None:
    """Lanczos on K^{-1} through a factor of K itself until the value should be right to SLACK."""
    work = problem.work
    load(problem.matrix, work)
    if not factorise(work):
        return None
    found = lanczos_largest(
        lambda v: solve(work, v),
        problem.start,
        problem.tol,
        problem.max_iterations,
        lambda t: problem.slack(1.0 / t) * t**2,
    )
    if not found.converged:
        return None
    vector = _inverse_step(work, found.vector)
    return Estimate(problem.quotient(vector)[0], vector, found.n_iterations)


def _strict(problem: Problem, solver: str) -> Pair | None:
    """Lanczos on K^{-1} to the full tolerance; None where the Cholesky of K breaks down.

    Where the proof fails then, the vector may belong to a close neighbour of lambda_min: once more
    to (nearly) rounding level.
    """
    matrix, work, facts = problem.matrix, problem.work, problem.facts
    certify, most, pair = problem.certify, problem.max_iterations, None
    for tol in (problem.tol, 1e-4 * problem.tol) if certify else (problem.tol,):
        load(matrix, work)
        # Without a proof to come, what K's own factor proves is all there will be.
        error = (0.0 if factorise(work) else None) if certify else factorise_proving(work)
        if error is None:
            return None
        found = lanczos_largest(lambda v: solve(work, v), problem.start, tol, most)
        # One inverse step more damps what rounding put along the large eigenvectors.
        last = problem.quotient(_inverse_step(work, found.vector))
        done = found.estimate <= problem.tol * found.value
        pair = problem.pair(solver, last, found.n_iterations, done, None)
        if not certify:
            # The factorisation of K itself completed: the proof at tau = 0.
            return replace(pair, lower=-error)
        doubt = 2.0 * pair.residual + facts.level(0.0, pair.top, 0.0)
        lower = prove_above(matrix, pair.value - facts.room(pair.value, doubt), work)
        if lower is not None or pair.reason is not EigenReason.CONVERGED:
            return replace(pair, lower=lower)
    return pair


def _inverse_step(factor: Tensor, v: Tensor) -> Tensor:
    v = solve(factor, v)
    return v / v.norm()
