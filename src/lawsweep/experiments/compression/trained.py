"""Runs of ``compression`` with output weights b_j of their own: any activation, K outputs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lawsweep import Infeasible, stream
from lawsweep.experiments.compression.frame import shape_columns
from lawsweep.experiments.compression.metrics import Metrics
from lawsweep.experiments.compression.params import Params
from lawsweep.experiments.compression.rows import arrays, evidence
from lawsweep.experiments.compression.search import LEAST_LOSS, loss_scale
from lawsweep.experiments.compression.target import draw, expected_scale, tolerance
from lawsweep.kernels.compression.choice import prior_stake
from lawsweep.kernels.compression.profile_norm import choose_degree, profile_norm, series_error
from lawsweep.kernels.compression.solve import Compression, choose, minimise_rows
from lawsweep.kernels.compression.theory import difference, sum_rounding, target_moments
from lawsweep.kernels.compression.trained import TrainedLoss
from lawsweep.kernels.gaussian.arccos import HomogeneousKernel, unit
from lawsweep.kernels.gaussian.pair_profiles import Profile
from lawsweep.kernels.optimise.minimise import Result
from lawsweep.kernels.optimise.restarts import both_sides, by_risk, enough, joined, sizes, turned

# The series is cut where, at the norms of the target, less than this part of E sigma^2 is lost.
SERIES_TOL = 1e-13


def profile_of(params: Params, norms: Tensor) -> Profile:
    """Closed form where there is one, else a Hermite series long enough for norms like these."""
    act = params.entry
    return choose_degree(act, norms, SERIES_TOL) if act.closed is None else act.closed().profile()


def trained(params: Params, seed: int, device: str) -> Metrics:
    """One run.  Raises Infeasible for a target of zeros, or fixed outputs of mean zero."""
    w, alpha = draw(params, seed, device)
    alpha = alpha.reshape(len(w), -1)
    norms = w.norm(dim=-1)
    if float(alpha.abs().sum()) == 0.0 or float(norms.max()) == 0.0:
        raise Infeasible("the target is zero: all its rows or output weights are zero")
    profile = profile_of(params, norms)
    m, d, rng = params.n_compressed, params.input_dim, stream(seed, "restarts")
    size = norms if params.entry.homogeneous else (1.0 + norms**2).sqrt()
    scale = float(alpha.norm(dim=-1) @ size)
    losses: list[TrainedLoss] = []
    parts: list[Result] = []

    def batch(_: list[int], n: int) -> None:
        rows, outputs = _starts(params, rng, n, w, alpha)
        rows = rows if losses else both_sides(rows, n)
        loss = TrainedLoss(w, alpha, outputs, profile, params.student_outputs == "trained")
        result = minimise_rows(
            loss,
            turned(loss, loss.join(rows, outputs), m, d),
            n_rows=m,
            scale=scale,
            tol=tolerance(params),
            max_iterations=params.max_iterations,
            method=None if params.solver == "auto" else params.solver,
        )
        losses.append(loss)
        parts.append(result)

    def found() -> Compression:
        result = joined(parts)
        return choose(result, (m, d), result.x.new_ones(len(result.x), m), scale)

    both = bool((alpha < 0).any()) and bool((alpha > 0).any())
    stake = float(prior_stake(m, d, len(w), both))
    # The loss is taken for L* of ReLU at A_N, or LEAST_LOSS of |J| where that is more.
    own = loss_scale(float((norms @ alpha).norm()), d, m, HomogeneousKernel(params.slope))

    def done(_: int) -> bool:
        now = found()
        value = abs(float(now.result.loss[now.agreement.best]))
        return enough(now.result, now.agreement, stake, max(own, LEAST_LOSS * value))

    by_risk([sizes(params.n_restarts, stake)], batch, done)
    best = found()
    # Outputs that are fixed are those of every start.
    x = best.result.x[best.agreement.best :][:1]
    b = losses[-1].take(torch.tensor([0])).split(x)[1][0]
    return _row(params, (w, alpha), profile, best, b, scale)


def _starts(
    params: Params, rng: np.random.Generator, n: int, w: Tensor, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """Random directions as long as the target's rows; outputs sum_i alpha_i/M, plus a spread.

    The spread, where outputs are trained, is that of M sums of N/M random alpha's.
    """
    m, d, k = params.n_compressed, params.input_dim, params.n_outputs
    draws, _ = unit(torch.from_numpy(rng.standard_normal((n, m, d))))
    rows = draws.to(w) * w.norm(dim=-1).mean()
    total = alpha.sum(0)
    outputs = (total / m).expand(n, m, k)
    if params.student_outputs == "trained":
        noise = torch.from_numpy(rng.standard_normal((n, m, k))).to(w)
        outputs = outputs + noise * alpha.square().sum(0).sqrt() / math.sqrt(m)
    elif float(total.norm()) <= 1e-12 * float(alpha.norm(dim=-1).sum()):
        raise Infeasible("fixed outputs are the target's mean output, which is zero; train them")
    return rows, outputs.contiguous()


def _grows(v: Tensor, w: Tensor) -> bool:
    """Whether a row is more than twice as long as the target's longest: all start as their mean."""
    return bool(v.norm(dim=-1).max() > 2.0 * w.norm(dim=-1).max())


