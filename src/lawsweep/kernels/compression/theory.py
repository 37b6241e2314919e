"""What theory says of compressing a network: limits, the optimal frame, finite-N terms.

For sigma(z) = max(z, 0) + a min(z, 0) with a < 1: ReLU, leaky ReLU, |z|.

The simplified problem and the conjecture that equiangular tight frames (ETFs) solve it are [C]'s
(arXiv 2205.08199).  The finite-N terms below were derived for this project to first order and
checked by minimisation; they are not statements of that paper.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base import devices
from lawsweep.kernels.base.names import unknown
from lawsweep.kernels.data.target_rows import LAWS, expected_sparse_norm
from lawsweep.kernels.gaussian.angles import unit
from lawsweep.kernels.gaussian.homogeneous import RELU, HomogeneousKernel


def kappa(r: float) -> float:
    """sqrt(1 - r^2) + r (pi - arccos r): 2 pi k(u, v) of unit rows with cosine r, ReLU."""
    return math.sqrt(max(0.0, (1.0 - r) * (1.0 + r))) + r * (math.pi - math.acos(r))


def frame_cosine(m: int, kernel: HomogeneousKernel = RELU) -> float:
    """The common cosine of the optimal rows, max(-1/(M-1), -sin(linear/even)); 0 for M = 1.

    Each pair contributes linear rho + even e(rho), convex in rho and least where
    arcsin rho = -linear/even; cosines that are all equal cannot be below -1/(M-1).  With slope a
    linear/even = pi (1+a)^2 / (2 (1-a)^2), at least pi/2 from a = 0 (ReLU) on.
    """
    if m == 1:
        return 0.0
    ratio = kernel.linear / kernel.even
    return max(-1.0 / (m - 1), -math.sin(ratio) if ratio < 0.5 * math.pi else -1.0)


def frame_holds(m: int, d: int, kernel: HomogeneousKernel = RELU) -> bool:
    """Whether M rows of cosine ``frame_cosine`` exist in R^d, so that L* is reached.

    M <= d + 1 at cosine -1/(M-1), whose rows span M - 1 dimensions; above it they span M.
    """
    simplex = m == 1 or frame_cosine(m, kernel) == -1.0 / (m - 1)
    return m <= (d + 1 if simplex else d)


def frame_constant(m: int, kernel: HomogeneousKernel = RELU) -> float:
    """K_M = (2 pi/M) [k(1) + (M-1) k(c)] of unit rows with the cosine c of ``frame_cosine``.

    For ReLU [pi + (M-1) kappa(-1/(M-1))]/M, and K_1 = pi.
    """
    if m < 1:
        raise ValueError(f"expected at least one compressed node, got {m}; raise n_compressed")
    if kernel == RELU:
        return math.pi if m == 1 else (math.pi + (m - 1) * kappa(-1.0 / (m - 1))) / m
    c = frame_cosine(m, kernel)
    e = math.sqrt(max(0.0, (1.0 - c) * (1.0 + c))) + c * math.asin(c)
    pair = kernel.linear * c + kernel.even * e
    return 2.0 * math.pi * (kernel.self_ + (m - 1) * pair) / m


def mean_field_objective(scale: float, d: int, m: int, kernel: HomogeneousKernel = RELU) -> float:
    """min J of the simplified problem, -2 pi A^2 D_d^2 / K_M; a lower bound but ``frame_holds``."""
    return -2.0 * math.pi * (scale * kernel.mean_factor(d)) ** 2 / frame_constant(m, kernel)


def difference(whole: float, part: float, rounding: float) -> float:
    """whole - part, both >= 0, or 0 where it is negative by no more than its rounding.

    ``rounding``: the relative error of the two.  A difference below -rounding (whole + part) is
    returned as it is: it has another cause, which should be seen.
    """
    rest = whole - part
    return 0.0 if -rounding * (whole + part) <= rest < 0.0 else rest


def sum_rounding(n: int, dtype: torch.dtype) -> float:
    """Relative rounding of T_N or -J, sums over n target rows: (16 + n/2) eps.

    A sum of n terms of one sign is off by n u = n eps/2 at most, in whatever order it is taken
    (Higham, "Accuracy and stability", section 4.2); d = 1, n = 5000, M = 2 shows 216 eps.  The
    terms themselves are right to some eps.
    """
    return (16 + n / 2) * float(torch.finfo(dtype).eps)


def limit_loss(scale: float, d: int, m: int, kernel: HomogeneousKernel = RELU) -> float:
    """L* = A^2 D_d (1 - 2 pi D_d / K_M), A = ``scale``; only a lower bound but ``frame_holds``.

    Where the frame holds a minimum of a squared error, so not negative; for ReLU it is 0 at
    d = 1, M = 2 alone.  Elsewhere the bound may be negative.
    """
    whole = scale**2 * kernel.mean_factor(d)
    part = -mean_field_objective(scale, d, m, kernel)
    return difference(whole, part, sum_rounding(1, torch.float64))


def frame_norm(scale: float, d: int, m: int, kernel: HomogeneousKernel = RELU) -> float:
    """|v_j| = 2 pi A D_d / (M K_M) at the optimum."""
    factor = 2.0 * math.pi * scale * kernel.mean_factor(d)
    return factor / (m * frame_constant(m, kernel))


def simplex_frame(m: int, basis: Tensor) -> Tensor:
    """M unit rows with cosines -1/(M-1) in the span of ``basis`` (d, >= M-1 orthonormal columns).

    Shape (M, d).  The Cholesky-like recursion of the simplex: row j has the coordinates
    -c_l/(M-1-l) ... of the rows before it and the rest of its length in coordinate j.
    """
    if basis.shape[1] < m - 1:
        raise ValueError(
            f"expected M - 1 = {m - 1} orthonormal columns, got {basis.shape[1]}; M <= d + 1"
        )
    if m == 1:
        return basis[:, :1].T.clone()
    return torch.tensor(_simplex(m), dtype=torch.float64).to(basis) @ basis[:, : m - 1].T


def optimal_frame(m: int, basis: Tensor, kernel: HomogeneousKernel = RELU) -> Tensor:
    """M unit rows of the cosine c of ``frame_cosine`` where R^d holds them, else of -1/(M-1).

    ``basis`` (d, d) orthonormal columns; shape (M, d).  Above -1/(M-1) the rows span M dimensions:
    sqrt(a) of the simplex and sqrt(1 - a) along one more direction have the cosine
    1 - a - a/(M-1) = c at a = (1 - c)(M - 1)/M.
    """
    rows, c = simplex_frame(m, basis), frame_cosine(m, kernel)
    if m == 1 or c == -1.0 / (m - 1) or not frame_holds(m, len(basis), kernel):
        return rows
    a = (1.0 - c) * (m - 1) / m
    return math.sqrt(a) * rows + math.sqrt(1.0 - a) * basis[:, m - 1]


@functools.lru_cache(maxsize=64)
def _simplex(m: int) -> tuple[tuple[float, ...], ...]:
    rows = torch.zeros(m, m - 1, dtype=torch.float64)
    for j in range(m - 1):
        rows[j, j] = math.sqrt(max(0.0, 1.0 - float((rows[j, :j] ** 2).sum())))
        rows[j + 1 :, j] = (-1.0 / (m - 1) - rows[j + 1 :, :j] @ rows[j, :j]) / rows[j, j]
    return tuple(map(tuple, rows.tolist()))


def expected_norm(law: str, d: int, density: float = 0.1) -> float:
    """E|w| of a row law of mean 0 and covariance I/d (``target_rows``).

    1 for sphere and rademacher; for sparse a sum over the number of entries; for gaussian
    sqrt(2/d) Gamma((d+1)/2)/Gamma(d/2).  For uniform, E sqrt(S) =
    (1/(2 sqrt pi)) int_0^inf (1 - E e^(-t S)) t^(-3/2) dt, with t = e^y by the
    trapezoidal rule, which converges geometrically (1e-12 at this step).
    """
    if law in ("sphere", "rademacher"):
        return 1.0
    if law == "sparse":
        return expected_sparse_norm(d, density)
    if law == "gaussian":
        return math.sqrt(2.0 / d) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
    if law == "uniform":
        y = torch.linspace(-64.0, 64.0, 8193, dtype=torch.float64)
        root = (3.0 * y.exp() / d).sqrt()  # x = sqrt(3/d) U, U uniform on [-1, 1]
        # 1 - E e^(-t x^2) = 1 - sqrt(pi) erf(root)/(2 root), by its series where it is small.
        series = torch.zeros_like(root)
        for n in range(12, 0, -1):
            series = (series + (-1.0) ** (n + 1) / (math.factorial(n) * (2 * n + 1))) * root**2
        direct = 1.0 - 0.5 * math.sqrt(math.pi) * torch.erf(root) / root
        tail = -torch.expm1(d * torch.log1p(-torch.where(root < 0.7, series, direct)))
        return float((tail * torch.exp(-0.5 * y)).sum() * (y[1] - y[0]) / (2 * math.sqrt(math.pi)))
    raise unknown("row law", law, LAWS)


@dataclass(frozen=True)
class TargetMoments:
    """What the finite-N theory reads off a target.

    ``scale`` A_N = sum_i alpha_i|w_i|; ``mean`` m = sum_i alpha_i w_i, shape (d,); ``anisotropy``
    E_N = sum_i alpha_i|w_i| (w_i^ w_i^T - I/d) by its eigenvalues (d,) and eigenvectors (d, d),
    largest first (of sign(A_N) E_N, so the order is the one that matters to the optimum).
    """

    scale: float
    mean: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor

    @property
    def anisotropy(self) -> Tensor:
        """E_N itself, (d, d)."""
        sign = -1.0 if self.scale < 0 else 1.0
        return sign * (self.eigenvectors * self.eigenvalues) @ self.eigenvectors.T


def directions_norms(target: Tensor) -> tuple[Tensor, Tensor]:
    """``angles.unit`` of rows (N, d), in blocks of bounded memory."""
    directions, norms = torch.empty_like(target), target.new_empty(len(target))
    for first in range(0, len(target), devices.TARGET_ROWS):
        part = slice(first, first + devices.TARGET_ROWS)
        directions[part], norms[part] = unit(target[part])
    return directions, norms


def target_moments(target: Tensor, alpha: Tensor) -> TargetMoments:
    """A_N, m and the spectrum of E_N; target (N, d), alpha (N,).  In blocks of bounded memory.

    Raises ValueError for a target that is not finite.
    """
    d = target.shape[1]
    gram, total = target.new_zeros(d, d), target.new_zeros(())
    for w, a in zip(
        target.split(devices.TARGET_ROWS), alpha.split(devices.TARGET_ROWS), strict=True
    ):
        directions, norms = unit(w)
        beta = a * norms
        total = total + beta.sum()
        gram += directions.T @ (beta.unsqueeze(-1) * directions)
    scale = float(total)
    gram = (-1.0 if scale < 0 else 1.0) * gram
    gram -= abs(scale) / d * torch.eye(d, dtype=gram.dtype, device=gram.device)
    if not bool(gram.isfinite().all()):
        raise ValueError(
            "expected finite target rows and output weights, got NaN, inf or an overflow; "
            "check the target"
        )
    values, vectors = torch.linalg.eigh(gram)
    return TargetMoments(scale, alpha @ target, values.flip(0), vectors.flip(1))


def quadratic_factor(d: int, kernel: HomogeneousKernel = RELU) -> float:
    """a_2: the degree-2 part of h(v)/|v| is a_2 v^T E_N v^, a_2 = D_d d (d+2) / (2 (d+1)^2).

    e(rho) = (pi/2) E_x |<u^,x>||<v^,x>| over Gaussian x is, on the sphere, (pi d/2) T^2 with T the
    operator of kernel |<u,w>|.  Funk-Hecke: T is tau_0 = E|w_1| on constants and, since
    E|w_1|^3/E|w_1| = 2/(d+1), tau_2 = tau_0/(d+1) on degree 2.  So degree 2 has the eigenvalue
    D_d/(d+1)^2, and its zonal harmonic is dim_2 (d rho^2 - 1)/(d-1), dim_2 = (d-1)(d+2)/2.
    """
    return kernel.mean_factor(d) * d * (d + 2) / (2.0 * (d + 1) ** 2)


def predicted_gap(
    moments: TargetMoments, m: int, kernel: HomogeneousKernel = RELU
) -> tuple[float, float] | None:
    """(p1, pm), the first-order terms of min J_N + 2 pi A_N^2 D_d^2/K_M.

    p1: the ETF's rows satisfy sum_j v_j^ v_j^T = M/(M-1) P with P a projection of rank M-1 that
    rotates freely, so -2 sum_j |v_j| a_2 v_j^T E_N v_j^ is least at the top eigenvectors:
    p1 = -4 pi |A_N| D_d a_2 S / ((M-1) K_M), S the sum of the top M-1 eigenvalues.
    pm: all rows moved by the same u across the frame cost M^2 |u|^2 (linear - even b) and gain
    2 linear M <m, u>, b = arcsin(1/(M-1)), so pm = -|m|^2 linear^2/(linear - even b): for ReLU
    -|m|^2 [1/4 + b/(2 pi - 4 b)].

    None for M = 1 (no frame), M = 2 (pm diverges for ReLU; another rate), M > d+1 (no ETF) and
    where the optimal cosine is above -1/(M-1) (small negative slopes).
    """
    d = len(moments.mean)
    if m < 3 or m > d + 1 or frame_cosine(m, kernel) != -1.0 / (m - 1):
        return None
    b = math.asin(1.0 / (m - 1))
    stiffness = kernel.linear - kernel.even * b
    if stiffness <= 0.0:
        return None
    top = float(moments.eigenvalues[: m - 1].sum())
    factor = kernel.mean_factor(d) * quadratic_factor(d, kernel)
    lead = 4.0 * math.pi * abs(moments.scale) * factor
    pm = -float(moments.mean @ moments.mean) * kernel.linear**2 / stiffness
    return -lead * top / ((m - 1) * frame_constant(m, kernel)), pm
