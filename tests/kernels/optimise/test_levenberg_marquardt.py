"""Levenberg-Marquardt against a dense least-squares solve on an autograd Jacobian."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.data.sampling import rows
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.optimise import gauss_newton as gn
from lawsweep.kernels.optimise import levenberg_marquardt as lm


def problem(n, d, depth=3, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rows("gaussian", rng, n, d), rows("gaussian", rng, n, 1)[:, 0]
    return x, y, init_weights(Network.equal(d, d, depth, "linear"), rng)


def dense_step(x, y, weights, act, mu):
    """argmin |r + J delta|^2 + mu |delta|^2 by numpy's SVD on the stacked [J; sqrt(mu) I]."""
    leaves = [w.clone().requires_grad_() for w in weights]
    out = x
    for layer, w in enumerate(leaves):
        out = out @ w
        if layer < len(leaves) - 1:
            out = torch.relu(out) if act == "relu" else torch.tanh(out)
    jac = []
    for f in out[:, 0]:
        grads = torch.autograd.grad(f, leaves, retain_graph=True)
        jac.append(torch.cat([g.flatten() for g in grads]).numpy())
    jac, r = np.array(jac), (out[:, 0] - y).detach().numpy()
    mu = mu * np.trace(jac @ jac.T) / min(jac.shape)
    stacked = np.vstack([jac, math.sqrt(mu) * np.eye(jac.shape[1])])
    step = np.linalg.lstsq(stacked, np.concatenate([-r, np.zeros(jac.shape[1])]), rcond=None)[0]
    squares = np.linalg.svd(jac, compute_uv=False) ** 2 + mu
    return step, squares[0] / squares[-1]


@pytest.mark.parametrize("act", ["tanh", "relu"])
@pytest.mark.parametrize("n", [20, 90])  # p = 55: the Gram system and the normal equations
@pytest.mark.parametrize("damping", [1e-6, 1e-3, 0.3])
def test_a_step_is_that_of_a_dense_least_squares_solve(act, n, damping):
    x, y, weights = problem(n, 5)
    step = gn.system_of(gn.State(Network.of(weights, activation(act)), weights, x, y)).solve(
        damping
    )
    expected, condition = dense_step(x, y, weights, act, damping)
    flat = torch.cat([s.flatten() for s in step.parts]).numpy()
    # A Cholesky solve with the damped square of J loses its condition number times a few eps; that
    # number is at most the order over the damping, so 1e-10 is kept down to a damping of 1e-3.
    tol = 1e-10 if damping >= 1e-3 else 4 * np.finfo(float).eps * condition
    assert tol < 1e-7
    assert np.linalg.norm(flat - expected) <= tol * np.linalg.norm(expected)


@pytest.mark.parametrize("n", [20, 90])
def test_the_decrease_promised_is_that_of_the_linear_model(n):
    x, y, weights = problem(n, 5)
    state = gn.State(Network.of(weights, activation("tanh")), weights, x, y)
    step = gn.system_of(state).solve(0.1)
    # J delta by differences: the model is quadratic in t, the network smooth.
    t = 1e-5
    ends = [state.moved([k * t * s for s in step.parts]).residual for k in (1, -1)]
    image = (ends[0] - ends[1]) / (2 * t)
    model = float(state.residual @ state.residual - (state.residual + image).square().sum())
    assert step.promised == pytest.approx(model, rel=1e-7)


def test_a_useless_factor_gives_no_step_and_a_poor_one_says_what_it_missed(monkeypatch):
    x, y, weights = problem(20, 5)
    system = gn.GramSystem(gn.State(Network.of(weights, activation("tanh")), weights, x, y))
    exact, mu, r = system.solve(1e-3), 1e-3 * system.scale, system.state.residual
    direction = torch.from_numpy(np.random.default_rng(3).standard_normal(20))
    solve = gn.factored
    for size in (1e-9, 1e-4, 1e-2, 0.3, 0.7, 10.0):
        off = size * float(r.norm()) / float((system.matrix @ direction + mu * direction).norm())
        monkeypatch.setattr(gn, "factored", lambda *given, off=off: solve(*given) + off * direction)
        step = system.solve(1e-3)
        assert (step is None) == (size > gn.USABLE)
        if step is not None:
            # To the rounding of a solve with condition number 1e3.
            assert step.missed == pytest.approx(size**2 * float(r @ r), rel=1e-3)
            assert exact.promised <= 2 * (step.promised + step.missed) * (1 + 1e-12)
    monkeypatch.setattr(gn, "factored", lambda *_: torch.zeros_like(r))
    assert system.solve(1e-3) is None


