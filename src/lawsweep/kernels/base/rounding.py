"""What rounding may do, as the textbooks bound it."""

from __future__ import annotations

import math

import torch


def gamma(k: int, dtype: torch.dtype) -> float:
    """gamma_k = k u / (1 - k u), the relative rounding of k operations in a row; inf past 1/u."""
    unit = float(torch.finfo(dtype).eps) / 2
    return k * unit / (1.0 - k * unit) if k * unit < 1.0 else math.inf
