"""sigma = erf: k(u, v) = (2/pi) arcsin(2<u,v> / sqrt((1+2|u|^2)(1+2|v|^2))) (Williams 1997)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.gaussian.angles import unit
from lawsweep.kernels.gaussian.pairs import ULPS, Covariance, Duals, Pairs, correlation


@dataclass(frozen=True)
class ErfKernel:
    """Kernel of sigma = erf.  A ClosedForm.

    With p = 1 + 2|u|^2, q = 1 + 2|v|^2, z = 2<u,v>, w = pq - z^2 > 0: k = (2/pi) asin(z/sqrt(pq)),
    dk/dv = (4/pi) (u - (z/q) v) / sqrt(w), since d(z/sqrt(pq))/dv = 2 (u - z v/q)/sqrt(pq).

    As a function of a cosine and two norms it is (2/pi) arcsin(a(t) a(s) rho), a(s) = sqrt(2) s /
    sqrt(1 + 2 s^2), a' = sqrt(2)/(1 + 2 s^2)^(3/2), a'' = -6 sqrt(2) s/(1 + 2 s^2)^(5/2).
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
