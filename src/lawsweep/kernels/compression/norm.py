"""T = E |f(x)|^2 of a target, f(x) = sum_i alpha_i sigma(<w_i, x>): exactly, or by sampled pairs.

For any profile by tiles, with what its series leaves out.  For a homogeneous sigma and one output,
with beta_i = alpha_i |w_i| and rho_ij the cosines (``gaussian.homogeneous``)

    T = linear |sum_i alpha_i w_i|^2 + even sum_ij beta_i beta_j e(rho_ij),  e(1) = pi/2,
    e(r) = sqrt(1 - r^2) + r arcsin r = 1 + r^2/2 + r^4/24 + ...
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.compression.nodes import Nodes
from lawsweep.kernels.compression.objective import Rows
from lawsweep.kernels.gaussian.angles import even_part
from lawsweep.kernels.gaussian.hermite import HermiteProfile
from lawsweep.kernels.gaussian.pairs import Profile


def target_norm(target: Nodes, tile: int = 1024) -> float:
    """T, exactly; O(N^2 d) in tiles^2 memory.  A homogeneous sigma and one output.

    The even part is summed over tiles on and above the diagonal, and the diagonal,
    alpha_i^2 |w_i|^2 pi/2, is set exactly.
    """
    directions, beta, kernel = target.sides[0], target.beta, target.kernel
    mean = target.weights @ target.rows
    total = 0.5 * math.pi * (beta @ beta)
    for i in range(0, len(beta), tile):
        u, b = directions[i : i + tile], beta[i : i + tile]
        for j in range(i, len(beta), tile):
            rho = u @ directions[j : j + tile].T
            even = even_part(rho)
            if i == j:
                even.fill_diagonal_(0.0)
            total = total + (1.0 if i == j else 2.0) * (b @ (even @ beta[j : j + tile]))
    return float(kernel.linear * (mean @ mean) + kernel.even * total)


def sampled_target_norm(
    target: Nodes, rng: np.random.Generator, n_pairs: int
) -> tuple[float, float]:
    """T and its standard error, from ``n_pairs`` random pairs; O(N d^2 + n_pairs d).

    1 and r^2/2 of e are summed over all pairs exactly, |sum beta|^2 and |sum beta w^ w^T|^2/2,
    and so is the diagonal.  Only the rest e(r) - 1 - r^2/2 <= 0.071 r^4 is sampled, over i != j
    drawn with probabilities |beta_i||beta_j|: an unbiased mean, whose error is the sample's.

    Raises ValueError for fewer than two pairs.
    """
    rows, alpha, kernel = target.rows, target.weights, target.kernel
    if n_pairs < 2:
        raise ValueError(f"expected at least 2 pairs, got {n_pairs}; an error needs a spread")
    norms = torch.cat([part.norm(dim=-1) for part in rows.split(devices.SAMPLED_PAIRS)])
    beta, mean = alpha * norms, alpha @ rows
    size = float(beta.abs().sum())
    if size == 0.0:
        return 0.0, 0.0
    gram = rows.new_zeros(rows.shape[1], rows.shape[1])
    for first in range(0, len(rows), devices.SAMPLED_PAIRS):
        part = slice(first, first + (devices.SAMPLED_PAIRS))
        weight = torch.where(
            norms[part] > 0, alpha[part] / norms[part], torch.zeros_like(norms[part])
        )
        gram += (weight.unsqueeze(-1) * rows[part]).T @ rows[part]
    even = float(beta.sum() ** 2 + 0.5 * gram.square().sum())
    even += (0.5 * math.pi - 1.5) * float(beta @ beta)
    edges = np.cumsum(np.abs(beta.double().cpu().numpy()))
    parts: list[Tensor] = []
    for first in range(0, n_pairs, devices.SAMPLED_PAIRS):
        n = min(devices.SAMPLED_PAIRS, n_pairs - first)
        place = np.searchsorted(edges, rng.random((2, n)) * edges[-1], side="right")
        i, j = torch.from_numpy(place.clip(max=len(edges) - 1)).to(rows.device)
        rest = _rest((rows[i] * rows[j]).sum(-1) / (norms[i] * norms[j]))
        rest = torch.where(i == j, 0.0, torch.sign(beta[i]) * torch.sign(beta[j]) * rest)
        parts.append(torch.stack([rest.sum(), rest.square().sum()]))
    sums = np.sum(torch.stack(parts).to(torch.float64).cpu().numpy(), axis=0)
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
    direct = even_part(r) - 1.0 - 0.5 * square
    return torch.where(r.abs() < 0.3, total, direct)


def profile_norm(target: Nodes) -> tuple[float, float]:
    """T = sum_ij <alpha_i, alpha_j> F_ij and a bound of its error by the series (0 in closed form).

    The diagonal is V, not the series.  O(N^2) in tiles.
    """
    (unit, norms), alpha, profile = target.sides, target.alpha, target.profile
    # A row of norm zero is the constant sigma(0): any direction will do, and cosine 0 is one.
    side, own = profile.side(norms), profile.own(norms)[0]
    tile = max(16, int((devices.on(side.device).pass_numbers / side.shape[-1]) ** 0.5))
    total = (alpha.square().sum(-1) * own).sum()
    spread, degree = _spread(profile, norms)
    error = torch.zeros_like(total)
    for i in range(0, len(unit), tile):
        for j in range(i, len(unit), tile):
            one, other = slice(i, i + tile), slice(j, j + tile)
            rho = (unit[one] @ unit[other].T).clamp(-1.0, 1.0)
            weight = (1.0 if i == j else 2.0) * (alpha[one] @ alpha[other].T)
            if i == j:
                weight.fill_diagonal_(0.0)
            total = total + (weight * profile.pairs(rho, side[one], side[other], False).f).sum()
            if spread is not None:
                rest = rho.abs() ** degree * spread[one].unsqueeze(1) * spread[other]
                error = error + (weight.abs() * rest).sum()
    return float(total), float(error)


def series_error(target: Nodes, v: Tensor, b: Tensor) -> float:
    """A bound of the error of J at rows v (M, d) and outputs b (M, K); 0 in closed form.

    2 sum_ij |<alpha_i, b_j>| |rho_ij|^(P+1) e_i e_j + sum_{j != l} |<b_j, b_l>| ... with e the root
    mean squares of what the series leaves out at each norm (``hermite.tail``).
    """
    (unit, norms), alpha, profile = target.sides, target.alpha, target.profile
    rows = Rows(v.reshape(1, -1), (v.shape[0], v.shape[1]))
    spread, degree = _spread(profile, norms)
    if spread is None:
        return 0.0
    own, _ = _spread(profile, rows.norm[0])
    assert own is not None
    parts: list[Tensor] = []
    for first in range(0, len(unit), devices.TARGET_ROWS):
        part = slice(first, first + (devices.TARGET_ROWS))
        rest = (unit[part] @ rows.unit[0].T).abs().clamp(max=1.0) ** degree
        weight = (alpha[part] @ b.T).abs() * spread[part].unsqueeze(1) * own
        parts.append((weight * rest).sum())
    total = 2.0 * float(sum(torch.stack(parts).tolist()))
    rest = (rows.unit[0] @ rows.unit[0].T).abs().clamp(max=1.0) ** degree
    weight = (b @ b.T).abs() * own.unsqueeze(1) * own * rest
    return total + float(weight.sum() - weight.diagonal().sum())


def _spread(profile: Profile, norms: Tensor) -> tuple[Tensor | None, int]:
    """e at each norm, and the power of the cosine that the rest begins with."""
    if not isinstance(profile, HermiteProfile):
        return None, 0
    values, inverse = torch.unique(norms, return_inverse=True)
    if len(values) > 512:  # e grows with the norm: the largest of neighbours bounds them
        place = torch.linspace(0, len(values) - 1, 512, device=norms.device).round().long()
        upper = torch.searchsorted(values[place], norms.contiguous()).clamp(max=511)
        return profile.error(values[place])[upper], profile.degree + 1
    return profile.error(values)[inverse], profile.degree + 1


def choose_degree(act: Activation, norms: Tensor, tolerance: float) -> HermiteProfile:
    """The first of degrees 40, 80, 160, 320 whose series is right to ``tolerance`` at any cosine.

    Relative to V at the largest of ``norms``; the largest degree where none is (an activation with
    a kink, such as ELU, or large norms): then the error at the actual cosines decides.
    """
    worst = norms.max().reshape(1)
    for degree in (40, 80, 160):
        profile = HermiteProfile(act.f, degree)
        allowed = tolerance * float(profile.own(worst)[0])
        if float(profile.error(worst)) ** 2 <= allowed:
            return profile
    return HermiteProfile(act.f, 320)
