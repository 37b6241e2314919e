"""E sigma(<u, x>) sigma(<v, x>) as a function F(rho, t, s) of a cosine and two norms.

x ~ N(0, I), t = |u|, s = |v|.  A profile gives F and its derivatives, which is all that losses
over rows need (``compression_trained.py``):

    grad_v s = v^,  grad_v rho = (u^ - rho v^)/s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lawsweep.kernels.compression.objective import inverse_sine, sine_arcsine
from lawsweep.kernels.gaussian import hermite
from lawsweep.kernels.gaussian.arccos import HomogeneousKernel


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


@dataclass(frozen=True)
class HomogeneousProfile:
    """F = t s [linear rho + even e(rho)] (``arccos.py``).

    F_rr has 1/sqrt(1 - rho^2); it is only met times |u^ - rho v^|^2 = 1 - rho^2.
    """

    kernel: HomogeneousKernel

    def side(self, norms: Tensor) -> Tensor:
        """The norms themselves."""
        return norms.unsqueeze(-1)

    def pairs(self, rho: Tensor, u: Tensor, v: Tensor, second: bool) -> Pairs:
        """See Profile."""
        k, t, s = self.kernel, u, v.mT
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
        k = self.kernel.self_
        return k * norms**2, 2.0 * k * norms, torch.full_like(norms, 2.0 * k)


@dataclass(frozen=True)
class ErfProfile:
    """F = (2/pi) arcsin(a(t) a(s) rho), a(s) = sqrt(2) s/sqrt(1 + 2 s^2) (Williams 1997).

    a' = sqrt(2)/(1 + 2 s^2)^(3/2), a'' = -6 sqrt(2) s/(1 + 2 s^2)^(5/2).
    """

    def side(self, norms: Tensor) -> Tensor:
        """a, a', a'' and 1 - a, which a alone holds badly at large norms."""
        q = 1.0 + 2.0 * norms**2
        root = q.sqrt()
        a = math.sqrt(2.0) * norms / root
        return torch.stack(
            [
                a,
                math.sqrt(2.0) / (q * root),
                -6.0 * math.sqrt(2.0) * norms / (q * q * root),
                1.0 / (q * (1.0 + a)),
            ],
            -1,
        )

    def pairs(self, rho: Tensor, u: Tensor, v: Tensor, second: bool) -> Pairs:
        """See Profile.  With y = a b rho: dF = (2/pi) dy/w, w = sqrt(1 - y^2)."""
        a, da, _, la = (x.unsqueeze(-1) for x in u.unbind(-1))
        b, db, ddb, lb = (x.unsqueeze(-2) for x in v.unbind(-1))
        y = a * b * rho
        # 1 - |y| = (1 - a) + a (1 - b) + a b (1 - |rho|): all terms are positive.
        low = la + a * lb + a * b * (1.0 - rho.abs())
        square = low * (1.0 + y.abs())
        w = (2.0 / math.pi) / square.sqrt()
        value = (2.0 / math.pi) * torch.atan2(y, square.sqrt())
        if not second:
            return Pairs(value, w * a * b, w * a * db * rho)
        bend = w * y / square  # second derivative of the arcsine
        return Pairs(
            value, w * a * b, w * a * db * rho,
            rr=bend * (a * b) ** 2,
            rs=bend * a * b * a * db * rho + w * a * db,
            ss=bend * (a * db * rho) ** 2 + w * a * ddb * rho,
            rt=bend * a * b * da * b * rho + w * da * b,
            st=bend * (a * db * rho) * (da * b * rho) + w * da * db * rho,
        )  # fmt: skip

    def own(self, norms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """V' = (8/pi) s/((1 + 2 s^2) sqrt(1 + 4 s^2))."""
        square = norms**2
        p, q = 1.0 + 2.0 * square, 1.0 + 4.0 * square
        value = (2.0 / math.pi) * torch.atan2(2.0 * square, q.sqrt())
        size = (8.0 / math.pi) / (p * q.sqrt())
        return value, size * norms, size * (1.0 - 4.0 * square / p - 4.0 * square / q)


@dataclass(frozen=True)
class HermiteProfile:
    """F = sum_{n <= degree} c_n(t) c_n(s) rho^n for any activation (``hermite.py``).

    The diagonal V(s) = E sigma(s z)^2 is by quadrature, not by the series.
    """

    f: Callable[[Tensor], Tensor]
    degree: int

    def side(self, norms: Tensor) -> Tensor:
        """c, c' and c'' for n <= degree, one after the other."""
        # At norm zero no derivative is asked for (there is no direction): any number will do.
        s = torch.where(norms > 0, norms, torch.ones_like(norms)).unsqueeze(-1)
        c = hermite.coefficients(self.f, norms, self.degree + 4)
        first = hermite.scaled_derivative(c)
        second = hermite.scaled_derivative(first)
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
        c = hermite.coefficients(lambda x: self.f(x) ** 2, norms, 4)
        first = hermite.scaled_derivative(c)
        second = hermite.scaled_derivative(first)[..., 0]
        value, first = c[..., 0], first[..., 0]
        safe = torch.where(norms > 0, norms, torch.ones_like(norms))
        return value, first / safe, (second - first) / safe**2

    def error(self, norms: Tensor) -> Tensor:
        """Bound of what each of the norms adds: |F error| <= |rho|^(degree+1) e(t) e(s)."""
        return hermite.tail(self.f, norms, hermite.coefficients(self.f, norms, self.degree))


def _shift(c: Tensor) -> Tensor:
    """c_1, c_2, ..., 0."""
    return torch.cat([c[..., 1:], torch.zeros_like(c[..., :1])], -1)
