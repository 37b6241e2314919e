"""Least squares, classes, schedules, curves and kernels of memorization, at sizes of a second."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from lawsweep import stream
from lawsweep.core.errors import InvalidValueError
from lawsweep.experiments.memorization import Params, memorization
from lawsweep.experiments.memorization.run import Trained, draw, row_of
from lawsweep.kernels.activations import ACTIVATIONS

LM = "levenberg_marquardt"


def run(n_samples=40, input_dim=12, seed=1, **params):
    params = {"width": input_dim, **params}
    return memorization(n_samples=n_samples, input_dim=input_dim, seed=seed, **params)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_least_squares_fits_half_as_many_samples_as_weights_exactly(share, seed):
    m = run(round(share * 1474), 22, seed, optimizer=LM)
    assert m.n_params == 1474
    assert m.best_loss <= 1e-20
    assert m.memorized
    assert m.stop_reason == "rounding_level"
    assert m.n_steps <= 50
    assert m.final_loss == m.best_loss <= 10 * m.rounding_loss
    assert m.figure_loss is None
    assert 0 < m.relative_distance < 3


def test_least_squares_says_how_it_ended():
    assert run(optimizer=LM, target_loss=1e-3).stop_reason == "target_reached"
    few = run(optimizer=LM, max_steps=2)
    assert (few.stop_reason, few.n_steps) == ("max_steps", 2)
    many = run(600, 12, optimizer=LM)  # 444 weights
    assert many.stop_reason in {"stalled", "stationary"}
    assert not many.memorized
    assert run(optimizer=LM, dtype="float32").stop_reason == "rounding_level"


@pytest.mark.parametrize("optimizer", ["adam", "gd", LM])
def test_a_dead_network_is_a_row(optimizer):
    # One unit a layer, ten layers: off for every sample of this seed.
    m = run(5, 2, 0, width=1, depth=10, optimizer=optimizer, max_steps=300)
    assert m.stop_reason == "zero_gradient"
    assert m.n_dead_samples == 5
    assert m.grad_norm == m.distance == 0.0
    assert not m.memorized


@pytest.mark.parametrize("optimizer", ["adam", LM])
def test_a_start_that_overflows_is_a_row(optimizer, monkeypatch):
    def huge(params, seed, device):
        one = draw(params, seed, device)
        return type(one)(one.x * 1e200, one.y, [w * 1e150 for w in one.weights])

    monkeypatch.setattr("lawsweep.experiments.memorization.run.draw", huge)
    m = run(optimizer=optimizer, keep_curve=True, measure_kernel=True)
    assert m.stop_reason == "diverged"
    assert not math.isfinite(m.final_loss)
    assert not m.memorized
    assert m.n_dead_samples is m.rounding_loss is m.kernel_change is None
    assert m.lambda_min_start is None
    assert m.lambda_min_start_reason == "out_of_range"
    row = memorization.metrics_row(m)
    assert math.isnan(row["distance"])
    assert row["lambda_min_end_reason"] is None


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"optimizer": LM, "learning_rate": 0.1}, "has no learning rate, got learning_rate=0.1"),
        ({"optimizer": LM, "schedule": "cosine"}, "has no learning rate, got .*'cosine'"),
        ({"optimizer": LM, "loss": "logistic", "targets": "signs"}, "fits one output by least"),
        ({"optimizer": LM, "targets": "classes"}, "fits one output by least squares"),
        ({"loss": "logistic"}, "needs targets that are classes, got targets='gaussian'"),
        ({"n_classes": 3}, "n_classes=3 is a param of targets='classes'"),
        ({"targets": "classes", "measure_kernel": True}, "of a network with one output"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(params, words):
    with pytest.raises(InvalidValueError, match=words):
        run(**params)


def by_hand(p, seed, steps, rate):
    """Adam from torch.optim on torch's own losses; the final outputs, targets and loss."""
    one = draw(p, seed, "cpu")
    leaves = [w.clone().requires_grad_() for w in one.weights]
    adam = torch.optim.Adam(leaves, lr=1.0)

    def outputs():
        out = one.x
        for w in leaves[:-1]:
            out = torch.relu(out @ w)
        return out @ leaves[-1]

    def loss():
        if p.targets == "signs":
            return torch.nn.functional.softplus(-one.y * outputs()[:, 0]).mean()
        if p.loss == "squared":
            return (outputs() - one.y).square().sum(1).mean()
        return torch.nn.functional.cross_entropy(outputs(), one.y)

    for t in range(steps):
        adam.param_groups[0]["lr"] = rate(t)
        adam.zero_grad()
        loss().backward()
        adam.step()
    with torch.no_grad():
        return outputs(), one.y, float(loss())


