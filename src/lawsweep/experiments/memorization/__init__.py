"""Does a deep network of p weights fit N random labels?  Fig. 2 of [M] (arXiv 2205.10217)."""

from __future__ import annotations

from collections.abc import Sequence

from lawsweep import experiment
from lawsweep.experiments.memorization.cost import cost as _cost
from lawsweep.experiments.memorization.metrics import Metrics
from lawsweep.experiments.memorization.params import SOURCE, Params
from lawsweep.kernels.training import optimisers

__all__ = ["Metrics", "Params", "memorization"]

# What is not the same for the runs of a batch: rates, draws and how a row is read.
_FUSE_OVER = ("learning_rate", "data", "targets", "target_loss", "memorized_below", "keep_curve")


def _fused(
    params: Sequence[Params], seeds: Sequence[int], device: str
) -> list[Metrics | Exception]:
    """The answers of several runs at once; they differ in seed and ``_FUSE_OVER``."""
    from lawsweep.experiments.memorization.run import rows

    return rows(params, seeds, device)


# Version 2: the kernel's lambda_min is null where it is not known to a hundredth; and a seed left
# alone in its block, under several threads, had wrong gradients (relu, depth 4 and more).
_SAME_SINCE_1 = (
    "not measure_kernel and (optimizer == 'levenberg_marquardt' or activation != 'relu' "
    "or depth < 4 or n_threads == 1 or n_fused == 1)"
)


@experiment(
    version=2,
    carries={1: _SAME_SINCE_1},
    cost=_cost,
    reference=SOURCE,
    fused=_fused,
    fuse_over=_FUSE_OVER,
    imports=[
        "lawsweep.kernels.training.train",
        "lawsweep.kernels.optimise.levenberg_marquardt",
        *(f"{optimisers.__name__}.{name}" for name in optimisers.names()),
    ],
)
def memorization(params: Params, seed: int, device: str) -> Metrics:
    """Train one bias-free network on N random points with random targets.

    Streams: ``data`` (inputs), ``targets``, ``weights`` (W_l ~ N(0, 1/n_{l-1}), the last N(0, 1)).
    A run that stops early, diverges or starts dead is a result, told by ``stop_reason``.
    """
    answer = _fused([params], [seed], device)[0]
    if isinstance(answer, Exception):
        raise answer
    return answer
