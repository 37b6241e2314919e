"""Rounding by type: what it may do, as the textbooks bound it, and what is asked in spite of it.

What a kernel asks of a result stands in one table by dtype: in float64 what serves, in float32 what
its rounding leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lawsweep.kernels.base.precision import require_full


@dataclass(frozen=True)
class Tolerances:
    """Of one type.

    ``eps`` and ``tiny``: its spacing at 1, and its least normal number.  ``residual``: relative
    residual asked of an eigenpair.  ``gradient``: the part of its scale that a gradient is lowered
    to (measured in float32: gradients stall at 0.3 to 15 eps).  ``rank``: eigenvalues below this
    part of the largest are rounding.  ``curvature``: those below minus this part of it are negative
    (flat directions, such as rotations, are zero exactly).
    """

    eps: float
    tiny: float
    residual: float
    gradient: float
    rank: float
    curvature: float

    @property
    def unit(self) -> float:
        """u, the largest relative error of one rounding."""
        return self.eps / 2.0

    @property
    def least_normal(self) -> float:
        """The least number whose rounding error, eps of it, is itself a normal number."""
        return self.tiny / self.eps


_EPS32 = 2.0**-23
TOLERANCES = {
    torch.float64: Tolerances(2.0**-52, 2.0**-1022, 1e-10, 1e-10, 1e-10, 1e-8),
    torch.float32: Tolerances(
        _EPS32, 2.0**-126, math.sqrt(_EPS32), 64 * _EPS32, 64 * _EPS32, 64 * _EPS32
    ),
}


def tolerances(dtype: torch.dtype) -> Tolerances:
    """Those of ``dtype``; ValueError for one that no kernel computes in."""
    if dtype not in TOLERANCES:
        known = " or ".join(map(str, TOLERANCES))
        raise ValueError(f"kernels compute in {known}, got {dtype}; convert the tensors")
    return TOLERANCES[dtype]


def gamma(k: int, dtype: torch.dtype) -> float:
    """gamma_k = k u / (1 - k u), the relative rounding of k operations in a row; inf past 1/u.

    PrecisionError where products in ``dtype`` may be computed in less (``base.precision``).
    """
    require_full(dtype)
    unit = tolerances(dtype).unit
    return k * unit / (1.0 - k * unit) if k * unit < 1.0 else math.inf