@pytest.mark.parametrize(
    "params",
    [
        {"targets": "signs", "loss": "logistic"},
        {"targets": "classes", "n_classes": 3, "loss": "logistic", "schedule": "cosine"},
        {"targets": "classes", "n_classes": 3},
    ],
)
def test_classes_are_trained_as_torch_trains_them(params):
    m = run(30, 12, max_steps=60, depth=3, **params)
    p = Params(n_samples=30, input_dim=12, width=12, depth=3, **params)
    usual = 1 / (10 * math.sqrt(30))
    cosine = p.schedule == "cosine"
    out, y, loss = by_hand(
        p, 1, 60, lambda t: usual * (0.5 + 0.5 * math.cos(math.pi * t / 60) if cosine else 1)
    )
    assert m.final_loss == pytest.approx(loss, rel=1e-9)
    if p.targets == "signs":
        wrong = int((torch.sign(out[:, 0]) != y).sum())
    else:
        wrong = int((out.argmax(1) != (y if y.ndim == 1 else y.argmax(1))).sum())
    assert m.n_wrong == wrong


def test_classes_are_memorized_once_all_are_right():
    for params in ({"targets": "signs"}, {"targets": "classes", "n_classes": 4}):
        few = run(30, 20, loss="logistic", max_steps=400, **params)
        assert few.n_wrong == 0
        assert few.memorized
        many = run(900, 8, loss="logistic", max_steps=100, **params)
        assert many.n_wrong > 0
        assert not many.memorized
    assert run(30, 20, max_steps=10).n_wrong is None


def test_a_loss_below_log_2_over_n_proves_that_all_were_right():
    p = Params(n_samples=10, input_dim=3, width=3, targets="signs", loss="logistic")
    one = draw(p, 0, "cpu")
    level = math.log(2) / 10

    def row(best, wrong):
        numbers = dict.fromkeys(
            ("initial_loss", "final_loss", "window", "grad_norm", "distance"), 1.0
        )
        found = Trained(
            weights=one.weights, best_loss=best, n_wrong=wrong, n_steps=1, reason="max_steps",
            init_norm=1.0, rounding=None, curve=np.zeros((2, 1)), **numbers,
        )  # fmt: skip
        return row_of(p, 0, one, found).memorized

    assert row(0.99 * level, 2)
    assert not row(level, 2)
    assert row(level, 0)


def test_labels_extend_and_every_class_is_drawn():
    def labels(n):
        p = Params(n_samples=n, input_dim=2, width=2, targets="classes", n_classes=5)
        return draw(p, 3, "cpu").y

    few, many = labels(50), labels(2000)
    assert torch.equal(few, many[:50])
    shares = many.sum(0) / 2000
    # Five standard errors of a share of 1/5 over 2000 draws.
    assert float((shares - 0.2).abs().max()) < 5 * math.sqrt(0.16 / 2000)


@pytest.mark.parametrize("params", [{"max_steps": 250}, {"optimizer": LM}])
def test_a_curve_runs_from_the_first_loss_to_the_last(params):
    m = run(keep_curve=True, **params)
    steps, losses = m.loss_curve
    assert (steps[0], steps[-1]) == (0, m.n_steps)
    assert (np.diff(steps) > 0).all()
    assert (losses[0], losses.min()) == (m.initial_loss, pytest.approx(m.best_loss, rel=0.2))
    assert np.isfinite(losses).all()
    if params.get("optimizer") == LM:
        assert len(steps) == m.n_steps + 1
    else:
        assert losses[-1] == m.final_loss
        assert len(steps) < 120
    assert run(**params).loss_curve is None
    assert memorization.arrays_row(m)["loss_curve"].shape == (2, len(steps))


def test_a_curve_of_a_run_that_diverged_ends_in_what_it_met():
    m = run(optimizer="gd", activation="linear", learning_rate=1e4, max_steps=200, keep_curve=True)
    steps, losses = m.loss_curve
    assert steps[-1] == m.n_steps
    assert not math.isfinite(losses[-1])
    assert np.isfinite(losses[:-1]).all()


