"""The experiment: what a row says, and when it must not be believed."""

import dataclasses
import subprocess
import sys
import typing
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lawsweep import Infeasible, LawsweepError, stream
from lawsweep.experiments.ntk_min_eig import Metrics, Params, cost, ntk_min_eig
from lawsweep.kernels import networks, ntk, sampling
from lawsweep.kernels.activations import ACTIVATIONS, activation

POINT = {"n_samples": 80, "input_dim": 15, "width": 15, "depth": 3, "activation": "sigmoid"}


def run(seed=0, **changes):
    return ntk_min_eig(**{**POINT, **changes}, seed=seed)


def choices(field):
    hint = typing.get_type_hints(Params, include_extras=True)[field]
    return set(typing.get_args(typing.get_args(hint)[0]))


def test_choices_are_those_of_the_kernels():
    assert choices("activation") == set(ACTIVATIONS)
    assert choices("data") == set(sampling.ROW_LAWS)
    assert choices("dtype") == set(sampling.DTYPES)


def test_the_module_needs_no_torch_to_import():
    code = "import sys, lawsweep.experiments.ntk_min_eig; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": True, "depth": 4, "width": 12},
        {"kernel": "2", "activation": "tanh"},
        {"data": "sphere", "beta": 2.0, "activation": "relu"},
        {"n_samples": 1},
        {"n_samples": 320, "input_dim": 40, "width": 30},  # large enough for Lanczos
    ],
)
def test_row_agrees_with_the_dense_spectrum(changes):
    p = Params(**{**POINT, **changes})
    got = run(seed=7, **changes)
    widths = networks.layer_widths(p.input_dim, p.width, p.depth)
    x = sampling.rows(p.data, stream(7, "data"), p.n_samples, p.input_dim)
    weights = networks.init_weights(widths, stream(7, "weights"), [p.beta] * p.depth)
    biases = [torch.zeros(m, dtype=torch.float64) for m in widths[1:]] if p.bias else None
    k = ntk.gram(ntk.linearise(x, weights, activation(p.activation), biases), p.layers)
    values = np.linalg.eigvalsh(k.numpy())
    assert got.lambda_min == pytest.approx(values[0], rel=1e-9)
    assert got.lambda_max == pytest.approx(values[-1], rel=1e-10)
    assert got.condition_number == pytest.approx(values[-1] / values[0], rel=1e-8)
    assert got.trace == pytest.approx(values.sum(), rel=1e-12)
    assert got.min_diagonal == pytest.approx(float(k.diagonal().min()), rel=1e-12)
    assert got.lambda_min_lower <= values[0] * (1 + 1e-9)
    assert got.lambda_min_upper >= values[0] * (1 - 1e-9)
    assert got.lambda_min <= got.min_diagonal * (1 + 1e-12)
    assert (got.converged, got.certified, got.sign_trusted) == (True, True, True)
    assert got.zero_reason is None
    assert got.n_params == sum(w.numel() for w in weights) + sum(widths[1:]) * p.bias


def test_same_seed_same_row_and_other_seed_another():
    assert run(seed=1) == run(seed=1)
    assert run(seed=1).lambda_min != run(seed=2).lambda_min


def test_more_samples_share_the_first_ones():
    """Streams: lambda_min can only fall as samples are added to the same network (Cauchy)."""
    values = [run(seed=3, n_samples=n).lambda_min for n in (20, 40, 80)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_samples": 500}, "n_samples exceeds the rank bound"),
        ({"kernel": 3}, "n_samples exceeds the rank bound"),
        ({"activation": "relu", "width": 1, "n_samples": 2}, "a sample has zero gradient"),
        ({"data": "rademacher", "input_dim": 4, "n_samples": 17, "width": 9}, "duplicate samples"),
    ],
)
def test_exact_zeros_are_named_and_not_solved_for(changes, reason):
    rows = [run(seed=s, **changes) for s in range(8)]
    zeros = [r for r in rows if r.zero_reason == reason]
    assert zeros
    for row in zeros:
        assert (row.lambda_min, row.lambda_min_lower, row.lambda_min_upper) == (0.0, 0.0, 0.0)
        assert row.solver_used == "exact"
        assert row.lambda_max is None
        assert row.converged
        assert row.sign_trusted


