"""The closed forms that an activation's expectations under a Gaussian may have, a class a family.

ReLU and its like: the arc-cosine kernels of degrees 1 and 0 (Cho and Saul 2009; ``arccos``).  erf:
Williams 1997.  Where an activation has none, ``duals`` and ``hermite`` sum a series.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lawsweep.kernels.gaussian.arccos import HomogeneousKernel, sin_minus_x_cos
from lawsweep.kernels.gaussian.duals import ULPS, Covariance, Duals, correlation
from lawsweep.kernels.gaussian.pair_profiles import ErfProfile, HomogeneousProfile, Profile


class ClosedForm(Protocol):
    """What an activation gives that has closed forms."""

    def duals(self, pairs: Covariance) -> Duals:
        """E sigma(u) sigma(v) as a covariance, E sigma'(u) sigma'(v) (N, N) and its error."""
        ...

    def profile(self) -> Profile:
        """E sigma(u) sigma(v) as a function of a cosine and two norms."""
        ...

    def moments(self, c: Tensor, s: float) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """E sigma, E sigma^2, E sigma', E sigma'^2 at g ~ N(c, s^2), s > 0; None: integrate."""
        ...


@dataclass(frozen=True)
class Homogeneous:
    """sigma(z) = max(z, 0) + below min(z, 0)."""

    below: float

    @property
    def kernel(self) -> HomogeneousKernel:
        """Its arc-cosine kernel."""
        return HomogeneousKernel(self.below)

    def profile(self) -> Profile:
        """See ClosedForm."""
        return HomogeneousProfile(self.kernel)

    def duals(self, pairs: Covariance) -> Duals:
        """See ClosedForm."""
        if self.below == 1.0:  # linear
            return pairs, torch.ones_like(pairs.sigma), 0.0
        assert pairs.angles is not None  # those of the rows, or of this function one layer below
        kernel, slope = self.kernel, self.below
        x, rest = pairs.angles
        r = pairs.sigma.diagonal().sqrt()
        live = (r > 0).unsqueeze(1) & (r > 0)
        shape = torch.where(live, kernel.of_angles(x, rest), 0.0)
        near = x <= rest
        below = torch.where(near, kernel.self_ - kernel.even * x, slope + kernel.even * rest)
        # At |x| = 0 the derivative is that of the left, and 0 of |z|.
        still = 0.0 if slope == -1.0 else slope
        mean = torch.where(r > 0, torch.full_like(r, 0.5 * (1.0 + slope)), still)
        sharp = torch.where(live, below, mean.unsqueeze(1) * mean)
        # |z| turns a small supplement into a small angle; no other is near 1 at far angles.
        small = torch.minimum(x, rest) if slope == -1.0 else x
        ratio = kernel.even / (2.0 * kernel.self_)
        half = torch.sin(0.5 * small).square() - ratio * sin_minus_x_cos(small)
        far = torch.acos((shape / kernel.self_).clamp(-1.0, 1.0))
        angle = 2.0 * torch.asin(half.clamp(0.0, 1.0).sqrt())
        above = torch.where(near | (small < x), angle, far)
        # The slopes in x: of cos x' at most 1, of the slope kernel even / self, of x' at most 1.
        lost = pairs.angle_error
        value = Covariance(
            shape * r.unsqueeze(1) * r, pairs.error + lost + ULPS, (above, math.pi - above),
            lost + ULPS,
        )  # fmt: skip
        return value, sharp, lost * kernel.even / kernel.self_ + ULPS

    def moments(self, c: Tensor, s: float) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """See ClosedForm.

        E max(g, 0) = c P + s p and E max(g, 0)^2 = (c^2 + s^2) P + c s p, P = Phi(c/s),
        p = phi(c/s); min(g, 0) is -max(-g, 0), and the two never are nonzero together.
        """
        if self.below == 1.0:
            return None
        on = 0.5 * torch.erfc(-c / (s * math.sqrt(2.0)))
        off = 0.5 * torch.erfc(c / (s * math.sqrt(2.0)))
        density = torch.exp(-0.5 * (c / s) ** 2) / math.sqrt(2.0 * math.pi)
        up, down = c * on + s * density, c * off - s * density
        up2 = (c * c + s * s) * on + c * s * density
        down2 = (c * c + s * s) * off - c * s * density
        slope = self.below
        return (
            up + slope * down,
            up2 + slope**2 * down2,
            on + slope * off,
            on + slope**2 * off,
        )


@dataclass(frozen=True)
class Erf:
    """sigma = erf."""

    def profile(self) -> Profile:
        """See ClosedForm."""
        return ErfProfile()

    def moments(self, c: Tensor, s: float) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """See ClosedForm: not all of the four are closed."""
        return None

    def duals(self, pairs: Covariance) -> Duals:
        """See ClosedForm."""
        sigma, q = pairs.sigma, pairs.sigma.diagonal()
        if pairs.angles is None:
            cosine, r = correlation(sigma)
            sine = ((1.0 - cosine) * (1.0 + cosine)).sqrt()
        else:
            r, sine = q.sqrt(), torch.sin(torch.minimum(*pairs.angles))
        norms = r.unsqueeze(1) * r
        plain = 1.0 + 2.0 * (q.unsqueeze(1) + q)
        root = torch.hypot(plain.sqrt(), 2.0 * norms * sine)
        value = (2.0 / math.pi) * torch.atan2(2.0 * sigma, root)
        slope = (4.0 / math.pi) / root
        # Relative error of root^2: of q; and of 4 q q sin^2, where that is from sigma 16 e q q.
        crossed = (2.0 * norms / root).square()
        if pairs.angles is None:
            lost = (4.0 * crossed + 1.0) * pairs.error
        else:
            lost = (128.0 * pairs.angle_error + 2.0 * pairs.error) * crossed * sine**2 + pairs.error
        total = (4.0 * sigma.square() + root.square()).clamp_min(1.0)
        moved = root * (2.0 * pairs.error * norms + sigma.abs() * lost) / total
        own, steep = value.diagonal().sqrt(), slope.diagonal().sqrt()
        size = own.unsqueeze(1) * own
        moved = moved / torch.where(size > 0, size, torch.ones_like(size))
        doubt = float((0.5 * lost * slope / (steep.unsqueeze(1) * steep)).max())
        covariance = Covariance(value, float(moved.max()) + ULPS)
        return covariance, slope, doubt + ULPS
