"""Closed-form Gaussian kernels k(u, v) = E sigma(<u, x>) sigma(<v, x>), x ~ N(0, I).

Two families:

* positively homogeneous sigma(z) = max(z, 0) + a min(z, 0) (ReLU at a = 0, leaky ReLU, |z| at
  a = -1), the arc-cosine kernel of degree 1 (Cho and Saul 2009).  sigma is (1+a)/2 z + (1-a)/2 |z|,
  and the cross terms vanish by parity, so with rho the cosine of u and v

      k(u, v) = |u||v| [linear * rho + even * e(rho)],   e(r) = sqrt(1 - r^2) + r arcsin r,
      linear = (1+a)^2 / 4,                              even = (1-a)^2 / (2 pi);

* sigma = erf, k(u, v) = (2/pi) arcsin(2<u,v> / sqrt((1+2|u|^2)(1+2|v|^2))) (Williams 1997).

Pairs near cosine +-1 are computed from the half angles 2 atan2(|u^-v^|, |u^+v^|), which hold
relative accuracy where arccos of a rounded cosine keeps half the digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class GaussianKernel(Protocol):
    """k(u, v) and its derivatives in v, over broadcast leading dimensions; last one is d."""

    def value(self, u: Tensor, v: Tensor) -> Tensor:
        """k(u, v), shape (...)."""
        ...

    def gradient(self, u: Tensor, v: Tensor) -> Tensor:
        """The gradient in v, shape (..., d)."""
        ...

    def hessian(self, u: Tensor, v: Tensor) -> Tensor:
        """The second derivative in v alone (u held), shape (..., d, d)."""
        ...


def unit(v: Tensor) -> tuple[Tensor, Tensor]:
    """Directions and norms of rows; a zero row has the direction 0, not NaN.

    Rows are divided by their largest entry first, so 1e-200 and 1e200 neither under- nor overflow.
    """
    largest = v.abs().amax(-1, keepdim=True)
    safe = torch.where(largest > 0, largest, torch.ones_like(largest))
    scaled = v / safe
    norm = scaled.norm(dim=-1, keepdim=True)
    return scaled / torch.where(norm > 0, norm, torch.ones_like(norm)), (safe * norm).squeeze(-1)


def _angles(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The angle of unit rows a, b and its supplement, each to full relative accuracy."""
    apart, together = (a - b).norm(dim=-1), (a + b).norm(dim=-1)
    return 2.0 * torch.atan2(apart, together), 2.0 * torch.atan2(together, apart)


def sin_minus_x_cos(x: Tensor) -> Tensor:
    """sin x - x cos x >= 0 on [0, pi], without its cancellation (x^3/3) at small x.

    The series is sum_k (-1)^(k+1) 2k x^(2k+1) / (2k+1)!; below 0.7 eight terms reach 1e-17.
    """
    square = x * x
    series = torch.zeros_like(x)
    for k in range(8, 0, -1):
        series = series * square + (-1.0) ** (k + 1) * 2 * k / math.factorial(2 * k + 1)
    return torch.where(x < 0.7, series * x * square, torch.sin(x) - x * torch.cos(x))


