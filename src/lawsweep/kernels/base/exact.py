"""Products without error: a rounded value and what rounding took from it."""

from __future__ import annotations

import torch
from torch import Tensor

SPLITTER = 2.0**27 + 1.0
LEAST = 2.0**-900  # of an entry beside the largest: below, the error of a product may underflow


def scaled_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, d) over a power of 2, largest entry in [1/2, 1); which lost no digit by it (N,)."""
    _, exponent = torch.frexp(x.abs().amax(1, keepdim=True))
    # 2^-exponent may be no number of its own where the entries are subnormal.
    half = exponent // 2
    scaled = torch.ldexp(torch.ldexp(x, -half), half - exponent)
    return scaled, ((x == 0) | (scaled.abs() >= LEAST)).all(1)


def exact_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """a b as its rounded value and that one's error, both exact, for entries of scaled rows."""
    product = a * b
    (ah, al), (bh, bl) = _split(a), _split(b)
    return product, ((ah * bh - product) + ah * bl + al * bh) + al * bl


def _split(a: Tensor) -> tuple[Tensor, Tensor]:
    """a as a sum of two numbers of half the digits (G. W. Veltkamp)."""
    c = SPLITTER * a
    high = c - (c - a)
    return high, a - high
