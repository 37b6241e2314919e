"""The experiment: what a row says, and when it must not be believed."""

import dataclasses
import importlib
import math
import subprocess
import sys
import typing
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from reference_ntk import FUNCTIONS, jacobians

from lawsweep import Infeasible, LawsweepError, stream
from lawsweep.experiments.ntk_min_eig import Metrics, Params, ntk_min_eig
from lawsweep.experiments.ntk_min_eig import choice as _ntk_choice
from lawsweep.experiments.ntk_min_eig import inputs as _ntk_inputs
from lawsweep.experiments.ntk_min_eig import network as _ntk_network
from lawsweep.experiments.ntk_min_eig import run as _ntk_run
from lawsweep.experiments.ntk_min_eig.cost import cost
from lawsweep.experiments.ntk_min_eig.fused import fused
from lawsweep.kernels.activations import ACTIVATIONS
from lawsweep.kernels.base import devices
from lawsweep.kernels.data import sampling
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import PARAMETERISATIONS, Network
from lawsweep.kernels.ntk import jacobian as ntk_operator
from lawsweep.kernels.ntk import linearisation
from lawsweep.worker.shards import HerePool, installed

# (The package has the function of that name.)
_ntk_cost = importlib.import_module("lawsweep.experiments.ntk_min_eig.cost")
POINT = {"n_samples": 80, "input_dim": 15, "width": 15, "depth": 3, "activation": "sigmoid"}


def run(seed=0, **changes):
    return ntk_min_eig(**{**POINT, **changes}, seed=seed)


def choices(field):
    hint = typing.get_type_hints(Params, include_extras=True)[field]
    return set(typing.get_args(typing.get_args(hint)[0]))


def test_choices_are_those_of_the_kernels():
    assert choices("activation") == set(ACTIVATIONS)
    assert set(_ntk_inputs.ROW_LAWS) == set(sampling.ROW_LAWS)
    assert choices("parameterisation") == set(PARAMETERISATIONS)
    assert choices("shape") == set(_ntk_network.SHAPES)
    assert choices("dtype") == set(sampling.DTYPES)


def test_the_module_needs_no_torch_to_import():
    code = "import sys, lawsweep.experiments.ntk_min_eig; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def jacobian_gram(p, seed):
    """K from autograd's Jacobian, scales and subset by hand; and the number of parameters."""
    widths = p.network.widths
    x = sampling.rows(p.data, stream(seed, "data"), p.n_samples, p.input_dim)
    betas = p.betas or [p.beta] * p.depth
    weights = init_weights(
        Network(widths, "linear", betas=betas, parameterisation=p.parameterisation),
        stream(seed, "weights"),
    )
    n_params = sum(w.numel() for w in weights) + sum(widths[1:]) * p.bias
    biases = [torch.zeros(m, dtype=torch.float64) for m in widths[1:]] if p.bias else None
    if p.kernel == "conjugate":
        f = x
        for w in weights[:-1]:
            f = FUNCTIONS[p.activation](f @ w)
        return f @ f.T, n_params
    total = torch.zeros(p.n_samples, p.n_samples, dtype=torch.float64)
    for layer, j in enumerate(jacobians(x, weights, biases, p.activation), 1):
        if layer not in p.network.chosen:
            continue
        scale = betas[layer - 1] ** 2 / widths[layer - 1] if p.parameterisation == "ntk" else 1.0
        own = weights[layer - 1].numel()
        total += scale * j[:, :own] @ j[:, :own].T + j[:, own:] @ j[:, own:].T
    return total, n_params


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": True, "depth": 4, "width": 12},
        {"kernel": "2", "activation": "tanh"},
        {"data": "sphere", "beta": 2.0, "activation": "relu"},
        {"n_samples": 1},
        {"n_samples": 320, "input_dim": 40, "width": 30},  # large enough for Lanczos
        {"kernel": "1+2", "shape": "pyramid", "width": 40},
        {"widths": (14, 25, 9), "width": 14, "depth": 4, "betas": (1.0, 2.0, 0.5, 1.5)},
        {"parameterisation": "ntk", "bias": True, "activation": "gelu"},
        {"parameterisation": "ntk", "kernel": "1+3", "betas": (1.0, 2.0, 3.0)},
        {"kernel": "conjugate", "n_samples": 9, "bias": True},
        {"kernel": "conjugate", "n_samples": 9, "activation": "relu"},
    ],
)
def test_row_agrees_with_the_dense_spectrum(changes):
    p = Params(**{**POINT, **changes})
    got = run(seed=7, **changes)
    k, n_params = jacobian_gram(p, 7)
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
    assert got.n_params == n_params


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
        ({"n_samples": 500}, "rank"),
        ({"kernel": 3}, "rank"),
        ({"activation": "relu", "width": 1, "n_samples": 2}, "zero_gradient"),
        ({"data": "rademacher", "input_dim": 4, "n_samples": 17, "width": 9}, "duplicate"),
        (
            {
                "data": "correlated",
                "input_dim": 3,
                "covariance_spectrum": (3.0, 0.0, 0.0),
                "kernel": "1",
                "width": 10,
                "n_samples": 11,
            },
            "rank",
        ),
        (
            {"input_dim": 1, "activation": "relu", "n_samples": 2, "kernel": "2"},
            "parallel",
        ),
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
    assert row.stop_reason == "numerically_singular"


