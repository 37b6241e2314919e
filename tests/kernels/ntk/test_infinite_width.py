"""The infinite-width kernel against quadrature pair by pair, and against wide networks."""

import math

import numpy as np
import pytest
import torch
from reference_infinite import dual_pair
from reference_infinite import gram as reference_gram

from lawsweep.kernels.activations import ACTIVATIONS, activation
from lawsweep.kernels.gaussian.duals import duals
from lawsweep.kernels.gaussian.pairs import Covariance
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.kernels.ntk.wide import infinite_width

SMOOTH = [name for name, act in sorted(ACTIVATIONS.items()) if not act.kinked]


def rows(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_duals_against_two_dimensional_quadrature(name, scale):
    pairs = Covariance.of_rows(torch.from_numpy(rows(4, 6))).times(scale / 6)
    sigma = pairs.sigma
    got, slope, slope_error = duals(pairs, activation(name))
    value = got.sigma
    for i in range(4):
        for j in range(4):
            a, b, c = (float(sigma[s, t]) for s, t in ((i, i), (j, j), (i, j)))
            expected = dual_pair(name, a, b, c)
            # The reference's own error: 100 nodes instead of 200 move it by up to 1e-8 (tanh at
            # variance 2, poles at i pi/2); doubling the nodes squares roughly that per sqrt(2).
            assert float(value[i, j]) == pytest.approx(expected[0], abs=1e-10)
            assert float(slope[i, j]) == pytest.approx(expected[1], abs=1e-9)
    assert max(got.error, slope_error) <= 1e-11


def test_duals_of_nearly_parallel_rows_and_of_a_zero_row():
    x = torch.from_numpy(rows(3, 5))
    x[1] = x[0] * (1 + 1e-9)
    x[2] = 0.0
    pairs = Covariance.of_rows(x).times(1 / 5)
    sigma = pairs.sigma
    for name in ACTIVATIONS:
        got, slope, slope_error = duals(pairs, activation(name))
        value = got.sigma
        assert bool(torch.isfinite(value).all()), name
        assert bool(torch.isfinite(slope).all()), name
        # The second row is 1e-9 longer: to first order the value is as much off the diagonal.
        assert float(value[0, 1]) == pytest.approx(float(value[0, 0]), rel=4e-9)
        # ELU's slope has a kink, and its series an end: no more is asked than is reported.
        assert float(slope[0, 1]) == pytest.approx(float(slope[0, 0]), rel=4e-9 + slope_error)
        assert slope_error < (1e-5 if name == "elu" else 1e-9)
        # One argument is 0: E sigma(u) sigma(0) is a one-dimensional mean.
        act = activation(name)
        z, w = np.polynomial.hermite_e.hermegauss(100)
        u = math.sqrt(float(sigma[0, 0])) * torch.from_numpy(z)
        mean = float(act.f(u) @ torch.from_numpy(w)) / math.sqrt(2 * math.pi)
        at_zero = float(act.f(torch.zeros(1, dtype=torch.float64)))
        assert float(value[0, 2]) == pytest.approx(mean * at_zero, abs=1e-9)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "erf", "gelu", "leaky_relu", "abs", "elu"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layers": (2,)},
        {"layers": (1, 3), "bias": True},
        {"ntk": True, "bias": True},
        {"ntk": True, "layers": (3,)},
    ],
)
def test_gram_against_the_recursion_pair_by_pair(name, options):
    x, widths, betas = rows(3, 7), (7, 20, 30, 1), (1.0, 0.8, 1.3)
    expected = reference_gram(x, widths, name, betas, **options)
    spelled = dict(options)
    spelled["parameterisation"] = "ntk" if spelled.pop("ntk", False) else "standard"
    got = infinite_width(
        Network(widths, activation(name), betas=betas, **spelled), torch.from_numpy(x)
    )
    np.testing.assert_allclose(got.gram.numpy(), expected, rtol=1e-8, atol=1e-8 * expected.max())
    assert torch.equal(got.gram, got.gram.T)


def test_conjugate_kernel_is_the_last_layer_alone():
    x, act = torch.from_numpy(rows(4, 5)), activation("tanh")
    widths = (5, 8, 6, 1)
    last = infinite_width(Network(widths, act, layers=(3,)), x).gram
    assert torch.equal(infinite_width(Network(widths, act, conjugate=True), x).gram, last)
    for options in ({"bias": True}, {"parameterisation": "ntk"}):
        assert torch.equal(
            infinite_width(Network(widths, act, conjugate=True, **options), x).gram, last
        )


@pytest.mark.parametrize("parameterisation", ["standard", "ntk"])
def test_finite_networks_approach_it_like_one_over_root_width(parameterisation):
    """Seen: relative distance about c n^(-1/2); four times the width halves it."""
    d, act = 20, activation("relu")
    x = torch.from_numpy(rows(12, d))

    def distance(n):
        widths, total = (d, n, n, 1), 0.0
        network = Network(widths, act, parameterisation=parameterisation)
        limit, scales = infinite_width(network, x).gram, network.scales
        for seed in range(6):
            rng = np.random.default_rng(seed)
            w = init_weights(Network(widths, "linear", parameterisation=parameterisation), rng)
            lin = linearise(Network.of(w, act), w, x)
            k = sum(s**2 * ntk.gram(lin.select((k,))) for k, s in enumerate(scales, 1))
            total += float((k - limit).norm() / limit.norm()) ** 2
        return math.sqrt(total / 6)

    near, far = distance(800), distance(50)
    # sqrt(16) = 4, estimated by 6 draws each, whose spread is about 25 %.
    assert 2.2 < far / near < 7.0
    assert near < 0.2  # 3.5 / sqrt(800) = 0.12 was seen


def test_float32_rows_are_taken_in_double():
    x = torch.from_numpy(rows(3, 4)).to(torch.float32)
    assert infinite_width(Network((4, 5, 1), activation("silu")), x).gram.dtype == torch.float64


def test_a_layer_that_does_not_exist():
    with pytest.raises(ValueError, match="distinct numbers from 1 to 2"):
        infinite_width(Network((3, 4, 1), activation("relu"), layers=(3,)), torch.zeros(2, 3))
