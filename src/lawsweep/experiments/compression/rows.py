"""The Metrics of one run of ``compression``: theory beside what was found; nothing is solved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lawsweep.experiments.compression.metrics import Metrics
from lawsweep.experiments.compression.params import ISOTROPIC, Params
from lawsweep.experiments.compression.target import expected_scale
from lawsweep.kernels.compression.frames import FrameLosses
from lawsweep.kernels.compression.geometry import geometry, profile_cosine
from lawsweep.kernels.compression.search import chance_better
from lawsweep.kernels.compression.solve import Compression
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import (
    TargetMoments,
    difference,
    frame_holds,
    limit_loss,
    mean_field_objective,
    predicted_gap,
    sum_rounding,
)
from lawsweep.kernels.gaussian.angles import unit
from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel


@dataclass(frozen=True)
class Found:
    """The results of one run; None: not asked for, or not defined.

    ``norm``, ``norm_se``: E f^2 of what the objective stands for, and its standard error;
    ``series_error``: bound of the series' error in the loss; ``reduced``: min of the reduced J;
    ``frames``, ``sup_error``: as ``kernels.compression.frames`` has them.
    """

    target: Target
    best: Compression
    norm: float | None = None
    norm_se: float | None = None
    series_error: float | None = None
    reduced: float | None = None
    frames: FrameLosses | None = None
    sup_error: float | None = None

    @property
    def moments(self) -> TargetMoments | None:
        """Of the target's rows, where it has one output."""
        known = self.target.average is None and self.target.alpha.shape[1] == 1
        return self.target.moments if known else None


def row(params: Params, found: Found) -> Metrics:
    """One run's Metrics."""
    target, best, moments = found.target, found.best, found.moments
    # A homogeneous activation's outputs belong to the rows: only |b_j| v_j means something.
    v, single = best.v, best.outputs.shape[1] == 1
    if isinstance(target.profile, HomogeneousKernel):
        v = best.outputs.norm(dim=-1, keepdim=True) * v
    own = 0.0 if found.series_error is None else found.series_error
    own += 6.0 * (found.norm_se or 0.0)
    rounding = sum_rounding(params.n_target or 1, v.dtype) + own / max(found.norm or 0.0, 1e-300)
    norm = found.norm
    return Metrics(
        loss=None if norm is None else difference(norm, -best.value, rounding),
        objective_value=best.value,
        target_norm=norm,
        target_norm_se=found.norm_se,
        top_eigenvalue_sum=_top(moments, params.n_compressed - 1),
        scale_a_n=moments.scale if moments else None,
        scale_a=expected_scale(params) if single else None,
        mean_norm=float(moments.mean.norm()) if moments else None,
        **_theory_columns(params, found),
        **_shape_columns(params, found, v),
        n_negative=int((best.signs < 0).sum()),
        **_output_columns(params, best),
        quadrature_error=found.series_error,
        **_evidence(params, found),
        **_arrays(params, v, moments),
    )


def _top(moments: TargetMoments | None, n: int) -> float | None:
    return float(moments.eigenvalues[:n].sum()) if moments else None


