"""Training against torch.optim on a network written plainly, and every way it can end."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from reference_train import PLAIN, plain_training

from lawsweep.kernels.activations import activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.training import optimisers
from lawsweep.kernels.training.stop import Monitor, StopReason, curve_steps
from lawsweep.kernels.training.train import Training, flops_per_step, train

pytestmark = pytest.mark.portable


def problem(n, d, depth=4, n_seeds=1, seed=0, dtype=torch.float64):
    """x (S, N, d), y (S, N), weights of random problems; solo problems are its slices."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((n_seeds, n, d))).to(dtype)
    y = torch.from_numpy(rng.standard_normal((n_seeds, n))).to(dtype)
    draws = [
        init_weights(Network.equal(d, d, depth, "linear"), rng, dtype=dtype) for _ in range(n_seeds)
    ]
    return x, y, [torch.stack(w) for w in zip(*draws, strict=True)]


def solo(x, y, weights, i, *args, **kwargs) -> Training:
    return train(x[i : i + 1], y[i : i + 1], [w[i : i + 1] for w in weights], *args, **kwargs)


@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("optimizer", ["adam", "gd"])
@pytest.mark.parametrize(
    ("name", "depth"), [*((name, 3) for name in PLAIN), ("relu", 1), ("relu", 2), ("tanh", 5)]
)
def test_steps_equal_torch_optim(name, depth, optimizer, steps):
    # 1e-10: rounding of 1e-16 a step, which 50 steps of these sizes amplify by less than 1e4.
    x, y, weights = problem(30, 7, depth)
    r = train(
        x, y, weights, activation(name), optimizer=optimizer, learning_rate=0.02, max_steps=steps
    )
    expected, losses, norm = plain_training(x, y, weights, name, optimizer, 0.02, steps)
    for ours, theirs in zip(r.weights, expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=1e-10)
    np.testing.assert_allclose(r.curve_loss[0], losses[r.curve_steps], rtol=1e-10)
    assert r.final_loss[0] == pytest.approx(losses[-1], rel=1e-10)
    assert r.best_loss[0] == pytest.approx(losses.min(), rel=1e-10)
    assert r.initial_loss[0] == pytest.approx(losses[0], rel=1e-12)
    assert r.grad_norm[0] == pytest.approx(norm, rel=1e-9)
    assert r.stop_reason == (StopReason.MAX_STEPS,)
    assert r.n_steps[0] == steps


def test_float32_step_equals_torch_optim():
    x, y, weights = problem(30, 7, dtype=torch.float32)
    r = train(x, y, weights, activation("relu"), learning_rate=0.01, max_steps=5)
    expected, losses, _ = plain_training(x, y, weights, "relu", "adam", 0.01, 5)
    assert r.weights[0].dtype == torch.float32
    for ours, theirs in zip(r.weights, expected, strict=True):
        # Adam moves each weight by about lr a step whatever the gradient's size; a gradient
        # that float32 (6e-8) barely resolves is uncertain by a share of that.
        np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=1e-4)
    assert r.final_loss[0] == pytest.approx(losses[-1], rel=1e-4)


# A product rounds otherwise alone than in a batch (which, the processor decides), and training
# amplifies it: 20 Adam steps here from 4e-16 to 2e-15 of a loss, 120 to 1e-10, 1,000 to anything
# (seen under tests/support/another_blas.py).  So seeds are compared after few steps, and to this:
# 4,500 eps.  A rate, a seed or a sample taken for another shows in the second digit.
SAME_IN_20_STEPS = {torch.float64: 1e-12, torch.float32: 5e-4}