@pytest.mark.parametrize(
    ("act", "dtype", "size"), [("tanh", torch.float64, 1e-8), ("sigmoid", torch.float32, 1e-3)]
)
def test_a_damping_below_the_rounding_of_the_kernel_is_no_local_minimum(act, dtype, size):
    """The labels are so small that mu, which goes with the loss, falls below K's rounding.

    There a Cholesky factor may be complete and of no use.  (Both ended as stationary, the gradient
    3e-9 and 5e-4, where the residual's norm per sample is 1e-8 and 1e-3.)
    """
    x, y, weights = problem(300, 18, depth=4)
    x, y, weights = x.to(dtype), (size * y).to(dtype), [w.to(dtype) for w in weights]
    found = lm.least_squares(x, y, weights, activation(act), max_steps=60)
    assert found.reason is not lm.LeastSquaresReason.STATIONARY


@pytest.mark.parametrize("scale", [1e60, 1e140])
def test_a_loss_whose_square_overflows_is_no_local_minimum(scale):
    """By half a network's homogeneity, y and the last weights times s give the loss times s^2."""
    x, y, weights = problem(60, 4, depth=3)  # 36 weights
    expected = lm.least_squares(x, y, weights, activation("tanh"), max_steps=3)
    large = [*weights[:-1], scale * weights[-1]]
    found = lm.least_squares(x, scale * y, large, activation("tanh"), max_steps=3)
    assert (found.reason, found.n_steps) == (lm.LeastSquaresReason.MAX_STEPS, 3)
    assert math.sqrt(found.best_loss) / scale < math.sqrt(float(expected.loss[0]))


def test_a_jacobian_in_blocks_of_rows_and_strips_gives_the_same_system(monkeypatch):
    x, y, weights = problem(90, 5)
    state = gn.State(Network.of(weights, activation("tanh")), weights, x, y)
    whole = gn.NormalSystem(state).matrix.tril()
    seven = 7 * 8 * Network.equal(5, 5, 3, "linear").n_params
    monkeypatch.setitem(devices.OVERRIDES, "jacobian_bytes", seven)
    monkeypatch.setitem(devices.OVERRIDES, "normal_columns", 16)
    cut = gn.NormalSystem(state).matrix.tril()  # all that the Cholesky reads
    assert torch.allclose(cut, whole, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_rounding_level_is_what_rounding_the_weights_does(dtype):
    x, y, weights = problem(60, 8)
    kept = [w.to(dtype) for w in weights]
    state = gn.State(Network.of(kept, activation("relu")), kept, x.to(dtype), y.to(dtype))
    unit = torch.finfo(dtype).eps / 2
    # A thousand times the rounding, so that in float64 it is seen; the level goes with its square.
    rng = np.random.default_rng(1)
    scale, draws = 1e3 * unit, []
    wide = gn.State(
        Network.of([w.double() for w in kept], activation("relu")),
        [w.double() for w in kept],
        x.to(dtype).double(),
        y,
    )
    for _ in range(200):
        signs = [torch.from_numpy(rng.choice([-1.0, 1.0], tuple(w.shape))) for w in kept]
        moved = wide.moved([scale * w * s for w, s in zip(wide.weights, signs, strict=True)])
        draws.append(float((moved.residual - wide.residual).square().mean()) / 1e6)
    expected = np.mean(draws) + unit**2 * float((y * y).mean())
    error = np.std(draws) / math.sqrt(len(draws))
    assert state.rounding_level() == pytest.approx(expected, abs=5 * error, rel=1e-3)


@pytest.mark.parametrize("n_over_p", [0.2, 0.5])
def test_it_memorises_to_rounding_level(n_over_p):
    d = 22
    p = Network.equal(d, d, 4, "linear").n_params
    x, y, weights = problem(round(n_over_p * p), d, depth=4)
    before = [w.clone() for w in weights]
    found = lm.least_squares(x, y, weights, activation("relu"), target_loss=1e-20)
    assert found.reason is lm.LeastSquaresReason.TARGET_REACHED
    assert found.loss[-1] <= 1e-20
    assert found.n_steps < 100
    assert found.best_loss == found.loss[-1] == found.loss.min()
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    # The loss is that of the weights it returns, by a forward pass of its own.
    out = x
    for layer, w in enumerate(found.weights):
        out = out @ w if layer == len(weights) - 1 else torch.relu(out @ w)
    assert float(((out[:, 0] - y) ** 2).mean()) == pytest.approx(found.loss[-1], rel=1e-6)


@pytest.mark.parametrize(
    ("act", "dtype"), [("relu", torch.float64), ("relu", torch.float32), ("tanh", torch.float64)]
)
def test_without_a_target_it_ends_at_rounding_level_at_once(act, dtype):
    x, y, weights = problem(100, 12, depth=3)
    x, y, weights = x.to(dtype), y.to(dtype), [w.to(dtype) for w in weights]
    found = lm.least_squares(x, y, weights, activation(act))
    assert found.reason is lm.LeastSquaresReason.ROUNDING_LEVEL
    assert found.best_loss <= 10 * found.rounding_loss
    assert found.best_loss <= (50 * torch.finfo(dtype).eps) ** 2
    # The steps beyond the first at that level: one, which shows that no more is to be had.
    assert int((found.loss <= lm.AT_ROUNDING * found.rounding_loss).sum()) <= 3
    assert found.n_systems - found.n_steps <= 12


def test_a_deep_linear_network_ends_at_ordinary_least_squares():
    x, y, weights = problem(200, 4, depth=2)
    found = lm.least_squares(x, y, weights, activation("linear"), max_steps=500)
    assert found.reason is lm.LeastSquaresReason.STATIONARY
    assert found.best_loss == found.loss.min()
    coefficients, *_ = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)
    ols = np.mean((x.numpy() @ coefficients - y.numpy()) ** 2)
    assert found.best_loss == pytest.approx(ols, rel=1e-12)
    assert found.grad_norm <= 1e-6 * found.best_loss