def _ratio(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def _less(value: float | None, limit: float | None) -> float | None:
    return None if value is None or limit is None else value - limit


def _theory_columns(params: Params, found: Found) -> dict[str, Any]:
    """What is known of homogeneous activations with absorbed outputs; null elsewhere."""
    kernel, moments, frames = found.target.kernel, found.moments, found.frames
    m, d, a = params.n_compressed, params.input_dim, expected_scale(params)
    absorbed = params.student_outputs == "absorbed"
    has_limit = absorbed and params.mean_output != 0.0
    isotropic = params.target_rows in ISOTROPIC and params.row_mean == 0.0
    limit = first = None
    if has_limit:
        limit = mean_field_objective(found.target.moments.scale, d, m, kernel)
        first = predicted_gap(moments, m, kernel) if moments else None
    gap, predicted = _less(found.best.value, limit), None if first is None else sum(first)
    reduced = _less(found.reduced, limit)
    return {
        "loss_limit": limit_loss(moments.scale, d, m, kernel) if moments and has_limit else None,
        "loss_limit_population": (
            limit_loss(a, d, m, kernel) if a is not None and has_limit else None
        ),
        "limit_is_exact": has_limit
        and frame_holds(m, d, kernel)
        and (params.objective == "simplified" or isotropic),
        "mean_field_value": limit,
        "gap": gap,
        "predicted_gap": predicted,
        "predicted_frame_gap": None if first is None else first[0],
        "predicted_mean_gap": None if first is None else first[1],
        "gap_ratio": _ratio(gap, predicted),
        "reduced_gap": reduced,
        "reduced_ratio": _ratio(gap, reduced),
        "turned_frame_gap": _less(frames.turned, limit) if frames else None,
        "turned_frame_sd": frames.turned_sd if frames else None,
        "spectral_frame_gap": _less(frames.spectral, limit) if frames else None,
        "best_frame_gap": _less(frames.best, limit) if frames else None,
        "sup_error": found.sup_error,
    }


def _shape_columns(params: Params, found: Found, v: Tensor) -> dict[str, Any]:
    """The geometry of rows ``v`` (M, d).

    The frame is that of an isotropic target whose output weights have a mean and of a student
    whose outputs all agree with A_N, whose sign alone matters; laws of rows that are isotropic in
    the limit of large d alone count too.

    The rows' span is compared with the top of E_N where the frame leaves its orientation to it: a
    simplex in M - 1 directions, the orthogonal rows of |z| in M.  Between these the sum of the rows
    is not zero, and follows the target's mean row first.  The rows of |z| have no sign, so that
    their sum means nothing.
    """
    (m, d), profile, moments = v.shape, found.target.profile, found.moments
    cosine = profile_cosine(profile, float(v.norm(dim=-1).mean()), m, d)
    even = isinstance(profile, HomogeneousKernel) and profile.linear == 0.0
    n_span = None
    if cosine is not None and (even or cosine == -1.0 / (m - 1)):
        n_span = m if even else m - 1
    mean, vectors = (moments.mean, moments.eigenvectors) if moments else (None, None)
    isotropic = params.row_mean == 0.0 or params.centre_rows
    # Whatever the student, the frame is that of this target's limit, if it has one.
    limit = isotropic and (params.mean_output != 0.0 or params.objective == "simplified_target")
    known = limit and bool((found.best.outputs @ found.target.scales > 0).all())
    return vars(geometry(v, cosine if known else None, None if even else mean, vectors, n_span))


def _output_columns(params: Params, best: Compression) -> dict[str, Any]:
    """Of outputs b_j of their own, K = 1."""
    if params.student_outputs == "absorbed" or best.outputs.shape[1] > 1:
        return {"output_mean": None, "output_cv": None}
    b = best.outputs[:, 0]
    mean, spread = float(b.mean()), float(b.std(correction=0))
    return {"output_mean": mean, "output_cv": spread / abs(mean) if mean else None}


def _evidence(params: Params, found: Found) -> dict[str, Any]:
    """The columns that say why the number may be believed."""
    best, result, target = found.best.agreement.best, found.best.result, found.target
    curvature, n_converged = float(result.curvature_min[best]), int(result.converged.sum())
    converged, reason = bool(result.converged[best]), found.best.reason.value
    if params.student_outputs != "absorbed" and reason == "max_iterations":
        # Rows more than twice as long as the target's longest: all start as their mean.
        longest = target.rows.norm(dim=-1).max()
        grows = bool(found.best.v.norm(dim=-1).max() > 2.0 * longest)
        reason = "growing" if grows else reason
    error = found.series_error
    if error is not None and not error <= params.quadrature_tol * abs(found.best.value):
        converged, reason = False, "quadrature"
    return {
        "grad_norm": float(result.grad_norm[best]) / target.scale,
        "hessian_min": None if math.isnan(curvature) else curvature,
        "n_iterations": int(result.n_iterations[best]),
        "n_restarts_converged": n_converged,
        "n_restarts_agreeing": found.best.agreement.n_agreeing,
        "n_minima": found.best.agreement.n_minima,
        "n_starts": len(result.reason),
        "chance_better": chance_better(found.best.agreement, n_converged),
        "converged": converged,
        "stop_reason": reason,
    }


def _arrays(params: Params, v: Tensor, moments: TargetMoments | None) -> dict[str, Any]:
    """Cosines, spectrum and rows, as lists, where they are asked for."""
    if not params.keep_arrays:
        return {}
    directions, _ = unit(v)
    spectrum = None if moments is None else moments.eigenvalues.tolist()
    cosines = (directions @ directions.T).tolist()
    return {"cosines": cosines, "rows": v.tolist(), "spectrum": spectrum}