def assert_as_alone(together, i, alone, rel):
    """Seed ``i`` of ``together`` has the numbers of ``alone``; ``rel`` of a loss or of a layer."""
    assert together.n_steps[i] == alone.n_steps[0]
    assert together.stop_reason[i] == alone.stop_reason[0]
    for name in ("final_loss", "best_loss", "window_loss", "grad_norm", "curve_loss", "distance"):
        a, b = getattr(together, name)[i], getattr(alone, name)[0]
        np.testing.assert_allclose(a, b, rtol=rel, atol=0, err_msg=name)
    for u, v in zip(together.weights, alone.weights, strict=True):
        np.testing.assert_allclose(u[i], v[0], rtol=0, atol=rel * float(v.abs().max()))


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("block_bytes", [1, 2 * 37 * (2 * 27 + 1) * 8, 2**30])
def test_batched_seeds_equal_solo_runs(monkeypatch, name, block_bytes):
    monkeypatch.setitem(
        devices.OVERRIDES, "training_bytes", block_bytes
    )  # of one, two and all seeds
    x, y, weights = problem(37, 9, n_seeds=5)
    settings = {"learning_rate": 0.02, "max_steps": 20}
    together = train(x, y, weights, activation(name), **settings)
    for i in range(5):
        alone = solo(x, y, weights, i, activation(name), **settings)
        assert_as_alone(together, i, alone, SAME_IN_20_STEPS[torch.float64])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("optimizer", ["adam", "gd"])
def test_each_seed_has_its_own_learning_rate(optimizer, dtype):
    x, y, weights = problem(37, 9, n_seeds=4, dtype=dtype)
    rates = [0.02, 0.005, 0.02, 0.001]
    settings = {"optimizer": optimizer, "max_steps": 20}
    together = train(x, y, weights, activation("relu"), learning_rate=rates, **settings)
    for i, rate in enumerate(rates):
        alone = solo(x, y, weights, i, activation("relu"), learning_rate=rate, **settings)
        assert_as_alone(together, i, alone, SAME_IN_20_STEPS[dtype])
    moved = together.distance / rates
    assert moved.max() < 10 * moved.min(), "a seed moves in proportion to its rate"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_seeds_of_other_rates_stop_where_they_stop_alone(dtype):
    # Descent at these rates shrinks what rounding adds: the weights differ by 2e-15 in the end.
    x, y, weights = problem(37, 9, n_seeds=4, dtype=dtype)
    rates = [0.02, 0.005, 0.02, 0.001]
    settings = {"optimizer": "gd", "max_steps": 1500, "target_loss": 0.6}
    together = train(x, y, weights, activation("relu"), learning_rate=rates, **settings)
    assert together.n_steps.tolist() == [200, 400, 100, 500]
    for i, rate in enumerate(rates):
        alone = solo(x, y, weights, i, activation("relu"), learning_rate=rate, **settings)
        assert_as_alone(together, i, alone, SAME_IN_20_STEPS[dtype])


def test_a_seed_that_stops_is_frozen_as_if_alone():
    # At this small rate Adam's 330 steps make 5e-12 of rounding: the moments are taken along.
    x, y, weights = problem(40, 9, n_seeds=6)
    settings = {"learning_rate": 0.005, "max_steps": 330, "target_loss": 0.05}
    together = train(x, y, weights, activation("relu"), **settings)
    assert len(set(together.n_steps.tolist())) > 2, "they should stop at different steps"
    for i in range(6):
        assert_as_alone(together, i, solo(x, y, weights, i, activation("relu"), **settings), 1e-9)


def test_long_training_ends_alike_where_rounding_has_been_amplified():
    """What does not hang on the last bit: which seeds fit, how they end, that every loss fell."""
    x, y, weights = problem(37, 9, n_seeds=4)
    y[3] *= 100.0  # too far to reach with this many steps of this size
    settings = {"learning_rate": 0.02, "max_steps": 1000, "stop_rule": "none", "target_loss": 1e-2}
    together = train(x, y, weights, activation("relu"), **settings)
    for i in range(4):
        alone = solo(x, y, weights, i, activation("relu"), **settings)
        assert together.stop_reason[i] == alone.stop_reason[0]
        assert together.stop_reason[i] == ("max_steps" if i == 3 else "target_reached")
        assert together.best_loss[i] < 0.5 * together.initial_loss[i]
        first = together.curve_steps <= 20
        np.testing.assert_allclose(
            together.curve_loss[i, first], alone.curve_loss[0, first], rtol=1e-12
        )


