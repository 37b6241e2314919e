"""How well do M nodes stand in for N?  Compression of two-layer networks, [C] arXiv 2205.08199."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from lawsweep import Cost, Field, Infeasible, experiment, stream

if TYPE_CHECKING:
    from torch import Tensor

    from lawsweep.kernels.compression_solve import Compression
    from lawsweep.kernels.compression_theory import TargetMoments
    from lawsweep.kernels.minimise import Solver

_C = "arXiv 2205.08199"
# E a of each law of the target's output weights.  Where it is 0 there is no mean-field limit.
_MEAN_OUTPUT = {"ones": 1.0, "uniform": 1.0, "gaussian": 0.0, "signs": 0.0}
_ISOTROPIC = ("sphere", "gaussian")


@dataclass(frozen=True, kw_only=True)
class Params:
    """A target (1/N) sum_i a_i relu(<w_i, x>), x ~ N(0, I_d), and M nodes to fit it with."""

    input_dim: Annotated[int, Field("input dimension d", ge=1)]
    n_target: Annotated[
        int | None, Field("nodes N of the target; null when objective is simplified", ge=1)
    ]
    n_compressed: Annotated[int, Field("nodes M of the compressed network", ge=1)]
    activation: Annotated[Literal["relu"], Field("activation", source=_C)] = "relu"
    target_rows: Annotated[
        Literal["sphere", "gaussian", "rademacher", "uniform"],
        Field("law of the target's rows w_i, of mean 0 and covariance I/d, so |w| is about 1"),
    ] = "sphere"
    centre_rows: Annotated[
        bool, Field("subtract the rows' mean (rows are not normalised again)")
    ] = False
    target_outputs: Annotated[
        Literal["ones", "uniform", "gaussian", "signs"],
        Field("law of the output weights a_i: 1, U(0, 2), N(0, 1) or +-1"),
    ] = "ones"
    objective: Annotated[
        Literal["population", "simplified"],
        Field("loss against the target, or with the target's directions averaged", source=_C),
    ] = "population"
    signs: Annotated[
        Literal["auto", "mean", "search"],
        Field(
            "signs of the compressed nodes: mean, all that of sum a_i|w_i|; search, every count "
            "of minus signs; auto, search where the a_i have both signs, else mean"
        ),
    ] = "auto"
    start: Annotated[
        Literal["frame", "random"],
        Field("first restart: the ETF that theory suggests (M <= d + 1), or random as the others"),
    ] = "frame"
    n_restarts: Annotated[int, Field("restarts (of each sign pattern)", ge=1)] = 3
    solver: Annotated[
        Literal["auto", "newton", "newton_cg"],
        Field(
            "trust-region Newton with a dense Hessian or with products; auto: dense to Md = 800, "
            "but products where the simplified optimum is known (M <= d + 1)"
        ),
    ] = "auto"
    tol: Annotated[
        float | None,
        Field(
            "converged at |gradient| <= tol * sum_i |a_i||w_i|/N; null: 1e-10, but 64 eps "
            "(7.6e-6) in float32, whose gradients are rounding below about eps",
            gt=0,
        ),
    ] = None
    max_iterations: Annotated[int, Field("most trust-region steps", ge=1)] = 300
    target_norm_method: Annotated[
        Literal["exact", "skip"], Field("T_N = E f^2 by its N^2 kernels, or not (loss is null)")
    ] = "exact"
    dtype: Annotated[Literal["float64", "float32"], Field("precision")] = "float64"

    def __post_init__(self) -> None:
        if self.objective == "simplified":
            if self.n_target is not None or self.centre_rows:
                raise ValueError(
                    "objective 'simplified' averages the target away, so n_target must be null "
                    f"and centre_rows false, got {self.n_target} and {self.centre_rows}"
                )
            if _MEAN_OUTPUT[self.target_outputs] == 0.0:
                raise ValueError(
                    f"target_outputs {self.target_outputs!r} has mean 0, where the simplified "
                    "objective is least at zero; choose ones or uniform"
                )
        elif self.n_target is None:
            raise ValueError("objective 'population' needs n_target, the nodes of the target")
        elif self.n_compressed > self.n_target:
            raise ValueError(
                f"n_compressed must be at most n_target, got {self.n_compressed} and "
                f"{self.n_target}"
            )


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The best of the restarts, what theory expects, and why the number may be believed."""

    loss: Annotated[
        float | None,
        Field(
            "E (f - g)^2 = T_N + J, 0 where rounding, (16 + N/2) eps (T_N - J), made it negative"
        ),
    ]
    objective_value: Annotated[float, Field("J = loss - T_N at the best restart")]
    target_norm: Annotated[float | None, Field("T_N = E f^2 (simplified: A^2 D_d)")]
    loss_limit: Annotated[
        float | None, Field("L* = A_N^2 D_d (1 - 2 pi D_d/K_M) at the target's own A_N")
    ]
    loss_limit_population: Annotated[float | None, Field("L* at the expected A")]
    limit_is_exact: Annotated[
        bool,
        Field(
            "M <= d + 1, A not 0 and rows isotropic; else L* is a lower bound of the limit, "
            "or (rows not isotropic) the limit of large d"
        ),
    ]
    gap: Annotated[float | None, Field("min J + 2 pi A_N^2 D_d^2/K_M, signed; null where A = 0")]
    predicted_gap: Annotated[
        float | None, Field("p1 + pm to first order, derived here, for 3 <= M <= d + 1")
    ]
    predicted_frame_gap: Annotated[float | None, Field("p1, from the top M-1 eigenvalues of E_N")]
    predicted_mean_gap: Annotated[float | None, Field("pm, from |m|")]
    top_eigenvalue_sum: Annotated[
        float | None, Field("sum of the top M-1 (at most d) eigenvalues of E_N")
    ]
    scale_a_n: Annotated[float | None, Field("A_N = sum_i a_i |w_i| / N")]
    scale_a: Annotated[
        float | None, Field("A = E a|w|; null with centre_rows, where it depends on N")
    ]
    mean_norm: Annotated[float | None, Field("|m|, m = sum_i a_i w_i / N")]
    etf_rms: Annotated[float | None, Field("rms distance of the cosines from -1/(M-1)")]
    etf_max: Annotated[float | None, Field("largest distance of the cosines from -1/(M-1)")]
    cos_min: Annotated[float | None, Field("least cosine between two compressed rows")]
    cos_max: Annotated[float | None, Field("largest cosine between two compressed rows")]
    norm_mean: Annotated[float, Field("mean norm of the compressed rows v_j = b_j theta_j/M")]
    norm_cv: Annotated[float, Field("their standard deviation over their mean")]
    sum_norm: Annotated[float, Field("|sum_j v_j|")]
    cos_sum_mean: Annotated[float | None, Field("cosine of sum_j v_j and m")]
    span_overlap: Annotated[
        float | None, Field("share of the rows' M-1 directions in the top of E_N; 1: all")
    ]
    n_negative: Annotated[int, Field("minus signs among the compressed nodes")]
    grad_norm: Annotated[float, Field("|gradient| of J over sum_i |a_i||w_i|/N")]
    hessian_min: Annotated[
        float | None, Field("least eigenvalue of J's Hessian; null with newton_cg")
    ]
    n_iterations: Annotated[int, Field("trust-region steps of the best restart", unit="steps")]
    n_restarts_converged: Annotated[int, Field("restarts that converged")]
    n_restarts_agreeing: Annotated[int, Field("converged restarts that share the best loss")]
    n_minima: Annotated[int, Field("distinct losses among the converged restarts")]
    converged: Annotated[bool, Field("the best restart met tol (newton: with no saddle left)")]
    stop_reason: Annotated[
        str, Field("converged, max_iterations, stalled, non_finite or collapsed")
    ]


