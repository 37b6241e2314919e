"""Dual activations E sigma(u) sigma(v), E sigma'(u) sigma'(v) of Gaussian pairs, with error bounds.

ReLU, leaky ReLU, erf and linear have closed forms.  The others are summed as Hermite series: with
c_k(q) = E sigma(sqrt(q) z) he_k(z), he_k orthonormal,

    E sigma(u) sigma(v) = sum_k c_k(q_u) c_k(q_v) rho^k,

of which n_terms are kept.  The rest is at most sqrt(t_u t_v) |rho|^n_terms, t = E sigma^2 - sum
c_k^2.

Near rho = +-1.  E sigma' sigma' of a kinked sigma goes like the angle itself, so a cosine rounded
at 1e-16 would leave it an error of 1e-8.  Its angles are carried from layer to layer instead (see
``angles`` for the first): with s = sin x - x cos x >= 0, free of cancellation,

    1 - cos x' = 1 - cos x - (even / self) s(x),   sin^2 x'/2 = sin^2 x/2 - (even / 2 self) s(x),

of which the last term is at most half of the one before (two thirds for |z|).  erf's slope has the
root of (1 + 2 q_u)(1 + 2 q_v) - 4 sigma^2, whose terms cancel at large q:

    1 + 2 q_u + 2 q_v + 4 q_u q_v sin^2 x,   all positive, sin x from the angle where it is known.

Errors are bounds relative to the two diagonal entries, rounding in the worst case included: an
entry (i, j) is off by ``error`` sqrt(K_ii K_jj) at most.  Of an error e of the covariance,
E sigma sigma inherits e (a + sqrt b) with a = sum k c_k^2 / sum c_k^2, b = sum k (k-1) c_k^2 / sum
c_k^2 (the derivatives in the covariance and in q; Cauchy and Schwarz).  Derived for this project.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.gaussian import hermite
from lawsweep.kernels.gaussian.pairs import UNIT, Covariance, Duals, correlation

FIRST_TERMS, MAX_TERMS = 32, 256
TAIL = 1e-15  # that the series may leave out of an entry before more terms are taken


def duals(pairs: Covariance, act: Activation) -> Duals:
    """E sigma(u) sigma(v) as a covariance, E sigma'(u) sigma'(v) (N, N) and its error."""
    return _series(pairs, act) if act.closed is None else act.closed().duals(pairs)


def _series(pairs: Covariance, act: Activation) -> Duals:
    rho, r = correlation(pairs.sigma)
    value, error = _summed(rho, r, act.f, pairs.error)
    slope, slope_error = _summed(rho, r, act.df, pairs.error)
    return Covariance(value, error), slope, slope_error + _missed(r, act)


def _summed(
    rho: Tensor, r: Tensor, function: Callable[[Tensor], Tensor], error: float
) -> tuple[Tensor, float]:
    """sum_k c_k(r_i) c_k(r_j) rho_ij^k with its diagonal exact, and its error."""
    n_terms = FIRST_TERMS
    nearest = float(rho.abs().fill_diagonal_(0.0).max())
    while True:
        c, square, quadrature = _coefficients(r, function, n_terms)
        # A row of zeros under an odd activation: nothing to keep.
        some = torch.where(square > 0, square, torch.ones_like(square))
        left = (square - c.square().sum(1)) / some
        tail = max(float(left.max()), 0.0) * nearest**n_terms
        if tail <= TAIL or n_terms >= MAX_TERMS:
            break
        n_terms *= 2
    out = torch.zeros_like(rho)
    for k in range(n_terms - 1, -1, -1):  # Horner's rule
        out = out * rho + c[:, k].unsqueeze(1) * c[:, k]
    out.diagonal().copy_(square)
    k = torch.arange(n_terms, dtype=c.dtype, device=c.device)
    first, second = (float((c.square() @ w / some).max()) for w in (k, k * (k - 1.0)))
    inherited = error * (first + math.sqrt(second))
    return out, inherited + tail + quadrature + (2 * n_terms + 8) * UNIT


def _missed(r: Tensor, act: Activation) -> float:
    """How far the slope's quadrature is off E sigma'(r z) = E z sigma(r z) / r, by parts.

    At large r the slope is a spike, which all nodes may miss: half of them would agree then.
    """
    flat = hermite.coefficients(act.df, r, 0)[:, 0]
    square = hermite.coefficients(lambda x: act.df(x).square(), r, 0)[:, 0]
    moved = (r * flat - hermite.coefficients(act.f, r, 1)[:, 1]).abs()
    sizes = hermite.coefficients(lambda x: act.f(x).abs() + (x * act.df(x)).abs(), r, 0)[:, 0]
    sizes = sizes + r * hermite.coefficients(lambda x: act.df(x).abs(), r, 0)[:, 0]
    beyond = torch.where(moved > 3.0 * hermite.N_NODES * UNIT * sizes, moved, 0.0)
    # Infinite where the slope came out as 0 and is not; rows of zeros have nothing to say.
    return float((beyond / (r * square.sqrt())).nan_to_num(0.0, math.inf).max())


def _coefficients(
    r: Tensor, function: Callable[[Tensor], Tensor], n_terms: int
) -> tuple[Tensor, Tensor, float]:
    """(c_k of z -> function(r_i z), shape (N, n_terms); E function^2, shape (N,); their error).

    The error is the change from half the nodes, which is larger than the error itself, and the
    rounding of the sums.
    """
    (c, square), (coarse, coarse_square) = (
        (
            hermite.coefficients(function, r, n_terms - 1, n),
            hermite.coefficients(lambda x: function(x).square(), r, 0, n)[:, 0],
        )
        for n in (hermite.PANEL_NODES, hermite.PANEL_NODES // 2)
    )
    some = torch.where(square > 0, square, torch.ones_like(square))
    moved = 2.0 * (c - coarse).norm(dim=1) / some.sqrt() + (square - coarse_square).abs() / some
    return c, square, float(moved.max()) + 3.0 * hermite.N_NODES * UNIT