def literal_stop(losses, max_steps, rule):
    """The rule step by step over given losses: (steps made, last accepted sum over a window)."""
    previous, total = np.inf, 0.0
    for step in range(max_steps):
        if step % 100 == 0:
            if step > 0:
                if rule == "paper" and total > previous:
                    return step, previous
                previous = total
                if rule == "checks" and losses[step] > losses[step - 100]:
                    return step, previous
            total = 0.0
        total += losses[step]
    return max_steps, previous


@pytest.mark.parametrize("rule", ["paper", "checks", "none"])
def test_stop_rule_is_the_literal_one(rule):
    rng = np.random.default_rng(1)
    max_steps, n_samples, stops = 1250, 7, set()
    walks = np.cumsum(rng.standard_normal((40, max_steps + 1)) * 0.05 - 0.002, axis=1)
    walks[0] = 0.0  # constant: never rises
    losses = np.exp(walks)
    monitor = Monitor(40, n_samples, max_steps, rule, 0.0)
    live, last = np.arange(40), 0
    for step in [*range(0, max_steps, 100), max_steps]:
        seen = losses[live, last : step + 1] * n_samples
        ones = np.ones(len(live))
        live = live[monitor.check(step, live, seen, ones, ones.astype(bool))]
        last = step
    for seed, reason in enumerate(monitor.reasons()):
        n_steps, total = literal_stop(losses[seed], max_steps, rule)
        stops.add(n_steps)
        assert monitor.n_steps[seed] == n_steps
        assert reason == ("max_steps" if n_steps == max_steps else "loss_rose")
        assert monitor.window_loss[seed] == pytest.approx(total / 100, rel=1e-12)
        assert monitor.final_loss[seed] == pytest.approx(losses[seed, n_steps], rel=1e-12)
        assert monitor.best_loss[seed] == pytest.approx(losses[seed, : n_steps + 1].min())
    assert len(stops) == 1 if rule == "none" else len(stops) > 3


# Both end after 400 steps.  By then rounding has been amplified to 1e-13 and 4e-8 (measured); what
# is compared is where they stop, and the last window to the first digits.
@pytest.mark.parametrize(("rule", "lr"), [("paper", 0.08), ("checks", 0.12)])
def test_training_stops_where_the_slow_reference_does(rule, lr):
    x, y, weights = problem(40, 6)
    r = train(x, y, weights, activation("tanh"), learning_rate=lr, stop_rule=rule, max_steps=900)
    _, losses, _ = plain_training(x, y, weights, "tanh", "adam", lr, 900)
    n_steps, total = literal_stop(losses, 900, rule)
    assert n_steps < 900
    assert r.n_steps[0] == n_steps
    assert r.stop_reason == (StopReason.LOSS_ROSE,)
    assert r.window_loss[0] == pytest.approx(total / 100, rel=1e-3)


def test_target_reached():
    x, y, weights = problem(20, 8)
    r = train(x, y, weights, activation("relu"), learning_rate=0.01, target_loss=1e-3)
    assert r.stop_reason == (StopReason.TARGET_REACHED,)
    assert r.final_loss[0] <= 1e-3
    assert r.n_steps[0] % 100 == 0


def test_a_loss_of_exactly_zero_reaches_the_target_of_zero():
    x, _, weights = problem(20, 8)
    weights[-1].zero_()
    r = train(x, torch.zeros(1, 20).double(), weights, activation("relu"), learning_rate=0.01)
    assert (r.stop_reason[0], r.n_steps[0], r.final_loss[0]) == ("target_reached", 0, 0.0)


def test_dead_network_beside_a_live_one():
    x, y, weights = problem(20, 8, n_seeds=2)
    x[0], weights[0][0] = x[0].abs(), -weights[0][0].abs()
    r = train(x, y, weights, activation("relu"), learning_rate=0.01, max_steps=150)
    assert r.stop_reason == (StopReason.ZERO_GRADIENT, StopReason.MAX_STEPS)
    assert r.n_steps.tolist() == [0, 150]
    assert r.final_loss[0] == pytest.approx(float((y[0] ** 2).mean()))
    assert r.grad_norm[0] == 0 < r.grad_norm[1]
    assert r.final_loss[1] < r.initial_loss[1]


