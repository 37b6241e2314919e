"""The NTK Gram matrix of the same network at infinite width, on the same samples.

Given the samples, the preactivations of layer l are Gaussian in the limit n -> infinity, with
covariance Sigma_l = beta_l^2 Phi_{l-1} over samples, Phi_0 = X X^T / n_0, and

    Phi_l = E sigma(u) sigma(v),  Phi'_l = E sigma'(u) sigma'(v)     (l < L; dual activations)

(Jacot et al., arXiv 1806.07572; Cho and Saul 2009 for ReLU).  In the parameterisation of [M]
(arXiv 2205.10217), W_l ~ N(0, beta_l^2 / n_{l-1}) and W_L ~ N(0, v_L), the finite Gram grows with
the widths, so the limit is written with them in front: F_l F_l^T ~ n_l Phi_l, and

    B_{L-1} B_{L-1}^T ~ P_{L-1} = n_{L-1} v_L Phi'_{L-1},
    P_l = beta_{l+1}^2 Phi'_l o P_{l+1},       K_l ~ (n_{l-1} Phi_{l-1} [+ 1 1^T]) o P_l,  P_L = 1,

where in the NTK parameterisation (``networks.ntk_scales``) s_l^2 multiplies Phi_{l-1} (derived for
this project).  The finite K approaches it with a relative distance of order n^(-1/2).

Duals.  ReLU, leaky ReLU, erf and linear have closed forms.  The others are summed as Hermite
series: with c_k(q) = E sigma(sqrt(q) z) he_k(z), he_k orthonormal,

    E sigma(u) sigma(v) = sum_k c_k(q_u) c_k(q_v) rho^k,

of which n_terms are kept.  The rest is at most sqrt(t_u t_v) |rho|^n_terms with
t = E sigma^2 - sum c_k^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.activations import LEAKY_SLOPE, Activation, activation
from lawsweep.kernels.networks import ntk_scales, weight_sds
from lawsweep.kernels.ntk import check_layers

STEP = 0.05  # of the trapezoid rule; its error falls like exp(-2 pi strip / STEP)
REACH = 12.0  # |z| beyond which exp(-z^2/2) is below rounding
FIRST_TERMS, MAX_TERMS = 32, 256
TAIL = 1e-15  # that the series may leave out of an entry before more terms are taken


@dataclass(frozen=True, eq=False)
class InfiniteWidth:
    """``gram`` (N, N), symmetric.  ``tail``: bound on what the Hermite series left out of any
    entry of a dual, relative to its two diagonal entries; 0 for closed forms."""

    gram: Tensor
    tail: float


def infinite_width(
    x: Tensor,
    widths: Sequence[int],
    act: Activation,
    *,
    layers: Sequence[int] | None = None,
    bias: bool = False,
    betas: Sequence[float] | None = None,
    parameterisation: str = "standard",
    conjugate: bool = False,
) -> InfiniteWidth:
    """K in the limit of wide hidden layers, for the rows ``x`` (N, n_0), in float64.

    ``widths`` (n_0, ..., n_L) set the scale only; ``layers`` and ``betas`` as in ``ntk.gram`` and
    ``networks``.  ``conjugate``: n_{L-1} Phi_{L-1}, the limit of F_{L-1} F_{L-1}^T, instead.
    O(N^2 L) memory at most, O(N^2 n_terms L) flops.  Raises ValueError for a layer that does not
    exist or a wrong number of betas.
    """
    depth = len(widths) - 1
    chosen = check_layers(layers, depth)
    sds = weight_sds(widths, betas, parameterisation)
    scales = ntk_scales(widths, betas) if parameterisation == "ntk" else [1.0] * depth
    x = x.to(torch.float64)
    phi, phis, slopes, tail = (x @ x.T) / widths[0], [], [], 0.0
    phi = 0.5 * (phi + phi.T)
    for layer in range(1, depth):
        phis.append(phi)
        variance = widths[layer - 1] * sds[layer - 1] ** 2
        phi, slope, left = duals(variance * phi, act)
        slopes.append(slope)
        tail = max(tail, left)
    if conjugate:  # K_L without its bias and scale
        chosen, bias, scales = (depth,), False, [1.0] * depth
    # K_L: its backprop is 1.
    out = torch.zeros_like(phi)
    if depth in chosen:
        out += scales[-1] ** 2 * widths[-2] * phi + float(bias)
    back = torch.ones_like(phi)
    for layer in range(depth - 1, 0, -1):
        # For layer L - 1 this is n v_L; below, n_l beta_{l+1}^2 / n_l.
        back = widths[layer] * sds[layer] ** 2 * slopes.pop() * back
        left = scales[layer - 1] ** 2 * widths[layer - 1] * phis.pop() + float(bias)
        if layer in chosen:
            out += left * back
    return InfiniteWidth(0.5 * (out + out.T), tail)  # products need not round (i, j), (j, i) alike


def duals(sigma: Tensor, act: Activation) -> tuple[Tensor, Tensor, float]:
    """(E sigma(u) sigma(v), E sigma'(u) sigma'(v), tail) for covariances ``sigma`` (N, N)."""
    closed = _CLOSED.get(act.name)
    if closed is not None:
        return (*closed(sigma), 0.0)
    q = sigma.diagonal()
    r = q.sqrt()
    scale = torch.where(r > 0, r, torch.ones_like(r))
    rho = (sigma / scale.unsqueeze(1) / scale).clamp(-1.0, 1.0)
    value, tail = _series(rho, r, act.f)
    slope, tail_slope = _series(rho, r, act.df)
    return value, slope, max(tail, tail_slope)


def _series(rho: Tensor, r: Tensor, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
    """sum_k c_k(r_i) c_k(r_j) rho_ij^k with its diagonal exact, and the relative tail."""
    n_terms = FIRST_TERMS
    nearest = float(rho.abs().fill_diagonal_(0.0).max())
    while True:
        coefficients, square = _coefficients(r, function, n_terms)
        # A row of zeros under an odd activation: nothing to keep.
        some = torch.where(square > 0, square, torch.ones_like(square))
        left = (square - coefficients.square().sum(1)) / some
        tail = float(left.max()) * nearest**n_terms
        if tail <= TAIL or n_terms >= MAX_TERMS:
            break
        n_terms *= 2
    out = torch.zeros_like(rho)
    for k in range(n_terms - 1, -1, -1):  # Horner's rule
        c = coefficients[:, k]
        out = out * rho + c.unsqueeze(1) * c
    out.diagonal().copy_(square)
    return out, max(tail, 0.0)


def _coefficients(
    r: Tensor, function: Callable[[Tensor], Tensor], n_terms: int
) -> tuple[Tensor, Tensor]:
    """(c_k of z -> function(r_i z), shape (N, n_terms); E function^2, shape (N,)).

    he_k(z) sqrt(phi(z)) is bounded and lives within |z| < 2 sqrt(k + 1), where he_k alone would
    overflow; sqrt(k+1) h_{k+1} = z h_k - sqrt(k) h_{k-1}.
    """
    reach = REACH + 2.0 * math.sqrt(n_terms)
    z = torch.arange(-reach, reach + STEP / 2, STEP, dtype=r.dtype, device=r.device)
    root = torch.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25
    h = [root, z * root]
    for k in range(1, n_terms - 1):
        h.append((z * h[k] - math.sqrt(k) * h[k - 1]) / math.sqrt(k + 1))
    values = function(r.unsqueeze(1) * z) * root
    return STEP * values @ torch.stack(h, 1), STEP * values.square().sum(1)


def _homogeneous(slope: float) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """ReLU (slope 0) and leaky ReLU: the arc-cosine kernels of degrees 1 and 0 (see arccos)."""
    linear, even = (1.0 + slope) ** 2 / 4.0, (1.0 - slope) ** 2 / (2.0 * math.pi)

    def duals_of(sigma: Tensor) -> tuple[Tensor, Tensor]:
        r = sigma.diagonal().sqrt()
        scale = torch.where(r > 0, r, torch.ones_like(r))
        rho = (sigma / scale.unsqueeze(1) / scale).clamp(-1.0, 1.0)
        rho.diagonal().copy_((r > 0).to(r.dtype))
        arcsine = torch.asin(rho)
        root = torch.sqrt((1.0 - rho) * (1.0 + rho))
        value = (linear * rho + even * (root + rho * arcsine)) * r.unsqueeze(1) * r
        # At |x| = 0 the derivative is the left limit, the slope.
        live = (r > 0).unsqueeze(1) & (r > 0)
        return value, torch.where(live, linear + even * arcsine, _dead(r, slope))

    return duals_of


def _dead(r: Tensor, slope: float) -> Tensor:
    """E sigma'(u) sigma'(v) where u or v is 0 almost surely: its derivative there is ``slope``."""
    mean = torch.where(r > 0, torch.full_like(r, 0.5 * (1.0 + slope)), slope)
    return mean.unsqueeze(1) * mean


def _erf(sigma: Tensor) -> tuple[Tensor, Tensor]:
    p = 1.0 + 2.0 * sigma.diagonal()
    product = p.unsqueeze(1) * p
    w = (product - 4.0 * sigma.square()).clamp_min(0.0)
    value = (2.0 / math.pi) * torch.atan2(2.0 * sigma, w.sqrt())
    return value, (4.0 / math.pi) / w.sqrt()


_CLOSED: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "relu": _homogeneous(0.0),
    "leaky_relu": _homogeneous(LEAKY_SLOPE),
    "erf": _erf,
    "linear": lambda sigma: (sigma, torch.ones_like(sigma)),
}
assert all(activation(name).name == name for name in _CLOSED)