@dataclass(frozen=True)
class HomogeneousKernel:
    """Kernel of sigma(z) = max(z, 0) + slope min(z, 0).  A GaussianKernel.

    ``linear`` and ``even`` are the weights of rho and e(rho) in the module's formula; ``self_``
    is k(v, v)/|v|^2 = (1 + slope^2)/2.  At v = 0 (where k has a kink) derivatives are those of
    the linear part alone, the mean over opposite directions.
    """

    slope: float = 0.0

    @property
    def linear(self) -> float:
        """Weight of the cosine, (1 + slope)^2 / 4."""
        return (1.0 + self.slope) ** 2 / 4.0

    @property
    def even(self) -> float:
        """Weight of e(rho), (1 - slope)^2 / (2 pi)."""
        return (1.0 - self.slope) ** 2 / (2.0 * math.pi)

    @property
    def self_(self) -> float:
        """k(v, v)/|v|^2."""
        return (1.0 + self.slope**2) / 2.0

    def mean_factor(self, d: int) -> float:
        """D: k(u, v) averaged over the direction of u is D|u||v|.

        D_d = (d/4 pi) [Gamma(d/2)/Gamma((d+1)/2)]^2 for ReLU; the linear part averages to zero,
        so a slope a only multiplies it by (1-a)^2.
        """
        if d < 1:
            raise ValueError(f"expected a dimension d >= 1, got {d}; give the input dimension")
        log_ratio = math.lgamma(d / 2) - math.lgamma((d + 1) / 2)
        return (1.0 - self.slope) ** 2 * d / (4.0 * math.pi) * math.exp(2.0 * log_ratio)

    def value(self, u: Tensor, v: Tensor) -> Tensor:
        """k(u, v) to a few ulp relative at any cosine, shape (...)."""
        (a, norm_a), (b, norm_b) = unit(u), unit(v)
        shape = self.of_angles(*_angles(a, b))
        zero = (norm_a == 0) | (norm_b == 0)
        return torch.where(zero, torch.zeros_like(shape), norm_a * norm_b * shape)

    def of_angles(self, theta: Tensor, rest: Tensor) -> Tensor:
        """k(u, v)/(|u||v|) to a few ulp relative, from the angle and its supplement."""
        # With theta the angle: e(cos theta) = sin theta - theta cos theta + (pi/2) cos theta, and
        # its mirror image in rest = pi - theta with the sign of the cosine turned.  Which of the
        # two is used keeps every term small next to a zero of k: ReLU at rest -> 0 has
        # k = even (sin rest - rest cos rest) -> even rest^3/3.
        near = theta <= rest
        small = torch.where(near, theta, rest)
        # even pi/2 +- linear are (1 + a^2)/2 and -a, written so that ReLU's zero is exactly 0.
        weight = torch.where(near, theta.new_tensor(self.self_), theta.new_tensor(-self.slope))
        return weight * torch.cos(small) + self.even * sin_minus_x_cos(small)

    def gradient(self, u: Tensor, v: Tensor) -> Tensor:
        """Gradient in v, |u| {linear u^ + even [sin(theta) v^ + (pi/2 - theta) u^]}."""
        (a, norm_a), (b, norm_b) = unit(u), unit(v)
        theta, rest = _angles(a, b)
        arcsine = torch.where((norm_a > 0) & (norm_b > 0), 0.5 * (rest - theta), 0.0)
        sine = torch.where(norm_b > 0, torch.sin(torch.minimum(theta, rest)), 0.0)
        along = (self.linear + self.even * arcsine).unsqueeze(-1) * a
        return norm_a.unsqueeze(-1) * (along + (self.even * sine).unsqueeze(-1) * b)

    def hessian(self, u: Tensor, v: Tensor) -> Tensor:
        """Second derivative in v: even (|u|/|v|) [s (I - v^v^T) + t t^T/s], t = u^ - rho v^.

        |t| = s, so the last term is s times a projection and vanishes with s.  Zero at v = 0.
        """
        (a, norm_a), (b, norm_b) = unit(u), unit(v)
        theta, rest = _angles(a, b)
        s = torch.sin(torch.minimum(theta, rest))[..., None, None]
        t, _ = unit(a - (a * b).sum(-1, keepdim=True) * b)
        eye = torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)
        shape = s * (eye - b[..., :, None] * b[..., None, :] + t[..., :, None] * t[..., None, :])
        ratio = torch.where(norm_b > 0, norm_a / torch.where(norm_b > 0, norm_b, 1.0), 0.0)
        return self.even * ratio[..., None, None] * shape


@dataclass(frozen=True)
class ErfKernel:
    """Kernel of sigma = erf.  A GaussianKernel.

    With p = 1 + 2|u|^2, q = 1 + 2|v|^2, z = 2<u,v>, w = pq - z^2 > 0: k = (2/pi) asin(z/sqrt(pq)),
    dk/dv = (4/pi) (u - (z/q) v) / sqrt(w), since d(z/sqrt(pq))/dv = 2 (u - z v/q)/sqrt(pq).
    """

    def value(self, u: Tensor, v: Tensor) -> Tensor:
        """k(u, v) in [-1, 1], shape (...)."""
        z, _, _, w = self._parts(u, v)
        # atan2(z, sqrt(pq - z^2)) is the arcsine, accurate where z^2 is near pq.
        return (2.0 / math.pi) * torch.atan2(z, w.sqrt())

    def gradient(self, u: Tensor, v: Tensor) -> Tensor:
        """Gradient in v, shape (..., d)."""
        z, _, q, w = self._parts(u, v)
        return (4.0 / math.pi) * (u - (z / q).unsqueeze(-1) * v) / w.sqrt().unsqueeze(-1)

    def hessian(self, u: Tensor, v: Tensor) -> Tensor:
        """Second derivative in v.

        With r = u - (z/q) v: dr/dv = -(z/q) I - v (2u/q - 4 z v/q^2)^T and dw/dv = 4p v - 4z u.
        """
        z, p, q, w = (x[..., None, None] for x in self._parts(u, v))
        col_u, col_v = u.unsqueeze(-1), v.unsqueeze(-1)
        eye = torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)
        r = col_u - (z / q) * col_v
        slope = -(z / q) * eye - col_v @ (2 * col_u / q - 4 * z * col_v / q**2).mT
        return (4.0 / math.pi) * (
            slope / w.sqrt() - r @ (2 * p * col_v - 2 * z * col_u).mT / w**1.5
        )

    @staticmethod
    def _parts(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(z, p, q, w).  w = 1 + 2|u|^2 + 2|v|^2 + 4(|u|^2|v|^2 - <u,v>^2).

        The last bracket (Lagrange's identity) is |u|^2 |v - <v,u^>u^|^2, free of cancellation.
        """
        z = 2.0 * (u * v).sum(-1)
        uu, vv = (u * u).sum(-1), (v * v).sum(-1)
        direction, _ = unit(u)
        off = v - (v * direction).sum(-1, keepdim=True) * direction
        w = 1.0 + 2.0 * uu + 2.0 * vv + 4.0 * uu * (off * off).sum(-1)
        return z, 1.0 + 2.0 * uu, 1.0 + 2.0 * vv, w


RELU = HomogeneousKernel(0.0)
