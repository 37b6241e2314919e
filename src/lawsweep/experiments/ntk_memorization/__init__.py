"""Does the NTK at initialisation memorize?  The construction of [M] (arXiv 2205.10217)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from lawsweep import Cost, Field, experiment, stream
from lawsweep.experiments.aliases import ZERO_ALIASES
from lawsweep.experiments.columns import BETWEEN, over_structures
from lawsweep.experiments.fields import Activation, InputDim, RowLaw, Samples, check_choices

_M = "arXiv 2205.10217"


@dataclass(frozen=True, kw_only=True)
class Params:
    """A network at its initialisation, and data for a network of twice its widths to fit."""

    n_samples: Samples
    input_dim: InputDim
    width: Annotated[int, Field("units of each hidden layer, before doubling", ge=1)]
    depth: Annotated[int, Field("number of weight matrices L", ge=1, source=_M)] = 4
    activation: Annotated[Activation, Field("activation of the hidden layers", source=_M)] = "relu"
    data: Annotated[
        RowLaw,
        Field("law of the inputs, rows of mean 0 and covariance I"),
    ] = "gaussian"
    targets: Annotated[Literal["gaussian", "signs"], Field("law of the targets, variance 1")] = (
        "gaussian"
    )
    eps: Annotated[
        float, Field("largest scale of the step tried; it is shrunk until Newton converges", gt=0)
    ] = 1.0
    tolerance: Annotated[float, Field("largest error of a fit, over the largest target", gt=0)] = (
        1e-6
    )

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What the construction gave, and why it may be believed."""

    memorized: Annotated[
        bool, Field("the network built fits every sample: residual <= tolerance max|y|")
    ]
    residual: Annotated[
        float | None,
        Field("largest error of the network built, by its own forward pass; null without one"),
    ]
    rounding: Annotated[
        float | None, Field("root mean square error that rounding leaves, to first order")
    ]
    eps_used: Annotated[float, Field("scale of the step at which it ended")]
    n_steps: Annotated[int, Field("Newton steps at that scale", unit="steps")]
    n_shrunk: Annotated[int, Field("how often the scale was shrunk, by 16")]
    distance: Annotated[
        float | None, Field("Euclidean norm of the step from the initial weights; null without one")
    ]
    stop_reason: Annotated[str, Field("converged, singular_kernel, rounding or out_of_range")]
    zero_reason: Annotated[
        str | None,
        Field("why lambda_min is exactly 0; null where it is not", aliases=ZERO_ALIASES),
    ]
    lambda_min: Annotated[
        float | None,
        Field(
            "smallest eigenvalue of the NTK at the initial weights; null where rounding leaves "
            "more than a hundredth of it open"
        ),
    ]
    lambda_min_lower: Annotated[
        float | None, Field("proved lower bound on it; -inf where nothing was proved")
    ]
    lambda_min_upper: Annotated[float | None, Field("upper bound: its Rayleigh quotient")]
    lambda_min_positive: Annotated[
        bool | None, Field("whether it is proved positive, the kernel's rounding included")
    ]
    n_params: Annotated[int, Field("number of weights p, before doubling")]
    n_params_built: Annotated[int, Field("nonzero weights of the network built, at most")]


def _cost(p: Any) -> Cost:
    """A Gram, three factorisations (Newton's, and two of the proof), Lanczos and Newton steps."""
    n = np.asarray(p.n_samples, dtype=np.float64)
    columns, weights = over_structures(_sizes, (p.depth,), (p.input_dim, p.width))
    flops = n**2 * columns + n**3 + 3000.0 * n**2 + 400.0 * n * weights + 1e8
    regular = n <= weights
    work = {
        "matmul_float64": 4.0 * n * weights + regular * (n**2 * columns + 400.0 * n * weights),
        "cholesky_float64": regular * n**3,
        "solve_float64": regular * 150.0 * 2.0 * n**2,
        "bandwidth": 8.0 * (10.0 * n * columns + regular * 60.0 * n**2),
        "launch": BETWEEN * (100.0 + regular * 2000.0),
        "draws": n * p.input_dim + n + weights,
    }
    return Cost(
        flops=np.where(regular, flops, 4.0 * n * weights),
        memory_bytes=8.0 * (np.where(regular, 3.2 * n**2, 0.0) + 4.0 * n * columns),
        work=work,
    )


def _sizes(depth: int, input_dim: Any, width: Any) -> tuple[Any, ...]:
    """(numbers a sample of the Gram's factors, weights)."""
    from lawsweep.kernels.network.network import Network

    network = Network.equal(input_dim, width, depth, "linear")
    return network.kept + 1.0, network.n_weights


# Version 2: lambda_min is null where it is not known to a hundredth, and more zeros are named.  A
# bracket is no narrower than N u tr(K), and K's own rounding some few times that.
_SAME_SINCE_1 = (
    "data in ('gaussian', 'sphere', 'uniform') and input_dim > 1 and (zero_reason != None "
    "or lambda_min_upper - lambda_min_lower <= lambda_min/10000)"
)


@experiment(
    version=2,
    carries={1: _SAME_SINCE_1},
    cost=_cost,
    reference=_M,
    imports=["lawsweep.kernels.ntk.change", "lawsweep.kernels.ntk.construction"],
)
def ntk_memorization(params: Params, seed: int, device: str) -> Metrics:
    """Fit random targets by the NTK at initialisation, with a network of twice the widths.

    Streams as in memorization: ``data``, ``targets``, ``weights``; ``lanczos`` starts the
    eigensolver.
    """
    from lawsweep.kernels.data import sampling
    from lawsweep.kernels.network.init import init_weights
    from lawsweep.kernels.network.network import Network
    from lawsweep.kernels.ntk import change as kernel_change
    from lawsweep.kernels.ntk import construction as ntk_construction

    n, d = params.n_samples, params.input_dim
    x = sampling.rows(params.data, stream(seed, "data"), n, d, device=device)
    law = "gaussian" if params.targets == "gaussian" else "rademacher"
    y = sampling.rows(law, stream(seed, "targets"), n, 1, device=device)[:, 0]
    network = Network.equal(d, params.width, params.depth, params.activation)
    weights = init_weights(network, stream(seed, "weights"), device=device)
    found = ntk_construction.construct(
        network, x, y, weights, eps=params.eps, tolerance=params.tolerance
    )
    end = kernel_change.kernel_end(
        network, x, weights, start=stream(seed, "lanczos"), matrix=found.gram
    )
    built = found.weights is not None
    fits = built and found.residual <= params.tolerance * float(y.abs().max())
    p = network.n_params
    return Metrics(
        memorized=fits,
        residual=found.residual if built else None,
        rounding=None if np.isnan(found.rounding) else found.rounding,
        eps_used=found.eps,
        n_steps=found.n_steps,
        n_shrunk=found.n_shrunk,
        distance=found.distance if built else None,
        stop_reason=found.reason.value,
        zero_reason=None if found.zero is None else found.zero.value,
        lambda_min=end.value,
        lambda_min_lower=end.lower,
        lambda_min_upper=end.upper,
        lambda_min_positive=end.positive,
        n_params=p,
        n_params_built=2 * p if params.depth > 1 else p,
    )