def test_divergence_names_the_first_step_that_is_not_finite():
    x, y, weights = problem(20, 8, n_seeds=2)
    weights[0][1] *= 0.0  # a linear problem in W_L of zero features: nothing can grow
    r = train(x, y, weights, activation("relu"), optimizer="gd", learning_rate=1e3, max_steps=300)
    _, losses, _ = plain_training(x, y, weights, "relu", "gd", 1e3, 300)
    assert r.stop_reason == (StopReason.DIVERGED, StopReason.ZERO_GRADIENT)
    assert r.n_steps[0] == np.argmin(np.isfinite(losses)) > 0
    assert not np.isfinite(r.final_loss[0])
    assert np.isnan(r.grad_norm[0])
    assert np.isfinite(r.best_loss[0])
    assert np.isfinite(r.final_loss[1])


def test_overflow_of_adams_second_moment_is_not_taken_for_a_plateau():
    # Gradients near 1e20 are finite in float32, their squares are not: v = inf, updates are 0.
    x, y, weights = problem(20, 8, dtype=torch.float32)
    r = train(x * 100, y * 1e18, weights, activation("relu"), learning_rate=0.01, stop_rule="none")
    assert np.isfinite(r.final_loss[0])
    assert (r.stop_reason[0], r.n_steps[0]) == (StopReason.DIVERGED, 100)


def test_inputs_are_left_unchanged_and_runs_repeat():
    x, y, weights = problem(20, 8)
    before = [t.clone() for t in (x, y, *weights)]
    a, b = (
        train(x, y, weights, activation("relu"), learning_rate=0.01, max_steps=300)
        for _ in range(2)
    )
    assert all(torch.equal(u, v) for u, v in zip(before, (x, y, *weights), strict=True))
    assert all(torch.equal(u, v) for u, v in zip(a.weights, b.weights, strict=True))


@pytest.mark.parametrize("max_steps", [1, 2, 99, 10_000])
def test_curve_steps_hold_both_ends_once(max_steps):
    steps = curve_steps(max_steps)
    assert steps[0] == 0
    assert steps[-1] == max_steps
    assert (np.diff(steps) > 0).all()
    assert len(steps) <= 200


def test_curve_ends_where_the_seed_stopped():
    x, y, weights = problem(40, 9)
    r = train(x, y, weights, activation("relu"), learning_rate=0.02)
    assert r.stop_reason == (StopReason.LOSS_ROSE,)
    np.testing.assert_array_equal(np.isnan(r.curve_loss[0]), r.curve_steps > r.n_steps[0])