@pytest.mark.portable
def test_fused_curves_and_kernels_are_those_of_alone():
    some = {"n_samples": 30, "input_dim": 8, "width": 8, "max_steps": 20}
    for more in ({}, {"optimizer": LM}):
        p = Params(**some, keep_curve=True, measure_kernel=True, **more)
        together = memorization.fused([p] * 3, [4, 5, 6], "cpu")
        for seed, fused in zip([4, 5, 6], together, strict=True):
            alone = asdict(memorization(p, seed=seed))
            for name, value in asdict(fused).items():
                if isinstance(value, bool | int | str | None):
                    assert value == alone[name], name
                else:  # of the curve's own size: its first steps have the largest losses
                    size = np.abs(alone[name]).max()
                    np.testing.assert_allclose(value, alone[name], rtol=1e-9, atol=1e-12 * size)


def kernel(p, seed, weights):
    """J J^T from autograd, one sample at a time."""
    x = draw(p, seed, "cpu").x
    leaves = [w.clone().requires_grad_() for w in weights]
    rows = []
    for one in x:
        out = one
        for w in leaves[:-1]:
            out = ACTIVATIONS[p.activation].f(out @ w)
        grads = torch.autograd.grad((out @ leaves[-1])[0], leaves)
        rows.append(torch.cat([g.flatten() for g in grads]))
    return torch.stack(rows) @ torch.stack(rows).T


def test_kernels_at_both_ends_are_those_of_autograd(monkeypatch):
    kept = []
    real = row_of

    def keep(p, seed, one, found):
        kept.append((one.weights, found.weights))
        return real(p, seed, one, found)

    monkeypatch.setattr("lawsweep.experiments.memorization.run.row_of", keep)
    params = {"activation": "tanh", "depth": 3, "max_steps": 300}
    m = run(30, 8, measure_kernel=True, **params)
    p = Params(n_samples=30, input_dim=8, width=8, **params)
    start, end = (kernel(p, 1, w) for w in kept[0])
    for name, matrix in (("start", start), ("end", end)):
        found = asdict(m)
        values = torch.linalg.eigvalsh(matrix)
        # A dense solver is off by a few eps of the largest eigenvalue.
        tol = 1e-13 * float(values[-1])
        assert found[f"lambda_min_{name}"] == pytest.approx(float(values[0]), abs=tol)
        assert found[f"lambda_min_{name}_lower"] <= float(values[0]) + tol
        assert found[f"lambda_min_{name}_upper"] >= float(values[0]) - tol
        assert found[f"lambda_min_{name}_positive"] is True
        assert found[f"lambda_min_{name}_reason"] == "converged"
    change = float((end - start).norm() / start.norm())
    cosine = float((end * start).sum() / (end.norm() * start.norm()))
    assert m.kernel_change == pytest.approx(change, rel=1e-10)
    assert m.kernel_alignment == pytest.approx(cosine, rel=1e-12)
    assert run(30, 8, **params).lambda_min_start is None


def test_a_kernel_that_must_be_singular_says_why():
    m = run(100, 6, measure_kernel=True, max_steps=100, dtype="float32")  # 114 weights, 18 units
    assert (m.lambda_min_start, m.lambda_min_start_lower, m.lambda_min_start_upper) == (0, 0, 0)
    assert m.lambda_min_start_positive is False
    assert m.lambda_min_start_reason == "rank"
    assert m.kernel_change > 0
    assert 0 < m.kernel_alignment < 1


def test_the_streams_are_apart():
    p = Params(n_samples=4, input_dim=3, width=3)
    first = draw(p, 0, "cpu")
    x = stream(0, "data").standard_normal((4, 3))
    np.testing.assert_array_equal(first.x.numpy(), x)
    y = stream(0, "targets").standard_normal((4, 1))[:, 0]
    np.testing.assert_array_equal(first.y.numpy(), y)


def test_metrics_of_every_kind_are_rows():
    for params in ({}, {"optimizer": LM, "measure_kernel": True}, {"targets": "signs"}):
        row = memorization.metrics_row(run(max_steps=20, **params))
        assert json.loads(json.dumps(row)).keys() == row.keys()