def _row(
    params: Params,
    target: tuple[Tensor, Tensor],
    profile: Profile,
    found: Compression,
    b: Tensor,
    scale: float,
) -> Metrics:
    w, alpha = target
    m, single = params.n_compressed, params.n_outputs == 1
    norm, error = None, series_error(w, alpha, found.v, b, profile)
    if params.target_norm_method == "exact":
        norm, rest = profile_norm(w, alpha, profile)
        error += rest
    value = float(found.result.loss[found.agreement.best])
    columns = evidence(found, scale)
    if columns["stop_reason"] == "max_iterations" and _grows(found.v, w):
        columns["stop_reason"] = "growing"
    closed = params.entry.closed is not None
    if not closed and not error <= params.quadrature_tol * abs(value):
        columns |= {"converged": False, "stop_reason": "quadrature"}
    moments = target_moments(w, alpha[:, 0]) if single else None
    # A homogeneous activation's outputs belong to the rows: only |b_j| v_j means something.
    v = found.v
    if params.entry.homogeneous:
        v = b.norm(dim=-1, keepdim=True) * v
    signs = b[:, 0] if single else torch.ones_like(b[:, 0])
    # A_N of each output: their norms are those of the target's rows, whatever the activation.
    along = b @ (w.norm(dim=-1) @ alpha)
    rounding = sum_rounding(params.n_target or 1, v.dtype) + error / max(norm or 0.0, 1e-300)
    found = replace(found, signs=signs.sign())
    spread = float(b[:, 0].std(correction=0))
    mean = float(b[:, 0].mean())
    nothing: dict[str, Any] = dict.fromkeys(
        (
            "target_norm_se", "loss_limit", "loss_limit_population", "mean_field_value", "gap",
            "predicted_gap", "predicted_frame_gap", "predicted_mean_gap", "gap_ratio",
            "reduced_gap", "reduced_ratio", "turned_frame_gap", "turned_frame_sd",
            "spectral_frame_gap", "best_frame_gap", "sup_error",
        )
    )  # fmt: skip
    return Metrics(
        loss=None if norm is None else difference(norm, -value, rounding),
        objective_value=value,
        target_norm=norm,
        limit_is_exact=False,
        top_eigenvalue_sum=float(moments.eigenvalues[: m - 1].sum()) if moments else None,
        scale_a_n=moments.scale if moments else None,
        scale_a=expected_scale(params) if single else None,
        mean_norm=float(moments.mean.norm()) if moments else None,
        **shape_columns(params, profile, v, along, moments),
        n_negative=int((found.signs < 0).sum()),
        output_mean=mean if single else None,
        output_cv=spread / abs(mean) if single and mean else None,
        quadrature_error=None if closed else error,
        **columns,
        **arrays(params, v, moments),
        **nothing,
    )
