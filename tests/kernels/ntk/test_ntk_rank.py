"""Exact zeros: every named reason against the singular values of the autograd Jacobian."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import ACTIVATIONS, activation
from lawsweep.kernels.data import sampling
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.gram import OutOfRangeError
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.kernels.ntk.rank import ZeroReason, rank_bound, rank_report, rank_reports

REF = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "reference_ntk.py")))


def numerical_rank(x, weights, biases, name, layers):
    per_layer = REF.jacobians(x, weights, biases, name)
    return rank_of(per_layer, layers)


def rank_of(per_layer, layers):
    jacobian = torch.cat([per_layer[k - 1] for k in layers or range(1, len(per_layer) + 1)], 1)
    # Columns differ in scale and smooth features are nearly dependent: a relative threshold
    # well above rounding (1e-16 sqrt(N p)), well below the smallest true singular value here.
    return int(torch.linalg.matrix_rank(jacobian, rtol=1e-12))


def network(widths, *, bias, seed):
    rng = np.random.default_rng(seed)
    weights = init_weights(Network(widths, "linear"), rng)
    biases = [torch.from_numpy(0.1 * rng.standard_normal(m)) for m in widths[1:]] if bias else None
    return weights, biases


def report(x, weights, biases, name, layers=None):
    act = activation(name)
    return rank_report(
        linearise(Network.of(weights, act, bias=biases is not None), weights, x, biases).select(
            layers
        )
    )


LAYERS = [None, (1,), (2,), (3,), (1, 3), (2, 3)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "linear"])
def test_rank_bound_holds_and_is_met(name, bias):
    """With many samples J's rank never exceeds the bound, and reaches it for some weights.

    (Not for all: a unit that happens to be on for every sample costs more rank.)
    """
    widths = (4, 5, 4, 1)
    x = sampling.rows("gaussian", np.random.default_rng(2), 250, widths[0])
    met = dict.fromkeys(LAYERS, False)
    for seed in range(6):
        weights, biases = network(widths, bias=bias, seed=seed)
        per_layer = REF.jacobians(x, weights, biases, name)
        for layers in LAYERS:
            found = report(x, weights, biases, name, layers)
            assert found.zero is ZeroReason.RANK
            assert rank_of(per_layer, layers) <= found.bound
            met[layers] |= rank_of(per_layer, layers) == found.bound
    assert all(met.values()), met


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_zero_is_named_exactly_when_the_gradients_are_dependent(name, bias):
    """From few samples to many: no false alarm, and no zero missed, in generic position."""
    widths = (5, 6, 6, 1)
    weights, biases = network(widths, bias=bias, seed=3)
    x = sampling.rows("gaussian", np.random.default_rng(4), 160, widths[0])
    jacobian = torch.cat(REF.jacobians(x, weights, biases, name), 1)
    for n in (1, 3, 6, 12, 100, 160):
        rank = int(torch.linalg.matrix_rank(jacobian[:n], rtol=1e-13))
        zero = report(x[:n], weights, biases, name).zero
        assert (zero is not None) == (rank < n), (n, rank, zero)


def test_known_counts():
    assert rank_bound(Network((5, 4, 3, 1), activation("sigmoid"))) == 20 + 12 + 3
    assert rank_bound(Network((5, 4, 3, 1), activation("relu"))) == 35 - 7
    assert rank_bound(Network((5, 4, 3, 1), activation("relu"), bias=True)) == 24 + 15 + 4 - 7
    assert (
        rank_bound(Network((5, 4, 3, 1), activation("relu"), layers=(1, 3))) == 23 - 1
    )  # one relation over the gap
    assert rank_bound(Network((5, 4, 3, 1), activation("relu"), layers=(1, 3), bias=True)) == 24 + 4
    assert rank_bound(Network((5, 4, 3, 1), activation("sigmoid"), layers=(2,))) == 12
    assert rank_bound(Network((5, 4, 3, 1), activation("linear"))) == 5
    assert rank_bound(Network((5, 4, 3, 1), activation("linear"), bias=True, layers=(3,))) == 4
    assert rank_bound(Network((1, 9, 9, 1), activation("relu"))) == 2


def test_one_input_column_leaves_rank_two():
    weights, _ = network((1, 6, 6, 1), bias=False, seed=0)
    x = torch.tensor([[1.0], [2.5], [-0.5], [-3.0]], dtype=torch.float64)
    assert report(x, weights, None, "relu").zero is ZeroReason.RANK
    assert numerical_rank(x, weights, None, "relu", None) == 2
    assert report(x[1:3], weights, None, "relu").zero is None


def test_units_off_on_every_sample_do_not_count():
    weights, _ = network((4, 6, 6, 1), bias=False, seed=0)
    weights[0] = weights[0].abs()
    weights[0][:, :4] *= -1.0
    x = torch.from_numpy(np.random.default_rng(1).uniform(0.1, 1.0, (80, 4)))  # positive inputs
    found = report(x, weights, None, "relu")
    assert found.bound < rank_bound(Network((4, 6, 6, 1), activation("relu")))
    assert found.zero is ZeroReason.RANK
    assert numerical_rank(x, weights, None, "relu", None) <= found.bound


def singular(x, weights, biases, name, layers=None):
    """Whether J has fewer independent rows than samples, numerically."""
    return numerical_rank(x, weights, biases, name, layers) < len(x)


def test_duplicate_samples():
    weights, biases = network((5, 8, 8, 1), bias=True, seed=0)
    x = sampling.rows("gaussian", np.random.default_rng(0), 10, 5)
    assert report(x, weights, biases, "gelu").zero is None
    x[7] = x[2]
    assert report(x, weights, biases, "gelu").zero is ZeroReason.DUPLICATE
    assert singular(x, weights, biases, "gelu")


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_antipodal_samples_matter_for_odd_activations_without_bias(name, bias):
    weights, biases = network((6, 8, 8, 1), bias=bias, seed=0)
    x = sampling.rows("gaussian", np.random.default_rng(0), 5, 6)
    x[3] = -x[1]
    zero = report(x, weights, biases, name).zero
    assert (zero is ZeroReason.ANTIPODAL) == (activation(name).parity is not None and not bias)
    assert (zero is not None) == singular(x, weights, biases, name)


def dead_case(bias, n_dead):
    """``n_dead`` samples for which the first ReLU layer is all off, and three others."""
    weights, biases = network((3, 4, 5, 1), bias=bias, seed=2)
    weights[0] = weights[0].abs()
    if bias:
        biases = [-biases[0].abs(), biases[1].abs(), biases[2]]
    x = torch.from_numpy(np.random.default_rng(0).uniform(1.0, 2.0, (n_dead + 3, 3)))
    x[:n_dead] *= -1.0
    return x, weights, biases


def test_dead_sample_without_bias_has_zero_gradient():
    x, weights, _ = dead_case(False, 1)
    assert report(x[1:], weights, None, "relu").zero is None
    found = report(x, weights, None, "relu")
    assert found.zero is ZeroReason.ZERO_GRADIENT
    lin = linearise(Network.of(weights, activation("relu")), weights, x)
    assert float(ntk.diagonal(lin)[0]) == 0.0
    assert singular(x, weights, None, "relu")
    assert report(x[:1], weights, None, "relu").zero is ZeroReason.RANK  # no live unit at all


def test_dead_samples_with_bias_are_singular_only_in_pairs():
    x, weights, biases = dead_case(True, 2)
    found = report(x, weights, biases, "relu")
    assert found.zero is ZeroReason.EQUAL_DEAD
    assert singular(x, weights, biases, "relu")
    assert report(x[1:], weights, biases, "relu").zero is None
    assert not singular(x[1:], weights, biases, "relu")
    # The layers up to the dead one see no gradient at all: one such sample is enough there.
    assert report(x[1:], weights, biases, "relu", (1,)).zero is ZeroReason.ZERO_GRADIENT
    assert singular(x[1:], weights, biases, "relu", (1,))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_a_crowded_linear_region(name, bias):
    weights, biases = network((3, 4, 5, 1), bias=bias, seed=0)
    centre = np.random.default_rng(1).standard_normal(3)
    around = centre + 1e-3 * np.random.default_rng(2).standard_normal((3 + bias + 1, 3))
    x = torch.from_numpy(around)
    assert report(x, weights, biases, name).zero is ZeroReason.CROWDED_REGION
    assert numerical_rank(x, weights, biases, name, None) == 3 + bias
    assert report(x[1:], weights, biases, name).zero is None


def test_zero_input_and_single_sample():
    weights, _ = network((4, 5, 5, 1), bias=False, seed=0)
    zero = torch.zeros((1, 4), dtype=torch.float64)
    one = torch.ones((1, 4), dtype=torch.float64)
    assert report(zero, weights, None, "tanh").zero is ZeroReason.ZERO_GRADIENT
    assert report(zero, weights, None, "sigmoid").zero is None  # sigma(0) = 1/2
    assert report(zero, weights, None, "sigmoid", (1,)).zero is ZeroReason.ZERO_GRADIENT
    assert report(one, weights, None, "tanh").zero is None


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_pattern_of_zeros_does_not_depend_on_scale_until_it_is_refused(dtype, name, bias):
    """ReLU is homogeneous: W -> c W turns no unit on or off, whatever c > 0.

    Where underflow would (long before the last exponent here), linearise refuses.
    """
    x = sampling.rows("gaussian", np.random.default_rng(0), 6, 8).to(dtype)
    weights = [w.to(dtype) for w in network((8, 40, 40, 1), bias=False, seed=0)[0]]
    biases = [w.new_zeros(w.shape[1]) for w in weights] if bias else None
    plain = report(x, weights, biases, name)
    refused = []
    for exponent in range(0, -1000 if dtype is torch.float64 else -120, -10):
        for e in (exponent, -exponent):
            try:
                found = report(x, [w * 2.0**e for w in weights], biases, name)
            except OutOfRangeError:
                refused.append(e)
            else:
                assert found == plain
    assert min(refused) < 0 < max(refused)
    with pytest.raises(OutOfRangeError, match=r"features leave the range of float.*; rescale the"):
        report(x, [w * 2.0 ** min(refused) for w in weights], biases, name)
    # Not before features of tiny/eps, the product of two layers' weights and an input.
    least = math.log2(torch.finfo(dtype).tiny / torch.finfo(dtype).eps)
    assert max(e for e in refused if e < 0) < least / 2 + 10


def test_an_exact_zero_is_not_taken_for_underflow():
    weights, _ = network((4, 5, 5, 1), bias=False, seed=0)
    lin = linearise(
        Network.of(weights, activation("relu")), weights, torch.zeros((2, 4), dtype=torch.float64)
    )
    assert ntk.diagonal(lin).tolist() == [0.0, 0.0]
    none = [torch.zeros_like(w) for w in weights]
    one = torch.ones((2, 4), dtype=torch.float64)
    assert ntk.diagonal(linearise(Network.of(none, activation("relu")), none, one)).tolist() == [
        0.0,
        0.0,
    ]


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_squared_gradients_out_of_range_are_refused(scale):
    weights, _ = network((4, 5, 5, 1), bias=False, seed=0)
    x = sampling.rows("gaussian", np.random.default_rng(0), 3, 4)
    lin = linearise(
        Network.of([scale * w for w in weights], activation("relu")),
        [scale * w for w in weights],
        x,
    )
    with pytest.raises(OutOfRangeError, match="squared gradient norms leave the range of float64"):
        ntk.diagonal(lin)


@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_reports_of_a_batch_are_those_of_its_members(name, law):
    """Rows that agree in the first entry only, in all, up to sign, and in zeros of either sign."""
    b, n = 6, 12
    draws = [sampling.rows(law, np.random.default_rng(s), n, 8) for s in range(b)]
    x = torch.stack(draws)
    x[1, 5] = x[1, 9]
    x[2, 5] = -x[2, 9]
    x[3, 5, 0] = x[3, 9, 0]
    x[4, 5, 0], x[4, 9] = -0.0, x[4, 5]
    x[4, 9, 0] = 0.0
    x[5, 2] = 0.0
    weights, _ = network((8, 6, 6, 1), bias=False, seed=1)
    stacked = [w.expand(b, *w.shape) for w in weights]
    act = activation(name)
    for layers in (None, (1,), (2, 3)):
        together = rank_reports(linearise(Network.of(stacked, act), stacked, x).select(layers))
        alone = [
            rank_report(linearise(Network.of(weights, act), weights, m).select(layers)) for m in x
        ]
        assert together == alone
        if name != "relu":  # where a sample may have a layer all off, which is named first
            assert (together[1].zero, together[4].zero) == (ZeroReason.DUPLICATE,) * 2
        if law == "gaussian" and layers is None:
            assert (together[0].zero, together[3].zero) == (None, None)
            assert (together[2].zero is ZeroReason.ANTIPODAL) == (name == "tanh")
            assert (together[5].zero is ZeroReason.ZERO_GRADIENT) == (name != "sigmoid")
