"""The constants that lambda_min settles at: oracles, Monte Carlo, and small simulations."""

import math

import numpy as np
import pytest
import torch
from reference_infinite import ELU, SMOOTH
from reference_ntk import sigmoid_limits

from lawsweep.kernels.activations import activation
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.limits import layer_limits, moments
from lawsweep.kernels.ntk.linearisation import linearise


def test_three_equal_sigmoid_layers_give_the_oracles():
    d = 321
    found = layer_limits(Network((d, d, d, 1), activation("sigmoid")))
    first, second, third = (v / d**2 for v in found.values)
    # THEORY B gives five and four digits.
    assert first + second == pytest.approx(1.2798e-4, rel=5e-5)
    assert second == pytest.approx(4.938e-6, rel=2e-4)
    assert third == 0.0
    c1, c2 = sigmoid_limits()
    assert first == pytest.approx(c1, rel=1e-12)
    assert second == pytest.approx(c2, rel=1e-12)
    assert found.error < 1e-12


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_moments_against_gauss_hermite(name):
    f, df = SMOOTH[name]
    z, w = np.polynomial.hermite_e.hermegauss(100)
    w = w / math.sqrt(2 * math.pi)
    m, v = 0.3, 0.8
    g = math.sqrt(m) * z[:, None] + math.sqrt(v) * z[None, :]

    def split(function):
        mean, square = function(g) @ w, function(g) ** 2 @ w
        return float(w @ mean**2), float(w @ (square - mean**2))

    got = moments(activation(name), m, v)
    # 100 Gauss-Hermite nodes are good to 1e-9 for tanh, better for the others.
    assert (got.mean, got.variance) == pytest.approx(split(f), abs=2e-9)
    assert (got.slope_mean, got.slope_variance) == pytest.approx(split(df), abs=2e-9)


@pytest.mark.parametrize(("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.01), ("abs", -1.0)])
def test_moments_across_a_kink_against_a_fine_sum(name, slope):
    m, v = 0.3, 0.8
    z = np.linspace(-9, 9, 3001)
    w = np.exp(-z * z / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
    g = math.sqrt(m) * z[:, None] + math.sqrt(v) * z[None, :]

    def split(values):
        mean, square = values @ w, values**2 @ w
        return float(w @ mean**2), float(w @ (square - mean**2))

    got = moments(activation(name), m, v)
    # A sum of step 0.006 over a jump is off by up to half a step times the density, 1.2e-3 a row,
    # with a sign that averages out over the rows.
    assert (got.mean, got.variance) == pytest.approx(split(np.where(g > 0, g, slope * g)), abs=1e-4)
    steps = split(np.where(g > 0, 1.0, slope))
    assert (got.slope_mean, got.slope_variance) == pytest.approx(steps, abs=1e-3)


def test_moments_across_a_crease_against_a_finer_rule():
    act, m, v = activation("elu"), 0.3, 0.8
    z = np.linspace(-9, 9, 6001)
    w = np.exp(-z * z / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
    outer = np.linspace(-9, 9, 301)
    weight = np.exp(-outer * outer / 2) * (outer[1] - outer[0]) / math.sqrt(2 * math.pi)
    g = math.sqrt(m) * outer[:, None] + math.sqrt(v) * z[None, :]

    def split(values):
        mean, square = values @ w, values**2 @ w
        return float(weight @ mean**2), float(weight @ (square - mean**2))

    got = moments(act, m, v)
    # The slope has a kink: a sum of step h is off by about h^2 / 12 = 1e-6 of its density there.
    assert (got.mean, got.variance) == pytest.approx(split(ELU[0](g)), abs=1e-7)
    assert (got.slope_mean, got.slope_variance) == pytest.approx(split(ELU[1](g)), abs=1e-6)
    found = layer_limits(Network((321, 321, 321, 1), act))
    assert found.error < 1e-12


@pytest.mark.parametrize("name", ["sigmoid", "relu", "gelu"])
def test_layer_values_are_the_fluctuations_of_a_wide_network(name):
    """S_{l-1} and V_l measured over many samples of one wide network, L = 4, unequal layers.

    Independent of the recursion: the network runs, and variances over samples are taken.
    """
    widths, betas = (300, 500, 400, 600, 1), (1.1, 0.9, 1.2, 0.8)
    rng = np.random.default_rng(5)
    weights = init_weights(Network(widths, "linear", betas=betas), rng)
    x = torch.from_numpy(rng.standard_normal((1500, widths[0])))
    lin = linearise(Network.of(weights, activation(name)), weights, x)
    expected = layer_limits(Network(widths, activation(name), betas=betas)).values
    for layer in range(1, 4):
        f, b = lin.every[layer - 1].features, lin.every[layer - 1].back
        measured = float(f.var(0).sum() * b.var(0).sum())
        # Relative errors of order n^(-1/2) = 5 % of one network.
        assert measured == pytest.approx(expected[layer - 1], rel=0.15), layer
    assert expected[3] == 0.0


def test_scaling_in_betas_and_parameterisation():
    act, widths = activation("relu"), (10, 20, 30, 1)
    base = layer_limits(Network(widths, act)).values
    # ReLU is homogeneous: each beta but the layer's own multiplies its gradient.
    doubled = layer_limits(Network(widths, act, betas=(1.0, 2.0, 1.0))).values
    assert doubled[0] == pytest.approx(4 * base[0], rel=1e-12)
    assert doubled[1] == pytest.approx(base[1], rel=1e-12)
    # NTK parameterisation: s_l^2 = 1/n_{l-1}, and W_3 has 1/n_2 of the variance.
    scaled = layer_limits(Network(widths, act, parameterisation="ntk")).values
    expected = [v / n / 30 for v, n in zip(base, widths[:3], strict=True)]
    assert scaled == pytest.approx(expected, rel=1e-12)


@pytest.mark.portable
def test_linear_networks_have_no_floor():
    # The slope is 1 and its mean over 321 nodes off by 321 eps at most: its variance by the square.
    for value in layer_limits(Network((5, 6, 7, 1), activation("linear"))).values:
        assert 0 <= value <= 6 * 7 * (321 * 2.0**-52) ** 2


def test_wrong_number_of_betas():
    with pytest.raises(ValueError, match="expected 3 betas, one a layer, got 1"):
        layer_limits(Network((5, 6, 7, 1), activation("tanh"), betas=[1.0]))


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "kernel"), [(3, (2,)), (4, (2,)), (4, (3,))])
def test_lambda_min_comes_near_the_limit_from_below(depth, kernel):
    """Seen, tanh at N = 4 d: 0.09-0.18 of the limit at d = 50, 0.22-0.31 at 100, 0.32-0.48 at 200,
    0.47-0.58 at 400; the gap closes like d^(-1/2) and for L = 4 as for L = 3."""
    act, ratios = activation("tanh"), []
    for d in (50, 100, 200):
        widths = (d,) * depth + (1,)
        rng = np.random.default_rng(d)
        x = torch.from_numpy(rng.standard_normal((4 * d, d)))
        lin = linearise(
            Network(widths, act),
            init_weights(Network(widths, act), rng),
            x,
        )
        value = float(torch.linalg.eigvalsh(ntk.gram(lin.select(kernel)))[0])
        limit = sum(layer_limits(Network(widths, act)).values[k - 1] for k in kernel)
        ratios.append(value / limit)
    assert ratios == sorted(ratios)
    assert 0.3 < ratios[-1] < 1.0