def _cost(p: Any) -> Cost:
    """Some 20 Newton steps over the restarts, then T_N.

    A step is one weighted Gram of the target rows a node (2 N d^2) and one eigendecomposition of
    (M d)^2 unknowns, about 5 (M d)^3; past 800 unknowns some 60 products with the Hessian
    (8 N M d) instead.  Each entry of T_N costs its product, 2d, and about 30 for the arcsine.
    A sign search multiplies the restarts by M + 1.
    """
    import numpy as np

    n = np.nan_to_num(np.asarray(p.n_target, dtype=np.float64))
    both = (np.asarray(p.target_outputs) == "gaussian") | (np.asarray(p.target_outputs) == "signs")
    search = (np.asarray(p.signs) == "search") | ((np.asarray(p.signs) == "auto") & both)
    restarts = np.asarray(p.n_restarts) * np.where(search, p.n_compressed + 1.0, 1.0)
    unknowns = 1.0 * p.n_compressed * p.input_dim
    choice = np.asarray(p.solver)
    known = (n == 0) & (np.asarray(p.n_compressed) <= np.asarray(p.input_dim) + 1)
    dense = (choice == "newton") | ((choice == "auto") & (unknowns <= 800) & ~known)
    gram = 2.0 * n * p.input_dim * unknowns
    step = np.where(dense, gram + 5.0 * unknowns**3, 60 * 8.0 * (n + p.n_compressed) * unknowns)
    exact = np.asarray(p.target_norm_method) == "exact"
    norm = np.where(exact, 0.5 * n * n * (2.0 * p.input_dim + 30.0), 0.0)
    itemsize = np.where(np.asarray(p.dtype) == "float64", 8.0, 4.0)
    held = 3 * n * p.input_dim + restarts * np.where(
        dense, 4 * unknowns**2, 4 * n * p.n_compressed + 4 * unknowns
    )
    return Cost(flops=20 * restarts * step + norm, memory_bytes=itemsize * (held + 4e6))