@pytest.mark.parametrize("solver", ["auto", "dense", "cholesky_lanczos", "matrix_free"])
def test_noise_within_its_bracket_is_no_value(solver):
    """Two input dimensions: a value of 1.07e-11, by 60 digits, in a bracket of 3e-11."""
    row = run(
        seed=2, n_samples=40, input_dim=2, width=40, activation="sigmoid", solver=solver
    )  # fmt: skip
    assert (row.converged, row.certified) == (False, False)
    assert row.lambda_min_lower < 1.06e-11 < row.lambda_min_upper + row.gram_error
    assert row.stop_reason in ("numerically_singular", "unresolved", "rounding")


def test_lowest_eigenvalues_are_kept_one_by_one():
    row = run(seed=2, n_samples=40, input_dim=2, width=40, activation="sigmoid", n_lowest=30)
    known = np.isfinite(row.lowest_eigenvalues)
    assert not known[0]
    assert known[-1]
    assert (np.diff(known.astype(int)) >= 0).all()  # noise below, values above
    floor = 100 * (row.lambda_min_upper - row.lambda_min_lower) / 4
    assert row.lowest_eigenvalues[known].min() > floor
    assert np.isfinite(row.lowest_residuals).all()


def test_a_fused_row_has_the_verdict_of_a_row_alone():
    point = {"n_samples": 40, "input_dim": 2, "width": 40, "activation": "sigmoid"}
    p = Params(**{**POINT, **point})
    for seed, got in enumerate(fused([p] * 3, range(3), "cpu")):
        alone = run(seed=seed, **point)
        assert (got.converged, got.certified) == (alone.converged, alone.certified)
        assert got.stop_reason == alone.stop_reason
    assert not got.converged


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
    expected = "kernel must be 'full' or a layer from 1 to depth=3, several joined"
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
            if f.name in {s.name for s in ntk_min_eig.metrics}:
                assert value is None or type(value) in (bool, int, float, str), f.name


@pytest.mark.parametrize("changes", [{}, {"n_samples": 500}, {"kernel": "conjugate"}])
def test_spectra_are_kept_on_request(changes):
    plain = run(**changes)
    row = run(**changes, n_lowest=4, full_spectrum=True)
    assert (plain.spectrum, plain.lowest_eigenvalues, plain.lowest_residuals) == (None, None, None)
    arrays = ntk_min_eig.arrays_row(row)
    p = Params(**{**POINT, **changes})
    values = np.linalg.eigvalsh(jacobian_gram(p, 0)[0].numpy())
    # A dense solve is backward stable: each eigenvalue is off by some ulps of the largest.
    near = 1e-13 * values[-1]
    np.testing.assert_allclose(arrays["spectrum"], values, atol=near)
    np.testing.assert_allclose(arrays["lowest_eigenvalues"], values[:4], atol=near)
    if row.zero_reason is not None:  # the rank leaves 65 zeros and more
        assert arrays["lowest_eigenvalues"].tolist() == [0.0] * 4
    assert arrays["lowest_residuals"].shape == (4,)
    assert arrays["lowest_residuals"].max() < near
    assert row.lowest_complete
    assert row.lambda_min == plain.lambda_min


