"""What rows said in words before reasons were codes, and the codes (``Field.aliases``).

The codes are those of ``kernels.ntk.rank``, ``kernels.ntk.change`` and ``kernels.eigmin.result``; a
test holds them to that.  Rows of before stay as they are, so nothing here is ever taken away.
"""

ZERO_ALIASES = {
    "n_samples exceeds the rank bound": "rank",
    "duplicate samples": "duplicate",
    "samples x and -x under an odd activation without bias": "antipodal",
    "samples x and c x under a homogeneous activation without bias": "parallel",
    "a sample has zero gradient": "zero_gradient",
    "two samples with the same layer off have equal gradients": "equal_dead",
    "more samples in one linear region than input dimensions": "crowded_region",
}
END_ALIASES = ZERO_ALIASES | {
    "Lanczos met its iteration limit; raise max_iterations or take solver=dense": "max_iterations",
    "the residual exceeds its rounding level; take solver=dense or float64": "large_residual",
    "Lanczos missed a smaller eigenvalue; take another start vector or solver=dense": (
        "not_smallest"
    ),
    "lambda_min lies at the rounding level of the matrix: neither value nor sign is known": (
        "numerically_singular"
    ),
    "lambda_min lies at the rounding level of the Jacobian: its value is not known": (
        "numerically_singular"
    ),
    "rounding leaves more than a hundredth of lambda_min open: trust the bounds, not the value": (
        "unresolved"
    ),
    "Davidson met its limit of products; raise max_matvecs or max_basis": "max_matvecs",
    "the residual is at the rounding level of K v; take float64, or a larger tol": "rounding",
    "two random starts came to different eigenvalues; take a smaller tol": "starts_disagree",
    **{
        f"the network's {what} leave the range of float64; rescale the weights (or take float64)": (
            "out_of_range"
        )
        for what in ("features", "backprops", "squared gradient norms")
    },
}
