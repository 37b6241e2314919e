"""Smallest eigenvalue of the NTK Gram matrix of a random network (arXiv 2205.10217, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lawsweep import experiment
from lawsweep.experiments.ntk_min_eig.cost import cost as _cost
from lawsweep.experiments.ntk_min_eig.metrics import Metrics
from lawsweep.experiments.ntk_min_eig.params import Params

__all__ = ["Metrics", "Params", "ntk_min_eig"]


def _fused(params: Sequence[Params], seeds: Sequence[int], device: str) -> Sequence[Any]:
    from lawsweep.experiments.ntk_min_eig.fused import fused

    return fused(params, seeds, device)


# Version 2: a value as wide as its bracket is not converged, more zeros are named exactly,
# matrix-free starts see near-copies, the infinite-width kernel is right for nearly parallel rows.
_SAME_SINCE_1 = (
    "data in ('gaussian', 'sphere', 'uniform') and input_dim > 1 and activation != 'linear' "
    "and solver_used not in ('matrix_free', 'sharded') and n_lowest == 0 "
    "and lambda_min_infinite_width == None and (zero_reason != None "
    "or lambda_min_upper - lambda_min_lower + 2*gram_error <= abs(lambda_min)/100)"
)


@experiment(
    version=2,
    carries={1: _SAME_SINCE_1},
    cost=_cost,
    fused=_fused,
    fuse_over=("data", "separation", "covariance_exponent"),
    reference="arXiv 2205.10217, section 2 and Fig. 1",
    imports=[f"lawsweep.kernels.{name}" for name in ("ntk.gram", "ntk.rank", "eigmin.smallest")],
)
def ntk_min_eig(params: Params, seed: int, device: str) -> Metrics:
    """lambda_min(K) at random initialisation, K = sum_l (F_{l-1} F_{l-1}^T) o (B_l B_l^T).

    Raises Infeasible where features or gradients leave the range of ``dtype``: a zero that
    underflow made is no zero of K.
    """
    from lawsweep.experiments.ntk_min_eig.run import prepare
    from lawsweep.experiments.ntk_min_eig.solve import finished

    return finished(params, seed, prepare(params, seed, device))