def test_lowest_eigenvalues_of_a_larger_kernel():
    """Large enough for Lanczos; against LAPACK, and the lowest one is lambda_min."""
    point = {"n_samples": 520, "input_dim": 40, "width": 40}
    row, dense = run(**point, n_lowest=6), run(**point, full_spectrum=True)
    np.testing.assert_allclose(row.lowest_eigenvalues, dense.spectrum[:6], rtol=1e-9)
    assert row.lowest_eigenvalues[0] == pytest.approx(row.lambda_min, rel=1e-10)
    assert row.lowest_complete


def test_a_limit_that_overflows_costs_no_run():
    row = run(activation="tanh", beta=1e155)
    assert math.isnan(row.lambda_min_limit)
    assert row.trace > 0


def test_limit_is_that_of_the_layers_asked_for():
    d = POINT["input_dim"]
    assert run().lambda_min_limit == pytest.approx(1.2798e-4 * d**2, rel=5e-5)
    assert run(kernel="2").lambda_min_limit == pytest.approx(4.938e-6 * d**2, rel=2e-4)
    one, other = run(kernel="1").lambda_min_limit, run(kernel="2").lambda_min_limit
    assert run(kernel="1+2").lambda_min_limit == pytest.approx(one + other, rel=1e-14)
    for changes in ({"kernel": "3", "n_samples": 9}, {"kernel": "conjugate"}, {"data": "mixture"}):
        assert run(**changes).lambda_min_limit is None


@pytest.mark.parametrize("changes", [{}, {"parameterisation": "ntk"}, {"activation": "relu"}])
def test_infinite_width_on_the_same_samples(changes):
    """Seen: as the width grows, lambda_min comes to that of the infinite network."""
    point = {"n_samples": 12, "input_dim": 15, "kernel": "full", "infinite_width_up_to": 12}
    assert run(**{**point, "n_samples": 13}).lambda_min_infinite_width is None
    assert run(n_samples=12).lambda_min_infinite_width is None
    ratios = []
    for width in (20, 1000):
        rows = [run(**point, **changes, width=width, seed=s) for s in range(4)]
        assert all(r.infinite_width_error < 1e-10 * r.lambda_max for r in rows)
        ratios.append(np.mean([r.lambda_min / r.lambda_min_infinite_width for r in rows]))
    assert abs(ratios[1] - 1) < abs(ratios[0] - 1)
    # The relative distance is about 3.5 / sqrt(n) in norm, and lambda_min is not far below it.
    assert ratios[1] == pytest.approx(1.0, abs=0.2)


def test_conjugate_kernel_without_bias_is_the_last_layer():
    point = {"n_samples": 9}
    conjugate, last = run(**point, kernel="conjugate"), run(**point, kernel="3")
    assert conjugate.lambda_min == last.lambda_min
    assert conjugate.rank_bound == last.rank_bound == 15
    assert run(n_samples=16, kernel="conjugate").zero_reason == "rank"


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_one_sample_and_one_unit(activation):
    """N = 1, width 1: K is one number, its own eigenvalue."""
    for seed in range(6):
        row = run(seed=seed, n_samples=1, width=1, activation=activation, infinite_width_up_to=1)
        assert row.converged
        if row.zero_reason is None:
            assert row.lambda_min == pytest.approx(row.trace, rel=1e-12)
            assert row.lambda_min > 0
        else:
            assert (activation, row.lambda_min, row.trace) == ("relu", 0.0, 0.0)


def test_a_dead_sample_is_an_exact_zero():
    """ReLU, one narrow layer: a sample with all units off has no gradient."""
    rows = [run(seed=s, activation="relu", width=2, n_samples=3, kernel="1") for s in range(12)]
    dead = [r for r in rows if r.zero_reason == "zero_gradient"]
    assert dead
    assert all(r.lambda_min == 0.0 and r.min_diagonal == 0.0 for r in dead)


@pytest.mark.parametrize("solver", ["matrix_free", "sharded"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": True, "parameterisation": "ntk"},
        {"kernel": "1+3", "betas": (1.0, 2.0, 0.5), "n_samples": 40},
        {"kernel": "conjugate", "n_samples": 9, "bias": True},
        {"n_samples": 1},
    ],
)
def test_matrix_free_agrees_and_claims_no_lower_bound(solver, changes):
    dense, free = run(**changes, solver="dense"), run(**changes, solver=solver)
    # A residual of 1e-3 puts the value within 1e-6 over the relative gap, here above 0.01.
    assert free.lambda_min == pytest.approx(dense.lambda_min, rel=1e-4)
    assert free.lambda_max == pytest.approx(dense.lambda_max, rel=1e-3)
    assert free.lambda_min_upper >= dense.lambda_min * (1 - 1e-12)
    assert free.residual <= 1e-3 * free.lambda_min
    assert free.lambda_min_lower == -np.inf
    assert (free.solver_used, free.converged) == (solver, True)
    assert not free.certified
    assert not free.sign_trusted


