"""The doubled network against a plain forward pass, and Newton against its first order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_ntk import jacobians

from lawsweep.kernels.activations import activation
from lawsweep.kernels.data.sampling import rows
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import construction as nc
from lawsweep.kernels.ntk.rank import ZeroReason

PLAIN = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


def problem(n, d=8, depth=3, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rows("gaussian", rng, n, d), rows("gaussian", rng, n, 1)[:, 0]
    return x, y, init_weights(Network.equal(d, d, depth, "linear"), rng)


def plain(x, weights, act):
    for w in weights[:-1]:
        x = PLAIN[act](x @ w)
    return (x @ weights[-1])[:, 0]


@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_network_built_finds_every_label(act, depth):
    x, y, weights = problem(40, depth=depth)
    before = [w.clone() for w in weights]
    found = nc.construct(Network.of(weights, activation(act)), x, y, weights)
    assert found.reason is nc.ConstructionReason.CONVERGED
    assert [tuple(w.shape) for w in found.weights] == [
        (8, 16), *[(16, 16)] * (depth - 2), (16, 1)
    ]  # fmt: skip
    error = float((plain(x, found.weights, act) - y).abs().max())
    # Another order of the same sums: as far off as rounding leaves either of them.
    floor = nc.AT_ROUNDING * found.rounding
    assert error <= 2 * floor <= 1e-4
    assert found.residual <= floor
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))


def test_the_doubled_network_is_the_difference_quotient():
    x, _, weights = problem(10, depth=4)
    rng = np.random.default_rng(1)
    delta = [0.1 * torch.from_numpy(rng.standard_normal(tuple(w.shape))) for w in weights]
    moved = [w + d for w, d in zip(weights, delta, strict=True)]
    quotient = (plain(x, moved, "tanh") - plain(x, weights, "tanh")) / 0.25
    built = nc.doubled(weights, delta, 0.25)
    np.testing.assert_allclose(plain(x, built, "tanh"), quotient, rtol=0, atol=1e-13)
    assert sum(int((w != 0).sum()) for w in built) == 2 * sum(w.numel() for w in weights)


def test_the_step_is_eps_times_the_least_solution_to_first_order():
    x, y, weights = problem(20)
    jac = torch.cat(jacobians(x, weights, None, "tanh"), 1)
    least = float((torch.linalg.pinv(jac) @ y).norm())
    gaps = []
    for eps in (1e-3, 1e-4):
        found = nc.construct(Network.of(weights, activation("tanh")), x, y, weights, eps=eps)
        assert (found.eps, found.n_shrunk) == (eps, 0)
        gaps.append(abs(found.distance / eps - least) / least)
    # |delta| / eps = |J^+ y| + O(eps).
    assert gaps[1] < 0.2 * gaps[0] < 0.1


def test_an_eps_too_large_is_shrunk_and_newton_then_contracts():
    x, y, weights = problem(50)
    found = nc.construct(Network.of(weights, activation("relu")), x, y, weights, eps=1e4)
    assert found.reason is nc.ConstructionReason.CONVERGED
    assert found.n_shrunk >= 3
    assert found.eps == 1e4 * nc.SHRINK**found.n_shrunk
    assert found.n_steps <= nc.MAX_STEPS


def test_more_samples_than_the_rank_of_j_are_refused_with_the_reason():
    p = Network.equal(8, 8, 3, "linear").n_params  # 136, 16 hidden units
    x, y, weights = problem(p - 15)
    found = nc.construct(Network.of(weights, activation("relu")), x, y, weights)
    assert found.reason is nc.ConstructionReason.SINGULAR_KERNEL
    assert found.zero is ZeroReason.RANK
    assert found.weights is None
    assert found.residual == math.inf
    x, y, weights = problem(p - 15)
    assert (
        nc.construct(Network.of(weights, activation("tanh")), x, y, weights).zero is None
    )  # tanh loses no rank


def test_samples_too_close_to_each_other_end_in_a_reason():
    x, y, weights = problem(20)
    x[1] = x[0]
    assert (
        nc.construct(Network.of(weights, activation("tanh")), x, y, weights).zero
        is ZeroReason.DUPLICATE
    )
    x[1] = x[0] + 1e-7  # K is positive, but barely
    found = nc.construct(Network.of(weights, activation("tanh")), x, y, weights)
    assert found.reason in {
        nc.ConstructionReason.ROUNDING,
        nc.ConstructionReason.SINGULAR_KERNEL,
    }
    assert found.weights is None


def test_rounding_of_the_difference_is_told():
    x, y, weights = problem(20)
    found = nc.construct(Network.of(weights, activation("tanh")), x, y, weights, eps=1e-13)
    assert found.reason is nc.ConstructionReason.ROUNDING
    assert found.rounding > 1e-6 * float(y.abs().max())
    assert found.n_steps == 0


def test_values_out_of_range_are_a_reason():
    x, y, weights = problem(5)
    found = nc.construct(
        Network.of([w * 1e200 for w in weights], activation("relu")),
        x,
        y,
        [w * 1e200 for w in weights],
    )
    assert found.reason is nc.ConstructionReason.OUT_OF_RANGE


@pytest.mark.parametrize("change", [{"eps": 0.0}, {"tolerance": math.inf}])
def test_bad_settings_are_named(change):
    x, y, weights = problem(5)
    with pytest.raises(ValueError, match="must be positive and finite"):
        nc.construct(Network.of(weights, activation("relu")), x, y, weights, **change)
    with pytest.raises(ValueError, match="NaN or inf"):
        nc.construct(Network.of(weights, activation("relu")), x * math.nan, y, weights)
    with pytest.raises(ValueError, match=r"y of shape \(N,\)"):
        nc.construct(Network.of(weights, activation("relu")), x, y[:2], weights)
