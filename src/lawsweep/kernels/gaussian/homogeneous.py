"""Positively homogeneous sigma(z) = max(z, 0) + a min(z, 0): ReLU, leaky ReLU, |z| at a = -1.

The arc-cosine kernel of degree 1 (Cho and Saul 2009).  sigma is (1+a)/2 z + (1-a)/2 |z|, and the
cross terms vanish by parity, so with rho the cosine of u and v

    k(u, v) = |u||v| [linear * rho + even * e(rho)],   e(r) = sqrt(1 - r^2) + r arcsin r,
    linear = (1+a)^2 / 4,                              even = (1-a)^2 / (2 pi).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.gaussian.angles import (
    angles,
    inverse_sine,
    sin_minus_x_cos,
    sine_arcsine,
    unit,
)
from lawsweep.kernels.gaussian.pairs import ULPS, Covariance, Duals, Pairs


@dataclass(frozen=True)
class HomogeneousKernel:
    """Kernel of sigma(z) = max(z, 0) + slope min(z, 0).  A ClosedForm.

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
        shape = self.of_angles(*angles(a, b))
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
        theta, rest = angles(a, b)
        arcsine = torch.where((norm_a > 0) & (norm_b > 0), 0.5 * (rest - theta), 0.0)
        sine = torch.where(norm_b > 0, torch.sin(torch.minimum(theta, rest)), 0.0)
        along = (self.linear + self.even * arcsine).unsqueeze(-1) * a
        return norm_a.unsqueeze(-1) * (along + (self.even * sine).unsqueeze(-1) * b)

    def hessian(self, u: Tensor, v: Tensor) -> Tensor:
        """Second derivative in v: even (|u|/|v|) [s (I - v^v^T) + t t^T/s], t = u^ - rho v^.

        |t| = s, so the last term is s times a projection and vanishes with s.  Zero at v = 0.
        """
        (a, norm_a), (b, norm_b) = unit(u), unit(v)
        theta, rest = angles(a, b)
        s = torch.sin(torch.minimum(theta, rest))[..., None, None]
        t, _ = unit(a - (a * b).sum(-1, keepdim=True) * b)
        eye = torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)
        shape = s * (eye - b[..., :, None] * b[..., None, :] + t[..., :, None] * t[..., None, :])
        ratio = torch.where(norm_b > 0, norm_a / torch.where(norm_b > 0, norm_b, 1.0), 0.0)
        return self.even * ratio[..., None, None] * shape

    def side(self, norms: Tensor) -> Tensor:
        """The norms themselves."""
        return norms.unsqueeze(-1)

    def pairs(self, rho: Tensor, u: Tensor, v: Tensor, second: bool) -> Pairs:
        """See Profile."""
        k, t, s = self, u, v.mT
        sine, arcsine = sine_arcsine(rho)
        value = k.linear * rho + k.even * (sine + rho * arcsine)
        slope = k.linear + k.even * arcsine
        if not second:
            return Pairs(t * s * value, t * s * slope, t * value)
        bend = k.even * inverse_sine(sine)
        zero = torch.zeros_like(value)
        return Pairs(
            t * s * value, t * s * slope, t * value, rr=t * s * bend, rs=t * slope, ss=zero,
            rt=s * slope, st=value,
        )  # fmt: skip

    def own(self, norms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See Profile."""
        k = self.self_
        return k * norms**2, 2.0 * k * norms, torch.full_like(norms, 2.0 * k)

    def duals(self, pairs: Covariance) -> Duals:
        """See ClosedForm."""
        if self.slope == 1.0:  # linear
            return pairs, torch.ones_like(pairs.sigma), 0.0
        assert pairs.angles is not None  # those of the rows, or of this function one layer below
        slope = self.slope
        x, rest = pairs.angles
        r = pairs.sigma.diagonal().sqrt()
        live = (r > 0).unsqueeze(1) & (r > 0)
        shape = torch.where(live, self.of_angles(x, rest), 0.0)
        near = x <= rest
        below = torch.where(near, self.self_ - self.even * x, slope + self.even * rest)
        # At |x| = 0 the derivative is that of the left, and 0 of |z|.
        still = 0.0 if slope == -1.0 else slope
        mean = torch.where(r > 0, torch.full_like(r, 0.5 * (1.0 + slope)), still)
        sharp = torch.where(live, below, mean.unsqueeze(1) * mean)
        # |z| turns a small supplement into a small angle; no other is near 1 at far angles.
        small = torch.minimum(x, rest) if slope == -1.0 else x
        ratio = self.even / (2.0 * self.self_)
        half = torch.sin(0.5 * small).square() - ratio * sin_minus_x_cos(small)
        far = torch.acos((shape / self.self_).clamp(-1.0, 1.0))
        angle = 2.0 * torch.asin(half.clamp(0.0, 1.0).sqrt())
        above = torch.where(near | (small < x), angle, far)
        # The slopes in x: of cos x' at most 1, of the slope kernel even / self, of x' at most 1.
        lost = pairs.angle_error
        value = Covariance(
            shape * r.unsqueeze(1) * r, pairs.error + lost + ULPS, (above, math.pi - above),
            lost + ULPS,
        )  # fmt: skip
        return value, sharp, lost * self.even / self.self_ + ULPS

    def moments(self, c: Tensor, s: float) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """See ClosedForm.

        E max(g, 0) = c P + s p and E max(g, 0)^2 = (c^2 + s^2) P + c s p, P = Phi(c/s),
        p = phi(c/s); min(g, 0) is -max(-g, 0), and the two never are nonzero together.
        """
        if self.slope == 1.0:
            return None
        on = 0.5 * torch.erfc(-c / (s * math.sqrt(2.0)))
        off = 0.5 * torch.erfc(c / (s * math.sqrt(2.0)))
        density = torch.exp(-0.5 * (c / s) ** 2) / math.sqrt(2.0 * math.pi)
        up, down = c * on + s * density, c * off - s * density
        up2 = (c * c + s * s) * on + c * s * density
        down2 = (c * c + s * s) * off - c * s * density
        slope = self.slope
        return (
            up + slope * down,
            up2 + slope**2 * down2,
            on + slope * off,
            on + slope**2 * off,
        )


RELU = HomogeneousKernel(0.0)
