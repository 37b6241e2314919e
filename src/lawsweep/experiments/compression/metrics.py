"""Metrics of ``compression``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lawsweep import Array, Field


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The best of the restarts, what theory expects, and why the number may be believed.

    The theory is that of homogeneous activations with absorbed outputs; elsewhere it is null.
    """

    loss: Annotated[
        float | None,
        Field(
            "E (f - g)^2 = T_N + J, 0 where rounding, (16 + N/2) eps (T_N - J), made it negative"
        ),
    ]
    objective_value: Annotated[float, Field("J = loss - T_N at the best restart")]
    target_norm: Annotated[float | None, Field("T_N = E f^2 (simplified: A^2 D_d)")]
    target_norm_se: Annotated[
        float | None, Field("standard error of T_N, and so of the loss; null unless sampled")
    ]
    loss_limit: Annotated[
        float | None, Field("L* = A_N^2 D_d (1 - 2 pi D_d/K_M) at the target's own A_N")
    ]
    loss_limit_population: Annotated[float | None, Field("L* at the expected A")]
    limit_is_exact: Annotated[
        bool,
        Field(
            "M <= d + 1 (cosines above -1/(M-1): M <= d), A not 0 and rows isotropic; else L* is "
            "a lower bound of the limit, or (rows not isotropic) the limit of large d"
        ),
    ]
    mean_field_value: Annotated[float | None, Field("p0 = -2 pi A_N^2 D_d^2/K_M, the limit of J")]
    gap: Annotated[float | None, Field("min J + 2 pi A_N^2 D_d^2/K_M, signed; null where A = 0")]
    predicted_gap: Annotated[
        float | None, Field("p1 + pm to first order, derived here, for 3 <= M <= d + 1")
    ]
    predicted_frame_gap: Annotated[float | None, Field("p1, from the top M-1 eigenvalues of E_N")]
    predicted_mean_gap: Annotated[float | None, Field("pm, from |m|")]
    gap_ratio: Annotated[float | None, Field("gap over predicted_gap")]
    reduced_gap: Annotated[
        float | None,
        Field(
            "the gap of the reduced objective (A_N, m, E_N to all orders; its minimum nearest to "
            "the optimum), derived here; null unless prediction is reduced and it converged"
        ),
    ]
    reduced_ratio: Annotated[float | None, Field("gap over reduced_gap")]
    top_eigenvalue_sum: Annotated[
        float | None, Field("sum of the top M-1 (at most d) eigenvalues of E_N")
    ]
    scale_a_n: Annotated[float | None, Field("A_N = sum_i a_i |w_i| / N")]
    scale_a: Annotated[
        float | None,
        Field("A = E a|w|; null with centre_rows, where it depends on N, and with row_mean"),
    ]
    mean_norm: Annotated[float | None, Field("|m|, m = sum_i a_i w_i / N")]
    etf_rms: Annotated[
        float | None,
        Field(
            "rms distance of the cosines from the frame's, -1/(M-1) for ReLU; null where no frame "
            "is known: M past what R^d holds, E a = 0, rows with a mean, outputs of both signs, "
            "erf and tanh, sigmoid at M > 2"
        ),
    ]
    etf_max: Annotated[float | None, Field("largest distance of the cosines from the frame's")]
    etf_frobenius: Annotated[
        float | None, Field("|G - G_frame|_F/|G_frame|_F of the matrices of all cosines")
    ]
    cos_min: Annotated[float | None, Field("least cosine between two compressed rows")]
    cos_max: Annotated[float | None, Field("largest cosine between two compressed rows")]
    norm_mean: Annotated[float, Field("mean norm of the compressed rows v_j = b_j theta_j/M")]
    norm_cv: Annotated[float, Field("their standard deviation over their mean")]
    sum_norm: Annotated[float, Field("|sum_j v_j|")]
    cos_sum_mean: Annotated[
        float | None, Field("cosine of sum_j v_j and m; null for abs, whose rows have no sign")
    ]
    span_overlap: Annotated[
        float | None,
        Field(
            "share of the rows' M-1 directions (abs: M) in the top of E_N; 1: all; null where the "
            "frame is no simplex"
        ),
    ]
    turned_frame_gap: Annotated[
        float | None, Field("J of the simplified optimum turned at random (mean of 16), less p0")
    ]
    turned_frame_sd: Annotated[float | None, Field("standard deviation of that over the turns")]
    spectral_frame_gap: Annotated[
        float | None, Field("J of the simplified optimum in the top directions of E_N, less p0")
    ]
    best_frame_gap: Annotated[
        float | None, Field("J of the best ETF near the optimum, less p0; null: not converged")
    ]
    sup_error: Annotated[
        float | None, Field("sup over |v| = 1 of |h_N(v) - A_N D_d| as found from 24 starts")
    ]
    n_negative: Annotated[int, Field("minus signs among the compressed nodes")]
    output_mean: Annotated[float | None, Field("mean of b_j (K = 1), trained or fixed outputs")]
    output_cv: Annotated[float | None, Field("standard deviation of b_j over |their mean|")]
    quadrature_error: Annotated[
        float | None, Field("bound of the Hermite series' error in the loss; null: closed form")
    ]
    grad_norm: Annotated[float, Field("|gradient| of J over sum_i |a_i||w_i|/N")]
    hessian_min: Annotated[
        float | None, Field("least eigenvalue of J's Hessian; null with newton_cg and lbfgs")
    ]
    n_iterations: Annotated[
        int, Field("trust-region steps of the best restart", unit="steps", chaotic=True)
    ]
    n_restarts_converged: Annotated[int, Field("restarts that converged")]
    n_restarts_agreeing: Annotated[int, Field("converged restarts that share the best loss")]
    n_minima: Annotated[int, Field("distinct losses among the converged restarts")]
    n_starts: Annotated[int | None, Field("restarts made, of all sign patterns together")]
    chance_better: Annotated[
        float | None,
        Field(
            "estimated chance that one more start ends below the best: 1/((R + 1) k) of R "
            "converged restarts, k of them at the best (a bound at k = 1, seen to be one beyond); "
            "null: none converged"
        ),
    ]
    converged: Annotated[bool, Field("the best restart met tol (newton: with no saddle left)")]
    stop_reason: Annotated[
        str,
        Field(
            "converged, max_iterations, stalled, non_finite, collapsed, quadrature, or growing: "
            "out of steps with rows more than twice as long as the target's, as where the least "
            "loss is not attained (gelu, silu and elu with trained outputs: s -> inf of "
            "silu(s z)/s is relu)"
        ),
    ]
    cosines: Annotated[Array | None, Field("cosines of the compressed rows, (M, M)")] = None
    spectrum: Annotated[Array | None, Field("eigenvalues of E_N, largest first, (d,)")] = None
    rows: Annotated[Array | None, Field("compressed rows v_j, (M, d)")] = None
