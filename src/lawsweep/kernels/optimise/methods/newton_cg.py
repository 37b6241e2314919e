"""Newton's step by truncated conjugate gradients, on products with the Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lawsweep.kernels.base.answers import put, waits
from lawsweep.kernels.optimise.methods import Ask, Method, Need

MOST_PRODUCTS = 500  # of a step
# On a GPU it is not asked at each product whether another is needed: first after so many, or four
# fifths of those of the step before, then whenever a quarter more were made.  A product is a
# hundred operations, and those of restarts that are done change nothing.
FIRST_ASKED = 4


class NewtonCg(Method):
    """Truncated conjugate gradients (Steihaug 1983) on products with the Hessian.

    Stops at the radius, at negative curvature (then goes to the radius along it), or when the
    residual is below min(0.1, sqrt|g|/sqrt|g_first|)|g|, so convergence is superlinear.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"hessian_product"})

    def __init__(self, n_restarts: int) -> None:
        super().__init__(n_restarts)
        self._first: Tensor | None = None
        self._n_products = 0  # of the last step

    def solve(self, ask: Ask) -> tuple[Tensor, Tensor]:
        """Step and predicted fall; each row of the batch leaves the iteration on its own."""
        assert ask.product is not None
        size, at = ask.gradient.norm(dim=-1), self.where(ask.index, ask.x)
        if self._first is None:
            self._first = size.new_full((self.n_restarts,), torch.nan)
        first = torch.where(self._first[at].isnan(), size, self._first[at])
        self._first = put(self._first, at, first)
        relative = size / first.clamp_min(torch.finfo(size.dtype).tiny)
        target = torch.minimum(torch.full_like(size, 0.1), relative.sqrt()) * size
        after = max(FIRST_ASKED, 4 * self._n_products // 5) if waits(size) else 1
        step, fall, self._n_products = _steihaug(
            ask.product, ask.gradient, ask.radius, target, after
        )
        return step, fall


def _steihaug(
    product: Callable[[Tensor], Tensor],
    gradient: Tensor,
    radius: Tensor,
    target: Tensor,
    after: int,
) -> tuple[Tensor, Tensor, int]:
    """Step, fall and products; whether more are needed is asked first at product ``after``."""
    p, hp = torch.zeros_like(gradient), torch.zeros_like(gradient)
    residual, direction = gradient.clone(), -gradient
    square = (residual * residual).sum(-1)
    going = square > 0
    zero, one, reach = square.new_zeros(()), square.new_ones(()), radius**2
    seldom, count = waits(gradient), 0
    for count in range(1, 1 + min(MOST_PRODUCTS, 2 * gradient.shape[-1] + 10)):
        if count >= after:
            after = count + 1 + (count // 4 if seldom else 0)
            if not bool(going.any()):
                break
        h_direction = product(direction)
        curvature = (direction * h_direction).sum(-1)
        alpha = square / torch.where(curvature > 0, curvature, one)
        ends = (p + alpha.unsqueeze(-1) * direction).norm(dim=-1) >= radius
        ends |= curvature <= 0
        alpha = torch.where(ends, _to_radius(p, direction, reach), alpha)
        alpha = torch.where(going, alpha, zero).unsqueeze(-1)
        p, hp = p + alpha * direction, hp + alpha * h_direction
        residual = residual + alpha * h_direction
        new_square = (residual * residual).sum(-1)
        going = going & ~ends & (new_square.sqrt() > target)
        beta = (new_square / square.clamp_min(torch.finfo(square.dtype).tiny)).unsqueeze(-1)
        direction = torch.where(going.unsqueeze(-1), beta * direction - residual, direction)
        square = new_square
    return p, (-(gradient * p).sum(-1) - 0.5 * (p * hp).sum(-1)).clamp_min(0.0), count


def _to_radius(p: Tensor, direction: Tensor, reach: Tensor) -> Tensor:
    """The positive tau with |p + tau direction|^2 = ``reach``."""
    a = (direction * direction).sum(-1).clamp_min(torch.finfo(p.dtype).tiny)
    b = (p * direction).sum(-1)
    c = (reach - (p * p).sum(-1)).clamp_min(0.0)
    return (-b + (b * b + a * c).sqrt()) / a


METHOD = NewtonCg