def test_sharded_is_the_same_over_more_shards():
    with installed(HerePool(3)):
        three = run(solver="sharded")
    assert three.lambda_min == pytest.approx(run(solver="sharded").lambda_min, rel=1e-9)


def test_matrix_free_names_exact_zeros_and_refuses_spectra():
    assert run(n_samples=500, solver="matrix_free").zero_reason is not None
    for changes in ({"n_lowest": 2}, {"full_spectrum": True}):
        with pytest.raises(LawsweepError, match=r"need the matrix, which solver='sharded' never"):
            run(solver="sharded", **changes)


def test_auto_leaves_out_the_matrix_where_it_does_not_fit(monkeypatch):
    monkeypatch.setattr(_ntk_choice, "_free_bytes", lambda device: 2e9)
    params = Params(**{**POINT, "n_samples": 50_000})
    assert _ntk_choice.chosen_solver(params, "cpu") == "matrix_free"
    assert _ntk_choice.is_stored(params, "matrix_free", "cpu")
    monkeypatch.setattr(_ntk_choice, "_free_bytes", lambda device: 1e7)
    with pytest.raises(MemoryError, match="take more shards"):
        _ntk_choice.chosen_solver(params, "cpu")
    monkeypatch.setattr(_ntk_choice, "_free_bytes", lambda device: 1e11)
    assert _ntk_choice.chosen_solver(params, "cpu") == "auto"
    assert _ntk_choice._free_bytes(torch.device("cpu")) > 0
    assert run().solver_used == "dense"


def test_an_exact_zero_needs_no_room_for_a_solve(monkeypatch):
    monkeypatch.setattr(_ntk_choice, "SMALL_BYTES", 1.0)
    expected = run(n_samples=700)  # p = 465
    monkeypatch.setattr(_ntk_choice, "_free_bytes", lambda device: 1.0)
    found = run(n_samples=700)
    assert found.zero_reason == expected.zero_reason == "rank"
    assert (found.rank_bound, found.lambda_min) == (expected.rank_bound, 0.0)
    assert found.trace == pytest.approx(expected.trace, rel=1e-12)
    with pytest.raises(MemoryError, match="take more shards"):
        run()


def columns_of(**columns):
    """What a cost function is given: every param, columns or single values."""
    defaults = {}
    for spec in ntk_min_eig.params:
        if spec.has_default:
            cell = np.empty((), dtype=object)
            cell[()] = spec.default
            defaults[spec.name] = cell if spec.is_tuple else np.asarray(spec.default)
    return SimpleNamespace(**{**defaults, **columns})


