from __future__ import annotations

import numpy as np
import pytest

from lawsweep.experiments.ntk_memorization import Params, ntk_memorization


def run(n_samples, seed=0, **params):
    params = {"input_dim": 10, "width": 10, "depth": 3} | params
    return ntk_memorization(n_samples=n_samples, seed=seed, **params)


@pytest.mark.parametrize("targets", ["gaussian", "signs"])
def test_up_to_the_rank_it_memorizes_and_beyond_it_says_why(targets):
    below = run(150, targets=targets)  # 210 weights, 20 hidden units: rank 190
    assert below.memorized
    assert below.residual <= 1e-6
    assert below.lambda_min_positive
    assert below.lambda_min_lower <= below.lambda_min <= below.lambda_min_upper
    assert (below.n_params, below.n_params_built) == (210, 420)
    above = run(191, targets=targets)
    assert not above.memorized
    assert above.zero_reason == "rank"
    assert above.lambda_min == 0.0
    assert above.residual is above.distance is None
    assert ntk_memorization.metrics_row(above)["stop_reason"] == "singular_kernel"


def test_a_smooth_activation_goes_up_to_p():
    assert run(195, activation="tanh").zero_reason is None
    assert run(211, activation="tanh").zero_reason is not None


def test_one_layer_is_linear_regression():
    m = run(5, depth=1)
    assert m.memorized
    assert m.n_params == m.n_params_built == 10


def test_runs_repeat_and_cost_takes_columns():
    assert run(30) == run(30)
    assert run(30) != run(30, seed=1)
    cost = ntk_memorization.cost(Params(n_samples=500, input_dim=22, width=22))
    assert float(cost.flops) > 500**3 / 3
    big = ntk_memorization.cost(Params(n_samples=np.array([100, 4000]), input_dim=22, width=22))
    assert big.memory_bytes[1] < 8 * 4000**2  # singular: K is never formed


def test_an_eigenvalue_that_rounding_leaves_open_is_null():
    """Two input dimensions under a smooth activation: the bounds are kept, the noise is not."""
    row = run(n_samples=40, input_dim=2, width=40, depth=3, activation="sigmoid")
    assert row.lambda_min is None
    assert row.lambda_min_lower < row.lambda_min_upper < 1e-9
    assert row.lambda_min_positive is False
