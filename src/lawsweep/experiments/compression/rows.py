"""The Metrics of one run of ``compression``: theory beside what was found."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lawsweep import stream
from lawsweep.experiments.compression.frame import shape_columns
from lawsweep.experiments.compression.metrics import Metrics
from lawsweep.experiments.compression.params import ISOTROPIC, Params
from lawsweep.experiments.compression.target import Task, expected_scale, kernel_of
from lawsweep.kernels.compression.frames import frame_losses, sphere_error
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.solve import Compression
from lawsweep.kernels.compression.theory import (
    TargetMoments,
    difference,
    frame_cosine,
    frame_holds,
    limit_loss,
    mean_field_objective,
    predicted_gap,
    sum_rounding,
)
from lawsweep.kernels.gaussian.arccos import unit
from lawsweep.kernels.gaussian.pair_profiles import HomogeneousProfile
from lawsweep.kernels.optimise.restarts import chance_better

N_SUP_STARTS = 24


def row(
    params: Params,
    task: Task | None,
    found: Compression,
    norm: float | None,
    norm_error: float | None,
    reduced: float | None,
) -> Metrics:
    """Of the restarts ``found``; ``task`` None: the simplified problem, without a target.

    ``norm``, ``norm_error``: E f^2 and its standard error; ``reduced``: min of the reduced J.
    """
    kernel, moments = kernel_of(params), task.moments if task else None
    m, d, a = params.n_compressed, params.input_dim, expected_scale(params)
    own = moments.scale if moments is not None else a
    scale = task.scale if task else abs(own or 0.0)
    value = float(found.result.loss[found.agreement.best])
    has_limit = params.mean_output != 0.0
    limit = mean_field_objective(own, d, m, kernel) if own is not None and has_limit else None
    gap = None if limit is None else value - limit
    predicted = predicted_gap(moments, m, kernel) if moments is not None and has_limit else None
    sampled = 0.0 if norm_error is None else 6.0 * norm_error / max(norm or 0.0, 1e-300)
    rounding = sum_rounding(params.n_target or 1, found.v.dtype) + sampled
    shape = shape_columns(
        params, HomogeneousProfile(kernel), found.v, found.signs * (own or 0.0), moments
    )
    isotropic = params.target_rows in ISOTROPIC and params.row_mean == 0.0
    reduced_gap = None if reduced is None or limit is None else reduced - limit
    return Metrics(
        loss=None if norm is None else difference(norm, -value, rounding),
        objective_value=value,
        target_norm=norm,
        target_norm_se=norm_error,
        loss_limit=limit_loss(moments.scale, d, m, kernel) if moments and has_limit else None,
        loss_limit_population=limit_loss(a, d, m, kernel) if a is not None and has_limit else None,
        limit_is_exact=has_limit
        and frame_holds(m, d, kernel)
        and (params.objective == "simplified" or isotropic),
        mean_field_value=limit,
        gap=gap,
        predicted_gap=None if predicted is None else sum(predicted),
        predicted_frame_gap=None if predicted is None else predicted[0],
        predicted_mean_gap=None if predicted is None else predicted[1],
        gap_ratio=_ratio(gap, None if predicted is None else sum(predicted)),
        reduced_gap=reduced_gap if params.prediction == "reduced" else None,
        reduced_ratio=_ratio(gap, reduced_gap) if params.prediction == "reduced" else None,
        top_eigenvalue_sum=float(moments.eigenvalues[: m - 1].sum()) if moments else None,
        scale_a_n=moments.scale if moments else None,
        scale_a=a,
        mean_norm=float(moments.mean.norm()) if moments else None,
        **shape,
        **_frame_columns(params, task, found, limit),
        n_negative=int((found.signs < 0).sum()),
        output_mean=None,
        output_cv=None,
        quadrature_error=None,
        **evidence(found, scale),
        **arrays(params, found.v, moments),
    )


def _ratio(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def evidence(found: Compression, scale: float) -> dict[str, Any]:
    """The columns that say why the number may be believed."""
    best = found.agreement.best
    curvature = float(found.result.curvature_min[best])
    return {
        "grad_norm": float(found.result.grad_norm[best]) / scale,
        "hessian_min": None if math.isnan(curvature) else curvature,
        "n_iterations": int(found.result.n_iterations[best]),
        "n_restarts_converged": int(found.result.converged.sum()),
        "n_restarts_agreeing": found.agreement.n_agreeing,
        "n_minima": found.agreement.n_minima,
        "n_starts": len(found.result.reason),
        "chance_better": chance_better(found.agreement, int(found.result.converged.sum())),
        "converged": bool(found.result.converged[best]),
        "stop_reason": found.reason.value,
    }


def arrays(params: Params, v: Tensor, moments: TargetMoments | None) -> dict[str, Any]:
    """Cosines, spectrum and rows, as lists, where they are asked for."""
    if not params.keep_arrays:
        return {}
    directions, _ = unit(v)
    spectrum = None if moments is None else moments.eigenvalues.tolist()
    cosines = (directions @ directions.T).tolist()
    return {"cosines": cosines, "rows": v.tolist(), "spectrum": spectrum}


def _frame_columns(
    params: Params, task: Task | None, found: Compression, limit: float | None
) -> dict[str, Any]:
    names = ("turned_frame_gap", "spectral_frame_gap", "best_frame_gap", "turned_frame_sd")
    columns: dict[str, Any] = dict.fromkeys((*names, "sup_error"))
    m, d = params.n_compressed, params.input_dim
    if not params.compare_frames or task is None or limit is None:
        return columns
    kernel, of = kernel_of(params), task.moments
    sign = -1.0 if of.scale < 0 else 1.0
    ones = torch.full((1, m), sign, dtype=task.w.dtype, device=task.w.device)
    if 2 <= m <= d + 1 and (m - 1) * d <= 1000 and frame_cosine(m, kernel) == -1.0 / (m - 1):
        loss = PopulationLoss(task.w, task.alpha, ones, kernel)
        rng = stream(task.seed, "frames")
        got = frame_losses(loss, of.scale, found.v, of.eigenvectors, rng)
        values = (got.turned, got.spectral, got.best)
        for name, value in zip(names, values, strict=False):
            columns[name] = None if value is None else value - limit
        columns["turned_frame_sd"] = got.turned_sd
    if d <= 1000:
        draws = torch.from_numpy(stream(task.seed, "sphere").standard_normal((N_SUP_STARTS, d)))
        starts = torch.cat([draws[: N_SUP_STARTS - 4], of.eigenvectors[:, :2].T.cpu().to(draws)])
        if float(of.mean.norm()) > 0:
            starts = torch.cat(
                [starts, of.mean[None].cpu().to(draws), -of.mean[None].cpu().to(draws)]
            )
        single = PopulationLoss(task.w, task.alpha, ones[:, :1], kernel)
        columns["sup_error"], _ = sphere_error(single, of.scale, starts.to(task.w))
    return columns
