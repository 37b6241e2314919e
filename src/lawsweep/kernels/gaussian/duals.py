"""Dual activations E sigma(u) sigma(v), E sigma'(u) sigma'(v) of Gaussian pairs, with error bounds.

ReLU, leaky ReLU, erf and linear have closed forms.  The others are summed as Hermite series: with
c_k(q) = E sigma(sqrt(q) z) he_k(z), he_k orthonormal,

    E sigma(u) sigma(v) = sum_k c_k(q_u) c_k(q_v) rho^k,

of which n_terms are kept.  The rest is at most sqrt(t_u t_v) |rho|^n_terms, t = E sigma^2 - sum
c_k^2.

Near rho = +-1.  E sigma' sigma' of a kinked sigma goes like the angle itself, so a cosine rounded
at 1e-16 would leave it an error of 1e-8.  Its angles are carried from layer to layer instead (see
``row_angles`` for the first): with s = sin x - x cos x >= 0, free of cancellation,

    1 - cos x' = 1 - cos x - (even / self) s(x),   sin^2 x'/2 = sin^2 x/2 - (even / 2 self) s(x),

of which the last term is at most half of the one before.  erf's slope has the root of
(1 + 2 q_u)(1 + 2 q_v) - 4 sigma^2, whose terms cancel at large q:

    1 + 2 q_u + 2 q_v + 4 q_u q_v sin^2 x,   all positive, sin x from the angle where it is known.

Errors are bounds relative to the two diagonal entries, rounding in the worst case included: an
entry (i, j) is off by ``error`` sqrt(K_ii K_jj) at most.  Of an error e of the covariance,
E sigma sigma inherits e (a + sqrt b) with a = sum k c_k^2 / sum c_k^2, b = sum k (k-1) c_k^2 / sum
c_k^2 (the derivatives in the covariance and in q; Cauchy and Schwarz).  Derived for this project.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lawsweep.kernels.activations import LEAKY_SLOPE, Activation, activation
from lawsweep.kernels.gaussian.arccos import HomogeneousKernel, sin_minus_x_cos
from lawsweep.kernels.gaussian.row_angles import row_angles

STEP = 0.05  # of the trapezoid rule; its error falls like exp(-2 pi strip / STEP)
REACH = 12.0  # |z| beyond which exp(-z^2/2) is below rounding
FIRST_TERMS, MAX_TERMS = 32, 256
TAIL = 1e-15  # that the series may leave out of an entry before more terms are taken
UNIT = float(torch.finfo(torch.float64).eps) / 2
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


def duals(pairs: Covariance, act: Activation) -> Duals:
    """E sigma(u) sigma(v) as a covariance, E sigma'(u) sigma'(v) (N, N) and its error."""
    closed = _CLOSED.get(act.name)
    return closed(pairs) if closed is not None else _series(pairs, act)


def correlation(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """(cosines, 1 on the diagonal, square roots of the variances); a variance 0 has cosine 0."""
    r = sigma.diagonal().sqrt()
    scale = torch.where(r > 0, r, torch.ones_like(r))
    cosine = (sigma / scale.unsqueeze(1) / scale).clamp(-1.0, 1.0)
    cosine.diagonal().copy_((r > 0).to(r.dtype))
    return cosine, r


def _homogeneous(slope: float) -> Callable[[Covariance], Duals]:
    """ReLU (slope 0) and leaky ReLU: the arc-cosine kernels of degrees 1 and 0 (see arccos)."""
    kernel = HomogeneousKernel(slope)

    def of(pairs: Covariance) -> Duals:
        assert pairs.angles is not None  # those of the rows, or of this function one layer below
        x, rest = pairs.angles
        r = pairs.sigma.diagonal().sqrt()
        live = (r > 0).unsqueeze(1) & (r > 0)
        shape = torch.where(live, kernel.of_angles(x, rest), 0.0)
        near = x <= rest
        below = torch.where(near, kernel.self_ - kernel.even * x, slope + kernel.even * rest)
        # At |x| = 0 the derivative is the left limit, the slope.
        mean = torch.where(r > 0, torch.full_like(r, 0.5 * (1.0 + slope)), slope)
        sharp = torch.where(live, below, mean.unsqueeze(1) * mean)
        half = torch.sin(0.5 * x).square() - kernel.even / (2.0 * kernel.self_) * sin_minus_x_cos(x)
        far = torch.acos((shape / kernel.self_).clamp(-1.0, 1.0))
        above = torch.where(near, 2.0 * torch.asin(half.clamp(0.0, 1.0).sqrt()), far)
        # The slopes in x: of cos x' at most 1, of the slope kernel even / self, of x' at most 1.
        lost = pairs.angle_error
        value = Covariance(
            shape * r.unsqueeze(1) * r, pairs.error + lost + ULPS, (above, math.pi - above),
            lost + ULPS,
        )  # fmt: skip
        return value, sharp, lost * kernel.even / kernel.self_ + ULPS

    return of


def _erf(pairs: Covariance) -> Duals:
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


def _linear(pairs: Covariance) -> Duals:
    return pairs, torch.ones_like(pairs.sigma), 0.0


_CLOSED: dict[str, Callable[[Covariance], Duals]] = {
    "relu": _homogeneous(0.0),
    "leaky_relu": _homogeneous(LEAKY_SLOPE),
    "erf": _erf,
    "linear": _linear,
}
assert all(activation(name).name == name for name in _CLOSED)


def _series(pairs: Covariance, act: Activation) -> Duals:
    rho, r = correlation(pairs.sigma)
    value, error = _summed(rho, r, act.f, pairs.error)
    slope, slope_error = _summed(rho, r, act.df, pairs.error)
    return Covariance(value, error), slope, slope_error


def _summed(
    rho: Tensor, r: Tensor, function: Callable[[Tensor], Tensor], error: float
) -> tuple[Tensor, float]:
    """sum_k c_k(r_i) c_k(r_j) rho_ij^k with its diagonal exact, and its error."""
    n_terms = FIRST_TERMS
    nearest = float(rho.abs().fill_diagonal_(0.0).max())
    while True:
        c, square, quadrature = _coefficients(r, function, n_terms)
        # A row of zeros under an odd activation: nothing to keep.
        some = torch.where(square > 0, square, torch.ones_like(square))
        left = (square - c.square().sum(1)) / some
        tail = max(float(left.max()), 0.0) * nearest**n_terms
        if tail <= TAIL or n_terms >= MAX_TERMS:
            break
        n_terms *= 2
    out = torch.zeros_like(rho)
    for k in range(n_terms - 1, -1, -1):  # Horner's rule
        out = out * rho + c[:, k].unsqueeze(1) * c[:, k]
    out.diagonal().copy_(square)
    k = torch.arange(n_terms, dtype=c.dtype, device=c.device)
    first, second = (float((c.square() @ w / some).max()) for w in (k, k * (k - 1.0)))
    inherited = error * (first + math.sqrt(second))
    return out, inherited + tail + quadrature + (2 * n_terms + 8) * UNIT


def _coefficients(
    r: Tensor, function: Callable[[Tensor], Tensor], n_terms: int
) -> tuple[Tensor, Tensor, float]:
    """(c_k of z -> function(r_i z), shape (N, n_terms); E function^2, shape (N,); their error).

    he_k(z) sqrt(phi(z)) is bounded and lives within |z| < 2 sqrt(k + 1), where he_k alone would
    overflow; sqrt(k+1) h_{k+1} = z h_k - sqrt(k) h_{k-1}.  The error is the change from a step
    twice as long, which is larger than the error itself, and the rounding of the sums.
    """
    reach = REACH + 2.0 * math.sqrt(n_terms)
    z = torch.arange(-reach, reach + STEP / 2, STEP, dtype=r.dtype, device=r.device)
    root = torch.exp(-0.25 * z * z) / (2.0 * math.pi) ** 0.25
    h = [root, z * root]
    for k in range(1, n_terms - 1):
        h.append((z * h[k] - math.sqrt(k) * h[k - 1]) / math.sqrt(k + 1))
    table = torch.stack(h, 1)
    values = function(r.unsqueeze(1) * z) * root
    fine, coarse = (
        (s * STEP * values[:, ::s] @ table[::s], s * STEP * values[:, ::s].square().sum(1))
        for s in (1, 2)
    )
    c, square = fine
    some = torch.where(square > 0, square, torch.ones_like(square))
    moved = 2.0 * (c - coarse[0]).norm(dim=1) / some.sqrt() + (square - coarse[1]).abs() / some
    return c, square, float(moved.max()) + 3.0 * len(z) * UNIT
