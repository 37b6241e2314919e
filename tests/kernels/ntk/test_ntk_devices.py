"""No CPU tensor slips into the arithmetic of another device, kernel by kernel.

On the card that is pretended an operation that mixes it with a CPU tensor raises, as on CUDA.
"""

import numpy as np
import pytest
import torch
from pretending import Card

from lawsweep.kernels.activations import ACTIVATIONS, activation
from lawsweep.kernels.gaussian.duals import duals
from lawsweep.kernels.gaussian.erf import ErfKernel
from lawsweep.kernels.gaussian.homogeneous import RELU
from lawsweep.kernels.gaussian.pairs import Covariance
from lawsweep.kernels.linalg.cholesky import load, solve
from lawsweep.kernels.network.init import init_stacks
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk import linearisation
from lawsweep.kernels.ntk.jacobian import Jacobian

WIDTHS = (5, 7, 6, 1)


@pytest.fixture(autouse=True)
def _card():
    with Card():
        yield


def there(*shape):
    return torch.full(shape, 0.5, dtype=torch.float64, device="cuda")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_gram(batch, bias):
    network = Network(WIDTHS, "tanh", bias)
    weights = [there(*batch, *shape) for shape in network.shapes]
    lin = linearisation.linearise(network, weights, there(*batch, 40, 5))
    for tile in (None, 7):
        got = ntk.gram(lin, tile=tile)
        assert (got.device.type, got.shape) == ("cuda", (*batch, 40, 40))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    act, g = activation(name), there(4, 5)
    assert {t.device.type for t in (act.f(g), act.df(g), act.slope(g, act.f(g)))} == {"cuda"}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("store", [False, True])
def test_operator(store, bias):
    rngs = [np.random.default_rng(0)]
    weights = [w[0] for w in init_stacks(Network(WIDTHS, "linear"), rngs, device="cuda")]
    biases = [there(n) for n in WIDTHS[1:]] if bias else None
    rows = Jacobian.on(
        Network.of(weights, activation("gelu"), bias=bias, parameterisation="ntk"),
        weights,
        there(40, 5),
        biases,
        store=store,
        tile=16,
    )
    assert rows.kernel().mv(there(3, 40)).device.type == "cuda"
    assert {m.device.type for pair in rows.second_moments() for m in pair if m is not None} == {
        "cuda"
    }


def test_solves_and_closed_forms():
    work = there(40, 40)
    load(there(40, 40), work, shift=0.1, direction=there(40), weight=2.0, scale=2.0)
    assert solve(work, there(40)).device.type == "cuda"
    for name in ("relu", "leaky_relu", "linear"):  # erf's error bound is a number: left out
        pairs = Covariance(there(9, 9), 0.0, (there(9, 9), there(9, 9)))
        value, slope, _ = duals(pairs, activation(name))
        assert value.sigma.device.type == slope.device.type == "cuda"
    for kernel in (RELU, ErfKernel()):
        for function in (kernel.value, kernel.gradient, kernel.hessian):
            assert function(there(3, 5), there(3, 5)).device.type == "cuda"
