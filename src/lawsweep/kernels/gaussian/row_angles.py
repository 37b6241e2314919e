"""The angles between rows of numbers, small ones and small supplements to full relative accuracy.

arccos of a rounded cosine keeps half of the digits of a small angle.  Where a cosine is next to
+-1, the part of v across u is formed instead: v - c u with c the rounded <u, v>/<u, u>, each
product with its rounding error, so that hardly anything is lost though nearly all of v cancels;
once more orthogonalised to u, it is |v| sin(angle) to some ulps (Lagrange's identity in other
words).  Rows that are multiples of one another are at angle 0 or pi.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.ntk.directions import exact_product, scaled_rows

NEAR = 0.99  # |cosine| beyond which an arccos is not taken; below, it loses a factor of 8 at most


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
    for pairs in near.nonzero().split(max(1, devices.ANGLE_NUMBERS // x.shape[1])):
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
