"""T = E |f|^2 of a target for any profile, by tiles, and what the profile's series leaves out."""

from __future__ import annotations

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.compression.objective import Rows
from lawsweep.kernels.compression.slots import directions_norms
from lawsweep.kernels.gaussian.pair_profiles import HermiteProfile, Profile

TILE_ELEMENTS = 1 << 20


def profile_norm(target: Tensor, alpha: Tensor, profile: Profile) -> tuple[float, float]:
    """T = sum_ij <alpha_i, alpha_j> F_ij and a bound of its error by the series (0 in closed form).

    ``target`` (N, d), ``alpha`` (N, K).  The diagonal is V, not the series.  O(N^2) in tiles.
    """
    unit, norms = (x[0] for x in directions_norms(target.unsqueeze(0)))
    # A row of norm zero is the constant sigma(0): any direction will do, and cosine 0 is one.
    side, own = profile.side(norms), profile.own(norms)[0]
    tile = max(16, int((TILE_ELEMENTS / side.shape[-1]) ** 0.5))
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


def series_error(target: Tensor, alpha: Tensor, v: Tensor, b: Tensor, profile: Profile) -> float:
    """A bound of the error of J at rows v (M, d) and outputs b (M, K); 0 in closed form.

    2 sum_ij |<alpha_i, b_j>| |rho_ij|^(P+1) e_i e_j + sum_{j != l} |<b_j, b_l>| ... with e the root
    mean squares of what the series leaves out at each norm (``hermite.tail``).
    """
    unit, norms = (x[0] for x in directions_norms(target.unsqueeze(0)))
    rows = Rows(v.reshape(1, -1), (v.shape[0], v.shape[1]))
    spread, degree = _spread(profile, norms)
    if spread is None:
        return 0.0
    own, _ = _spread(profile, rows.norm[0])
    assert own is not None
    total = 0.0
    for first in range(0, len(unit), 1 << 15):
        part = slice(first, first + (1 << 15))
        rest = (unit[part] @ rows.unit[0].T).abs().clamp(max=1.0) ** degree
        weight = (alpha[part] @ b.T).abs() * spread[part].unsqueeze(1) * own
        total += 2.0 * float((weight * rest).sum())
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
