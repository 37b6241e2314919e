"""The frame that theory expects of a student's rows, if one is known, and how far they are from it.

Equal outputs b > 0, an isotropic target, rows of one norm s: of the loss only
b^2 sum_{j != l} F(rho_jl) depends on the angles, F the profile of the activation at the norms
(s, s) (``gaussian.pairs``).  The cosines of M rows sum to at least -M, so their mean is at least
-1/(M-1).  If for a c >= -1/(M-1) and a slope lambda >= 0 (0 unless c = -1/(M-1))

    F(rho) >= F(c) + lambda (rho - c)   for all rho in [-1, 1],

then sum F >= M (M-1) F(c), and M rows with that one cosine are least.  Inside of (-1, 1) lambda can
only be F'(c); at c = -1 (M = 2) lambda = 0 serves.  A convex F satisfies it at
c = max(-1/(M-1), argmin F): so do sigma = z/2 + an even function (ReLU and leaky ReLU up to a
factor, softplus, GELU, SiLU), whose F is c_1^2 rho + a power series in rho^2 with coefficients
>= 0.  Where it fails no frame is known.  Nor where sigma is odd: then the target tends to zero, as
its directions average to nothing, and the student is what is left of it at finite N.

That rows of one norm are best was proved for homogeneous activations alone; for the others it was
seen (derived for this project, as all of the above).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.compression.theory import frame_cosine, frame_holds
from lawsweep.kernels.gaussian.angles import unit
from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel
from lawsweep.kernels.gaussian.pairs import Profile

GRID = 801  # cosines at which the tangent is compared with F
ROUNDING = 1e-10  # of F(1), by which F may seem to lie below its tangent
HALVINGS = 60


def homogeneous_cosine(m: int, d: int, kernel: HomogeneousKernel) -> float | None:
    """``frame_cosine`` where M >= 2 rows of that cosine exist in R^d."""
    return frame_cosine(m, kernel) if m > 1 and frame_holds(m, d, kernel) else None


def profile_cosine(profile: Profile, norm: float, m: int, d: int) -> float | None:
    """The cosine c of the module's criterion for M rows of this norm in R^d, else None."""
    if isinstance(profile, HomogeneousKernel):
        return homogeneous_cosine(m, d, profile)
    if m < 2 or m > d + 1 or not norm > 0.0:
        return None
    simplex = -1.0 / (m - 1)
    rho = torch.linspace(-1.0, 1.0, GRID, dtype=torch.float64)
    value, _ = _values_slopes(profile, norm, rho)
    size = float(value[-1])
    if abs(float(value[0]) + size) <= ROUNDING * size:
        return None  # F(-1) = -F(1): sigma is odd
    c = simplex if _slope(profile, norm, simplex) >= 0.0 else _turning(profile, norm, simplex)
    if c != simplex and m > d:
        return None  # such rows span M dimensions
    at, slope = _values_slopes(profile, norm, torch.tensor([c], dtype=torch.float64))
    bound = at + (slope if c > -1.0 else 0.0) * (rho - c)
    return c if bool((value >= bound - ROUNDING * size).all()) else None


def _values_slopes(profile: Profile, norm: float, rho: Tensor) -> tuple[Tensor, Tensor]:
    """F and F' at cosines (n,)."""
    side = profile.side(torch.full((1,), norm, dtype=torch.float64))
    pairs = profile.pairs(rho.unsqueeze(-1), side.expand(len(rho), -1), side, second=False)
    return pairs.f[:, 0], pairs.r[:, 0]


def _slope(profile: Profile, norm: float, c: float) -> float:
    return float(_values_slopes(profile, norm, torch.tensor([c], dtype=torch.float64))[1])


def _turning(profile: Profile, norm: float, low: float) -> float:
    """Where F' < 0 at ``low`` changes its sign; F' > 0 at 0 unless sigma is even."""
    high = 0.0
    if _slope(profile, norm, high) <= 0.0:
        return high
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _slope(profile, norm, middle) < 0.0 else (low, middle)
    return high


@dataclass(frozen=True)
class Geometry:
    """How far rows are from an equiangular tight frame of equal norms; None where undefined."""

    norm_mean: float
    norm_cv: float
    sum_norm: float
    cos_min: float | None
    cos_max: float | None
    etf_rms: float | None
    etf_max: float | None
    etf_frobenius: float | None
    cos_sum_mean: float | None
    span_overlap: float | None


def geometry(
    v: Tensor,
    cosine: float | None,
    mean: Tensor | None = None,
    eigenvectors: Tensor | None = None,
    n_span: int | None = None,
) -> Geometry:
    """Of rows v (M, d), in relation to the target's mean m (d,) and E_N's eigenvectors (d, d).

    etf_rms, etf_max: distance of the off-diagonal cosines from ``cosine``, that of the frame; None:
    no frame is known (``profile_cosine``).  etf_frobenius: |G - G_frame|_F/|G_frame|_F of the
    matrices of all cosines.  cos_sum_mean: cosine of sum_j v_j and m.  span_overlap: |U^T Q|_F^2/n
    of U, the leading n = ``n_span`` right singular vectors of v, and Q, the leading n eigenvectors:
    1 where the spans agree.
    """
    m, d = v.shape
    directions, norms = unit(v)
    total = v.sum(0)
    sum_norm, mean_norm = float(total.norm()), float(norms.mean())
    cosines = (directions @ directions.T)[~torch.eye(m, dtype=torch.bool, device=v.device)]
    error = None if cosine is None or m == 1 else cosines - cosine
    whole = math.sqrt(m + m * (m - 1) * (cosine or 0.0) ** 2)
    along = overlap = None
    if mean is not None and sum_norm > 0 and float(mean.norm()) > 0:
        along = float(total @ mean / mean.norm()) / sum_norm
    if eigenvectors is not None and n_span is not None and 0 < n_span <= min(m, d):
        right = torch.linalg.svd(v, full_matrices=False).Vh[:n_span]
        overlap = float((right @ eigenvectors[:, :n_span]).square().sum()) / n_span
    return Geometry(
        norm_mean=mean_norm,
        norm_cv=float(norms.std(correction=0)) / mean_norm if mean_norm > 0 else math.nan,
        sum_norm=sum_norm,
        cos_min=float(cosines.min()) if m > 1 else None,
        cos_max=float(cosines.max()) if m > 1 else None,
        etf_rms=None if error is None else float(error.square().mean().sqrt()),
        etf_max=None if error is None else float(error.abs().max()),
        etf_frobenius=None if error is None else float(error.norm()) / whole,
        cos_sum_mean=along,
        span_overlap=overlap,
    )
