"""Random matrices from a numpy Generator, as torch tensors.

Draws are made on the CPU in float64 and then converted and moved, so neither dtype nor device
changes which numbers are drawn.  Rows are drawn in order: a larger ``n`` extends a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.names import named

DTYPES = {"float64": torch.float64, "float32": torch.float32}


def _sphere(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    rows = rng.standard_normal((n, d))
    rows *= math.sqrt(d) / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


_ROWS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "gaussian": lambda rng, n, d: rng.standard_normal((n, d)),
    "sphere": _sphere,
    "rademacher": lambda rng, n, d: 2.0 * rng.integers(0, 2, (n, d)) - 1.0,
    "uniform": lambda rng, n, d: rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), (n, d)),
}
ROW_LAWS = tuple(_ROWS)


def rows(
    law: str,
    rng: np.random.Generator,
    n: int,
    d: int,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Tensor:
    """``n`` i.i.d. rows in R^d of mean zero and covariance I, shape (n, d).

    ``law``: ``gaussian``, ``sphere`` (radius sqrt(d)), ``rademacher`` or ``uniform``.
    Raises ValueError for another law.
    """
    draw = named("row law", law, _ROWS)
    if n * d <= devices.DRAWN:
        return torch.from_numpy(np.ascontiguousarray(draw(rng, n, d))).to(device, dtype)
    out = torch.empty(n, d, dtype=dtype, device=device)
    step = max(1, devices.DRAWN // d)
    for begin in range(0, n, step):
        block = draw(rng, min(step, n - begin), d)
        out[begin : begin + len(block)] = torch.from_numpy(np.ascontiguousarray(block))
    return out
