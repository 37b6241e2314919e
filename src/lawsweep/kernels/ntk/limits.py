"""Where lambda_min of the NTK settles for wide layers and many samples: one constant a layer.

*Derived* for this project, not a statement of [M] (arXiv 2205.10217): [M] proves the order
lambda_min = Omega(n_{L-1} n_{L-2}); the constants below are a heuristic limit that was checked
numerically.  Inputs are independent with mean 0 and covariance I, and N is well above the widths
and well below n_{l-1} n_l.

Over samples, at fixed weights, each unit of F_{l-1} and of B_l has a mean and a fluctuation.  A
mean direction contributes a matrix of rank at most n to K_l = (F F^T) o (B B^T), far below N, so
it leaves lambda_min alone; fluctuation times fluctuation is nearly N orthogonal rows, and its
diagonal is the floor,

    lambda_min(K_l) ~ n_{l-1} S_{l-1} V_l,      lambda_min(K) ~ sum over l of these,

with S the fluctuation per unit of F and V_l = E |B_l - mean|^2.

Forward: g_l has mean c ~ N(0, beta_l^2 M_{l-1}) over units, and given it the variance
beta_l^2 S_{l-1}; M_0 = 0, S_0 = 1, and with z standard normal, s^2 that variance,

    M_l  = E_c (E_z sigma(c + s z))^2,     S_l  = E_c Var_z sigma(c + s z),
    D0_l = E_c (E_z sigma'(c + s z))^2,    D1_l = E_c Var_z sigma'(c + s z).

Backward: A = |mean of B|^2 and V = T - A, T = E |B|^2.  B_l = sigma'(g_l) o (B_{l+1} W^T), and its
two factors are nearly independent, so T multiplies by beta^2 (D0 + D1) and A by beta^2 D0:

    A_{L-1} = n_{L-1} v_L D0,           V_{L-1} = n_{L-1} v_L D1,
    A_l = beta_{l+1}^2 D0_l A_{l+1},    V_l = beta_{l+1}^2 [(D0_l + D1_l) V_{l+1} + D1_l A_{l+1}].

V_L = 0: the last layer alone has rank n_{L-1}.  Three equal layers give n^2 (c1 + c2),
c1 = Var(sigma') q0 + E[sigma'^2] q1 and c2 = s^2 q1 with q0 = D0_2, q1 = D1_2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.network.network import Network

REACH = 10.0  # of the trapezoid rule, in standard deviations: exp(-50) is below rounding
STEP = 1.0 / 16.0  # its error falls like exp(-2 pi strip / STEP) for an analytic integrand


@dataclass(frozen=True)
class Moments:
    """M, S, D0 and D1 of one layer: mean squares and variances of sigma and of sigma'."""

    mean: float
    variance: float
    slope_mean: float
    slope_variance: float


@dataclass(frozen=True)
class LayerLimits:
    """``values``: the limit of lambda_min(K_l), l = 1..L.  ``error``: relative, of the quadrature
    (the difference to a step twice as long, which is larger than the error itself)."""

    values: tuple[float, ...]
    error: float


def layer_limits(network: Network) -> LayerLimits:
    """The floor of each layer's smallest eigenvalue, whichever count in the kernel.

    Biases leave it as it is.  Raises ValueError where a layer is not fully connected.
    """
    if not network.fully_connected:
        raise ValueError("the limit is derived for fully connected layers; leave kinds out")
    fine, coarse = _limits(network, STEP), _limits(network, 2.0 * STEP)
    size = max(map(abs, fine))
    error = max(abs(a - b) for a, b in zip(fine, coarse, strict=True))
    return LayerLimits(tuple(fine), error / size if size else error)


def _limits(network: Network, step: float) -> list[float]:
    depth, widths, act, scales = network.depth, network.widths, network.act, network.scales
    gains = [n * sd**2 for n, sd in zip(widths[:-1], network.sds, strict=True)]  # beta_l^2; n v_L
    found: list[Moments] = []
    mean, variance, fluctuations = 0.0, 1.0, [1.0]
    for layer in range(1, depth):
        gain = gains[layer - 1]
        m = moments(act, gain * mean, gain * variance, step)
        found.append(m)
        mean, variance = m.mean, m.variance
        fluctuations.append(variance)
    a, v = 1.0, 0.0  # of B_L, which is 1
    out = [0.0] * depth
    for layer in range(depth - 1, 0, -1):
        m, gain = found[layer - 1], gains[layer]
        a, v = (
            gain * m.slope_mean * a,
            gain * ((m.slope_mean + m.slope_variance) * v + m.slope_variance * a),
        )
        out[layer - 1] = scales[layer - 1] ** 2 * widths[layer - 1] * fluctuations[layer - 1] * v
    return out


def moments(act: Activation, mean_square: float, variance: float, step: float = STEP) -> Moments:
    """M, S, D0, D1 for c ~ N(0, mean_square) and fluctuations of the given variance.

    The inner mean over z is closed where it can be, else a trapezoid rule, or one of panels that
    end where sigma has a kink or a crease; the outer one, over c, is a trapezoid rule of a smooth
    function.
    """
    z = torch.arange(-REACH, REACH + step / 2, step, dtype=torch.float64)
    weights = step * _density(z)
    # A point mass (no spread of means) is one node.
    nodes, outer = (z, weights) if mean_square > 0 else (z.new_zeros(1), z.new_ones(1))
    c, s = math.sqrt(mean_square) * nodes, math.sqrt(variance)
    closed = act.closed().moments(c, s) if act.closed is not None and s > 0 else None
    if closed is not None:
        first, second, slope, slope_square = closed
        spread, slope_spread = second - first**2, slope_square - slope**2
    else:
        z, weights = _across(act, c, s, step) or (z, weights)
        g = c.unsqueeze(1) + s * z
        first, spread = _mean_and_variance(act.f(g), weights)
        slope, slope_spread = _mean_and_variance(act.df(g), weights)
    return Moments(
        float(outer @ first**2),
        float(outer @ spread.clamp_min(0.0)),
        float(outer @ slope**2),
        float(outer @ slope_spread.clamp_min(0.0)),
    )


def _mean_and_variance(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Over the last axis.  About the mean, so that a constant has a variance of eps^2, not eps."""
    if weights.ndim == 1:
        mean = values @ weights
        return mean, (values - mean.unsqueeze(1)) ** 2 @ weights
    mean = (values * weights).sum(1)
    return mean, ((values - mean.unsqueeze(1)) ** 2 * weights).sum(1)


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def _across(act: Activation, c: Tensor, s: float, step: float) -> tuple[Tensor, Tensor] | None:
    """Nodes z and weights (n_c, Q), a Gauss rule on either side of what sigma is not smooth at."""
    places = sorted({*(act.kinks or ()), *act.creases})
    if not places or s == 0.0:
        return None
    ends = ((c.new_tensor(places) - c.unsqueeze(1)) / s).clamp(-REACH, REACH)
    edges = torch.nn.functional.pad(
        torch.nn.functional.pad(ends, (1, 0), value=-REACH), (0, 1), value=REACH
    )
    half = 0.5 * edges.diff(dim=1).unsqueeze(2)
    x, w = _legendre(round(2.0 * REACH / step))
    z = (edges[:, :-1].unsqueeze(2) + half * (1.0 + x)).flatten(1)
    return z, (half * w).flatten(1) * _density(z)


@lru_cache(maxsize=4)
def _legendre(n: int) -> tuple[Tensor, Tensor]:
    x, w = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy(x), torch.from_numpy(w)
