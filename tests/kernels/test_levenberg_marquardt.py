"""Levenberg-Marquardt against a dense least-squares solve on an autograd Jacobian."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels import levenberg_marquardt as lm
from lawsweep.kernels.activations import activation
from lawsweep.kernels.networks import init_weights, layer_widths, n_params
from lawsweep.kernels.sampling import rows


def problem(n, d, depth=3, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rows("gaussian", rng, n, d), rows("gaussian", rng, n, 1)[:, 0]
    return x, y, init_weights(layer_widths(d, d, depth), rng)


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
@pytest.mark.parametrize("damping", [1e-6, 0.3])
def test_a_step_is_that_of_a_dense_least_squares_solve(act, n, damping):
    x, y, weights = problem(n, 5)
    state = lm._State(weights, x, y, activation(act))
    found = lm._system(state).solve(damping)
    expected, condition = dense_step(x, y, weights, act, damping)
    flat = torch.cat([s.flatten() for s in found]).numpy()
    # A Cholesky solve with the damped square of J loses its condition number times a few eps.
    tol = max(1e-12, 4 * np.finfo(float).eps * condition)
    assert tol < 1e-7
    assert np.linalg.norm(flat - expected) <= tol * np.linalg.norm(expected)


def test_a_jacobian_in_blocks_of_rows_gives_the_same_system(monkeypatch):
    x, y, weights = problem(90, 5)
    state = lm._State(weights, x, y, activation("tanh"))
    whole = lm._NormalSystem(state).matrix
    monkeypatch.setattr(lm, "BLOCK_BYTES", 7 * 8 * n_params(layer_widths(5, 5, 3)))
    assert torch.allclose(lm._NormalSystem(state).matrix, whole, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("n_over_p", [0.2, 0.5])
def test_it_memorises_to_rounding_level(n_over_p):
    d = 22
    p = n_params(layer_widths(d, d, 4))
    x, y, weights = problem(round(n_over_p * p), d, depth=4)
    before = [w.clone() for w in weights]
    found = lm.levenberg_marquardt(x, y, weights, activation("relu"), target_loss=1e-20)
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


def test_a_deep_linear_network_ends_at_ordinary_least_squares():
    x, y, weights = problem(200, 4, depth=2)
    found = lm.levenberg_marquardt(x, y, weights, activation("linear"), max_steps=500)
    assert found.reason is lm.LeastSquaresReason.STALLED
    assert found.best_loss == found.loss.min()
    coefficients, *_ = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)
    ols = np.mean((x.numpy() @ coefficients - y.numpy()) ** 2)
    assert found.best_loss == pytest.approx(ols, rel=1e-12)
    assert found.grad_norm <= 1e-6 * found.best_loss


def test_a_dead_network_has_no_gradient():
    x, y, weights = problem(10, 4)
    found = lm.levenberg_marquardt(x.abs(), y, [-w.abs() for w in weights], activation("relu"))
    assert found.reason is lm.LeastSquaresReason.ZERO_GRADIENT
    assert found.n_steps == 0
    assert found.grad_norm == 0.0


def test_a_spent_budget_says_so():
    x, y, weights = problem(60, 5)
    found = lm.levenberg_marquardt(x, y, weights, activation("relu"), max_steps=3)
    assert found.reason is lm.LeastSquaresReason.MAX_STEPS
    assert found.n_steps == 3
    assert len(found.loss) == 4


def test_a_start_out_of_range_is_a_reason():
    x, y, weights = problem(5, 4)
    found = lm.levenberg_marquardt(x, y, [w * 1e200 for w in weights], activation("relu"))
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
        lm.levenberg_marquardt(x, y, weights, activation("relu"), **change)


def test_bad_data_is_named():
    x, y, weights = problem(5, 4)
    with pytest.raises(ValueError, match="NaN or inf"):
        lm.levenberg_marquardt(x * math.nan, y, weights, activation("relu"))
    with pytest.raises(ValueError, match=r"\(N, d\) and y of shape \(N,\)"):
        lm.levenberg_marquardt(x, y[:3], weights, activation("relu"))
