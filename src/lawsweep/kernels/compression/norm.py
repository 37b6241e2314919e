"""T = E f(x)^2 of a target f(x) = sum_i alpha_i sigma(<w_i, x>): exactly, or by sampled pairs.

With beta_i = alpha_i |w_i| and rho_ij the cosines (``arccos.py``)

    T = linear |sum_i alpha_i w_i|^2 + even sum_ij beta_i beta_j e(rho_ij),  e(1) = pi/2,
    e(r) = sqrt(1 - r^2) + r arcsin r = 1 + r^2/2 + r^4/24 + ...
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.compression.slots import directions_norms
from lawsweep.kernels.gaussian.arccos import RELU, HomogeneousKernel

BLOCK_PAIRS = 1 << 16


def _check(target: Tensor, alpha: Tensor) -> None:
    if target.ndim != 2 or alpha.shape != target.shape[:1]:
        raise ValueError(
            f"expected target rows (N, d) and alpha (N,), got {tuple(target.shape)} and "
            f"{tuple(alpha.shape)}; give one output weight a row"
        )


def target_norm(
    target: Tensor, alpha: Tensor, kernel: HomogeneousKernel = RELU, tile: int = 1024
) -> float:
    """T, exactly; O(N^2 d) in tiles^2 memory.

    The even part is summed over tiles on and above the diagonal, and the diagonal,
    alpha_i^2 |w_i|^2 pi/2, is set exactly.
    """
    _check(target, alpha)
    directions, norms = (x[0] for x in directions_norms(target.unsqueeze(0)))
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


def sampled_target_norm(
    target: Tensor,
    alpha: Tensor,
    rng: np.random.Generator,
    n_pairs: int,
    kernel: HomogeneousKernel = RELU,
) -> tuple[float, float]:
    """T and its standard error, from ``n_pairs`` random pairs; O(N d^2 + n_pairs d).

    1 and r^2/2 of e are summed over all pairs exactly, |sum beta|^2 and |sum beta w^ w^T|^2/2,
    and so is the diagonal.  Only the rest e(r) - 1 - r^2/2 <= 0.071 r^4 is sampled, over i != j
    drawn with probabilities |beta_i||beta_j|: an unbiased mean, whose error is the sample's.

    Raises ValueError for fewer than two pairs.
    """
    _check(target, alpha)
    if n_pairs < 2:
        raise ValueError(f"expected at least 2 pairs, got {n_pairs}; an error needs a spread")
    norms = torch.cat([part.norm(dim=-1) for part in target.split(1 << 16)])
    beta, mean = alpha * norms, alpha @ target
    size = float(beta.abs().sum())
    if size == 0.0:
        return 0.0, 0.0
    gram = target.new_zeros(target.shape[1], target.shape[1])
    for first in range(0, len(target), 1 << 16):
        part = slice(first, first + (1 << 16))
        weight = torch.where(
            norms[part] > 0, alpha[part] / norms[part], torch.zeros_like(norms[part])
        )
        gram += (weight.unsqueeze(-1) * target[part]).T @ target[part]
    even = float(beta.sum() ** 2 + 0.5 * gram.square().sum())
    even += (0.5 * math.pi - 1.5) * float(beta @ beta)
    edges = np.cumsum(np.abs(beta.double().cpu().numpy()))
    sums = np.zeros(2)
    for first in range(0, n_pairs, BLOCK_PAIRS):
        n = min(BLOCK_PAIRS, n_pairs - first)
        place = np.searchsorted(edges, rng.random((2, n)) * edges[-1], side="right")
        i, j = torch.from_numpy(place.clip(max=len(edges) - 1)).to(target.device)
        rest = _rest((target[i] * target[j]).sum(-1) / (norms[i] * norms[j]))
        rest = torch.where(i == j, 0.0, torch.sign(beta[i]) * torch.sign(beta[j]) * rest)
        sums += (float(rest.sum()), float(rest.square().sum()))
    average = sums[0] / n_pairs
    spread = math.sqrt(max(0.0, sums[1] / n_pairs - average**2) / (n_pairs - 1))
    value = kernel.linear * float(mean @ mean) + kernel.even * (even + size**2 * average)
    return value, kernel.even * size**2 * spread


def _rest(rho: Tensor) -> Tensor:
    """e(r) - 1 - r^2/2 without its cancellation at small r.

    Its series is sum_{k >= 2} [(2k-3)!!]^2/(2k)! r^(2k); below 0.3 ten terms reach 1e-16 of it.
    """
    r = rho.clamp(-1.0, 1.0)
    square = r * r
    term, total = square * square / 24.0, torch.zeros_like(r)
    for k in range(2, 14):
        total = total + term
        term = term * square * (2 * k - 1) ** 2 / ((2 * k + 1) * (2 * k + 2))
    direct = ((1.0 - r) * (1.0 + r)).sqrt() + r * torch.arcsin(r) - 1.0 - 0.5 * square
    return torch.where(r.abs() < 0.3, total, direct)
