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
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.gaussian.pairs import Pairs

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
    rows = devices.on(flat.device).hermite_rows
    parts = [f(part.unsqueeze(-1) * z) @ table.T for part in flat.split(rows)]
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


@dataclass(frozen=True)
class HermiteProfile:
    """F = sum_{n <= degree} c_n(t) c_n(s) rho^n for any activation.  A Profile.

    The diagonal V(s) = E sigma(s z)^2 is by quadrature, not by the series.
    """

    f: Callable[[Tensor], Tensor]
    degree: int

    def side(self, norms: Tensor) -> Tensor:
        """c, c' and c'' for n <= degree, one after the other."""
        # At norm zero no derivative is asked for (there is no direction): any number will do.
        s = torch.where(norms > 0, norms, torch.ones_like(norms)).unsqueeze(-1)
        c = coefficients(self.f, norms, self.degree + 4)
        first = scaled_derivative(c)
        second = scaled_derivative(first)
        n = self.degree + 1
        return torch.cat(
            [c[..., :n], first[..., :n] / s, (second - first[..., :n]) / (s * s)], dim=-1
        )

    def pairs(self, rho: Tensor, u: Tensor, v: Tensor, second: bool) -> Pairs:
        """See Profile: sum_n A_n B_n rho^n is a product of (n, degree) and (degree, m) a node."""
        k = self.degree + 1
        a, da = u[..., None, :, :k], u[..., None, :, k : 2 * k]
        b, db, ddb = v.split(k, -1)
        powers = rho.mT.unsqueeze(-1).expand(*rho.mT.shape, k).clone()  # (..., m, n, k)
        powers[..., 0] = 1.0
        powers = powers.cumprod(-1)
        n = torch.arange(k, dtype=rho.dtype, device=rho.device)

        def total(left: Tensor, *right: Tensor) -> list[Tensor]:
            return list((left @ torch.stack(right, -1)).mT.unbind(-2))

        shifted = _shift(a) * powers  # a_{n+1} rho^n; the factor n + 1 goes to the other side
        up = [_shift(x * n) for x in (b, db)]
        found = total(a * powers, b, db, *((ddb,) if second else ()))
        slopes = total(shifted, *(up if second else up[:1]))
        f, s, r = found[0], found[1], slopes[0]
        if not second:
            return Pairs(f.mT, r.mT, s.mT)
        bent = total(_shift(_shift(a)) * powers, _shift(_shift(b * n * (n - 1.0))))[0]
        st = total(da * powers, db)[0]
        rt = total(_shift(da) * powers, up[0])[0]
        return Pairs(f.mT, r.mT, s.mT, bent.mT, slopes[1].mT, found[2].mT, rt.mT, st.mT)

    def own(self, norms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """V is c_0 of sigma^2, so s V' = sqrt(2) c_2 and its like."""
        c = coefficients(lambda x: self.f(x) ** 2, norms, 4)
        first = scaled_derivative(c)
        second = scaled_derivative(first)[..., 0]
        value, first = c[..., 0], first[..., 0]
        safe = torch.where(norms > 0, norms, torch.ones_like(norms))
        return value, first / safe, (second - first) / safe**2

    def error(self, norms: Tensor) -> Tensor:
        """Bound of what each of the norms adds: |F error| <= |rho|^(degree+1) e(t) e(s)."""
        return tail(self.f, norms, coefficients(self.f, norms, self.degree))


def _shift(c: Tensor) -> Tensor:
    """c_1, c_2, ..., 0."""
    return torch.cat([c[..., 1:], torch.zeros_like(c[..., :1])], -1)
