"""Conjugate gradients on K + mu I with K = J J^T: neither K nor a factor of it is needed.

K v = J (J^T v) takes 4 N p flops and no N^2 memory.  Two preconditioners:

``principal_directions``.  The principal directions A (N, r) of the Jacobian (``precondition``) hold
nearly all of the trace; of the rest K - A A^T the diagonal is kept,

    M = D + A A^T,  D = mu I + diag(K) - diag(A A^T),

and M^{-1} is applied by Woodbury's formula.  Derived for this project.  With r = 4 d a residual of
0.1 takes 7 or 8 iterations for N = p / 5 (ReLU, depth 4, width d = 54; without it 36), and 10 to 30
for N = p / 2.

A float32 Cholesky factor of the whole, at these weights or, while few iterations
suffice, at earlier ones: near a solution K hardly changes from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.answers import numbers, plus
from lawsweep.kernels.linalg.operator import Factorisation
from lawsweep.kernels.linalg.woodbury import DiagonalAndLowRank
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.ntk.precondition import principal_pairs

# Share of the iterations allowed after which their rate, over the latter half of them, tells how
# many more there would be.  (The residual of conjugate gradients hardly falls at first.)
LOOK = 0.25
REMAINDER = 0.05  # of the mean diagonal: the least that D counts as the rest's diagonal

Product = Callable[[Tensor], Tensor]


def principal_directions(
    jacobian: Jacobian, rank: int, diagonal: Tensor, mu: Tensor
) -> Factorisation | None:
    """M^{-1} from diag(K) (N,) and ``rank`` principal directions; None where out of range."""
    moments = jacobian.second_moments(jacobian.dtype)
    pairs = principal_pairs(moments, jacobian.numbers, rank)
    if not pairs:
        return None
    rows = jacobian.columns(pairs, 1.0, jacobian.dtype)
    least = (REMAINDER * diagonal.mean().to(torch.float64)).to(diagonal.dtype)
    rest = torch.maximum(diagonal - rows.square().sum(0), least).add_(mu)
    return DiagonalAndLowRank(rows, rest)


@dataclass(frozen=True, eq=False)
class Iterate:
    """What conjugate gradients gave; ``rate``: mean logarithm lost by the residual a step.

    ``solution`` is the last iterate, converged or not: its residual need not be the least met, and
    where the iteration left the floating-point range it need not be finite.
    """

    solution: Tensor
    n_iterations: int
    rate: float
    converged: bool


def conjugate_gradients(
    apply: Product, precondition: Factorisation, right: Tensor, tolerance: float, most: int
) -> Iterate:
    """A u = ``right`` (N,), of norm 1, in its type until the carried residual is ``tolerance``.

    ``most`` >= 0 iterations; fewer where their rate says that these will not do, or where a square,
    p^T A p or r^T M^{-1} r, is not positive.
    """
    left, sizes = right, [1.0]
    u = torch.zeros_like(left)
    p, weight = torch.zeros_like(left), left.new_full((), math.inf)
    for k in range(most + 1):
        if sizes[k] <= tolerance:
            return Iterate(u, k, _rate(sizes, 0), True)
        if k >= LOOK * most and k + needed(_rate(sizes, k // 2), tolerance / sizes[k]) > most:
            break
        z = precondition.solve(left)
        before, weight = weight, left @ z
        p = plus(z, p, weight / before)
        image = apply(p)
        curvature = p @ image
        step = weight / curvature
        further, rest = plus(u, p, step), plus(left, image, -step)
        # One answer of the device a step.
        square, bend, size = numbers(weight, curvature, rest.norm())
        if not (0 < square < math.inf and 0 < bend < math.inf):
            break
        u, left = further, rest
        sizes.append(size)
    return Iterate(u, k, _rate(sizes, 0), False)


def _rate(sizes: Sequence[float], since: int) -> float:
    """Mean logarithm lost a step since step ``since``, 0 where that is no number."""
    n, last = len(sizes) - 1 - since, sizes[-1]
    if n == 0 or not 0 < last < math.inf:
        return math.inf if last == 0 else 0.0
    return math.log(sizes[since] / last) / n


def needed(rate: float, reduction: float) -> float:
    """Iterations that lower a residual by a factor ``reduction`` at ``rate``."""
    return -math.log(reduction) / rate if rate > 0 else math.inf