@experiment(version=1, cost=_cost, reference=_C)
def compression(params: Params, seed: int, device: str) -> Metrics:
    """Fit M nodes to a target of N by the population loss in closed form, from several starts.

    Streams: ``target_rows``, ``target_outputs``, ``restarts``.  The rows of a larger target
    extend those of a smaller one.  At M > d + 1 the frame formula is a lower bound only
    (``limit_is_exact`` false).  Raises Infeasible for a target that is zero.
    """
    if params.objective == "simplified":
        return _simplified(params, seed, device)
    return _population(params, seed, device)


def _target(params: Params, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """Rows w (N, d) and alpha = a/N (N,)."""
    import torch

    from lawsweep.kernels.sampling import DTYPES, rows

    n, d = params.n_target or 0, params.input_dim
    w = rows(params.target_rows, stream(seed, "target_rows"), n, d) / d**0.5
    if params.centre_rows:
        w = w - w.mean(0)
    rng = stream(seed, "target_outputs")
    if params.target_outputs == "ones":
        a = torch.ones(n, dtype=torch.float64)
    elif params.target_outputs == "uniform":
        a = torch.from_numpy(rng.uniform(0.0, 2.0, n))
    elif params.target_outputs == "gaussian":
        a = torch.from_numpy(rng.standard_normal(n))
    else:
        a = torch.from_numpy(2.0 * rng.integers(0, 2, n) - 1.0)
    dtype = DTYPES[params.dtype]
    return w.to(device=device, dtype=dtype), (a / n).to(device=device, dtype=dtype)


def _tolerance(params: Params) -> float:
    """``tol``, or by default the larger of 1e-10 and 64 eps: the latter counts in float32 only.

    A gradient sums terms of total size sum_i |a_i||w_i|/N, each rounded to eps, so eps of that is
    the least one can ask for (measured in float32: gradients stall at 0.3 to 15 eps).  64 leaves
    room for long sums, as for the least curvature that counts as negative (``minimise``).
    """
    import torch

    from lawsweep.kernels.sampling import DTYPES

    if params.tol is not None:
        return params.tol
    return max(1e-10, 64 * float(torch.finfo(DTYPES[params.dtype]).eps))


def _expected_scale(params: Params) -> float | None:
    """A = E a|w|; None where the rows' mean is taken off, which makes it depend on N."""
    from lawsweep.kernels.compression_theory import expected_norm

    if params.centre_rows:
        return None
    mean = _MEAN_OUTPUT[params.target_outputs]
    return mean * expected_norm(params.target_rows, params.input_dim)


def _population(params: Params, seed: int, device: str) -> Metrics:
    from lawsweep.kernels.compression import PopulationLoss, target_norm
    from lawsweep.kernels.compression_solve import (
        frame_start,
        random_starts,
        sign_patterns,
        solve,
    )
    from lawsweep.kernels.compression_theory import target_moments

    w, alpha = _target(params, seed, device)
    moments = target_moments(w, alpha)
    scale = float(alpha.abs() @ w.norm(dim=-1))
    if scale == 0.0:
        raise Infeasible("the target is zero: all its rows or output weights are zero")
    m, d, n = params.n_compressed, params.input_dim, params.n_restarts
    both = bool((alpha < 0).any()) and bool((alpha > 0).any())
    search = params.signs == "search" or (params.signs == "auto" and both)
    patterns = sign_patterns(m, moments.scale, search)
    # Where the output weights cancel, A_N says nothing of the size of the optimum's rows.
    size = max(abs(moments.scale), 0.3 * scale)
    starts = random_starts(stream(seed, "restarts"), n * len(patterns), m, d, size)
    if params.start == "frame" and m <= d + 1:
        turned = moments.mean if moments.scale >= 0 else -moments.mean
        starts[0] = frame_start(m, size, turned, moments.eigenvectors).cpu()
    signs = patterns.repeat_interleave(n, 0).to(w)
    found = solve(
        PopulationLoss(w, alpha, signs),
        starts.to(w),
        scale=scale,
        tol=_tolerance(params),
        max_iterations=params.max_iterations,
        solver=None if params.solver == "auto" else params.solver,
    )
    norm = target_norm(w, alpha) if params.target_norm_method == "exact" else None
    return _metrics(params, found, scale, norm, moments)


def _simplified(params: Params, seed: int, device: str) -> Metrics:
    import torch

    from lawsweep.kernels.arccos import RELU
    from lawsweep.kernels.compression import SimplifiedLoss
    from lawsweep.kernels.compression_solve import random_starts, sign_patterns, solve
    from lawsweep.kernels.compression_theory import frame_norm, simplex_frame
    from lawsweep.kernels.sampling import DTYPES

    m, d, n = params.n_compressed, params.input_dim, params.n_restarts
    a = _expected_scale(params)
    assert a is not None  # Params refuses centre_rows here
    patterns = sign_patterns(m, a, params.signs == "search")
    starts = random_starts(stream(seed, "restarts"), n * len(patterns), m, d, a)
    if params.start == "frame" and m <= d + 1:
        starts[0] = frame_norm(a, d, m) * simplex_frame(m, torch.eye(d, dtype=torch.float64))
    dtype = DTYPES[params.dtype]
    signs = patterns.repeat_interleave(n, 0).to(device=device, dtype=dtype)
    # For M <= d + 1 the bound L* proves an optimum; no Hessian's eigenvalues are needed.
    auto: Solver | None = "newton_cg" if m <= d + 1 else None
    found = solve(
        SimplifiedLoss(a, d, signs),
        starts.to(device=device, dtype=dtype),
        scale=a,
        tol=_tolerance(params),
        max_iterations=params.max_iterations,
        solver=auto if params.solver == "auto" else params.solver,
    )
    return _metrics(params, found, a, a * a * RELU.mean_factor(d), None)


def _metrics(
    params: Params,
    found: Compression,
    scale: float,
    norm: float | None,
    moments: TargetMoments | None,
) -> Metrics:
    import math

    from lawsweep.kernels.compression_solve import geometry
    from lawsweep.kernels.compression_theory import (
        difference,
        limit_loss,
        mean_field_objective,
        predicted_gap,
        sum_rounding,
    )

    m, d, best = params.n_compressed, params.input_dim, found.agreement.best
    a = _expected_scale(params)
    has_limit = _MEAN_OUTPUT[params.target_outputs] != 0.0
    own = moments.scale if moments is not None else a
    value = float(found.result.loss[best])
    rounding = sum_rounding(params.n_target or 1, found.v.dtype)
    curvature = float(found.result.curvature_min[best])
    predicted = predicted_gap(moments, m) if moments is not None and has_limit else None
    shape = geometry(found.v, *((moments.mean, moments.eigenvectors) if moments else ()))
    return Metrics(
        loss=None if norm is None else difference(norm, -value, rounding),
        objective_value=value,
        target_norm=norm,
        loss_limit=limit_loss(moments.scale, d, m) if moments and has_limit else None,
        loss_limit_population=limit_loss(a, d, m) if a is not None and has_limit else None,
        limit_is_exact=has_limit
        and m <= d + 1
        and (params.objective == "simplified" or params.target_rows in _ISOTROPIC),
        gap=value - mean_field_objective(own, d, m) if own is not None and has_limit else None,
        predicted_gap=None if predicted is None else sum(predicted),
        predicted_frame_gap=None if predicted is None else predicted[0],
        predicted_mean_gap=None if predicted is None else predicted[1],
        top_eigenvalue_sum=float(moments.eigenvalues[: m - 1].sum()) if moments else None,
        scale_a_n=moments.scale if moments else None,
        scale_a=a,
        mean_norm=float(moments.mean.norm()) if moments else None,
        etf_rms=shape.etf_rms,
        etf_max=shape.etf_max,
        cos_min=shape.cos_min,
        cos_max=shape.cos_max,
        norm_mean=shape.norm_mean,
        norm_cv=shape.norm_cv,
        sum_norm=shape.sum_norm,
        cos_sum_mean=shape.cos_sum_mean,
        span_overlap=shape.span_overlap,
        n_negative=int((found.signs < 0).sum()),
        grad_norm=float(found.result.grad_norm[best]) / scale,
        hessian_min=None if math.isnan(curvature) else curvature,
        n_iterations=int(found.result.n_iterations[best]),
        n_restarts_converged=int(found.result.converged.sum()),
        n_restarts_agreeing=found.agreement.n_agreeing,
        n_minima=found.agreement.n_minima,
        converged=bool(found.result.converged[best]),
        stop_reason=str(found.reason),
    )
