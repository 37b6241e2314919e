"""The metrics of memorization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lawsweep import Array, Field
from lawsweep.experiments.aliases import END_ALIASES
from lawsweep.experiments.memorization.params import SOURCE

EARLY_STEPS = (1, 3, 10, 30, 100, 300, 1000, 3000)  # as kernels.training.stop has them
_IF_MEASURED = "; null unless measure_kernel"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What training gave.  Every loss is the mean over the N samples.

    For targets of variance 1 a constant zero has a squared loss of about 1, and a logistic one of
    log(n_classes).  The last weights of Levenberg-Marquardt are the best it met.

    Training amplifies rounding: after hundreds of updates the metrics marked ``chaotic`` may differ
    between processors, and between a run alone and one of a fused group, as between two starts
    that agree in all digits but the last.  Their law over seeds does not.
    """

    final_loss: Annotated[
        float, Field("loss of the last weights; not finite where diverged", chaotic=True)
    ]
    figure_loss: Annotated[
        float | None,
        Field(
            "the number whose log10 the paper's figure colours: the loss summed over the last "
            "accepted window of 100 steps, over 50 (so about twice the loss); null before any, "
            "and for levenberg_marquardt",
            source=SOURCE,
            chaotic=True,
        ),
    ]
    best_loss: Annotated[float, Field("smallest loss of any step", chaotic=True)]
    initial_loss: Annotated[float, Field("loss before training")]
    memorized: Annotated[
        bool,
        Field(
            "weights that fit all samples were met, even if training left them.  Squared loss: "
            "best_loss <= memorized_below.  Logistic: n_wrong = 0, or best_loss < log(2)/N, as a "
            "wrong sample costs log 2 at least",
            chaotic=True,
        ),
    ]
    stop_reason: Annotated[
        str,
        Field(
            "max_steps, loss_rose, target_reached, zero_gradient or diverged; of "
            "levenberg_marquardt also rounding_level (an exact fit), stationary and stalled",
            chaotic=True,
        ),
    ]
    n_steps: Annotated[
        int, Field("updates made (to the first non-finite loss)", unit="steps", chaotic=True)
    ]
    grad_norm: Annotated[
        float, Field("norm of the loss's gradient at the last weights", chaotic=True)
    ]
    n_dead_samples: Annotated[
        int | None,
        Field(
            "samples for which a hidden layer of the last weights is exactly zero: their output "
            "and its gradient are 0, so they cannot be fitted; null unless relu, or diverged",
            chaotic=True,
        ),
    ]
    n_params: Annotated[int, Field("number of weights p")]
    n_wrong: Annotated[
        int | None,
        Field(
            "samples misclassified by the last weights (a tie is wrong); null for gaussian "
            "targets, or diverged",
            chaotic=True,
        ),
    ]
    distance: Annotated[
        float,
        Field(
            "Euclidean distance of the last weights from the initial; NaN where diverged",
            chaotic=True,
        ),
    ]
    relative_distance: Annotated[
        float, Field("distance over the norm of the initial weights", chaotic=True)
    ]
    rounding_loss: Annotated[
        float | None,
        Field(
            "squared loss that rounding the last weights leaves, to first order; null unless "
            "levenberg_marquardt, or diverged",
            chaotic=True,
        ),
    ]
    lambda_min_start: Annotated[
        float | None,
        Field(
            f"smallest eigenvalue of the NTK before training{_IF_MEASURED}, or rounding leaves "
            "more than a hundredth of it open"
        ),
    ]
    lambda_min_start_lower: Annotated[
        float | None, Field("proved lower bound on lambda_min_start; -inf where nothing was proved")
    ]
    lambda_min_start_upper: Annotated[
        float | None, Field("upper bound on lambda_min_start: its Rayleigh quotient, rounded up")
    ]
    lambda_min_start_positive: Annotated[
        bool | None, Field("whether lambda_min_start > 0 is proved, the kernel's rounding included")
    ]
    lambda_min_start_reason: Annotated[
        str | None,
        Field("why it is an exact zero, or how its computation ended", aliases=END_ALIASES),
    ]
    lambda_min_end: Annotated[
        float | None,
        Field(
            f"smallest eigenvalue of the NTK at the last weights{_IF_MEASURED}, or diverged, or "
            "rounding leaves more than a hundredth of it open",
            chaotic=True,
        ),
    ]
    lambda_min_end_lower: Annotated[
        float | None,
        Field("proved lower bound on lambda_min_end; -inf where nothing was proved", chaotic=True),
    ]
    lambda_min_end_upper: Annotated[
        float | None,
        Field("upper bound on lambda_min_end: its Rayleigh quotient, rounded up", chaotic=True),
    ]
    lambda_min_end_positive: Annotated[
        bool | None,
        Field("whether lambda_min_end > 0 is proved, the kernel's rounding included", chaotic=True),
    ]
    lambda_min_end_reason: Annotated[
        str | None,
        Field(
            "why it is an exact zero, or how its computation ended",
            chaotic=True,
            aliases=END_ALIASES,
        ),
    ]
    kernel_change: Annotated[
        float | None,
        Field(
            f"|K_end - K_start| / |K_start|, Frobenius norms, K the NTK{_IF_MEASURED}", chaotic=True
        ),
    ]
    kernel_alignment: Annotated[
        float | None,
        Field(
            f"<K_end, K_start> / (|K_end| |K_start|), the kernels' cosine{_IF_MEASURED}",
            chaotic=True,
        ),
    ]
    early_losses: Annotated[
        tuple[float, ...] | None,
        Field(
            "losses after 1, 3, 10, 30, 100, 300, 1000, 3000 updates, as far as they were made.  "
            "The first are the same on any processor (float64: to 1e-9); where two computations of "
            "a run part, training had amplified rounding; null for levenberg_marquardt",
            chaotic=True,
            steps=EARLY_STEPS,
        ),
    ]
    loss_curve: Annotated[
        Array | None,
        Field(
            "(2, K): steps, and the losses after them, some 40 a decade and the last "
            "(levenberg_marquardt: every step); null unless keep_curve",
            chaotic=True,
        ),
    ]
