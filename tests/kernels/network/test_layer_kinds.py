"""A layer of another kind is one object: what is made of its factors is what autograd says.

``Tokens`` stands here and nowhere in the package: the same weights at every token of a sample, so
its gradient is a sum over tokens.
"""

import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from lawsweep.kernels import Network, init_weights, linearise, ntk_gram
from lawsweep.kernels.network.layers import affine
from lawsweep.kernels.ntk.gram import diagonal, gram, gram_error_bound
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.ntk.limits import layer_limits
from lawsweep.kernels.ntk.precondition import principal_pairs
from lawsweep.kernels.ntk.rank import ZeroReason, rank_report
from lawsweep.kernels.ntk.survey import Survey
from lawsweep.kernels.ntk.wide import infinite_width

N = 9


@dataclass(frozen=True)
class Tokens:
    """F (N, T a) -> sigma(F_t W + b) for each token t, W (a, b): the output (N, T b)."""

    tokens: int = 3
    name: str = "tokens"

    def shape(self, fan_in, fan_out):
        return fan_in // self.tokens, fan_out // self.tokens

    def left(self, features):
        return features.unflatten(-1, (self.tokens, -1)).flatten(-3, -2)

    def forward(self, features, weight, bias, act):
        g = affine(self.left(features), weight, bias)
        return g, act.f(g).unflatten(-2, (-1, self.tokens)).flatten(-2)

    def errors(self, above, g, out, act):
        return self.left(above) * act.df(g)

    def below(self, errors, above, weight):
        return (errors @ weight.mT).unflatten(-2, (-1, self.tokens)).flatten(-2)

    def flops(self, fan_in, fan_out):
        return 2.0 * fan_in * (fan_out // self.tokens)


def function(kind, weight, bias, h):
    """The layer for one sample, written down without the package."""
    if kind == "dense":
        return torch.tanh(h @ weight + bias)
    if kind == "residual":
        return h + torch.tanh(h @ weight + bias)
    return torch.cat([torch.tanh(part @ weight + bias) for part in h.split(len(weight))])


NETWORKS = {
    "residual": Network((5, 6, 6, 6, 1), "tanh", kinds=("dense", "residual", "residual")),
    "residual from the inputs": Network((6, 6, 6, 1), "tanh", kinds=("residual",)),
    "tokens": Network((6, 9, 12, 1), "tanh", kinds=(Tokens(),)),
    "all three": Network((6, 12, 12, 5, 1), "tanh", kinds=(Tokens(), "residual", "dense")),
}


def problem(network, bias, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((N, network.widths[0])))
    weights = init_weights(network, rng)
    biases = [torch.from_numpy(rng.standard_normal(b)) for _, b in network.shapes]
    return x, weights, biases if bias else None


def by_autograd(network, weights, biases, x):
    """One (N, p_l) Jacobian a layer, by ``torch.func.jacrev``, sample by sample."""
    shifts = biases or [torch.zeros(w.shape[1], dtype=w.dtype) for w in weights]

    def output(ws, bs, h):
        for kind, w, b in zip(network.layer_kinds[:-1], ws, bs, strict=False):
            h = function(kind.name, w, b, h)
        return (h @ ws[-1] + bs[-1])[0]

    rows = [torch.func.jacrev(output, (0, 1))(weights, shifts, sample) for sample in x]
    layers = []
    for k in range(len(weights)):
        parts = [torch.stack([w[k].flatten() for w, _ in rows])]
        if biases is not None:
            parts.append(torch.stack([b[k] for _, b in rows]))
        layers.append(torch.cat(parts, 1))
    return layers


def close(got, expected):
    # Sums of some hundred products: their rounding is below 1e-13 of the largest entry.
    assert got.shape == expected.shape
    assert float((got - expected).abs().max()) <= 1e-13 * float(expected.abs().max())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_that_is_made_of_the_factors(name, bias):
    network = replace(NETWORKS[name], bias=bias)
    x, weights, biases = problem(network, bias)
    per_layer = by_autograd(network, weights, biases, x)
    for layers in (None, (2,), (1, 3)):
        j = torch.cat([per_layer[k - 1] for k in layers or range(1, network.depth + 1)], 1)
        lin = linearise(replace(network, layers=layers), weights, x, biases)
        k, held = j @ j.T, Jacobian.of(lin, tile=4)
        close(gram(lin), k)
        close(gram(lin, tile=2), k)
        close(diagonal(lin), k.diagonal())
        assert float(torch.linalg.matrix_norm(gram(lin) - k, 2)) <= 10 * gram_error_bound(lin)
        v, u = torch.ones(2, N).double(), torch.linspace(-1, 1, 2 * j.shape[1]).double()
        u, v[1, 3] = u.view(2, -1), -2.0
        close(held.rmv(v), v @ j)
        close(held.mv(u), u @ j.T)
        close(held.dense(), j)
        close(held.rows(slice(3, 6)), j[3:6])
        close(held.squares(), k.diagonal())
        anew = Jacobian.on(lin.network, weights, x, biases, store=False, tile=5)
        assert held.shape == anew.shape == j.shape
        assert lin.network.n_counted == j.shape[1]
        kernel = anew.kernel()
        close(kernel.mv(v), v @ k)
        close(kernel.dense(), k)
        close(kernel.rows(slice(2, 7)), k[2:7])
        pairs = principal_pairs(anew.second_moments(), anew.numbers, 10**6)
        columns = anew.columns(pairs, 1.0, torch.float64)
        assert float((columns.mT @ columns - k).abs().max()) <= 1e-11 * float(k.abs().max())


def test_many_networks_at_once_and_the_scales_of_the_ntk_parameterisation():
    network = Network((6, 12, 12, 1), "tanh", kinds=(Tokens(), "residual"), parameterisation="ntk")
    runs = [problem(network, False, seed) for seed in range(3)]
    weights = [torch.stack(w) for w in zip(*(r[1] for r in runs), strict=True)]
    together = ntk_gram(network, weights, torch.stack([r[0] for r in runs]))
    for k, (x, ws, _) in zip(together, runs, strict=True):
        parts = by_autograd(network, ws, None, x)
        expected = sum(s * s * j @ j.T for s, j in zip(network.scales, parts, strict=True))
        close(k, expected)


def test_counts_are_those_of_the_arrays():
    network = Network((6, 9, 12, 1), "tanh", bias=True, kinds=(Tokens(),))
    assert network.shapes == ((2, 3), (3, 4), (12, 1))
    assert network.n_weights == 6 + 12 + 12
    assert network.n_params == network.n_weights + 3 + 4 + 1
    assert network.flops == 2 * 6 * 3 + 2 * 9 * 4 + 2 * 12
    assert network.columns == 9 * (3 + 3) + 9 * (4 + 4) + 13


def test_counts_over_the_columns_of_a_plan():
    widths = np.array([3.0, 50.0, 200.0])
    column = Network((10.0, widths, widths, 1.0), "relu", bias=True, layers=(1, 3))
    for i, w in enumerate((3, 50, 200)):
        one = Network((10, w, w, 1), "relu", bias=True, layers=(1, 3))
        for name in ("n_weights", "n_params", "n_counted", "columns", "kept", "passed", "flops"):
            assert getattr(column, name)[i] == getattr(one, name), name
        weights = init_weights(one, np.random.default_rng(0))
        assert one.n_weights == sum(t.numel() for t in weights)


def test_what_is_known_of_fully_connected_layers_alone_is_not_said_of_others():
    network = NETWORKS["all three"]
    x, weights, _ = problem(network, False)
    report = rank_report(linearise(network, weights, x))
    assert (report.zero, report.bound) == (None, network.n_weights)
    x[4] = x[1]
    lin = linearise(network, weights, x)
    assert rank_report(lin).zero is ZeroReason.DUPLICATE
    survey = Survey(network)
    for part in x.split(4):
        survey.add(linearise(network, weights, part))
    assert survey.report() == rank_report(lin)
    many = torch.from_numpy(np.random.default_rng(1).standard_normal((500, 6)))
    assert rank_report(linearise(network, weights, many)).zero is ZeroReason.RANK
    for limit in (layer_limits, lambda n: infinite_width(n, x)):
        with pytest.raises(ValueError, match="fully connected layers; leave kinds out"):
            limit(network)


def test_kinds_that_do_not_fit_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match="got 5 below and 6; make them equal or take kind 'dense'"):
        Network((5, 6, 1), "tanh", kinds=("residual",))
    with pytest.raises(
        ValueError, match=r"unknown layer kind 'residul'; .*did you mean 'residual'"
    ):
        Network((6, 6, 1), "tanh", kinds=("residul",))
    with pytest.raises(ValueError, match="a kind for each of the 3 hidden layers, or one for all"):
        Network((6, 6, 6, 6, 1), "tanh", kinds=("dense", "dense"))


def test_a_description_needs_no_torch():
    code = (
        "import sys; from lawsweep.kernels import Network; "
        "n = Network((9, 9, 1), 'relu', kinds=('residual',)); "
        "sys.exit(n.n_params != 90 or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
