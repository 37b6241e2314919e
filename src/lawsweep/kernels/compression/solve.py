"""Compress a target: starts, minimisation over restarts, and the geometry of what came out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.compression.choice import DENSE_UNKNOWNS
from lawsweep.kernels.compression.objective import HomogeneousObjective
from lawsweep.kernels.compression.theory import frame_norm, optimal_frame
from lawsweep.kernels.gaussian.arccos import RELU, HomogeneousKernel, unit
from lawsweep.kernels.optimise.minimise import (
    Agreement,
    MinimiseReason,
    Result,
    agreement,
    loss_noise,
    minimise,
)
from lawsweep.kernels.optimise.objective import Objective

# Losses of restarts closer than this part of |J| are the same minimum: a minimum found to a
# gradient of 1e-10 of its scale is off in loss by about 1e-20/(smallest curvature), far less.
# In float32 rounding is what counts: losses nearer than their noise cannot be told apart.
SAME_LOSS = 1e-9


@dataclass(frozen=True)
class Compression(Ended):
    """All restarts, which is best and how many agree with it; ``v`` (M, d), ``signs`` (M,)."""

    result: Result
    agreement: Agreement
    v: Tensor
    signs: Tensor

    @property
    def reason(self) -> Reason:
        """Why the best restart stopped."""
        return self.result.reason[self.agreement.best]


def sign_patterns(m: int, sign: float, search: bool) -> Tensor:
    """The sign patterns to try, (P, M): all equal to ``sign``, or every count of the other sign.

    Rows are interchangeable, so a pattern is its count of minus signs: M + 1 of them.
    """
    ones = torch.full((m,), math.copysign(1.0, sign), dtype=torch.float64)
    if not search:
        return ones.unsqueeze(0)
    flips = torch.arange(m).unsqueeze(0) < torch.arange(m + 1).unsqueeze(1)
    return torch.where(flips, -ones, ones)


def random_starts(
    rng: np.random.Generator,
    n: int,
    m: int,
    d: int,
    scale: float,
    kernel: HomogeneousKernel = RELU,
) -> Tensor:
    """``n`` starts (n, M, d) of independent uniform directions and norms frame_norm(scale)."""
    draws, _ = unit(torch.from_numpy(rng.standard_normal((n, m, d))))
    return frame_norm(scale, d, m, kernel) * draws


def frame_start(
    m: int,
    scale: float,
    mean: Tensor,
    eigenvectors: Tensor,
    kernel: HomogeneousKernel = RELU,
) -> Tensor:
    """The start theory suggests, (M, d): ``optimal_frame`` in the leading directions, M <= d + 1.

    ``eigenvectors`` (d, d) of E_N, largest first.  A thousandth of ``mean`` is added to each row,
    which settles the sign of the sum of the rows and leaves the saddle between its two choices.
    """
    rows = optimal_frame(m, eigenvectors, kernel)
    direction, _ = unit(mean)
    return frame_norm(scale, len(mean), m, kernel) * (rows + 1e-3 * direction)


def solve(
    objective: HomogeneousObjective,
    starts: Tensor,
    *,
    scale: float | Tensor,
    tol: float,
    max_iterations: int,
    method: str | None = None,
) -> Compression:
    """Minimise from ``starts`` (R, M, d) and compare the restarts.

    ``scale`` = sum_i |alpha_i||w_i| is the size of the gradient's terms; a restart converges at
    |gradient| <= tol * scale.  ``method`` None: newton up to DENSE_UNKNOWNS, else newton_cg.
    A restart that lost a row (COLLAPSED) is never an answer: there J has a kink, and that it is a
    minimum has not been shown.
    """
    result = minimise_rows(
        objective,
        starts.flatten(1),
        n_rows=starts.shape[1],
        scale=scale,
        tol=tol,
        max_iterations=max_iterations,
        method=method,
    )
    return choose(result, starts[0].shape, objective.signs, scale)


def minimise_rows(
    objective: Objective,
    points: Tensor,
    *,
    n_rows: int,
    scale: float | Tensor,
    tol: float,
    max_iterations: int,
    method: str | None = None,
) -> Result:
    """``minimise`` from points (R, n) that begin with ``n_rows`` rows; see ``solve``.

    ``scale`` is a number or one a restart (R,), whose targets may differ.
    """
    unknowns = points.shape[1]
    chosen = method or ("newton" if unknowns <= DENSE_UNKNOWNS else "newton_cg")
    result = minimise(
        objective, points, scale=scale, tol=tol, max_iterations=max_iterations, method=chosen
    )
    rows = result.x[:, : unknowns - unknowns % n_rows].reshape(len(points), n_rows, -1)
    lost = (rows.norm(dim=-1) == 0).any(-1).tolist()
    reason = tuple(
        MinimiseReason.COLLAPSED if gone and r is not MinimiseReason.NON_FINITE else r
        for r, gone in zip(result.reason, lost, strict=True)
    )
    return replace(result, reason=reason)


def choose(
    result: Result,
    shape: Sequence[int],
    signs: Tensor,
    scale: float | Tensor,
    part: slice = slice(None),
) -> Compression:
    """Compare the restarts ``part`` of a result, whose points begin with rows of ``shape``."""
    scale = scale[part] if isinstance(scale, Tensor) and scale.ndim else scale
    own = result.part(part)
    compared = agreement(own.loss, own.converged, _same_loss(own, scale))
    best = compared.best
    size = math.prod(shape)
    return Compression(own, compared, own.x[best, :size].reshape(*shape), signs[part][best])


def _same_loss(result: Result, scale: float | Tensor) -> float:
    """How far apart two losses of one minimum may lie: SAME_LOSS |J|, or the noise of both."""
    size = result.loss.abs()
    noise = 2.0 * loss_noise(result.loss, result.x, scale)
    return float(torch.maximum(SAME_LOSS * size, noise).nan_to_num(0.0, 0.0, 0.0).max())


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
    no frame is known (``frame_cosines.py``).  etf_frobenius: |G - G_frame|_F/|G_frame|_F of the
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
