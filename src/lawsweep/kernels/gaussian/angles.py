"""Angles between rows, and what is made of them, accurate where a cosine is next to +-1.

arccos of a rounded cosine keeps half of the digits of a small angle.  Of unit rows u^ and v^ the
half angles 2 atan2(|u^-v^|, |u^+v^|) hold relative accuracy.  Of all pairs of rows at once
(``row_angles``), where a cosine is next to +-1, the part of v across u is formed instead: v - c u
with c the rounded <u, v>/<u, u>, each product with its rounding error, so that hardly anything is
lost though nearly all of v cancels; once more orthogonalised to u, it is |v| sin(angle) to some
ulps (Lagrange's identity in other words).  Rows that are multiples of one another are at angle 0
or pi.

Sums over many pairs take cosines from matrix products (``sine_arcsine``), wrong by about eps, which
is harmless where what is summed has a bounded derivative in the cosine and sqrt(1 - rho^2) and
arcsin rho are taken of the same rounded rho.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.exact import exact_product, scaled_rows

NEAR = 0.99  # |cosine| beyond which an arccos is not taken; below, it loses a factor of 8 at most


def unit(v: Tensor) -> tuple[Tensor, Tensor]:
    """Directions and norms of rows; a zero row has the direction 0, not NaN.

    Rows are divided by their largest entry first, so 1e-200 and 1e200 neither under- nor overflow.
    """
    largest = v.abs().amax(-1, keepdim=True)
    safe = torch.where(largest > 0, largest, torch.ones_like(largest))
    scaled = v / safe
    norm = scaled.norm(dim=-1, keepdim=True)
    return scaled / torch.where(norm > 0, norm, torch.ones_like(norm)), (safe * norm).squeeze(-1)


def angles(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The angle of unit rows a, b and its supplement, each to full relative accuracy."""
    apart, together = (a - b).norm(dim=-1), (a + b).norm(dim=-1)
    return 2.0 * torch.atan2(apart, together), 2.0 * torch.atan2(together, apart)


def sin_minus_x_cos(x: Tensor) -> Tensor:
    """sin x - x cos x >= 0 on [0, pi], without its cancellation (x^3/3) at small x.

    The series is sum_k (-1)^(k+1) 2k x^(2k+1) / (2k+1)!; below 0.7 eight terms reach 1e-17.
    """
    square = x * x
    series = torch.zeros_like(x)
    for k in range(8, 0, -1):
        series = series * square + (-1.0) ** (k + 1) * 2 * k / math.factorial(2 * k + 1)
    return torch.where(x < 0.7, series * x * square, torch.sin(x) - x * torch.cos(x))


def sine_arcsine(rho: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(1 - rho^2) and arcsin rho of clipped cosines."""
    rho = rho.clamp(-1.0, 1.0)
    return ((1.0 - rho) * (1.0 + rho)).sqrt(), torch.arcsin(rho)


def even_part(rho: Tensor) -> Tensor:
    """e(rho) = sqrt(1 - rho^2) + rho arcsin rho, of clipped cosines."""
    sine, arcsine = sine_arcsine(rho)
    return sine + rho.clamp(-1.0, 1.0) * arcsine


def inverse_sine(s: Tensor) -> Tensor:
    """1/s for the second derivatives t t^T/s, whose size is s: left out below sqrt(eps).

    There t is rounding (eps/s), and what is left out is itself at most sqrt(eps).
    """
    tiny = 4.0 * torch.finfo(s.dtype).eps ** 0.5
    return torch.where(s > tiny, 1.0 / s.clamp_min(tiny), torch.zeros_like(s))


def row_angles(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(angle, pi - angle) of all pairs of rows (N, d), float64, both (N, N) and symmetric.

    The diagonal is (0, pi) exactly, and so is what concerns a row of zeros, which has no angle.
    """
    x, _ = scaled_rows(rows.to(torch.float64))
    norms = x.norm(dim=1, keepdim=True)
    unit = x / torch.where(norms > 0, norms, torch.ones_like(norms))
    cosine = (unit @ unit.T).clamp(-1.0, 1.0)
    cosine = torch.where((norms > 0) & (norms > 0).T, 0.5 * (cosine + cosine.T), 1.0)
    angle, rest = torch.acos(cosine), torch.acos(-cosine)
    near = (cosine.abs() > NEAR).triu(1) & (norms > 0) & (norms > 0).T
    for pairs in near.nonzero().split(max(1, devices.on(x.device).angle_numbers // x.shape[1])):
        i, j = pairs.unbind(1)
        small = _small_angle(x[i], x[j])
        other, along = math.pi - small, cosine[i, j] > 0
        for out, value in (
            (angle, torch.where(along, small, other)),
            (rest, torch.where(along, other, small)),
        ):
            out[i, j] = out[j, i] = value
    zero = (norms == 0).squeeze(1)
    angle[zero], angle[:, zero], rest[zero], rest[:, zero] = 0.0, 0.0, math.pi, math.pi
    angle.fill_diagonal_(0.0)
    rest.fill_diagonal_(math.pi)
    return angle, rest


def _small_angle(u: Tensor, v: Tensor) -> Tensor:
    """The angle between the lines of u and v (P, d), which is small."""
    square, inner = (torch.linalg.vecdot(u, w) for w in (u, v))
    product, error = exact_product((inner / square).unsqueeze(1), u)
    across = (v - product) - error
    across = across - (torch.linalg.vecdot(across, u) / square).unsqueeze(1) * u
    return torch.atan2(across.norm(dim=1) * square.sqrt(), inner.abs())
