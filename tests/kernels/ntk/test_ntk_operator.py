"""J v and J^T v against per-sample autograd and against the dense Gram matrix."""

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
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.ntk.linearisation import OutOfRangeError, linearise
from lawsweep.kernels.ntk.precondition import principal_pairs, woodbury

REF = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "reference_ntk.py")))


def problem(widths, n, *, bias=False, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    x = sampling.rows("gaussian", rng, n, widths[0], dtype)
    weights = init_weights(Network(widths, "linear"), rng, dtype=dtype)
    biases = None
    if bias:
        biases = [torch.from_numpy(rng.standard_normal(m)).to(dtype) for m in widths[1:]]
    return x, weights, biases


def block(b, n, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((b, n)))


def close(got, expected, size=1e-12):
    # Sums of at most some thousand products: their rounding is below 1e-12 of the largest entry.
    assert got.shape == expected.shape
    assert float((got - expected).abs().max()) <= size * float(expected.abs().max())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(5, 1), (4, 6, 3, 1), (6, 5, 7, 4, 1)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_products_with_the_jacobian_are_those_of_autograd(name, widths, bias):
    x, weights, biases = problem(widths, 9, bias=bias)
    jacobians = REF.jacobians(x, weights, biases, name)
    for layers in (None, (1,), tuple(range(len(weights), 0, -1))):
        chosen = range(1, len(weights) + 1) if layers is None else layers
        jacobian = torch.cat([jacobians[k - 1] for k in chosen], dim=1)
        rows = Jacobian.on(
            Network.of(weights, activation(name), bias=biases is not None, layers=layers),
            weights,
            x,
            biases,
            tile=4,
        )
        assert rows.n_params == jacobian.shape[1]
        v, u = block(3, 9), block(2, jacobian.shape[1])
        # The gradient has the layout of the parameters, layer by layer, so J is J entry by entry.
        close(rows.rmv(v), v @ jacobian, 1e-13)
        close(rows.mv(u), u @ jacobian.T, 1e-13)
        close(rows.squares(), jacobian.square().sum(1), 1e-13)


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layers", [None, (2,), (1, 3)])
@pytest.mark.parametrize("scales", [None, (0.5, 3.0, 0.25)])
def test_products_are_those_of_the_dense_matrix(layers, bias, store, scales):
    x, weights, biases = problem((20, 30, 25, 1), 300, bias=bias)
    lin = linearise(
        Network.of(weights, activation("gelu"), bias=biases is not None), weights, x, biases
    )
    k = ntk.gram(lin.select(layers, scales))
    if scales is not None:  # what betas make of them
        roots = [math.sqrt(n) for n in (20, 30, 25)]
        scales = [s * r for s, r in zip(scales, roots, strict=True)]
    network = Network.of(
        weights,
        "gelu",
        bias=bias,
        layers=layers,
        betas=scales,
        parameterisation="standard" if scales is None else "ntk",
    )
    rows = Jacobian.on(network, weights, x, biases, store=store, tile=77)
    v = block(4, 300)
    close(rows.kernel().mv(v), v @ k)
    close(rows.squares(), k.diagonal())


def test_rows_may_live_apart():
    x, weights, _ = problem((8, 9, 7, 1), 50)
    act = activation("tanh")
    v = block(2, 50)
    cuts = (slice(0, 13), slice(13, 14), slice(14, 50))
    parts = [Jacobian.on(Network.of(weights, act), weights, x[cut]) for cut in cuts]
    gradient = sum(p.rmv(v[:, cut]) for p, cut in zip(parts, cuts, strict=True))
    image = torch.cat([p.mv(gradient) for p in parts], dim=1)
    close(image, Jacobian.on(Network.of(weights, act), weights, x).kernel().mv(v))


def test_a_float32_network_multiplies_in_the_type_of_the_vector():
    x, weights, _ = problem((8, 9, 7, 1), 50, dtype=torch.float32)
    rows = Jacobian.on(Network.of(weights, activation("sigmoid")), weights, x)
    lin = linearise(Network.of(weights, activation("sigmoid")), weights, x)
    k = ntk.gram(lin.map(lambda t: t.double()))
    v = block(1, 50)
    close(rows.kernel().mv(v), v @ k)
    assert rows.kernel().mv(v.float()).dtype is torch.float32


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["relu", "sigmoid"])
def test_all_principal_columns_together_are_the_kernel(name, bias):
    x, weights, biases = problem((6, 9, 8, 1), 40, bias=bias)
    rows = Jacobian.on(
        Network.of(weights, activation(name), bias=biases is not None), weights, x, biases, tile=16
    )
    k = ntk.gram(
        linearise(
            Network.of(weights, activation(name), bias=biases is not None), weights, x, biases
        )
    )
    pairs = principal_pairs(rows.second_moments(), rows.numbers, 10**6)
    columns = rows.columns(pairs, 1.0, torch.float64)
    close(columns.mT @ columns, k)
    fewer = principal_pairs(rows.second_moments(), rows.numbers, 30)
    part = rows.columns(fewer, 2.0, torch.float64)
    assert part.shape == (30, 40)
    # What is left out is a sum of squares; a quarter of the columns holds most of the trace.
    rest = torch.linalg.eigvalsh(k - part.mT @ part / 4.0)
    assert float(rest[0]) > -1e-12 * float(k.trace())
    assert float(part.square().sum()) / 4.0 > 0.5 * float(k.trace())


def test_woodbury_is_the_inverse_of_its_matrix():
    a = block(5, 30)
    k_trace = 2.0 * float(a.square().sum())
    found = woodbury(a @ a.mT, k_trace, 30)
    assert found.rank == 5
    assert found.c == pytest.approx(k_trace / 2.0 / 30)
    m = found.c * torch.eye(30, dtype=a.dtype) + a.mT @ a
    y = block(2, 30, seed=3).mT
    got = (y - a.mT @ found.coefficients(a @ y)) / found.c
    close(got, torch.linalg.solve(m, y))


def test_a_preconditioner_with_the_whole_trace_is_still_definite():
    a = block(3, 30)
    found = woodbury(a @ a.mT, float(a.square().sum()), 30)
    assert 0.0 < found.c < 1e-10 * float(a.square().sum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(3)}, "expected inputs"),
        ({"x": torch.ones(3, 4)}, "the network takes 5 columns, got 4"),
        ({"tile": 0}, "tile must be at least 1 row, got 0"),
    ],
)
def test_bad_input(change, message):
    x, weights, _ = problem((5, 4, 1), 3)
    options = {"x": x, **change}
    with pytest.raises(ValueError, match=message):
        Jacobian.on(Network.of(weights, activation("relu")), weights, options.pop("x"), **options)


def test_vectors_of_the_wrong_length():
    x, weights, _ = problem((5, 4, 1), 3)
    rows = Jacobian.on(Network.of(weights, activation("relu")), weights, x)
    with pytest.raises(ValueError, match=r"expected vectors as rows \(b, 3\), got \(3, 2\)"):
        rows.rmv(torch.ones(3, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected vectors as rows \(b, 24\)"):
        rows.mv(torch.ones(3, dtype=torch.float64))


def test_values_that_leave_the_range_are_named():
    x, weights, _ = problem((5, 4, 4, 1), 3)
    with pytest.raises(OutOfRangeError, match="leave the range of float64"):
        Jacobian.on(Network.of(weights, "linear"), [1e300 * w for w in weights], x)
    larger = [1e160 * weights[0], *weights[1:]]
    rows = Jacobian.on(Network.of(larger, "linear"), larger, x)
    with pytest.raises(OutOfRangeError, match="squared gradient norms"):
        rows.squares()