def test_float32_admits_what_it_does_not_know():
    point = {"n_samples": 420, "input_dim": 22, "width": 22, "kernel": "2"}
    assert run(**point).sign_trusted
    row = run(**point, dtype="float32")
    assert not row.sign_trusted
    assert not row.converged
    assert "rounding level" in row.stop_reason


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 40, "beta": 1e-25, "dtype": "float32"},
        {"width": 40, "beta": 1e-200},
        {"width": 40, "beta": 1e-200, "bias": True},
        {"width": 40, "beta": 1e-200, "kernel": "2"},
        {"width": 40, "beta": 1e-90},  # features fit, their squares do not
        {"width": 5, "input_dim": 4, "beta": 1e200},
        {"width": 40, "beta": 1e90},
        {"width": 40, "beta": 1e-200, "activation": "tanh"},
    ],
)
def test_what_leaves_the_range_is_infeasible_and_no_exact_zero(changes):
    point = {"n_samples": 6, "input_dim": 8, "depth": 3, "activation": "relu"}
    with pytest.raises(Infeasible, match=r"leave the range of float(32|64); rescale the weights"):
        run(**{**point, **changes})


def test_lambda_min_is_homogeneous_in_beta():
    """ReLU without biases: K goes with beta^(2(L-1)), here to 2^-320 and 2^+320."""
    point = {"n_samples": 6, "input_dim": 8, "width": 40, "activation": "relu"}
    one = run(**point)
    assert one.lambda_min > 0
    for exponent in (-80, 80):
        got = run(**point, beta=2.0**exponent)
        assert got.converged
        assert got.sign_trusted
        # Powers of 2 are exact; the solver may scale by another one.
        assert got.lambda_min / 2.0 ** (4 * exponent) == pytest.approx(one.lambda_min, rel=1e-12)


@pytest.mark.parametrize("kernel", ["4", "0", "02", "-1", "all", ""])
def test_a_layer_that_does_not_exist(kernel):
    expected = "kernel must be 'full' or a layer from 1 to depth=3, got"
    with pytest.raises(LawsweepError, match=expected):
        run(kernel=kernel)


def test_a_layer_may_be_given_as_a_number():
    assert run(kernel=2) == run(kernel="2")


@pytest.mark.parametrize(
    "changes", [{"depth": 1}, {"n_samples": 0}, {"beta": 0.0}, {"activation": "rulu"}]
)
def test_out_of_range(changes):
    with pytest.raises(LawsweepError, match=next(iter(changes))):
        run(**changes)


def test_metrics_cover_every_kind_of_row_with_plain_values():
    for row in (run(), run(n_samples=500)):
        for f in dataclasses.fields(Metrics):
            value = getattr(row, f.name)
            assert value is None or type(value) in (bool, int, float, str), f.name


def test_cost_over_columns():
    columns = SimpleNamespace(
        n_samples=np.array([100, 1000, 1000, 3000]),
        input_dim=np.array([50, 50, 500, 20]),
        width=np.array([50, 50, 500, 20]),
        depth=np.full(4, 3),
        kernel=np.array(["full", "2", "full", "full"]),
        solver=np.array(["auto", "auto", "dense", "auto"]),
        dtype=np.array(["float64"] * 4),
        bias=np.zeros(4, dtype=bool),
    )
    got = cost(columns)
    assert got.flops.shape == got.memory_bytes.shape == (4,)
    assert got.flops[0] < got.flops[1] < got.flops[2]
    assert got.flops[3] < got.flops[1]  # N > p: nothing is solved
    one = cost(SimpleNamespace(**{k: v[2] for k, v in vars(columns).items()}))
    assert float(one.flops) == float(got.flops[2])
    assert float(one.memory_bytes) > 8 * 3 * 1000**2  # the Gram and what a dense solve needs
