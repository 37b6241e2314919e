"""Population loss of compressing a two-layer network, in closed form.

Target f(x) = sum_i alpha_i sigma(<w_i, x>), N nodes; compressed g(x) = sum_j s_j sigma(<v_j, x>),
M nodes with signs s_j = +-1: for a positively homogeneous sigma the size of an output weight is
absorbed in its row (v_j = |b_j| theta_j / M in the notation of [C], arXiv 2205.08199).  With
x ~ N(0, I_d) and k the kernel of sigma (``arccos.py``)

    E (f - g)^2 = T + J(v),   T = sum_ij alpha_i alpha_j k(w_i, w_j),
    J(v) = -2 sum_j s_j h(v_j) + sum_jl s_j s_l k(v_j, v_l),   h(v) = sum_i alpha_i k(w_i, v).

J is what a minimiser needs, O(N M d); T is a constant of the target, O(N^2 d)
(``compression_norm.py``).

On rounding: sums take cosines rho from matrix products, wrong by about eps.  That is harmless
here although arcsin loses half its digits at +-1: k and its gradient have bounded derivatives in
rho (|dk/drho| <= |u||v| and |t|/s = 1), as long as sqrt(1 - rho^2) and arcsin rho are taken of the
same rounded rho.  So every sum is right to a few eps of the sum of its terms' sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lawsweep.kernels.compression.objective import (
    HomogeneousObjective,
    Rows,
    inverse_sine,
    sine_arcsine,
)
from lawsweep.kernels.compression.slots import Slots, directions_norms
from lawsweep.kernels.gaussian.arccos import RELU, HomogeneousKernel

# Elements of the largest temporary of a block of target rows; 8 MiB in float64.
BLOCK_ELEMENTS = 1 << 20
# Products with the Hessian keep two matrices of this many elements (N x R M) between them, at
# most; larger ones are computed again for each product.
KEPT_ELEMENTS = 1 << 26


class PopulationLoss(HomogeneousObjective):
    """J for given targets: rows w (N, d) or (S, N, d), output weights alpha (N,) or (S, N).

    ``group``: which of the S targets each restart (row of ``signs``) belongs to, (R,); needed
    where S > 1.  Target rows are streamed in blocks, so temporaries stay near ``block_elements``
    numbers; ``consume`` turns ``target`` into its directions in place, which saves a copy of it.
    """

    def __init__(
        self,
        target: Tensor,
        alpha: Tensor,
        signs: Tensor,
        kernel: HomogeneousKernel = RELU,
        block_elements: int = BLOCK_ELEMENTS,
        group: Tensor | None = None,
        consume: bool = False,
    ):
        if target.ndim not in (2, 3) or alpha.shape != target.shape[:-1]:
            raise ValueError(
                f"expected target rows (N, d) and alpha (N,), got {tuple(target.shape)} and "
                f"{tuple(alpha.shape)}; give one output weight a row"
            )
        alpha = alpha.reshape(-1, alpha.shape[-1])
        self.mean = kernel.linear * (
            alpha.unsqueeze(-2) @ target.reshape(len(alpha), -1, target.shape[-1])
        )
        self.unit, norms = directions_norms(
            target.reshape(len(alpha), -1, target.shape[-1]), consume
        )
        self.beta = alpha * norms
        self.slots = Slots(len(signs), len(alpha), group)
        size = self.beta.abs().sum(-1)[self.slots.group.to(target.device)]
        super().__init__(kernel, signs, target.shape[-1], size)
        self.block_elements = block_elements

    def _select(self, index: Tensor) -> None:
        self.slots = self.slots.take(index)

    def _blocks(self, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Directions (S, n, d) and beta (S, n, 1), of the targets in use."""
        unit, beta = self.slots.pick(self.unit), self.slots.pick(self.beta)
        n = max(64, self.block_elements // max(1, width * len(beta)))
        for first in range(0, beta.shape[1], n):
            yield unit[:, first : first + n], beta[:, first : first + n].unsqueeze(-1)

    def cross(self, rows: Rows) -> Tensor:
        """Sum_i alpha_i |w_i| {even [sin v^ + arcsin w^]} + linear m, (R, M, d)."""
        k, a = self.kernel, self.slots.gather(rows.unit)
        along, outward = torch.zeros_like(a), a.new_zeros(a.shape[:2])
        for u, beta in self._blocks(a.shape[1] + self.d):
            sine, arcsine = sine_arcsine(u @ a.mT)
            along += (beta * arcsine).mT @ u
            outward += (beta * sine).sum(1)
        result = k.even * (along + outward.unsqueeze(-1) * a) + self.slots.pick(self.mean)
        return self.slots.scatter(result, self.shape[0])

    def cross_hessian(self, rows: Rows) -> Tensor:
        """(even/|v|) [S (I - v^v^T) + (I - v^v^T) G (I - v^v^T)], (R, M, d, d).

        S = sum_i beta_i s_i and G = sum_i (beta_i/s_i) w_i^ w_i^T, beta_i = alpha_i |w_i|: the
        projections turn w_i^ into t_i.  All Grams of a block of rows are one matrix product.
        """
        a, d = self.slots.gather(rows.unit), self.d
        gram, bulk = a.new_zeros(len(a), a.shape[1] * d, d), a.new_zeros(a.shape[:2])
        for u, beta in self._blocks(a.shape[1] * d):
            sine, _ = sine_arcsine(u @ a.mT)
            weight = beta * inverse_sine(sine)
            gram += (weight.unsqueeze(-1) * u.unsqueeze(-2)).flatten(2).mT @ u
            bulk += (beta * sine).sum(1)
        own = self.slots.scatter(gram.reshape(*a.shape, d), self.shape[0])
        size = self.slots.scatter(bulk, self.shape[0])[..., None, None]
        eye = torch.eye(d, dtype=a.dtype, device=a.device)
        across = eye - rows.unit[..., :, None] * rows.unit[..., None, :]
        whole = across @ own @ across + size * across
        return self.kernel.even * rows.inverse[..., None, None] * whole

    def cross_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        """As ``cross_hessian``, applied; keeps two (N, R M) matrices up to KEPT_ELEMENTS."""
        a = self.slots.gather(rows.unit)
        bulk = a.new_zeros(a.shape[:2])

        def weights() -> Iterator[tuple[Tensor, Tensor]]:
            for u, beta in self._blocks(a.shape[1] + self.d):
                sine, _ = sine_arcsine(u @ a.mT)
                bulk.add_((beta * sine).sum(1))
                yield u, beta * inverse_sine(sine)

        kept = list(weights()) if self.beta.shape[1] * a[..., 0].numel() <= KEPT_ELEMENTS else None
        if kept is None:
            for _ in weights():
                pass
        total = bulk.clone()

        def product(p: Tensor) -> Tensor:
            off = rows.across(p)
            flat = self.slots.gather(off)
            gram = total.unsqueeze(-1) * flat
            for u, weight in kept if kept is not None else weights():
                gram += (weight * (u @ flat.mT)).mT @ u
            turned = rows.across(self.slots.scatter(gram, self.shape[0]))
            return self.kernel.even * rows.inverse.unsqueeze(-1) * turned

        return product
