"""The NTK Gram matrix of the same network at infinite width, on the same samples.

Given the samples, the preactivations of layer l are Gaussian in the limit n -> infinity, with
covariance Sigma_l = beta_l^2 Phi_{l-1} over samples, Phi_0 = X X^T / n_0, and

    Phi_l = E sigma(u) sigma(v),  Phi'_l = E sigma'(u) sigma'(v)     (l < L; dual activations)

(Jacot et al., arXiv 1806.07572; Cho and Saul 2009 for ReLU).  In the parameterisation of [M]
(arXiv 2205.10217), W_l ~ N(0, beta_l^2 / n_{l-1}) and W_L ~ N(0, v_L), the finite Gram grows with
the widths, so the limit is written with them in front: F_l F_l^T ~ n_l Phi_l, and

    B_{L-1} B_{L-1}^T ~ P_{L-1} = n_{L-1} v_L Phi'_{L-1},
    P_l = beta_{l+1}^2 Phi'_l o P_{l+1},       K_l ~ (n_{l-1} Phi_{l-1} [+ 1 1^T]) o P_l,  P_L = 1,

where in the NTK parameterisation (``Network.scales``) s_l^2 multiplies Phi_{l-1} (derived for
this project).  The finite K approaches it with a relative distance of order n^(-1/2).

The dual activations, and how their errors are bounded: ``duals``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.gaussian.duals import duals
from lawsweep.kernels.gaussian.pairs import UNIT, Covariance
from lawsweep.kernels.network.network import Network


@dataclass(frozen=True, eq=False)
class InfiniteWidth:
    """``gram`` (N, N), symmetric.  ``error``: bound on the error of any entry relative to its two
    diagonal ones, |dK_ij| <= error sqrt(K_ii K_jj), rounding, quadrature and truncated series; so
    K is off by at most error tr K in spectral norm.  The rows count as exact."""

    gram: Tensor
    error: float


@full_precision()
def infinite_width(network: Network, inputs: Tensor) -> InfiniteWidth:
    """K in the limit of wide hidden layers, for the rows ``inputs`` (N, n_0), in float64.

    The network's widths set the scale only; the conjugate kernel is n_{L-1} Phi_{L-1}, the limit
    of F_{L-1} F_{L-1}^T.
    O(N^2 L) memory at most, O(N^2 n_terms L) flops.  Raises ValueError where a layer is not fully
    connected.
    """
    if not network.fully_connected:
        raise ValueError("the limit is known for fully connected layers; leave kinds out")
    depth, widths, sds, act = network.depth, network.widths, network.sds, network.act
    chosen, scales, bias = network.chosen, network.scales, network.counts_bias
    pairs = Covariance.of_rows(inputs.to(torch.float64)).times(1.0 / widths[0])
    phis, slopes, slope_errors = [pairs], [], []
    for layer in range(1, depth):
        variance = widths[layer - 1] * sds[layer - 1] ** 2
        pairs, slope, error = duals(phis[-1].times(variance), act)
        phis.append(pairs)
        slopes.append(slope)
        slope_errors.append(error)
    # K_L: its backprop is 1.
    out = torch.zeros_like(pairs.sigma)
    back, back_error, errors = torch.ones_like(out), 0.0, []
    for layer in range(depth, 0, -1):
        if layer < depth:
            # For layer L - 1 this is n v_L; below, n_l beta_{l+1}^2 / n_l.
            back = widths[layer] * sds[layer] ** 2 * slopes.pop() * back
            back_error += slope_errors.pop() + 4.0 * UNIT
        phi = phis.pop()
        if layer in chosen:
            left = scales[layer - 1] ** 2 * widths[layer - 1] * phi.sigma + float(bias)
            out += left * back
            errors.append(phi.error + back_error + (depth + 8) * UNIT)
    # Products need not round (i, j) and (j, i) alike.
    return InfiniteWidth(0.5 * (out + out.T), max(errors))