def test_more_samples_than_weights_end_with_a_reason():
    x, y, weights = problem(300, 6, depth=3)  # 78 weights
    found = lm.least_squares(x, y, weights, activation("relu"), max_steps=2000)
    assert found.reason in {lm.LeastSquaresReason.STALLED, lm.LeastSquaresReason.STATIONARY}
    assert found.best_loss > 0.1
    assert found.n_systems < 500


def test_distance_and_norm_are_those_of_the_weights():
    x, y, weights = problem(30, 6)
    found = lm.least_squares(x, y, weights, activation("relu"))
    flat = np.concatenate([w.numpy().ravel() for w in weights])
    now = np.concatenate([w.numpy().ravel() for w in found.weights])
    assert found.init_norm == pytest.approx(np.linalg.norm(flat), rel=1e-14)
    assert found.distance == pytest.approx(np.linalg.norm(now - flat), rel=1e-12)


def test_a_trial_that_overflows_is_refused_and_the_damping_raised():
    x, y, weights = problem(10, 4, depth=2)
    state = gn.State(Network.of(weights, activation("relu")), weights, x, y)
    search = lm.Iteration(state, lm.DAMPING, 10, 0.0)
    search.system = gn.system_of(state)
    huge = gn.Step([torch.full_like(w, 1e300) for w in weights], 1.0)
    search.system.send = lambda damping: huge
    assert search.step() is None
    assert search.state is state
    assert search.raised == lm.REJECTED
    search.system.send = lambda damping: None  # a Cholesky that breaks down
    assert search.step() is None
    assert search.raised == lm.REJECTED**2
    assert search.best.loss == state.loss


def test_a_dead_network_has_no_gradient():
    x, y, weights = problem(10, 4)
    found = lm.least_squares(x.abs(), y, [-w.abs() for w in weights], activation("relu"))
    assert found.reason is lm.LeastSquaresReason.ZERO_GRADIENT
    assert found.n_steps == 0
    assert found.grad_norm == 0.0


def test_a_spent_budget_says_so():
    x, y, weights = problem(60, 5)
    found = lm.least_squares(x, y, weights, activation("relu"), max_steps=3)
    assert found.reason is lm.LeastSquaresReason.MAX_STEPS
    assert found.n_steps == 3
    assert len(found.loss) == 4


def test_a_start_out_of_range_is_a_reason():
    x, y, weights = problem(5, 4)
    found = lm.least_squares(x, y, [w * 1e200 for w in weights], activation("relu"))
    assert found.reason is lm.LeastSquaresReason.DIVERGED
    assert math.isnan(found.grad_norm)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"target_loss": -1.0}, "target_loss must be at least 0, got -1.0"),
        ({"damping": 0.0}, "damping must be positive and finite, got 0.0"),
    ],
)
def test_bad_settings_are_named(change, words):
    x, y, weights = problem(5, 4)
    with pytest.raises(ValueError, match=words):
        lm.least_squares(x, y, weights, activation("relu"), **change)


def test_bad_data_is_named():
    x, y, weights = problem(5, 4)
    with pytest.raises(ValueError, match="NaN or inf"):
        lm.least_squares(x * math.nan, y, weights, activation("relu"))
    with pytest.raises(ValueError, match=r"\(N, d\) and y of shape \(N,\)"):
        lm.least_squares(x, y[:3], weights, activation("relu"))
