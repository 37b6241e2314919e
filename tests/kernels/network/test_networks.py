"""Widths, counts, weight scales and the forward pass."""

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.network.forward import forward
from lawsweep.kernels.network.init import init_stacks, init_weights
from lawsweep.kernels.network.network import PARAMETERISATIONS, Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.linearisation import linearise


def test_widths_and_counts():
    assert Network.equal(7, 5, 3, "relu").widths == (7, 5, 5, 1)
    assert Network.equal(7, 5, 1, "relu").widths == (7, 1)
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        Network.equal(7, 5, 0, "relu")


def test_weight_scales():
    """W_l ~ N(0, beta_l^2 / n_{l-1}), the last one N(0, beta_L^2) (arXiv 2205.10217)."""
    widths, betas = (200, 150, 400, 60), (1.0, 2.0, 0.5)
    weights = init_weights(Network(widths, "linear", betas=betas), np.random.default_rng(0))
    assert [tuple(w.shape) for w in weights] == [(200, 150), (150, 400), (400, 60)]
    expected = [1.0 / math.sqrt(200), 2.0 / math.sqrt(150), 0.5]
    for w, sd in zip(weights, expected, strict=True):
        m = w.numel()  # the relative standard error of a standard deviation is 1/sqrt(2m)
        assert abs(float(w.square().mean().sqrt()) / sd - 1.0) < 5.0 / math.sqrt(2 * m)
        assert abs(float(w.mean())) < 5.0 * sd / math.sqrt(m)


def test_weights_are_reproducible_and_dtype_only_rounds():
    first = init_weights(Network((4, 3, 1), "linear"), np.random.default_rng(3))
    again = init_weights(
        Network((4, 3, 1), "linear"), np.random.default_rng(3), dtype=torch.float32
    )
    for a, b in zip(first, again, strict=True):
        assert a.dtype == torch.float64
        assert torch.equal(a.to(torch.float32), b)


def test_wrong_number_of_betas():
    with pytest.raises(ValueError, match="expected 2 betas, one a layer, got 3"):
        init_weights(Network((4, 3, 1), "linear", betas=[1.0, 1.0, 1.0]), np.random.default_rng(0))


@pytest.mark.parametrize("biased", [False, True])
def test_forward_matches_numpy_and_broadcasts(biased):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 6, 4))
    ws = [rng.standard_normal((2, 4, 5)), rng.standard_normal((2, 5, 1))]
    bs = [rng.standard_normal((2, 5)), rng.standard_normal((2, 1))] if biased else None
    weights = [torch.from_numpy(w) for w in ws]
    features, preactivations = forward(
        Network.of(weights, "tanh"),
        weights,
        torch.from_numpy(x),
        None if bs is None else [torch.from_numpy(b) for b in bs],
    )
    for k in range(2):
        g1 = x[k] @ ws[0][k] + (bs[0][k] if biased else 0.0)
        g2 = np.tanh(g1) @ ws[1][k] + (bs[1][k] if biased else 0.0)
        np.testing.assert_allclose(preactivations[0][k].numpy(), g1, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(features[1][k].numpy(), np.tanh(g1), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(features[2][k].numpy(), g2, rtol=1e-13, atol=1e-14)
    assert torch.equal(features[2], preactivations[1])  # the output layer is linear
    assert torch.equal(features[0], torch.from_numpy(x))


def test_ntk_parameterisation_draws_the_same_numbers_scaled_by_the_last_fan_in():
    """W_l = beta_l V_l / sqrt(n_{l-1}) for every l; only the last layer differs from standard."""
    widths, betas = (6, 5, 4, 1), (1.5, 0.5, 2.0)
    standard = init_weights(Network(widths, "linear", betas=betas), np.random.default_rng(2))
    scaled = init_weights(
        Network(widths, "linear", betas=betas, parameterisation="ntk"), np.random.default_rng(2)
    )
    assert torch.equal(scaled[0], standard[0])
    assert torch.equal(scaled[1], standard[1])
    torch.testing.assert_close(scaled[2], standard[2] / 2.0, rtol=1e-15, atol=0)
    network = Network(widths, "linear", betas=betas, parameterisation="ntk")
    assert network.scales == (1.5 / math.sqrt(6), 0.5 / math.sqrt(5), 2.0 / math.sqrt(4))


@pytest.mark.parametrize("biased", [False, True])
def test_ntk_parameterisation_gives_the_sum_of_scaled_layer_grams(biased):
    """K = sum_l s_l^2 K_l, against autograd in the parameters V of the forward pass
    f = s_L sigma(... s_1 x V_1 + b_1 ...) V_L + b_L."""
    widths, betas = (4, 6, 5, 1), (1.2, 0.7, 1.5)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 4)))
    network = Network(widths, "tanh", biased, betas=betas, parameterisation="ntk")
    w, scales = init_weights(network, np.random.default_rng(1)), network.scales
    v = [(a / s).requires_grad_(True) for a, s in zip(w, scales, strict=True)]
    b = [torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in widths[1:]]
    rows = []
    for sample in x:
        h = sample
        for k in range(3):
            h = scales[k] * (h @ v[k]) + b[k]
            h = torch.tanh(h) if k < 2 else h
        leaves = [*v, *b] if biased else v
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(h[0], leaves)]))
    jacobian = torch.stack(rows)
    biases = [t.detach() for t in b] if biased else None
    lin = linearise(network, w, x, biases)
    torch.testing.assert_close(ntk.gram(lin), jacobian @ jacobian.T, rtol=1e-12, atol=1e-13)
    if not biased:
        plain = lin.select(scales=(1.0, 1.0, 1.0))
        by_layer = sum(s * s * ntk.gram(plain.select((k,))) for k, s in enumerate(scales, 1))
        torch.testing.assert_close(by_layer, jacobian @ jacobian.T, rtol=1e-12, atol=1e-13)


def test_unknown_parameterisation():
    with pytest.raises(ValueError, match="unknown parameterisation 'mup'; valid: standard, ntk"):
        Network((4, 3, 1), "relu", parameterisation="mup")


@pytest.mark.parametrize("parameterisation", PARAMETERISATIONS)
def test_stacked_weights_are_those_drawn_alone(parameterisation):
    widths, betas = (6, 4, 5, 1), (1.0, 2.0, 0.5)
    rngs = [np.random.default_rng(s) for s in range(3)]
    stacks = init_stacks(
        Network(widths, "linear", betas=betas, parameterisation=parameterisation), rngs
    )
    for k in range(3):
        alone = init_weights(
            Network(widths, "linear", betas=betas, parameterisation=parameterisation),
            np.random.default_rng(k),
        )
        assert all(torch.equal(s[k], w) for s, w in zip(stacks, alone, strict=True))
    assert init_stacks(Network(widths, "linear", betas=betas), [])[0].shape == (0, 6, 4)
