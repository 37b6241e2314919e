"""The card that is pretended has CUDA's manners, and every experiment gives the CPU's rows there.

The numbers on it are real, so rows may differ from the CPU's by a path that is chosen by device and
by the order of roundings, and by nothing else.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from pretending import Card, There

from lawsweep.core.registry import BUILTIN, find_experiment

NTK = {"n_samples": 40, "input_dim": 12, "width": 12, "depth": 3, "activation": "sigmoid"}
TRAINED = {"n_samples": 40, "input_dim": 12, "width": 12, "depth": 3, "max_steps": 30}
STUDENT = {"n_target": 30, "input_dim": 5, "n_compressed": 2}
BOTH = {"n_samples": 30, "input_dim": 12, "width": 40, "depth": 3}

CASES: dict[str, list[dict[str, Any]]] = {
    "ntk_min_eig": [
        NTK,
        {**NTK, "solver": "dense"},
        {**NTK, "solver": "cholesky_lanczos"},
        {**NTK, "solver": "mixed", "n_samples": 320, "input_dim": 24, "width": 24},
        {**NTK, "solver": "matrix_free", "input_dim": 24, "width": 24},
        {**NTK, "solver": "sharded", "input_dim": 24, "width": 24},
        {**NTK, "n_samples": 320, "input_dim": 24, "width": 24},
        {**NTK, "dtype": "float32", "n_samples": 8},
        {**NTK, "bias": True, "activation": "relu"},
        {**NTK, "kernel": "1+2", "parameterisation": "ntk", "activation": "gelu"},
        {**NTK, "kernel": "conjugate", "n_samples": 8, "shape": "pyramid"},
        {**NTK, "n_lowest": 3, "full_spectrum": True, "infinite_width_up_to": 60},
        {**NTK, "activation": "relu", "width": 3, "n_samples": 9},  # exact zeros
        {**NTK, "n_samples": 301},  # N > p
    ],
    "memorization": [
        TRAINED,
        {**TRAINED, "optimizer": "gd", "schedule": "cosine", "learning_rate": 1e-3},
        {**TRAINED, "optimizer": "levenberg_marquardt"},
        {**TRAINED, "optimizer": "levenberg_marquardt", "n_samples": 300, "max_steps": 5},  # N > p
        {**TRAINED, "targets": "classes", "n_classes": 3, "loss": "logistic"},
        {**TRAINED, "dtype": "float32", "measure_kernel": True},
        {**TRAINED, "stop_rule": "checks", "keep_curve": True},
    ],
    "compression": [
        STUDENT,
        {**STUDENT, "solver": "newton_cg"},
        {**STUDENT, "solver": "lbfgs", "max_iterations": 20},
        {**STUDENT, "student_outputs": "trained", "activation": "erf", "n_restarts": 2},
        {**STUDENT, "target_norm_method": "sample", "target_rows": "gaussian"},
        {**STUDENT, "objective": "reduced"},
        {**STUDENT, "n_target": None, "target_norm_method": "skip", "objective": "simplified"},
    ],
    "ntk_memorization": [BOTH],
}
WAYS = {"ntk_min_eig": "solver", "memorization": "optimizer", "compression": "solver"}
# Rounding's own size, a count of rounds, and the way that was chosen.
NOISE = {"residual", "gram_error", "gradient_norm", "chaotic_from", "n_iterations", "solver_used"}


EACH = [
    pytest.param(name, point, id=f"{name}-{k}")
    for name, points in CASES.items()
    for k, point in enumerate(points)
]


def params_of(name, point):
    return find_experiment(name).params_type(**point)


def test_every_experiment_and_every_way_is_tried():
    assert set(CASES) == set(BUILTIN)
    for name, param in WAYS.items():
        (spec,) = (s for s in find_experiment(name).params if s.name == param)
        tried = {getattr(params_of(name, point), param) for point in CASES[name]}
        # newton is what auto takes: see compression's choice.
        assert tried | {"newton"} >= set(spec.choices)


@pytest.mark.parametrize(("name", "point"), EACH)
def test_a_row_is_that_of_the_cpu(name, point):
    experiment, params = find_experiment(name), params_of(name, point)
    here = experiment.function(params, 3, "cpu")
    with Card() as card:
        there = experiment.function(params, 3, "cuda:0")
    assert card.counts.operations.total() > 20, "the card was asked for hardly anything"
    assert_same(here, there, params.dtype if hasattr(params, "dtype") else "float64")


@pytest.mark.parametrize(
    ("name", "point"),
    [("ntk_min_eig", NTK), ("memorization", TRAINED), ("compression", STUDENT)],
)
def test_fused_rows_are_those_of_the_cpu(name, point):
    experiment, params = find_experiment(name), params_of(name, point)
    seeds = [0, 1, 2]
    here = experiment.fused([params] * 3, seeds, "cpu")
    with Card():
        there = experiment.fused([params] * 3, seeds, "cuda:0")
    for one, other in zip(here, there, strict=True):
        assert_same(one, other)


def assert_same(here, there, dtype="float64"):
    """To 1e-9 (float32: 1e-3), and what cancels on the scale of what was rounded."""
    mine, its = (found[0] if isinstance(found, tuple) else found for found in (here, there))
    eps = float(np.finfo(dtype).eps)
    scale = 64 * eps * (getattr(mine, "lambda_max", None) or 0.0)
    relative = 1e-9 if dtype == "float64" else 1e-3
    for f in dataclasses.fields(mine):
        a, b = getattr(mine, f.name), getattr(its, f.name)
        if f.name in NOISE:
            continue
        if isinstance(a, (float, tuple, np.ndarray)) and np.asarray(a).dtype.kind == "f":
            # A gradient that has vanished is what rounding left of it.
            least = max(scale, 1e-12) if f.name == "grad_norm" else scale
            np.testing.assert_allclose(b, a, relative, least, err_msg=f.name)
        else:
            np.testing.assert_equal(b, a, err_msg=f.name)


def test_no_tensor_of_the_host_mixes_with_the_cards():
    with Card():
        there = torch.ones(3, dtype=torch.float64, device="cuda")
        assert (there.device, there.is_cuda) == (torch.device("cuda:0"), True)
        with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
            _ = there + torch.ones(3, dtype=torch.float64)
        with pytest.raises(RuntimeError, match="two devices"):
            torch.mm(torch.ones(3, 3, device="cuda"), torch.ones(3, 3))
        both = there + torch.tensor(1.0)  # a number may come from the host
        assert both.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("way", [lambda t: t.numpy(), np.asarray, lambda t: np.sqrt(t)])
def test_nothing_becomes_an_array_unasked(way):
    with Card(), pytest.raises(TypeError, match="can't convert cuda:0"):
        way(torch.ones(3, device="cuda"))


@pytest.mark.parametrize(
    ("read", "n_reads", "n_waits"),
    [
        (lambda t: t.sum().item(), 1, 0),
        (lambda t: float(t[0]), 1, 0),
        (lambda t: int(t[0]), 1, 0),
        (lambda t: bool((t > 0).all()), 1, 0),
        (lambda t: 1 if (t > 0).any() else 0, 1, 0),
        (lambda t: t.tolist(), 1, 0),
        (lambda t: t.cpu().numpy(), 1, 0),
        (lambda t: t.to("cpu", torch.float32), 1, 0),
        (lambda t: torch.empty(3).copy_(t), 1, 0),
        (lambda t: max(t[0], t[1]), 1, 0),
        (lambda t: t.nonzero(), 0, 1),
        (lambda t: t[t > 1], 0, 1),
        (lambda t: torch.linalg.cholesky(torch.diag(t + 1)), 0, 1),
        (lambda t: torch.linalg.cholesky_ex(torch.diag(t + 1)), 0, 0),
        (lambda t: torch.linalg.eigh(torch.diag(t)), 0, 1),
        (lambda t: torch.where(t > 1, t, 0.0).to(torch.float32), 0, 0),
        (lambda t: torch.zeros_like(t).add_(t)[:2].clone(), 0, 0),
    ],
)
def test_what_comes_back_is_counted(read, n_reads, n_waits):
    with Card() as card:
        there = torch.arange(3.0, dtype=torch.float64, device="cuda")
        with card.counting() as counts:
            read(there)
    assert (counts.reads.total(), counts.waits.total()) == (n_reads, n_waits)


def test_values_are_real_in_place_and_in_views():
    with Card() as card:
        there = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64).to("cuda")
        view = there[1]
        view.mul_(2.0)
        torch.matmul(there, there, out=(product := torch.empty_like(there)))
        there[0, 0] = 5.0
        row = there[:1].squeeze_(0)
        assert all(isinstance(t, There) for t in (view, product, row, there.mT, there.new_zeros(2)))
        assert row.shape == (2,)
        got = [t.cpu() for t in (there, product, row)]
        assert card.counts.uploads.total() == 1
    want = torch.tensor([[4.0, 1.0], [2.0, 6.0]], dtype=torch.float64)
    assert torch.equal(got[1], want @ want)
    want[0, 0] = 5.0
    assert torch.equal(got[0], want)
    assert torch.equal(got[2], want[0])


def test_outside_nothing_is_there():
    with Card():
        pass
    with pytest.raises((RuntimeError, AssertionError)):
        torch.ones(3, device="cuda")
