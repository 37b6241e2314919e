"""Targets to compress: rows w (N, d) and output weights a (N,) or (N, K), from numpy Generators.

Rows are drawn in blocks of bounded memory, in order and on the CPU in float64: neither the block
nor dtype nor device changes which numbers are drawn, and a larger N extends a smaller one (unless
the rows are centred, which uses all of them).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.names import check_name, unknown
from lawsweep.kernels.data import sampling

LAWS = (*sampling.ROW_LAWS, "sparse")
OUTPUTS = ("ones", "uniform", "gaussian", "signs", "biased_signs")


def _sparse(rng: np.random.Generator, n: int, d: int, density: float) -> np.ndarray:
    """Entries +-1/sqrt(density) with probability ``density``, else 0: bounded, so sub-Gaussian."""
    draws = rng.random((n, d))
    # One uniform number an entry: below density/2 plus, below density minus.
    sign = np.where(draws < 0.5 * density, 1.0, -1.0)
    return np.asarray(np.where(draws < density, sign, 0.0) / math.sqrt(density))


def target_rows(
    law: str,
    rng: np.random.Generator,
    n: int,
    d: int,
    *,
    density: float = 0.1,
    mean: float = 0.0,
    normalise: bool = False,
    centre: bool = False,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Rows w_i = mean e + z_i/sqrt(d), z of covariance I, e = (1, ..., 1)/sqrt(d); shape (n, d).

    ``law``: one of LAWS (``density`` is that of ``sparse``).  ``mean``: the norm of the rows'
    mean.  ``normalise``: then divide each row by its norm (a zero row stays).  ``centre``: then
    subtract the average row, so that they are no longer of norm one: with ``normalise`` the
    setting of the public code of [C] (arXiv 2205.08199).

    Raises ValueError for another law, or sizes or a density out of range.
    """
    check_name("row law", law, LAWS)
    if n < 1 or d < 1 or not 0.0 < density <= 1.0:
        raise ValueError(
            f"expected n >= 1, d >= 1 and a density in (0, 1], got {n}, {d} and {density}; "
            "change them"
        )
    w = torch.empty(n, d, dtype=dtype, device=device)
    total = torch.zeros(d, dtype=torch.float64)
    for first in range(0, n, devices.TARGET_ROWS):
        size = min(devices.TARGET_ROWS, n - first)
        if law == "sparse":
            block = torch.from_numpy(_sparse(rng, size, d, density))
        else:
            block = sampling.rows(law, rng, size, d)
        block = block / math.sqrt(d)
        if mean:
            block += mean / math.sqrt(d)
        if normalise:
            norm = block.norm(dim=1, keepdim=True)
            block /= torch.where(norm > 0, norm, torch.ones_like(norm))
        total += block.sum(0)
        w[first : first + size] = block.to(dtype=dtype)
    if centre:
        w -= (total / n).to(device=device, dtype=dtype)
    return w


def target_outputs(
    law: str,
    rng: np.random.Generator,
    n: int,
    n_outputs: int = 1,
    *,
    bias: float = 0.5,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Output weights a, shape (n,), or (n, K) for K = ``n_outputs`` > 1.

    ``law``: ``ones``; ``uniform``, U(0, 2); ``gaussian``, N(0, 1); ``signs``, +-1; or
    ``biased_signs``, +-1 of mean ``bias``.  Raises ValueError for another law or |bias| > 1.
    """
    shape = (n,) if n_outputs == 1 else (n, n_outputs)
    a: np.ndarray
    if law == "ones":
        a = np.ones(shape)
    elif law == "uniform":
        a = rng.uniform(0.0, 2.0, shape)
    elif law == "gaussian":
        a = rng.standard_normal(shape)
    elif law == "signs":
        a = 2.0 * rng.integers(0, 2, shape) - 1.0
    elif law == "biased_signs":
        if not -1.0 <= bias <= 1.0:
            raise ValueError(f"expected a bias between -1 and 1, got {bias}; it is the mean of +-1")
        a = np.where(rng.random(shape) < 0.5 * (1.0 + bias), 1.0, -1.0)
    else:
        raise unknown("output law", law, OUTPUTS)
    return torch.from_numpy(a).to(device=device, dtype=dtype)


def expected_sparse_norm(d: int, density: float) -> float:
    """E|w| of sparse rows of covariance I/d: E sqrt(B/(density d)), B ~ Binomial(d, density)."""
    if density == 1.0:
        return 1.0
    log_p, log_q = math.log(density), math.log1p(-density)
    terms = []
    for k in range(1, d + 1):
        log_choose = math.lgamma(d + 1) - math.lgamma(k + 1) - math.lgamma(d - k + 1)
        weight = math.exp(log_choose + k * log_p + (d - k) * log_q)
        terms.append(weight * math.sqrt(k / (density * d)))
    return math.fsum(terms)
