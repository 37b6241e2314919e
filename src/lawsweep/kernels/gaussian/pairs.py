"""What is asked of an expectation E sigma(u) sigma(v) of Gaussian pairs, and how pairs are given.

Two ways: all pairs of N variables, with a bound on the error (``Covariance``), or a cosine and two
norms, with derivatives (``Profile``): x ~ N(0, I), t = |u|, s = |v|, E sigma(<u, x>) sigma(<v, x>)
= F(rho, t, s), which is all that losses over rows need:

    grad_v s = v^,  grad_v rho = (u^ - rho v^)/s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.gaussian.angles import row_angles

UNIT = tolerances(torch.float64).unit
ULPS = 16.0 * UNIT  # of a closed form: its operations and the functions they call


@dataclass(frozen=True, eq=False)
class Covariance:
    """Of Gaussian variables: ``sigma`` (N, N), ``error`` as the module has it.

    ``angles``: (x, pi - x), each (N, N), where they are known better than by sigma, right to
    ``angle_error``, and to 64 times that relative to the smaller of the two.
    """

    sigma: Tensor
    error: float
    angles: tuple[Tensor, Tensor] | None = None
    angle_error: float = 0.0

    @classmethod
    def of_rows(cls, x: Tensor) -> Covariance:
        """x x^T for float64 rows (N, d)."""
        sigma = x @ x.T
        rounding = (x.shape[1] + 8) * UNIT
        return cls(0.5 * (sigma + sigma.T), rounding, row_angles(x), 8.0 * rounding)

    def times(self, factor: float) -> Covariance:
        """Of the variables times sqrt(factor)."""
        return replace(self, sigma=factor * self.sigma, error=self.error + 2.0 * UNIT)


Duals = tuple[Covariance, Tensor, float]


def correlation(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """(cosines, 1 on the diagonal, square roots of the variances); a variance 0 has cosine 0."""
    r = sigma.diagonal().sqrt()
    scale = torch.where(r > 0, r, torch.ones_like(r))
    cosine = (sigma / scale.unsqueeze(1) / scale).clamp(-1.0, 1.0)
    cosine.diagonal().copy_((r > 0).to(r.dtype))
    return cosine, r


@dataclass(frozen=True)
class Pairs:
    """F and derivatives, each of the shape of rho; r is rho, s and t are the norms of v and u.

    The second derivatives are None where only the first were asked for.
    """

    f: Tensor
    r: Tensor
    s: Tensor
    rr: Tensor | None = None
    rs: Tensor | None = None
    ss: Tensor | None = None
    rt: Tensor | None = None
    st: Tensor | None = None


class Profile(Protocol):
    """A family of kernels; ``Side`` is what it keeps of the norms of one side of the pairs."""

    def side(self, norms: Tensor) -> Tensor:
        """What ``pairs`` needs of norms (..., n): shape (..., n, q)."""
        ...

    def pairs(self, rho: Tensor, u: Tensor, v: Tensor, second: bool) -> Pairs:
        """At cosines rho (..., n, m) of sides u (..., n, q) and v (..., m, q)."""
        ...

    def own(self, norms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """V(s) = F(1, s, s) and its first two derivatives."""
        ...


class ClosedForm(Profile, Protocol):
    """What an activation gives that has closed forms."""

    def duals(self, pairs: Covariance) -> Duals:
        """E sigma(u) sigma(v) as a covariance, E sigma'(u) sigma'(v) (N, N) and its error."""
        ...

    def moments(self, c: Tensor, s: float) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """E sigma, E sigma^2, E sigma', E sigma'^2 at g ~ N(c, s^2), s > 0; None: integrate."""
        ...
