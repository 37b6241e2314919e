"""Does a deep network of p weights fit N random labels?  Fig. 2 of [M] (arXiv 2205.10217)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from lawsweep import Cost, Field, experiment, stream

if TYPE_CHECKING:
    from lawsweep.kernels.train import Training

_M = "arXiv 2205.10217, Fig. 2"


@dataclass(frozen=True, kw_only=True)
class Params:
    """One network, its data and its training.  The defaults are the protocol of Fig. 2."""

    n_samples: Annotated[int, Field("number of samples N", ge=1)]
    input_dim: Annotated[int, Field("input dimension d", ge=1)]
    width: Annotated[int, Field("units of each hidden layer", ge=1)]
    depth: Annotated[int, Field("number of weight matrices L", ge=1, source=_M)] = 4
    activation: Annotated[
        Literal[
            "relu",
            "leaky_relu",
            "sigmoid",
            "tanh",
            "gelu",
            "silu",
            "softplus",
            "erf",
            "linear",
        ],
        Field("activation of the hidden layers", source=_M),
    ] = "relu"
    data: Annotated[
        Literal["gaussian", "sphere", "rademacher", "uniform"],
        Field("law of the inputs, rows of mean 0 and covariance I", source=_M),
    ] = "gaussian"
    targets: Annotated[
        Literal["gaussian", "signs"], Field("law of the targets, variance 1", source=_M)
    ] = "gaussian"
    optimizer: Annotated[
        Literal["adam", "gd"], Field("full-batch Adam or gradient descent", source=_M)
    ] = "adam"
    learning_rate: Annotated[
        float | None, Field("learning rate; null: 1/(10 sqrt(N))", gt=0, source=_M)
    ] = None
    max_steps: Annotated[int, Field("most training steps", unit="steps", ge=1, source=_M)] = 10_000
    stop_rule: Annotated[
        Literal["paper", "checks", "none"],
        Field(
            "every 100 steps, end if the loss rose: paper, its sum over 100 steps (the authors' "
            "script); checks, its value; none, never",
            source=_M,
        ),
    ] = "paper"
    target_loss: Annotated[float, Field("end once the loss is at most this", ge=0)] = 0.0
    # No sample is off by more than sqrt(N loss): at 1e-6 and N = 10,000, by a tenth of the
    # targets' standard deviation.  So each sample is fitted, not only most; and float32, whose
    # loss bottoms out near 1e-13, can get there.
    memorized_below: Annotated[
        float, Field("best loss at or below which the data count as memorized", gt=0)
    ] = 1e-6
    dtype: Annotated[Literal["float64", "float32"], Field("precision of the training")] = "float64"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What training gave.  Every loss is the mean squared error over the N samples.

    A constant zero has a loss of about 1.
    """

    final_loss: Annotated[float, Field("loss of the last weights; not finite where diverged")]
    figure_loss: Annotated[
        float | None,
        Field(
            "the number whose log10 the paper's figure colours: the loss summed over the last "
            "accepted window of 100 steps, over 50 (so about twice the loss); null before any",
            source=_M,
        ),
    ]
    best_loss: Annotated[float, Field("smallest loss of any step")]
    initial_loss: Annotated[float, Field("loss before training")]
    memorized: Annotated[
        bool,
        Field("best_loss <= memorized_below: weights that fit were met, even if Adam left them"),
    ]
    stop_reason: Annotated[
        str, Field("max_steps, loss_rose, target_reached, zero_gradient or diverged")
    ]
    n_steps: Annotated[int, Field("updates made (to the first non-finite loss)", unit="steps")]
    grad_norm: Annotated[float, Field("norm of the loss's gradient at the last weights")]
    n_dead_samples: Annotated[
        int | None,
        Field(
            "samples for which a hidden layer of the last weights is exactly zero: their output "
            "and its gradient are 0, so they cannot be fitted; null unless relu, or diverged"
        ),
    ]
    n_params: Annotated[int, Field("number of weights p")]


def _cost(p: Any) -> Cost:
    """Matrix products and Adam; what is held at once.

    A step is 2N(3p - n_0 n_1) flops of products, about 20 a weight and 20 a feature elsewhere,
    and a fixed price of some 60 us for its calls, written as the 4e6 flops done meanwhile.  The
    stop rule ends most runs early: on the default grid after some 1,000 steps where N < 0.3 p,
    after 5,000 to 10,000 from N = p on.  (There seconds follow this within a factor of 1.6.)
    """
    deep = p.depth > 1
    hidden = p.width * (p.depth - 1)
    first = p.input_dim * (deep * p.width + (p.depth == 1))
    n_weights = first + deep * ((p.depth - 2) * p.width * p.width + p.width)
    per_step = p.n_samples * (6 * n_weights - 2 * first + 20 * hidden) + 20 * n_weights + 4e6
    rules = p.stop_rule != "none"
    load = p.n_samples / n_weights
    share = 1 - rules * (1 - (0.06 + 0.94 * load**2 / (1 + load**2)))
    itemsize = 8 - 4 * (p.dtype == "float32")
    held = p.n_samples * (p.input_dim + 4 * hidden) + 6 * n_weights
    return Cost(flops=per_step * p.max_steps * share, memory_bytes=itemsize * held)


