"""What a row of ntk_min_eig says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lawsweep import Array, Field
from lawsweep.experiments.aliases import END_ALIASES, ZERO_ALIASES
from lawsweep.kernels.eigmin import solvers


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """lambda_min with its evidence; None where nothing was solved (an exact zero)."""

    lambda_min: Annotated[float, Field("smallest eigenvalue of the Gram matrix K")]
    lambda_min_lower: Annotated[float, Field("proved lower bound on lambda_min of the stored K")]
    lambda_min_upper: Annotated[float, Field("proved upper bound on lambda_min of the stored K")]
    residual: Annotated[float, Field("norm of K v - lambda_min v for the unit vector v found")]
    gram_error: Annotated[float, Field("worst-case rounding error of K in spectral norm, given F")]
    lambda_max: Annotated[float | None, Field("largest eigenvalue of K")]
    condition_number: Annotated[float | None, Field("lambda_max / lambda_min where positive")]
    trace: Annotated[float, Field("trace of K, the sum of squared gradient norms")]
    min_diagonal: Annotated[float, Field("smallest diagonal entry of K, an upper bound too")]
    n_params: Annotated[int, Field("number of trainable parameters p of the whole network")]
    rank_bound: Annotated[int, Field("largest rank K can have (live units only)")]
    zero_reason: Annotated[
        str | None,
        Field(
            "why lambda_min is exactly 0: rank, duplicate, antipodal, parallel, zero_gradient, "
            "equal_dead or crowded_region; else null",
            aliases=ZERO_ALIASES,
        ),
    ]
    solver_used: Annotated[
        str,
        Field(f"{', '.join(solvers.names())}, or exact for a named zero"),
    ]
    stop_reason: Annotated[
        str,
        Field(
            "why the solver ended: the zero_reason, converged, numerically_singular, unresolved, "
            "max_iterations, large_residual, not_smallest; of a matrix-free one also max_matvecs, "
            "rounding, starts_disagree",
            aliases=END_ALIASES,
        ),
    ]
    n_iterations: Annotated[int, Field("Lanczos steps", chaotic=True)]
    converged: Annotated[
        bool,
        Field("lambda_min may be used: what is known of it is not wider than a hundredth of it"),
    ]
    certified: Annotated[
        bool,
        Field("proved to a hundredth: upper - lower, and K's rounding, within lambda_min / 100"),
    ]
    sign_trusted: Annotated[
        bool, Field("lambda_min > 0 is proved, or 0 has a reason; rounding of K counted")
    ]
    lambda_min_limit: Annotated[
        float | None,
        Field(
            "constant that lambda_min tends to for wide layers and n_{l-1} << N << n_{l-1} n_l "
            "(derived, approached slowly); null where the data or the kernel have none"
        ),
    ] = None
    lambda_min_infinite_width: Annotated[
        float | None,
        Field("lambda_min of the infinite-width kernel on these samples, NaN if not known to 1e-3"),
    ] = None
    infinite_width_error: Annotated[
        float | None,
        Field(
            "bound on the error of lambda_min_infinite_width: its bracket, and the kernel's "
            "rounding and truncated series; 0 for an exact zero, NaN where nothing was proved"
        ),
    ] = None
    data_digest: Annotated[
        str | None, Field("BLAKE2b hash of the data's content where it was given, not drawn")
    ] = None
    lowest_complete: Annotated[
        bool | None, Field("proved: none is missing among lowest_eigenvalues")
    ] = None
    lowest_eigenvalues: Annotated[
        Array | None,
        Field(
            "the n_lowest smallest eigenvalues of K, ascending; 0 where the rank says so, NaN "
            "where not known to a hundredth"
        ),
    ] = None
    lowest_residuals: Annotated[
        Array | None, Field("norm of K v - lambda v of each of lowest_eigenvalues")
    ] = None
    spectrum: Annotated[
        Array | None,
        Field("all eigenvalues of K, ascending; those of the size of gram_error are rounding"),
    ] = None
