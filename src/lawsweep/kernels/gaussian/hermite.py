"""Hermite coefficients of z -> sigma(s z), their derivatives in s, and what a cut leaves out.

With h_n the orthonormal Hermite polynomials, c_n(s) = E sigma(s z) h_n(z), z ~ N(0, 1), two
correlated normals give E sigma(s z) sigma(t z') = sum_n c_n(s) c_n(t) rho^n (Mehler), and by
Parseval the terms left out are at most |rho|^(P+1) [r(s) r(t)]^(1/2), r(s) = E sigma(s z)^2 -
sum_{n <= P} c_n(s)^2: a bound that is itself computed.

Derivatives in s need none of sigma: by parts, with z h_n = sqrt(n+1) h_{n+1} + sqrt(n) h_{n-1},

    s c_n'(s) = n c_n(s) + sqrt((n+1)(n+2)) c_{n+2}(s).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices

# The normal density is below 1e-34 beyond; panels meet at 0, where activations have their kinks.
REACH, N_PANELS, PANEL_NODES = 12.5, 24, 32
N_NODES = 2 * N_PANELS * PANEL_NODES


@functools.lru_cache(maxsize=16)
def _table(degree: int, panel_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z (Q,), and h_0 ... h_degree times density and weight, (degree + 1, Q)."""
    x, w = np.polynomial.legendre.leggauss(panel_nodes)
    edges = np.linspace(-REACH, REACH, 2 * N_PANELS + 1)
    half = 0.5 * np.diff(edges)[:, None]
    z = (edges[:-1, None] + half * (x + 1.0)).ravel()
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    h = np.empty((degree + 1, len(z)))
    h[0] = 1.0
    if degree:
        h[1] = z
    for n in range(1, degree):
        h[n + 1] = (z * h[n] - math.sqrt(n) * h[n - 1]) / math.sqrt(n + 1)
    return z, h * (half * w).ravel() * density


def coefficients(
    f: Callable[[Tensor], Tensor], s: Tensor, degree: int, panel_nodes: int = PANEL_NODES
) -> Tensor:
    """c_0 ... c_degree of z -> f(s z), shape (..., degree + 1) for s of shape (...)."""
    nodes, weights = _table(degree, panel_nodes)
    z, table = torch.from_numpy(nodes).to(s), torch.from_numpy(weights).to(s)
    flat = s.reshape(-1)
    parts = [f(part.unsqueeze(-1) * z) @ table.T for part in flat.split(devices.HERMITE_ROWS)]
    return torch.cat(parts).reshape(*s.shape, degree + 1) if parts else s.new_zeros(0, degree + 1)


def scaled_derivative(c: Tensor) -> Tensor:
    """s c'(s) from c, shape (..., P + 1) -> (..., P - 1)."""
    n = torch.arange(c.shape[-1] - 2, dtype=c.dtype, device=c.device)
    return n * c[..., :-2] + ((n + 1) * (n + 2)).sqrt() * c[..., 2:]


def tail(f: Callable[[Tensor], Tensor], s: Tensor, c: Tensor) -> Tensor:
    """r(s)^(1/2), the root mean square of what the coefficients ``c`` (..., P + 1) leave out.

    To it are added the change of c when the quadrature has half the nodes, and rounding: the
    result bounds the whole error, not the cut alone.
    """
    square = coefficients(lambda x: f(x) ** 2, s, 0)[..., 0]
    rest = (square - (c * c).sum(-1)).abs().sqrt()
    coarse = coefficients(f, s, c.shape[-1] - 1, PANEL_NODES // 2)
    return rest + (coarse - c).norm(dim=-1)
