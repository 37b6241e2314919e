"""Population loss of compressing a two-layer network, in closed form.

Target f(x) = sum_i alpha_i sigma(<w_i, x>), N nodes; compressed g(x) = sum_j s_j sigma(<v_j, x>),
M nodes with signs s_j = +-1: for a positively homogeneous sigma the size of an output weight is
absorbed in its row (v_j = |b_j| theta_j / M in the notation of [C], arXiv 2205.08199).  With
x ~ N(0, I_d) and k the kernel of sigma (``arccos.py``)

    E (f - g)^2 = T + J(v),   T = sum_ij alpha_i alpha_j k(w_i, w_j),
    J(v) = -2 sum_j s_j h(v_j) + sum_jl s_j s_l k(v_j, v_l),   h(v) = sum_i alpha_i k(w_i, v).

J is what a minimiser needs, O(N M d); T is a constant of the target, O(N^2 d).

On rounding: sums take cosines rho from matrix products, wrong by about eps.  That is harmless
here although arcsin loses half its digits at +-1: k and its gradient have bounded derivatives in
rho (|dk/drho| <= |u||v| and |t|/s = 1), as long as sqrt(1 - rho^2) and arcsin rho are taken of the
same rounded rho.  So every sum is right to a few eps of the sum of its terms' sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lawsweep.kernels.arccos import RELU, HomogeneousKernel, unit
from lawsweep.kernels.compression_objective import (
    HomogeneousObjective,
    Rows,
    inverse_sine,
    sine_arcsine,
)

# Elements of the largest temporary of a block of target rows; 8 MiB in float64.
BLOCK_ELEMENTS = 1 << 20


class PopulationLoss(HomogeneousObjective):
    """J for a given target: rows w (N, d) and output weights alpha (N,).

    Target rows are streamed in blocks, so temporaries stay near ``block_elements`` numbers.
    """

    def __init__(
        self,
        target: Tensor,
        alpha: Tensor,
        signs: Tensor,
        kernel: HomogeneousKernel = RELU,
        block_elements: int = BLOCK_ELEMENTS,
    ):
        if target.ndim != 2 or alpha.shape != target.shape[:1]:
            raise ValueError(
                f"expected target rows (N, d) and alpha (N,), got {tuple(target.shape)} and "
                f"{tuple(alpha.shape)}; give one output weight a row"
            )
        self.unit, norms = unit(target)
        self.beta = alpha * norms
        super().__init__(kernel, signs, target.shape[1], float(self.beta.abs().sum()))
        self.mean = alpha @ target
        self.block_elements = block_elements

    def _blocks(self, width: int) -> Iterator[tuple[Tensor, Tensor]]:
        n = max(64, self.block_elements // max(1, width))
        for first in range(0, len(self.beta), n):
            yield self.unit[first : first + n], self.beta[first : first + n].unsqueeze(-1)

    def cross(self, rows: Rows) -> Tensor:
        """Sum_i alpha_i |w_i| {even [sin v^ + arcsin w^]} + linear m, (R, M, d)."""
        k, a = self.kernel, rows.unit.flatten(0, 1)
        along, outward = torch.zeros_like(a), a.new_zeros(len(a))
        for u, beta in self._blocks(len(a) + self.d):
            sine, arcsine = sine_arcsine(u @ a.T)
            along += (beta * arcsine).T @ u
            outward += (beta * sine).sum(0)
        result = k.even * (along + outward.unsqueeze(-1) * a) + k.linear * self.mean
        return result.reshape(rows.v.shape)

    def cross_hessian(self, rows: Rows) -> Tensor:
        """(even/|v|) [S (I - v^v^T) + (I - v^v^T) G (I - v^v^T)], (R, M, d, d).

        S = sum_i beta_i s_i and G = sum_i (beta_i/s_i) w_i^ w_i^T, beta_i = alpha_i |w_i|: the
        projections turn w_i^ into t_i.  All Grams of a block of rows are one matrix product.
        """
        a, d = rows.unit.flatten(0, 1), self.d
        gram, bulk = a.new_zeros(len(a) * d, d), a.new_zeros(len(a))
        for u, beta in self._blocks(len(a) * d):
            sine, _ = sine_arcsine(u @ a.T)
            weight = beta * inverse_sine(sine)
            gram += (weight.unsqueeze(-1) * u.unsqueeze(-2)).flatten(1).T @ u
            bulk += (beta * sine).sum(0)
        across = torch.eye(d, dtype=a.dtype, device=a.device) - a[:, :, None] * a[:, None, :]
        whole = across @ gram.reshape(-1, d, d) @ across + bulk[:, None, None] * across
        whole = self.kernel.even * rows.inverse.flatten()[:, None, None] * whole
        return whole.reshape(*rows.v.shape, d)

    def cross_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        """As ``cross_hessian``, applied; keeps two (N, R M) matrices."""
        a = rows.unit.flatten(0, 1)
        sine, _ = sine_arcsine(self.unit @ a.T)
        beta = self.beta.unsqueeze(-1)
        weight, bulk = beta * inverse_sine(sine), (beta * sine).sum(0)

        def product(p: Tensor) -> Tensor:
            off = rows.across(p)
            flat = off.flatten(0, 1)
            gram = (weight * (self.unit @ flat.T)).T @ self.unit + bulk.unsqueeze(-1) * flat
            return self.kernel.even * rows.inverse.unsqueeze(-1) * rows.across(gram.view_as(p))

        return product


class SimplifiedLoss(HomogeneousObjective):
    """J where the target's directions are averaged over the sphere: h(v) = A D |v|.

    The simplified problem of [C] for an isotropic target, with A = E a|w| (``mean_scale``) and
    D = ``kernel.mean_factor(d)``; the whole loss is A^2 D + J.
    """

    def __init__(self, mean_scale: float, d: int, signs: Tensor, kernel: HomogeneousKernel = RELU):
        super().__init__(kernel, signs, d, abs(mean_scale))
        self.slope = mean_scale * kernel.mean_factor(d)

    def cross(self, rows: Rows) -> Tensor:
        """A D v^, (R, M, d)."""
        return self.slope * rows.unit

    def cross_hessian(self, rows: Rows) -> Tensor:
        """A D (I - v^ v^T)/|v|, (R, M, d, d)."""
        a = rows.unit
        eye = torch.eye(self.d, dtype=a.dtype, device=a.device)
        across = eye - a[..., :, None] * a[..., None, :]
        return self.slope * rows.inverse[..., None, None] * across

    def cross_product(self, rows: Rows) -> Callable[[Tensor], Tensor]:
        """As ``cross_hessian``, applied."""
        return lambda p: self.slope * rows.inverse.unsqueeze(-1) * rows.across(p)


def target_norm(
    target: Tensor, alpha: Tensor, kernel: HomogeneousKernel = RELU, tile: int = 1024
) -> float:
    """T = sum_ij alpha_i alpha_j k(w_i, w_j) = E f(x)^2, exactly; O(N^2 d) in tiles^2 memory.

    The linear part is linear |sum_i alpha_i w_i|^2; the even part is summed over tiles on and
    above the diagonal, and the diagonal, alpha_i^2 |w_i|^2 pi/2, is set exactly.
    """
    if target.ndim != 2 or alpha.shape != target.shape[:1]:
        raise ValueError(
            f"expected target rows (N, d) and alpha (N,), got {tuple(target.shape)} and "
            f"{tuple(alpha.shape)}; give one output weight a row"
        )
    directions, norms = unit(target)
    beta, mean = alpha * norms, alpha @ target
    total = 0.5 * math.pi * (beta @ beta)
    for i in range(0, len(beta), tile):
        u, b = directions[i : i + tile], beta[i : i + tile]
        for j in range(i, len(beta), tile):
            rho = (u @ directions[j : j + tile].T).clamp_(-1.0, 1.0)
            even = torch.arcsin(rho).mul_(rho)
            even += rho.square_().neg_().add_(1.0).sqrt_()
            if i == j:
                even.fill_diagonal_(0.0)
            total = total + (1.0 if i == j else 2.0) * (b @ (even @ beta[j : j + tile]))
    return float(kernel.linear * (mean @ mean) + kernel.even * total)