def _fused(params: Sequence[Params], seeds: Sequence[int], device: str) -> list[Metrics]:
    """Train the networks of several runs at once; they differ in seed and learning rate.

    Each run draws from its own streams, and gets the very bits it gets alone.
    """
    if len(seeds) > 1 and not device.startswith("cpu"):
        # A GPU's batched products may round with the number of seeds, and training amplifies
        # that past the 1e-9 that a fused run owes its solo run: there one by one.
        return [_fused([p], [seed], device)[0] for p, seed in zip(params, seeds, strict=True)]
    import math

    import torch

    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.networks import init_weights, layer_widths, n_params
    from lawsweep.kernels.sampling import DTYPES, rows
    from lawsweep.kernels.train import train

    p = params[0]
    dtype: torch.dtype = DTYPES[p.dtype]
    n, d = p.n_samples, p.input_dim
    widths = layer_widths(d, p.width, p.depth)
    law = "gaussian" if p.targets == "gaussian" else "rademacher"
    draws = [
        (
            rows(p.data, stream(seed, "data"), n, d, dtype, device),
            rows(law, stream(seed, "targets"), n, 1, dtype, device)[:, 0],
            init_weights(widths, stream(seed, "weights"), dtype=dtype, device=device),
        )
        for seed in seeds
    ]
    x, y, weights = zip(*draws, strict=True)
    stacked = torch.stack(x)
    usual = 1.0 / (10.0 * math.sqrt(n))
    result = train(
        stacked,
        torch.stack(y),
        [torch.stack(layer) for layer in zip(*weights, strict=True)],
        activation(p.activation),
        learning_rate=[usual if q.learning_rate is None else q.learning_rate for q in params],
        optimizer=p.optimizer,
        max_steps=p.max_steps,
        stop_rule=p.stop_rule,
        target_loss=p.target_loss,
    )
    dead = _n_dead(stacked, result.weights, p)
    return [_metrics(result, i, p, n_params(widths), dead[i]) for i in range(len(seeds))]


def _metrics(
    result: Training, i: int, params: Params, n_weights: int, n_dead: int | None
) -> Metrics:
    """The metrics of the run at position ``i``."""
    import math

    window, best = float(result.window_loss[i]), float(result.best_loss[i])
    final = float(result.final_loss[i])
    return Metrics(
        final_loss=final,
        figure_loss=None if math.isnan(window) else 2.0 * window,
        best_loss=best,
        initial_loss=float(result.initial_loss[i]),
        memorized=best <= params.memorized_below,
        stop_reason=result.stop_reason[i].value,
        n_steps=int(result.n_steps[i]),
        grad_norm=float(result.grad_norm[i]),
        n_dead_samples=n_dead if math.isfinite(final) else None,
        n_params=n_weights,
    )


@experiment(version=1, cost=_cost, reference=_M, fused=_fused, fuse_over=("learning_rate",))
def memorization(params: Params, seed: int, device: str) -> Metrics:
    """Train one bias-free network on N random points with random targets.

    Streams: ``data`` (inputs), ``targets``, ``weights`` (W_l ~ N(0, 1/n_{l-1}), the last N(0, 1)).
    A run that stops early, diverges or starts dead is a result, told by ``stop_reason``.
    """
    return _fused([params], [seed], device)[0]


def _n_dead(x: Any, weights: list[Any], params: Params) -> list[int | None]:
    """Samples that some hidden ReLU layer maps to zero, x (S, N, d), weights (S, n_in, n_out)."""
    from lawsweep.kernels.activations import activation
    from lawsweep.kernels.networks import forward

    if params.activation != "relu":
        return [None] * len(x)
    found: list[int | None] = []
    for i in range(len(x)):
        features, _ = forward(x[i], [w[i] for w in weights], activation("relu"))
        # A layer of zeros makes all later ones zero, so the last hidden one tells (depth 1: none).
        hidden = features[1:-1]
        found.append(int((hidden[-1] == 0).all(-1).sum()) if hidden else 0)
    return found