def test_flops_are_those_of_the_products():
    assert flops_per_step(10, Network((3, 5, 5, 1), "linear")) == 2 * 10 * (
        3 * Network((3, 5, 5, 1), "linear").n_params - 15
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x": torch.zeros(4, 3)}, "expected x of shape"),
        ({"y": torch.zeros(1, 9).double()}, "expected x of shape"),
        ({"weights": [torch.zeros(1, 4, 1).double()]}, "expected W_1 of shape"),
        (
            {"weights": [torch.zeros(1, 3, 2).double()]},
            r"y of shape \(1, 4, 2\) for",
        ),
        ({"weights": []}, "at least one layer, got none"),
        ({"weights": [torch.zeros(1, 3, 1)]}, "all float64 or all float32"),
        ({"x": torch.full((1, 4, 3), torch.nan).double()}, "expected finite"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": [0.1, 0.1]}, "expected one learning_rate or 1, one a seed"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'; valid: adam, gd"),
        ({"stop_rule": "never"}, "unknown stop_rule 'never'; valid: paper, checks, none"),
        ({"loss": "hinge"}, "unknown loss 'hinge'; valid: squared, logistic"),
        ({"schedule": "step"}, "unknown schedule 'step'; valid: constant, cosine"),
        ({"loss": "logistic"}, "expected y of -1 and \\+1 for the logistic loss"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
        ({"target_loss": float("nan")}, "target_loss must be at least 0"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, text):
    good = {
        "x": torch.zeros(1, 4, 3).double(),
        "y": torch.zeros(1, 4).double(),
        "weights": [torch.zeros(1, 3, 1).double()],
        "learning_rate": 0.1,
    }
    call = {**good, **change}
    with pytest.raises(ValueError, match=text):
        train(call.pop("x"), call.pop("y"), call.pop("weights"), activation("relu"), **call)


MOMENTUM = """
from lawsweep.kernels.training.optimisers import Optimiser

class Momentum(Optimiser):
    '''Heavy ball, as torch.optim.SGD has it: b <- 0.9 b + g, w <- w - lr b.'''
    vectors = ("ball",)

    def step(self, flat, grad, factor=1.0):
        self.ball.mul_(0.9).add_(grad)
        for w, b, rate in zip(self.layout.views(flat), self.layout.views(self.ball), self.by_layer):
            w.sub_(factor * rate * b)

    def __init__(self, flat, layout, rates):
        super().__init__(flat, layout, rates)
        self.by_layer = [flat.new_tensor(rates)[:, None, None]] * len(layout.shapes)

OPTIMISER = Momentum
"""


@pytest.fixture
def momentum(tmp_path, monkeypatch):
    """A folder of optimisers with one file more."""
    (tmp_path / "momentum.py").write_text(MOMENTUM)
    monkeypatch.setattr(optimisers, "__path__", [*optimisers.__path__, str(tmp_path)])
    return tmp_path


def test_an_optimiser_is_one_file(momentum):
    x, y, weights = problem(12, 5, n_seeds=3)
    rates = [0.0005, 0.05, 0.01]
    target = 0.3  # one seed gets there before the others: its state leaves the batch
    settings = {"optimizer": "momentum", "max_steps": 300, "stop_rule": "none"}
    r = train(
        x, y, weights, activation("tanh"), learning_rate=rates, target_loss=target, **settings
    )
    assert len({int(n) for n in r.n_steps}) > 1
    for i in range(3):
        leaves = [w[i].clone().requires_grad_() for w in weights]
        sgd = torch.optim.SGD(leaves, lr=rates[i], momentum=0.9)
        for _ in range(int(r.n_steps[i])):
            features = x[i]
            for w in leaves[:-1]:
                features = torch.tanh(features @ w)
            loss = ((features @ leaves[-1])[:, 0] - y[i]).square().mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        for got, expected in zip(r.weights, leaves, strict=True):
            assert torch.allclose(got[i], expected, rtol=1e-9, atol=1e-11)
    with pytest.raises(ValueError, match="valid: adam, gd, momentum; did you mean 'momentum'"):
        train(x, y, weights, activation("tanh"), learning_rate=0.1, optimizer="momentun")


def test_an_optimiser_may_be_a_class_of_ones_own(momentum):
    x, y, weights = problem(6, 4)
    how = {"learning_rate": 0.01, "max_steps": 20}
    kind = optimisers.optimiser("momentum")
    named = train(x, y, weights, activation("relu"), optimizer="momentum", **how)
    given = train(x, y, weights, activation("relu"), optimizer=kind, **how)
    assert named.final_loss == given.final_loss < named.initial_loss


def test_a_sweep_knows_an_optimiser_by_its_file(momentum):
    code = f"""
from lawsweep.kernels.training import optimisers
optimisers.__path__.append({str(momentum)!r})
from lawsweep.experiments.memorization import memorization
point = dict(n_samples=8, input_dim=3, width=4, learning_rate=0.01, max_steps=30)
found = memorization(**point, optimizer="momentum", seed=0)
assert found.best_loss < found.initial_loss
try:
    memorization(**point, optimizer="momentun", seed=0)
except Exception as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "one of adam, gd, momentum, levenberg_marquardt, got 'momentun'" in done.stdout
