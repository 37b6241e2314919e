"""Exact multiples among rows and columns, against fractions; and the zeros of K they explain."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from reference_ntk import jacobians

from lawsweep.kernels.activations import ACTIVATIONS, activation
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.directions import directions, input_rank
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.kernels.ntk.rank import ZeroReason, rank_bound, rank_report, rank_reports
from lawsweep.kernels.ntk.survey import Survey


def rng(seed=0):
    return np.random.default_rng(seed)


def canonical(row):
    """The row over its first entry that is not 0, as fractions; None for zeros."""
    exact = [Fraction(v) for v in row]
    lead = next((v for v in exact if v), None)
    return None if lead is None else tuple(v / lead for v in exact)


def awkward_rows():
    r = rng(3)
    x = r.standard_normal((60, 3))
    x[1] = 2.0**40 * x[0]
    x[2] = -x[0] / 8
    x[3] = 3.0 * x[0]  # rounded: no multiple
    x[4:12] = r.integers(-3, 4, (8, 3))
    x[12] = 7.0 * x[4]
    x[13], x[14] = 0.0, -0.0
    x[15:20, 0] = 0.0
    x[20:26] = [[0, 0, 5], [0, 0, -3], [1, 0, 0], [-2, -0.0, 0], [0, 1, 1], [0, 1, -1]]
    x[26:29] = np.array([[1e-200], [1e200], [-1e-300]]) * [1.0, 2.0, 4.0]
    x[29] = np.nextafter(x[0], np.inf)
    x[30], x[31] = [1.0, 1e-290, 0.0], [2.0, 2e-290, 0.0]
    x[32] = [2.0, np.nextafter(2e-290, 1.0), 0.0]
    return x


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_lines_are_those_of_fractions(columns, seed):
    x = awkward_rows()[rng(seed).permutation(60), :columns].copy()
    found = directions(torch.from_numpy(x))
    exact = [canonical(row) for row in x]
    for i in range(60):
        for k in range(i):
            told = int(found.line[i]) == int(found.line[k])
            assert told <= (exact[i] == exact[k])  # never by mistake
            if np.abs(x[[i, k]])[x[[i, k]] != 0].min(initial=1.0) > 1e-280:
                assert told == (exact[i] == exact[k])
            if told and exact[i] is not None:
                j = int(np.flatnonzero(x[i])[0])
                same = bool(found.positive[i]) == bool(found.positive[k])
                assert same == (x[i, j] * np.sign(x[k, j]) > 0)
    assert [bool(line < 0) for line in found.line] == [e is None for e in exact]


def test_numbers_an_ulp_apart_are_no_multiples():
    x = torch.from_numpy(rng(1).standard_normal((200, 6)))
    x = torch.cat([x, 3.0 * x, torch.nextafter(x, x + 1)])
    assert directions(x).n_lines == sum(1 for _ in {canonical(r) for r in x.tolist()})
    assert directions(torch.cat([x, 0.5 * x])).n_lines == directions(x).n_lines


def test_input_rank_counts_columns_that_say_something():
    x = torch.from_numpy(rng().standard_normal((9, 5)))
    for bias in (False, True):
        assert input_rank(x, bias, directions(x)) == 5 + bias
    x[:, 1] = 0.0
    x[:, 2] = -4.0 * x[:, 0]
    x[:, 3] = 2.5
    assert input_rank(x, False, directions(x)) == 3
    assert input_rank(x, True, directions(x)) == 3  # the constant column is the bias's own
    lines = x[:2][torch.arange(9) % 2] * 2.0 ** torch.arange(9).unsqueeze(1)
    assert input_rank(lines, False, directions(lines)) == 2


def kinds(n, d):
    x = rng(n).standard_normal((n, d))

    def changed(change):
        y = x.copy()
        change(y)
        return y

    def put(place, value):
        return changed(lambda y: y.__setitem__(place, value))

    whole = rng(n).integers(-9, 10, (n, d)).astype(float)
    whole[-1] = 3.0 * whole[0]
    return {
        "generic": x,
        "a positive multiple": put(-1, 4.0 * x[0]),
        "a negative multiple": put(-1, -2.0 * x[0]),
        "whole multiples": whole,
        "one column": put(np.s_[:, 1:], 0.0),
        "two columns": put(np.s_[:, 2:], 0.0),
        "a constant column": put(np.s_[:, 0], 2.0),
        "copied columns": changed(
            lambda y: y.__setitem__(np.s_[:, 1:3], y[:, :1] * [1.0, -0.5])
        ),
        "two lines": x[:2][np.arange(n) % 2] * 2.0 ** (np.arange(n) // 2)[:, None] / 16,
        "signs": np.sign(x),
        "a zero row": put(0, 0.0),
    }  # fmt: skip


LAYERS = (None, (1,), (2,), (1, 3))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_bounds_hold_and_zeros_are_true(name, bias):
    """Against the singular values of J; blocks and batches say what the whole says."""
    act = activation(name)
    for n, d, width in ((4, 4, 6), (9, 3, 4), (30, 3, 4)):
        weights = init_weights(Network((d, width, width, 1), "linear"), rng(7))
        biases = [torch.from_numpy(0.3 * rng(8).standard_normal(w.shape[1])) for w in weights]
        biases = biases if bias else None
        for kind, rows in kinds(n, d).items():
            x = torch.from_numpy(rows)
            lin = linearise(Network.of(weights, act, bias=biases is not None), weights, x, biases)
            per_layer = jacobians(x, weights, biases, name)
            for layers in LAYERS:
                jacobian = torch.cat([per_layer[k - 1] for k in layers or (1, 2, 3)], 1)
                rank = int(torch.linalg.matrix_rank(jacobian, rtol=1e-12))
                found = rank_report(lin.select(layers))
                assert rank <= found.bound, (n, kind, layers)
                assert found.zero is None or rank < n, (n, kind, layers)
                network = Network.of(weights, act, bias=bias, layers=layers)
                survey = Survey(network)
                for part in x.split(4):
                    survey.add(linearise(network, weights, part, biases))
                assert survey.report() == found, (n, kind, layers)
                if not bias:
                    batch = linearise(network, [w[None] for w in weights], x[None])
                    assert rank_reports(batch) == [found]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "linear", "tanh", "sigmoid", "gelu"])
def test_which_multiples_make_the_kernel_singular(name):
    weights = init_weights(Network((5, 12, 12, 1), "linear"), rng(0))
    x = torch.from_numpy(rng(1).standard_normal((4, 5)))
    for factor in (4.0, 0.5, -1.0, -2.0):
        rows = torch.cat([x, factor * x[:1]])
        zero = rank_report(linearise(Network.of(weights, activation(name)), weights, rows)).zero
        if name == "linear" or (name in ("relu", "leaky_relu") and factor > 0):
            odd = factor == -1.0
            assert zero is (ZeroReason.ANTIPODAL if odd else ZeroReason.PARALLEL)
        elif name == "tanh" and factor == -1.0:
            assert zero is ZeroReason.ANTIPODAL
        else:
            assert zero is None
        singular = torch.linalg.svdvals(torch.cat(jacobians(rows, weights, None, name), 1))
        assert (zero is not None) == (float(singular[-1] / singular[0]) < 1e-14)


def test_a_near_multiple_is_none():
    weights = init_weights(Network((5, 12, 12, 1), "linear"), rng(0))
    x = torch.from_numpy(rng(1).standard_normal((4, 5)))
    act = activation("relu")
    for last in (3.0 * x[0], torch.nextafter(4.0 * x[0], x[0])):
        rows = torch.cat([x, last[None]])
        assert rank_report(linearise(Network.of(weights, act), weights, rows)).zero is None


def test_three_samples_on_a_ray_under_biases():
    """Their gradients are affine in x: any two are independent, three are not."""
    weights = init_weights(Network((5, 12, 12, 1), "linear"), rng(0))
    biases = [torch.zeros(m, dtype=torch.float64) for m in (12, 12, 1)]
    x = torch.from_numpy(rng(1).standard_normal((1, 5)))
    for name in ("relu", "leaky_relu"):
        act = activation(name)
        two, three = torch.cat([x, 2 * x]), torch.cat([x, 2 * x, 4 * x])
        assert (
            rank_report(
                linearise(Network.of(weights, act, bias=biases is not None), weights, two, biases)
            ).zero
            is None
        )
        found = rank_report(
            linearise(Network.of(weights, act, bias=biases is not None), weights, three, biases)
        )
        assert found.zero is ZeroReason.CROWDED_REGION
        jacobian = torch.cat(jacobians(three, weights, biases, name), 1)
        assert int(torch.linalg.matrix_rank(jacobian, rtol=1e-12)) == 2


def test_rank_bound_of_inputs_of_lower_rank():
    assert rank_bound(Network((3, 10, 10, 1), activation("sigmoid"), layers=(1,))) == 30
    assert rank_bound(Network((3, 10, 10, 1), activation("sigmoid"), layers=(1,)), inputs=1) == 10
    x = torch.from_numpy(rng().standard_normal((20, 3)))
    x[:, 1:] = 0.0
    weights = init_weights(Network((3, 10, 10, 1), "linear"), rng(1))
    for name in ("sigmoid", "tanh", "gelu"):
        lin = linearise(Network.of(weights, activation(name)), weights, x)
        found = rank_report(lin.select((1,)))
        assert (found.bound, found.zero) == (10, ZeroReason.RANK)
    assert rank_report(linearise(Network.of(weights, activation("relu")), weights, x)).bound == 2


def test_no_hidden_layer_as_many_samples_as_a_bias_allows():
    """N = n_0 + 1 with a bias: no pattern of units to look at."""
    x = torch.from_numpy(rng().standard_normal((6, 5)))
    lin = linearise(Network((5, 1), "relu", bias=True), [torch.ones(5, 1).double()], x)
    assert rank_report(lin).zero is None
