"""Simplified objectives: what is left of a target when its directions are averaged.

For even weights beta_i = alpha_i |w_i| and unit v^ the function h(v) = sum_i alpha_i k(w_i, v) of
``population.py`` is |v| times a function on the sphere, which splits by degree:

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

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lawsweep.kernels.compression.objective import HomogeneousObjective, Rows
from lawsweep.kernels.compression.population import Slots
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import quadratic_factor


class SimplifiedLoss(HomogeneousObjective):
    """J where the target's directions are averaged over the sphere: h(v) = A D |v| + linear <m, v>.

    The simplified problem of [C], with A = A_N of the target, or A = E a|w| of an averaged one, and
    D = ``kernel.mean_factor(d)``; with ``linear`` also the term of the target's m.  The whole loss
    is A^2 D + linear |m|^2 + J.  ``targets``: one, or several of which ``group`` (R,) says whose
    each restart is.
    """

    def __init__(
        self,
        targets: Target | Sequence[Target],
        signs: Tensor,
        *,
        group: Tensor | None = None,
        linear: bool = False,
    ):
        each = [targets] if isinstance(targets, Target) else list(targets)
        which = Slots(len(signs), len(each), group).group.tolist()
        kernel, d = each[0].kernel, each[0].dim
        self.moments = [each[i].moments for i in which]
        scale = torch.tensor([x.scale for x in self.moments], dtype=signs.dtype).to(signs)
        super().__init__(kernel, signs, d, scale.abs())
        self.slope = (scale * kernel.mean_factor(d)).reshape(-1, 1, 1)
        mean = torch.stack([x.mean for x in self.moments]).to(signs)
        self.linear = (kernel.linear * mean if linear else torch.zeros_like(mean)).unsqueeze(1)

    def _select(self, index: Tensor) -> None:
        there = index.to(self.slope.device)
        self.slope, self.linear = self.slope[there], self.linear[there]

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

    O(M d^2) a gradient, without N.
    """

    def __init__(
        self,
        targets: Target | Sequence[Target],
        signs: Tensor,
        *,
        group: Tensor | None = None,
    ):
        super().__init__(targets, signs, group=group, linear=True)
        quadratic = torch.stack([x.anisotropy for x in self.moments]).to(signs)
        self.quadratic = quadratic_factor(self.d, self.kernel) * quadratic

    def _select(self, index: Tensor) -> None:
        super()._select(index)
        self.quadratic = self.quadratic[index.to(self.quadratic.device)]

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
