"""lambda_min by a float32 factorisation that only steers: every number comes from float64.

A float32 Cholesky takes half the time of a float64 one, and a solve with it a third.  Its result
M approximates K to about 6e-8 of K's size, which beside lambda_min is little only while the
condition number is far below 1e7.  The NTK's is 2e6 and more, but for one eigenvalue: the mean
gradient's, hundreds of times the next.  Its eigenvector u (which Lanczos on K finds in five
steps, with lambda_max) is taken out before rounding,

    M ~ K - (lambda_max - s) u u^T,   s the mean of the other eigenvalues,

which moves no other eigenpair of K and leaves a small condition number.

1. Lanczos on M^{-1} in float64 vectors: a basis V of its Krylov space, cheap by the step.
2. Rayleigh-Ritz of K itself on its lowest Ritz vector, after one inverse step more, and on u, of
   which rounding left some in it: the value is right to the square of M's error.
3. Where r^T M^{-1} r, which estimates how far the quotient lies above the eigenvalue, is not small
   yet: the same on all of V, and Davidson's steps, V <- V + M^{-1} r (E. R. Davidson, J. Comput.
   Phys. 17, 1975).

Nothing here is a proof.  The caller proves a lower bound by a float64 factorisation and takes
the vector through it; where this estimate was wrong, that fails, and the slow way is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.answers import numbers
from lawsweep.kernels.eigmin.cholesky_lanczos import Estimate, proved
from lawsweep.kernels.eigmin.problem import Problem
from lawsweep.kernels.eigmin.result import Pair
from lawsweep.kernels.eigmin.solvers import MatrixSolver, is_large, iterative_flops
from lawsweep.kernels.linalg.cholesky import factorise, load, solve
from lawsweep.kernels.linalg.lanczos import Ritz, lanczos_largest

# A top eigenvalue is taken out where it exceeds the mean of the others so many times.
ISOLATED = 16.0
# After this many of Davidson's steps a float64 factorisation would have been the better choice.
MAX_DAVIDSON = 24
# r^T M^{-1} r misses a factor lambda_i / (lambda_i - lambda_1) along each eigenvector i; the low
# ones, where that is large, Lanczos has dealt with.
UNDERESTIMATE = 8.0
# Relative residual below which rounding to float32 hides what a further step would add.
TOLERANCE = 1e-6


class Mixed(MatrixSolver):
    """Of float64 matrices whose bound is to be proved; None where float32 cannot steer."""

    name = "mixed"

    def suits(self, n: int, dtype: torch.dtype, device: torch.device, certify: bool) -> bool:
        """Large ones, on a device whose float32 factor and solves are that much quicker.

        On a core they are; on a card with 1:64 of its rate in float64 too; on one with 1:2 or 1:1,
        where a solve waits for memory and for each block in turn, hardly.
        """
        if not (certify and dtype is torch.float64 and is_large(n, device)):
            return False
        return devices.on(device, iterative_flops(n)).mixed

    def pair(self, problem: Problem) -> Pair | None:
        """The estimate that float32 steers to, where a bound just below it can be proved."""
        matrix = problem.matrix
        if not problem.certify or matrix.dtype is not torch.float64:
            return None
        found = mixed_estimate(
            matrix, problem.top, problem.start, problem.slack, problem.max_iterations, problem.work
        )
        return None if found is None else proved(problem, found, self.name)


def mixed_estimate(
    matrix: Tensor,
    top: Ritz,
    start: Tensor,
    slack: Callable[[float], float],
    max_iterations: int,
    work: Tensor,
) -> Estimate | None:
    """The lowest eigenpair of float64 ``matrix`` (N, N), its value to about ``slack(value)``.

    ``top``: the largest pair; ``work``: N^2 numbers that are overwritten.  None where
    float32 cannot steer: its factorisation breaks down, or the corrections do not settle.
    """
    n = len(matrix)
    factor = work.view(torch.float32).flatten()[: n * n].view(n, n)
    scale = _factor32(matrix, top, factor)
    if scale is None:
        return None

    def inverse(v: Tensor) -> Tensor:
        return solve(factor, v).mul_(scale)

    # An error of slack in lambda is one of slack / lambda^2 in theta = 1 / lambda.
    found = lanczos_largest(
        inverse, start, TOLERANCE, max_iterations, lambda t: slack(1.0 / t) * t**2
    )
    if not found.converged:
        return None
    count = found.n_iterations
    # In K's quotient an error along large eigenvalues counts for more than in the inverse's, by
    # which the vector was found: hence one inverse step.
    pair = torch.stack([inverse(found.vector), top.vector], dim=1)
    estimate = _davidson(matrix, inverse, torch.linalg.qr(pair)[0].mT.contiguous(), slack, 0)
    if estimate is not None:
        return replace(estimate, n_iterations=count)
    most = min(MAX_DAVIDSON, max_iterations - count)
    return _davidson(matrix, inverse, found.basis, slack, most)


def _factor32(matrix: Tensor, top: Ritz, factor: Tensor) -> float | None:
    """Float32 Cholesky of scale * K, without its top eigenvalue if that stands apart.

    Returns the scale, a power of 2 that brings the entries to about 1; None on breakdown.
    """
    n, trace = len(matrix), float(matrix.diagonal().sum())
    rest = (trace - top.value) / max(n - 1, 1)
    size = float(matrix.diagonal().abs().amax())
    if not size > 0.0:
        return None
    scale = 2.0 ** -math.frexp(size)[1]
    if top.converged and rest > 0.0 and top.value > ISOLATED * rest:
        load(matrix, factor, direction=top.vector, weight=top.value - rest, scale=scale)
    else:
        load(matrix, factor, scale=scale)
    return scale if factorise(factor) else None


def _davidson(
    matrix: Tensor,
    inverse: Callable[[Tensor], Tensor],
    basis: Tensor,
    slack: Callable[[float], float],
    n_steps: int,
) -> Estimate | None:
    """Rayleigh-Ritz of K on ``basis`` (m, N), which M^{-1} r extends until the value settles.

    None where it has not after ``n_steps``.
    """
    m = len(basis)
    most = max(m, min(m + n_steps, len(matrix)))
    v, image = (basis.new_empty((most, basis.shape[1])) for _ in range(2))
    v[:m] = basis
    torch.mm(basis, matrix, out=image[:m])
    while True:
        projected = v[:m] @ image[:m].mT
        # NaN: a residual past float32's range, or one that left nothing new to add.
        try:
            values, vectors = torch.linalg.eigh((projected + projected.mT) / 2)
        except torch.linalg.LinAlgError:
            return None
        c = vectors[:, 0]
        vector = c @ v[:m]
        residual = c @ image[:m] - values[0] * vector
        step = inverse(residual)
        value, error = numbers(values[0], residual @ step)
        if not value > 0.0:
            return None
        if UNDERESTIMATE * error <= slack(value):
            return Estimate(value, vector / vector.norm(), m)
        if m == most:
            return None
        for _ in range(2):
            step = step - (v[:m] @ step) @ v[:m]
        v[m] = step / step.norm()
        image[m] = matrix @ v[m]
        m += 1
