"""Losses, schedules and classes, against torch.optim with torch's own losses."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from reference_train import plain_loss, plain_training

from lawsweep.kernels.activations import activation
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.training.losses import as_targets, head
from lawsweep.kernels.training.train import train

pytestmark = pytest.mark.portable

RELU = activation("relu")
KINDS = [("squared", 1), ("squared", 3), ("logistic", 1), ("logistic", 2), ("logistic", 4)]


def targets(rng, loss, n_seeds, n, n_outputs):
    if loss == "squared":
        shape = (n_seeds, n) if n_outputs == 1 else (n_seeds, n, n_outputs)
        return torch.from_numpy(rng.standard_normal(shape))
    if n_outputs == 1:
        return torch.from_numpy(rng.choice([-1.0, 1.0], (n_seeds, n)))
    return torch.from_numpy(rng.integers(0, n_outputs, (n_seeds, n)))


def problem(loss, n_outputs, n=37, d=9, n_seeds=1, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((n_seeds, n, d)))
    y = targets(rng, loss, n_seeds, n, n_outputs)
    draws = [init_weights(Network((d, d, d, n_outputs), "linear"), rng) for _ in range(n_seeds)]
    return x, y, [torch.stack(w) for w in zip(*draws, strict=True)]


@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("optimizer", ["adam", "gd"])
@pytest.mark.parametrize(("loss", "n_outputs"), KINDS)
def test_steps_equal_torch(loss, n_outputs, optimizer, schedule, steps):
    # 1e-10 as in test_train: rounding, amplified by less than 1e4 in 50 steps of these sizes.
    x, y, weights = problem(loss, n_outputs)
    how = {"loss": loss, "schedule": schedule}
    r = train(x, y, weights, RELU, optimizer=optimizer, learning_rate=0.02, max_steps=steps, **how)
    expected, losses, norm = plain_training(x, y, weights, "relu", optimizer, 0.02, steps, **how)
    for ours, theirs in zip(r.weights, expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=1e-10)
    np.testing.assert_allclose(r.curve_loss[0], losses[r.curve_steps], rtol=1e-10)
    assert r.grad_norm[0] == pytest.approx(norm, rel=1e-9)
    moved = [(a - b[0]).flatten() for a, b in zip(expected, weights, strict=True)]
    assert r.distance[0] == pytest.approx(torch.cat(moved).norm().item(), rel=1e-9)
    start = torch.cat([w[0].flatten() for w in weights])
    assert r.init_norm[0] == pytest.approx(start.norm().item(), rel=1e-12)


def test_cosine_ends_at_rate_zero():
    # The last of T updates has the rate times (1 - cos(pi/T))/2, which is pi^2/(4 T^2) of it.
    x, y, weights = problem("squared", 1)
    common = {"optimizer": "gd", "learning_rate": 0.02, "schedule": "cosine", "stop_rule": "none"}
    ends = train(x, y, weights, RELU, max_steps=60, **common)
    before, _, _ = plain_training(
        x, y, weights, "relu", "gd", 0.02, 59, schedule="cosine", max_steps=60
    )
    step = torch.cat([(a[0] - b).flatten() for a, b in zip(ends.weights, before, strict=True)])
    _, _, slope = plain_training(x, y, [w[None] for w in before], "relu", "gd", 0.02, 0)
    assert step.norm().item() == pytest.approx(
        0.02 * (np.pi / 120) ** 2 * slope, rel=(np.pi / 120) ** 2
    )


@pytest.mark.parametrize("optimizer", ["adam", "gd"])
@pytest.mark.parametrize(("loss", "n_outputs"), KINDS)
def test_batched_seeds_equal_solo_runs(loss, n_outputs, optimizer):
    x, y, weights = problem(loss, n_outputs, n_seeds=4)
    rates = [0.02, 0.005, 0.02, 0.001]
    how = {"optimizer": optimizer, "loss": loss, "schedule": "cosine", "max_steps": 20}
    together = train(x, y, weights, RELU, learning_rate=rates, **how)
    for i, rate in enumerate(rates):
        one = [w[i : i + 1] for w in weights]
        alone = train(x[i : i + 1], y[i : i + 1], one, RELU, learning_rate=rate, **how)
        # 4,500 eps: batched products round otherwise, and 20 steps amplify it little.
        for u, v in zip(together.weights, alone.weights, strict=True):
            np.testing.assert_allclose(u[i], v[0], rtol=0, atol=1e-12 * float(v.abs().max()))
        np.testing.assert_allclose(together.curve_loss[i], alone.curve_loss[0], rtol=1e-12)
        assert together.distance[i] == pytest.approx(alone.distance[0], rel=1e-12)


def exact_logistic(margin):
    """log(1 + exp(-m)) and 1/(1 + exp(m)), with 400 digits."""
    with localcontext() as context:
        context.prec = 400
        over = (-Decimal(margin)).exp()
        return float((1 + over).ln()), float(over / (1 + over))


def evaluated(loss, outputs, y):
    """Summed loss and derivative of outputs (N, C)."""
    f, total = outputs.clone()[None], torch.empty(1, 1, 1, 1).double()
    head(loss, f, as_targets(loss, y[None], f.shape[-1]), total, split=True).evaluate(0)
    return total.item(), f[0]


@pytest.mark.parametrize("margin", [-1e6, -800.0, -40.0, -3.0, 0.0, 3.0, 40.0, 300.0, 700.0])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_logistic_keeps_its_digits_at_any_margin(margin, sign):
    value, slope = exact_logistic(margin)
    # The argument's rounding is 1.1e-16 of the margin, which exp turns into a relative error.
    rel = 1e-15 + 2.3e-16 * abs(margin)
    total, d = evaluated("logistic", torch.tensor([[sign * margin]]).double(), torch.tensor([sign]))
    assert total == pytest.approx(value, rel=rel, abs=0)
    assert d.item() == pytest.approx(-sign * slope, rel=rel, abs=0)
    # Two classes are the same function of the difference, wherever both logits lie.
    pair = torch.tensor([[5.0, 5.0 + sign * margin]]).double()
    margin_there = (pair[0, 1] - pair[0, 0]).item() * sign
    value, slope = exact_logistic(margin_there)
    total, d = evaluated("logistic", pair, torch.tensor([int(sign > 0)]))
    assert total == pytest.approx(value, rel=rel, abs=0)
    assert d[0, 1].item() == pytest.approx(-sign * slope, rel=rel, abs=0)
    assert d[0, 0].item() == pytest.approx(sign * slope, rel=rel, abs=0)


def test_softmax_of_huge_logits_is_that_of_torch():
    rng = np.random.default_rng(3)
    f = torch.from_numpy(rng.standard_normal((50, 5)) * 10.0 ** rng.uniform(-2, 4, (50, 1)))
    y = torch.from_numpy(rng.integers(0, 5, 50))
    leaf = f.clone().requires_grad_()
    plain_loss(leaf, y, "logistic").backward()
    total, d = evaluated("logistic", f, y)
    assert total / 50 == pytest.approx(plain_loss(f, y, "logistic").item(), rel=1e-13)
    # Both round f_j - f_k, by up to 2^-53 of twice the largest, and so p_j <= 1 in proportion.
    atol = 4 * 2.0**-53 * 2 * f.abs().max().item() / len(f)
    np.testing.assert_allclose(d, leaf.grad, rtol=0, atol=atol)


def test_separable_classes_are_learnt_and_counted():
    x, _, weights = problem("logistic", 3, n=30, d=9)
    y = x[..., :3].argmax(-1)
    r = train(x, y, weights, RELU, loss="logistic", learning_rate=0.01, max_steps=2000)
    assert r.n_wrong.tolist() == [0]
    assert r.final_loss[0] < 1e-3 < 0.5 < r.initial_loss[0]


def linear_outputs(f, y, loss):
    """``n_wrong`` of a network of one layer whose outputs are ``f``: identity data, no step."""
    n = len(f)
    eye = torch.eye(n).double()[None]
    still = {"learning_rate": 1.0, "target_loss": 1e9}
    return train(eye, y[None], [f[None]], activation("linear"), loss=loss, **still).n_wrong


def test_wrong_samples_are_those_of_the_wrong_sign_or_class():
    f = torch.tensor([[2.0], [-1.0], [0.0], [1e-9]]).double()
    signs = torch.tensor([1.0, 1.0, 1.0, -1.0]).double()
    assert linear_outputs(f, signs, "logistic").tolist() == [3]  # a tie is wrong
    assert linear_outputs(f, signs, "squared").tolist() == [3]
    assert linear_outputs(f, signs * 2, "squared") is None
    f = torch.tensor([[0.0, 1.0, -1.0], [2.0, 1.0, 2.0], [-5.0, -4.0, -3.0]]).double()
    classes = torch.tensor([1, 0, 0])
    assert linear_outputs(f, classes, "logistic").tolist() == [2]
    one_hot = torch.nn.functional.one_hot(classes, 3).double()
    assert linear_outputs(f, one_hot, "squared").tolist() == [2]
    assert linear_outputs(f, one_hot + 0.5, "squared") is None


def test_a_seed_that_diverged_has_no_distance_and_no_count():
    x, y, weights = problem("logistic", 3, n_seeds=2)
    r = train(
        x, y, weights, RELU, loss="logistic", optimizer="gd", learning_rate=[1e200, 0.01],
        max_steps=200,
    )  # fmt: skip
    assert r.stop_reason[0] == "diverged"
    assert np.isnan([r.distance[0], r.n_wrong[0]]).all()
    assert np.isfinite([r.distance[1], r.n_wrong[1], *r.init_norm]).all()


@pytest.mark.parametrize(
    ("loss", "n_outputs", "y", "text"),
    [
        ("logistic", 3, torch.zeros(1, 4).double(), "int64 class numbers for the logistic loss"),
        ("logistic", 3, torch.tensor([[0, 1, 2, 3]]), "class numbers in y from 0 to 2, got 0 to 3"),
        ("logistic", 3, torch.zeros(1, 4, 3).double(), r"expected y of shape \(1, 4\)"),
        ("squared", 3, torch.zeros(1, 4).double(), r"expected y of shape \(1, 4, 3\)"),
        ("squared", 1, torch.zeros(1, 4, 1).double(), r"expected y of shape \(1, 4\)"),
        ("logistic", 1, torch.tensor([[0.0, 1.0, 1.0, 0.0]]).double(), "expected y of -1 and"),
        ("logistic", 1, torch.tensor([[1, 1, -1, 1]]), "all float64 or all float32"),
    ],
)
def test_targets_that_do_not_fit_are_refused(loss, n_outputs, y, text):
    x, weights = torch.zeros(1, 4, 2).double(), [torch.zeros(1, 2, n_outputs).double()]
    with pytest.raises(ValueError, match=text):
        train(x, y, weights, RELU, loss=loss, learning_rate=0.1)
