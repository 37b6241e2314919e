"""Simplified objectives: what is left of a target when its directions are averaged.

For even weights beta_i = alpha_i |w_i| and unit v^ the function h(v) = sum_i alpha_i k(w_i, v) of
``compression.py`` is |v| times a function on the sphere, which splits by degree:

    degree 0: A D,   A = sum_i beta_i, D = ``kernel.mean_factor(d)``;
    degree 1: linear <m, v^>,   m = sum_i alpha_i w_i;
    degree 2: a_2 v^T E v^,     E = sum_i beta_i (w_i^ w_i^T - I/d), a_2 = ``quadratic_factor``;
    degrees 4, 6, ...: what a target of N isotropic rows adds is O(1/sqrt(N)) with factors that
    fall quickly in d.

The simplified problem of [C] (arXiv 2205.08199) keeps degree 0.  Keeping degrees 0 to 2 (derived
for this project) gives a problem without N whose minimum is within some 1 % of the gap between
the simplified and the whole loss, at every N >= 10 d tried: it takes both perturbations in to all
orders, with their coupling and the choice of the frame's orientation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lawsweep.kernels.compression.objective import HomogeneousObjective, Rows
from lawsweep.kernels.compression.theory import TargetMoments, quadratic_factor
from lawsweep.kernels.gaussian.arccos import RELU, HomogeneousKernel


class SimplifiedLoss(HomogeneousObjective):
    """J where the target's directions are averaged over the sphere: h(v) = A D |v| + linear <m, v>.

    The simplified problem of [C] for an isotropic target, with A = E a|w| (``mean_scale``), or
    sum_i alpha_i|w_i| for a given target, a number or one a restart, and D =
    ``kernel.mean_factor(d)``; with ``mean`` m (d,) or (R, d) also its linear term.  The whole
    loss is A^2 D + linear |m|^2 + J.
    """

    def __init__(
        self,
        mean_scale: float | Tensor,
        d: int,
        signs: Tensor,
        kernel: HomogeneousKernel = RELU,
        mean: Tensor | None = None,
    ):
        scale = torch.as_tensor(mean_scale, dtype=signs.dtype, device=signs.device)
        super().__init__(kernel, signs, d, scale.abs())
        self.slope = (scale * kernel.mean_factor(d)).expand(len(signs)).reshape(-1, 1, 1)
        m = signs.new_zeros(d) if mean is None else mean.to(signs)
        self.linear = (kernel.linear * m).expand(len(signs), d).unsqueeze(1)

    def _select(self, index: Tensor) -> None:
        self.slope, self.linear = self.slope[index], self.linear[index]

    def cross(self, rows: Rows) -> Tensor:
        """A D v^ + linear m, (R, M, d)."""
        return self.slope * rows.unit + self.linear

    def cross_hessian(self, rows: Rows) -> Tensor:
        """A D (I - v^ v^T)/|v|, (R, M, d, d)."""
        a = rows.unit
        eye = torch.eye(self.d, dtype=a.dtype, device=a.device)
        across = eye - a[..., :, None] * a[..., None, :]
        return self.slope.unsqueeze(-1) * rows.inverse[..., None, None] * across

    def cross_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        """As ``cross_hessian``, applied."""
        return lambda p: self.slope * rows.inverse.unsqueeze(-1) * rows.across(p)


class ReducedLoss(SimplifiedLoss):
    """J with the target's degrees 0, 1 and 2: its A_N, m and E_N, and nothing else of it.

    ``moments``: those of the target, or one a restart.  O(M d^2) a gradient, without N.
    """

    def __init__(
        self,
        moments: TargetMoments | list[TargetMoments],
        d: int,
        signs: Tensor,
        kernel: HomogeneousKernel = RELU,
    ):
        each = moments if isinstance(moments, list) else [moments]
        scale = torch.tensor([x.scale for x in each], dtype=signs.dtype)
        super().__init__(scale, d, signs, kernel, torch.stack([x.mean for x in each]))
        quadratic = torch.stack([x.anisotropy for x in each]).to(signs)
        self.quadratic = (quadratic_factor(d, kernel) * quadratic).expand(len(signs), d, d)

    def _select(self, index: Tensor) -> None:
        super()._select(index)
        self.quadratic = self.quadratic[index]

    def cross(self, rows: Rows) -> Tensor:
        """A D v^ + linear m + 2 Q v^ - (v^T Q v^) v^, Q = a_2 E_N: h = |v| v^T Q v^ there."""
        turned, along = self._turned(rows)
        return super().cross(rows) + 2.0 * turned - along * rows.unit

    def _turned(self, rows: Rows) -> tuple[Tensor, Tensor]:
        turned = rows.unit @ self.quadratic
        return turned, (rows.unit * turned).sum(-1, keepdim=True)

    def cross_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        """P (A D - v^T Q v^ + 2 Q) P p/|v|, P = I - v^ v^T.

        The gradient's derivative along p, with q = P p/|v| that of v^, is
        (A D - v^T Q v^) q + 2 Q q - 2 (v^T Q q) v^, and the last two are 2 P Q q.
        """
        _, along = self._turned(rows)

        def product(p: Tensor) -> Tensor:
            q = rows.inverse.unsqueeze(-1) * rows.across(p)
            return (self.slope - along) * q + rows.across(2.0 * (q @ self.quadratic))

        return product

    def cross_hessian(self, rows: Rows) -> Tensor:
        """As ``cross_product``, (R, M, d, d)."""
        a = rows.unit
        eye = torch.eye(self.d, dtype=a.dtype, device=a.device)
        across = eye - a[..., :, None] * a[..., None, :]
        _, along = self._turned(rows)
        whole = (self.slope - along).unsqueeze(-1) * across
        whole = whole + 2.0 * across @ self.quadratic.unsqueeze(1) @ across
        return rows.inverse[..., None, None] * whole
