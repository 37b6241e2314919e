"""Smallest eigenvalue of the NTK Gram matrix of a random network (arXiv 2205.10217, Fig. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from lawsweep import Cost, Field, Infeasible, experiment, stream

FULL = "full"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The network, the data, which kernel, and how its eigenvalue is found."""

    n_samples: Annotated[int, Field("number of samples N", ge=1)]
    input_dim: Annotated[int, Field("input dimension d = n_0", ge=1)]
    width: Annotated[int, Field("units of every hidden layer", ge=1)]
    depth: Annotated[int, Field("number of weight matrices L", ge=2)]
    activation: Annotated[
        Literal[
            "relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "softplus", "erf", "linear"
        ],
        Field("activation of the hidden layers"),
    ]
    bias: Annotated[bool, Field("biases are parameters too, 0 at initialisation")] = False
    kernel: Annotated[str, Field("'full', or the number 1..L of the one layer that counts")] = FULL
    data: Annotated[
        Literal["gaussian", "sphere", "rademacher", "uniform"],
        Field("law of the inputs: independent rows of mean 0 and covariance I"),
    ] = "gaussian"
    beta: Annotated[
        float, Field("scale of the weights, W_l ~ N(0, beta^2 / n_{l-1}), W_L ~ N(0, beta^2)", gt=0)
    ] = 1.0
    dtype: Annotated[
        Literal["float64", "float32"],
        Field("precision; float32 cannot tell a small lambda_min from 0"),
    ] = "float64"
    solver: Annotated[
        Literal["auto", "dense", "cholesky_lanczos"], Field("how lambda_min is found")
    ] = "auto"

    def __post_init__(self) -> None:
        layer = self.kernel
        # One spelling a layer ("2", not "02"): a second one would be a second run id.
        if layer != FULL and layer not in map(str, range(1, self.depth + 1)):
            raise ValueError(
                f"kernel must be {FULL!r} or a layer from 1 to depth={self.depth}, got {layer!r}"
            )

    @property
    def layers(self) -> tuple[int, ...] | None:
        """The layers of the kernel, None for all."""
        return None if self.kernel == FULL else (int(self.kernel),)


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
    zero_reason: Annotated[str | None, Field("why lambda_min is exactly 0, else null")]
    solver_used: Annotated[str, Field("dense, cholesky_lanczos, or exact for a named zero")]
    stop_reason: Annotated[str, Field("why the solver ended")]
    n_iterations: Annotated[int, Field("Lanczos steps")]
    converged: Annotated[bool, Field("lambda_min may be used")]
    certified: Annotated[bool, Field("the lower bound is proved to be tight")]
    sign_trusted: Annotated[
        bool, Field("lambda_min > 0 is proved, or 0 has a reason; rounding of K counted")
    ]


def cost(p: Any) -> Cost:
    """Flops and bytes over arrays of points (leading terms).

    Gram: N^2 sum_l (n_{l-1} + n_l) by symmetry; passes: 4 N p; two factorisations of N^3 / 3,
    and about 70 steps of two triangular solves, N^2 each, which memory traffic makes ten times
    dearer than their flops.
    """
    n, d, w = (np.asarray(a, dtype=np.float64) for a in (p.n_samples, p.input_dim, p.width))
    depth = np.asarray(p.depth, dtype=np.float64)
    full = np.asarray(p.kernel) == FULL
    columns = np.where(full, d + 2.0 * w * (depth - 1.0), np.maximum(d + w, 2.0 * w))
    n_params = d * w + (depth - 2.0) * w * w + w
    passes = 4.0 * n * n_params
    solve = (2.0 / 3.0) * n**3 + 70.0 * 2.0 * 10.0 * n**2
    dense = np.where(np.asarray(p.solver) == "dense", 9.0 * n**3, solve)
    singular = full & (n > n_params + np.asarray(p.bias) * ((depth - 1.0) * w + 1.0))
    flops = passes + np.where(singular, 0.0, columns * n**2 + dense)
    item = np.where(np.asarray(p.dtype) == "float32", 4.0, 8.0)
    squares = np.where(np.asarray(p.solver) == "dense", 4.0, 2.2)
    layers = n * (2.0 * d + 4.0 * w * depth) + 2.0 * n_params
    memory = item * (np.where(singular, 0.0, squares * n**2) + layers) + 2e7
    return Cost(flops=flops, memory_bytes=memory)


@experiment(version=1, cost=cost, reference="arXiv 2205.10217, section 2 and Fig. 1")
def ntk_min_eig(params: Params, seed: int, device: str) -> Metrics:
    """lambda_min(K) at random initialisation, K = sum_l (F_{l-1} F_{l-1}^T) o (B_l B_l^T).

    Raises Infeasible where features or gradients leave the range of ``dtype``: a zero that
    underflow made is no zero of K.
    """
    from lawsweep.kernels import networks, ntk, ntk_rank, sampling
    from lawsweep.kernels.activations import activation

    act, dtype = activation(params.activation), sampling.DTYPES[params.dtype]
    widths = networks.layer_widths(params.input_dim, params.width, params.depth)
    x = sampling.rows(
        params.data, stream(seed, "data"), params.n_samples, params.input_dim, dtype, device
    )
    weights = networks.init_weights(
        widths, stream(seed, "weights"), [params.beta] * params.depth, dtype, device
    )
    biases = [w.new_zeros(w.shape[1]) for w in weights] if params.bias else None
    try:
        lin = ntk.linearise(x, weights, act, biases)
        diagonal = ntk.diagonal(lin, params.layers)
    except ntk.OutOfRangeError as error:
        raise Infeasible(str(error)) from error
    report = ntk_rank.rank_report(lin, act, params.layers)
    facts = {
        "gram_error": ntk.gram_error_bound(lin, params.layers),
        "trace": float(diagonal.sum()),
        "min_diagonal": float(diagonal.min()),
        "n_params": networks.n_params(widths) + (sum(widths[1:]) if params.bias else 0),
        "rank_bound": report.bound,
    }
    if report.zero is not None:
        return _exact_zero(str(report.zero), facts)
    return _solved(ntk.gram(lin, params.layers), params.solver, seed, facts)


def _exact_zero(reason: str, facts: dict[str, Any]) -> Metrics:
    return Metrics(
        lambda_min=0.0,
        lambda_min_lower=0.0,
        lambda_min_upper=0.0,
        residual=0.0,
        lambda_max=None,
        condition_number=None,
        zero_reason=reason,
        solver_used="exact",
        stop_reason=reason,
        n_iterations=0,
        converged=True,
        certified=True,
        sign_trusted=True,
        **facts,
    )


def _solved(matrix: Any, solver: str, seed: int, facts: dict[str, Any]) -> Metrics:
    from lawsweep.kernels.eigmin import smallest_eigenvalue

    found = smallest_eigenvalue(matrix, start=stream(seed, "lanczos"), solver=solver)
    positive = found.value > 0.0
    return Metrics(
        lambda_min=found.value,
        lambda_min_lower=found.lower,
        lambda_min_upper=found.upper,
        residual=found.residual,
        lambda_max=found.lambda_max,
        condition_number=found.lambda_max / found.value if positive else None,
        zero_reason=None,
        solver_used=found.solver,
        stop_reason=str(found.reason),
        n_iterations=found.n_iterations,
        converged=found.converged,
        certified=found.certified,
        sign_trusted=found.lower > facts["gram_error"],
        **facts,
    )