def test_cost_over_columns():
    columns = columns_of(
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
    one = cost(SimpleNamespace(**{k: v[2] if v.ndim else v for k, v in vars(columns).items()}))
    assert float(one.flops) == float(got.flops[2])
    assert float(one.memory_bytes) > 8 * 3 * 1000**2  # the Gram and what a dense solve needs


def test_cost_of_unequal_layers():
    listed = np.empty(3, dtype=object)
    listed[:] = [(), (40, 10), (10, 40)]
    got = cost(
        columns_of(
            n_samples=np.full(3, 200.0),
            input_dim=np.full(3, 10.0),
            width=np.array([10.0, 40.0, 10.0]),
            depth=np.full(3, 3.0),
            kernel=np.array(["full", "1+2", "conjugate"]),
            widths=listed,
        )
    )
    assert got.flops.shape == got.memory_bytes.shape == (3,)
    assert np.all(got.flops > 0)
    # The rectangle's cost, by the loop and by the shortcut.
    same = {"n_samples": 100.0, "input_dim": 10.0, "width": 10.0, "depth": 3.0, "kernel": "full"}
    one = cost(columns_of(**same))
    looped = cost(columns_of(**{**same, "shape": np.array(["rectangle", "pyramid"])}))
    assert looped.flops[0] == pytest.approx(float(one.flops), rel=0.1)


def test_cost_counts_what_is_asked_for():
    point = {"n_samples": 5000.0, "input_dim": 50.0, "width": 50.0, "depth": 3.0, "bias": True}
    plain = cost(columns_of(**point))
    assert float(cost(columns_of(**point, full_spectrum=True)).flops) > 3 * float(plain.flops)
    free = cost(columns_of(**point, solver="matrix_free"))
    assert float(free.memory_bytes) < 0.2 * float(plain.memory_bytes)
    limit = cost(columns_of(**point, infinite_width_up_to=5000))
    assert float(limit.memory_bytes) > float(plain.memory_bytes)
    singular = {**point, "input_dim": 5.0, "width": 5.0}
    lowest = cost(columns_of(**singular, n_lowest=np.array([0.0, 5.0])))
    assert lowest.memory_bytes[0] < 8 * 5000**2 < lowest.memory_bytes[1]  # an exact zero, and K


def test_cost_of_auto_is_that_of_the_way_it_takes(monkeypatch):
    """N = 50,000: 44 GB to form K, measured 1.25 GB (beside the process's own) to do without."""
    point = {"n_samples": 50_000.0, "input_dim": 300.0, "width": 300.0, "depth": 3.0}
    n, n_params = 50_000, 2 * 300**2 + 300
    monkeypatch.setattr(_ntk_cost, "_room", lambda: 17e9)
    without = cost(columns_of(**point))
    assert without == cost(columns_of(**point, solver="matrix_free"))
    assert 1e9 < float(without.memory_bytes) < 2e9
    # Some hundred to some thousand products with K: 746 were measured for one start to 1e-2.
    assert 1e3 < float(without.flops) / (4 * n * n_params) < 1e4
    # What needs the matrix has it, whatever the room.
    assert float(cost(columns_of(**point, n_lowest=3)).memory_bytes) > 8 * 2.2 * n**2
    monkeypatch.setattr(_ntk_cost, "_room", lambda: 50e9)
    formed = cost(columns_of(**point))
    assert float(formed.memory_bytes) > 8 * 2.2 * n**2
    assert float(formed.flops) > n**3 / 3
    halved = cost(columns_of(**point, dtype="float32"))
    assert float(halved.memory_bytes) == pytest.approx(0.5 * float(formed.memory_bytes), rel=1e-2)


def test_room_is_a_part_of_this_machine():
    assert 1e8 < _ntk_cost._room() < psutil.virtual_memory().total


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation": "relu", "bias": True, "parameterisation": "ntk"},
        {"activation": "tanh", "kernel": "conjugate", "n_samples": 9},
        {"data": "mixture", "dtype": "float32"},
    ],
)
def test_a_matrix_free_run_never_holds_the_whole_network(monkeypatch, changes):
    """Blocks of rows at a time, from the draw to the operator, and all the same is known."""
    whole = _ntk_run.prepare(Params(**{**POINT, **changes}), 0, "cpu")
    real, rows = linearisation.passes, []

    def passes(network, weights, x, *args):
        rows.append(len(x))
        return real(network, weights, x, *args)

    monkeypatch.setattr(linearisation, "passes", passes)
    monkeypatch.setattr(ntk_operator, "passes", passes)
    monkeypatch.setitem(devices.OVERRIDES, "rows_tile", 7)
    params = Params(**{**POINT, **changes, "solver": "matrix_free"})
    lean = _ntk_run.prepare(params, 0, "cpu")
    assert (lean.lin, lean.zero) == (None, whole.zero)
    eps = float(torch.finfo(lean.x.dtype).eps)
    for name, value in whole.facts.items():
        near = None if value is None else pytest.approx(value, rel=POINT["n_samples"] * eps)
        assert lean.facts[name] == near, name
    ntk_min_eig(params, 0)
    assert max(rows) == 7
    with pytest.raises(ValueError, match="taken before; prepare the run again"):
        lean.take()


def test_a_lean_run_that_does_not_fit_stores_nothing(monkeypatch):
    params = Params(**{**POINT, "solver": "matrix_free"})
    stored = ntk_min_eig(params, 0)
    monkeypatch.setattr(_ntk_choice, "SMALL_BYTES", 0.0)
    monkeypatch.setattr(_ntk_choice, "_free_bytes", lambda device: 1.0)
    assert not _ntk_choice.is_stored(params, "matrix_free", "cpu")
    again = ntk_min_eig(params, 0)
    assert again.lambda_min == pytest.approx(stored.lambda_min, rel=1e-9)
