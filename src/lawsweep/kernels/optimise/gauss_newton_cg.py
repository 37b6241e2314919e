"""Conjugate gradients on K + mu I with K = J J^T: neither K nor a factor of it is needed.

K v = J (J^T v) takes 4 N p flops and no N^2 memory.  Two preconditioners:

``PrincipalDirections``.  The principal directions A (N, r) of the Jacobian (``precondition``) hold
nearly all of the trace; of the rest K - A A^T the diagonal is kept,

    M = D + A A^T,  D = mu I + diag(K) - diag(A A^T),

and M^{-1} is applied by Woodbury's formula.  Derived for this project.  With r = 4 d a residual of
0.1 takes 7 or 8 iterations for N = p / 5 (ReLU, depth 4, width d = 54; without it 36), and 10 to 30
for N = p / 2.

``Factor``.  A float32 Cholesky factor of the whole, at these weights or, while few iterations
suffice, at earlier ones: near a solution K hardly changes from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.linalg import cholesky as eigmin_cholesky
from lawsweep.kernels.linalg.precondition import principal_pairs
from lawsweep.kernels.ntk.gram import Linearisation, gram

# Share of the iterations allowed after which their rate, over the latter half of them, tells how
# many more there would be.  (The residual of conjugate gradients hardly falls at first.)
LOOK = 0.25
REMAINDER = 0.05  # of the mean diagonal: the least that D counts as the rest's diagonal

Product = Callable[[Tensor], Tensor]


class Jacobian:
    """Products with J and its transpose in one type.  J v: N p multiplications, two gemms a layer.

    Layers' errors B_l lie side by side, (N, sum n_l), so that one pass scales all of them, in a
    buffer that is used again: results of ``transposed`` are new, its room is not.
    """

    def __init__(self, lin: Linearisation, dtype: torch.dtype) -> None:
        self._features = [f.to(dtype) for f in lin.features]
        hidden = [b.to(dtype) for b in lin.backprops[:-1]]  # the last is 1
        self._errors = torch.cat(hidden, 1) if hidden else None
        widths = [b.shape[1] for b in hidden]
        self._by_layer = () if self._errors is None else self._errors.split(widths, 1)
        self._room = None if self._errors is None else torch.empty_like(self._errors)
        self._parts = () if self._room is None else self._room.split(widths, 1)

    def transposed(self, v: Tensor) -> list[Tensor]:
        """J^T v for v (N,), one tensor a layer."""
        if self._errors is not None:
            torch.mul(self._errors, v.unsqueeze(1), out=self._room)
        below = zip(self._features, self._parts, strict=False)
        top = self._features[-1].mT @ v
        return [*(f.mT @ part for f, part in below), top.unsqueeze(1)]

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """J u for u one tensor a layer, shape (N,)."""
        out = self._features[-1] @ parts[-1].squeeze(1)
        if self._errors is None or self._room is None:
            return out
        for f, u, room in zip(self._features, parts, self._parts, strict=False):
            torch.mm(f, u, out=room)
        return out.add_(self._room.mul_(self._errors).sum(1))

    def principal_rows(self, rank: int) -> Tensor | None:
        """The ``rank`` principal directions of J as rows, A^T (r, N); None where out of range."""
        factors = list(zip(self._features, [*self._by_layer, None], strict=True))
        moments = [(f.mT @ f, None if b is None else b.mT @ b) for f, b in factors]
        if not all(bool(m.isfinite().all()) for pair in moments for m in pair if m is not None):
            return None
        found = []
        for pair in principal_pairs(moments, range(1, len(factors) + 1), rank):
            f, b = factors[pair.layer - 1]
            rows = (pair.left.mT @ f.mT)[pair.first]
            if b is not None and pair.right is not None:
                rows = rows.mul_((pair.right.mT @ b.mT)[pair.second])
            found.append(rows)
        return torch.cat(found) if found else None

    def gram(self) -> Tensor:
        """K (N, N), formed."""
        errors = (*self._by_layer, torch.ones_like(self._features[0][:, :1]))
        return gram(Linearisation(tuple(self._features), errors, False))


class PrincipalDirections:
    """M^{-1} of M = D + A A^T, from A^T (r, N), diag(K) (N,) and mu."""

    def __init__(self, rows: Tensor, diagonal: Tensor, mu: float) -> None:
        least = REMAINDER * float(diagonal.mean())
        rest = (diagonal - rows.square().sum(0)).clamp_min_(least).add_(mu)
        self._inverse = rest.reciprocal_()
        self._scaled = rows * self._inverse
        inner = rows @ self._scaled.mT
        inner.diagonal().add_(1.0)
        # Where it breaks down, what follows is no number, and the iteration says so.
        self._factor = torch.linalg.cholesky_ex(inner)[0]

    def __call__(self, v: Tensor) -> Tensor:
        """M^{-1} v."""
        projected = (self._scaled @ v).unsqueeze(1)
        inner = torch.cholesky_solve(projected, self._factor).squeeze(1)
        return (v * self._inverse).sub_(inner @ self._scaled)


class Factor:
    """(K + mu I)^{-1} by a Cholesky factor in K's type, in K's memory."""

    def __init__(self, matrix: Tensor, mu: float) -> None:
        matrix.diagonal().add_(mu)
        self.usable = eigmin_cholesky.factorise(matrix)
        self._factor = matrix

    def __call__(self, v: Tensor) -> Tensor:
        """The solution for the right-hand side ``v``."""
        return eigmin_cholesky.solve(self._factor, v)


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
    apply: Product, precondition: Product, right: Tensor, tolerance: float, most: int
) -> Iterate:
    """A u = ``right`` (N,), of norm 1, in its type until the carried residual is ``tolerance``.

    ``most`` >= 0 iterations; fewer where their rate says that these will not do, or where a square,
    p^T A p or r^T M^{-1} r, is not positive.
    """
    left, sizes = right.clone(), [1.0]
    u = torch.zeros_like(left)
    p, weight = torch.zeros_like(left), math.inf
    for k in range(most + 1):
        if sizes[k] <= tolerance:
            return Iterate(u, k, _rate(sizes, 0), True)
        if k >= LOOK * most and k + needed(_rate(sizes, k // 2), tolerance / sizes[k]) > most:
            break
        z = precondition(left)
        before, weight = weight, float(left @ z)
        p = z.add(p, alpha=weight / before)
        image = apply(p)
        curvature = float(p @ image)
        if not (0 < weight < math.inf and 0 < curvature < math.inf):
            break
        step = weight / curvature
        u.add_(p, alpha=step)
        left.sub_(image, alpha=step)
        sizes.append(float(left.norm()))
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
