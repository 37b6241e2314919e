"""Inexact Gauss-Newton steps against autograd's Jacobian and numpy's dense solves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.data.sampling import rows
from lawsweep.kernels.linalg import cholesky
from lawsweep.kernels.linalg.cholesky import Cholesky
from lawsweep.kernels.linalg.woodbury import DiagonalAndLowRank
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.precondition import principal_pairs
from lawsweep.kernels.optimise import gauss_newton as gn
from lawsweep.kernels.optimise import gauss_newton_cg as cg
from lawsweep.kernels.optimise import gauss_newton_inexact as gi
from lawsweep.kernels.optimise import levenberg_marquardt as lm

FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh}


def problem(n, widths, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rows("gaussian", rng, n, widths[0]), rows("gaussian", rng, n, 1)[:, 0]
    return x, y, init_weights(Network(widths, "linear"), rng)


def jacobian(x, weights, act):
    """(N, p) by autograd, one sample at a time."""
    leaves = [w.clone().requires_grad_() for w in weights]
    out = x
    for layer, w in enumerate(leaves):
        out = out @ w if layer == len(leaves) - 1 else FUNCTIONS[act](out @ w)
    rows = [torch.autograd.grad(f, leaves, retain_graph=True) for f in out[:, 0]]
    return np.array([torch.cat([g.flatten() for g in row]).numpy() for row in rows])


def flat(parts):
    return torch.cat([p.flatten() for p in parts]).numpy()


def iterative(n, widths, act="relu", eta=0.1, most=300, seed=0):
    x, y, weights = problem(n, widths, seed)
    state = gn.State(Network.of(weights, activation(act)), weights, x, y)
    system = gi.IterativeSystem(state, eta, gi.Experience())
    system.most = most  # so small a system is not worth it
    return state, system


class Unchanged:
    """The preconditioner that is none."""

    def solve(self, v):
        return v.clone()


def factor_of(system):
    return Cholesky.of(system.fast_jacobian().kernel().dense(), shift=1.0)


@pytest.mark.parametrize("widths", [(5, 1), (5, 7, 1), (6, 5, 4, 3, 1)])
@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_products_are_those_of_autograds_jacobian(widths, act):
    x, y, weights = problem(30, widths)
    j = jacobian(x, weights, act)
    ours = gn.State(Network.of(weights, activation(act)), weights, x, y).jacobian
    rng = np.random.default_rng(1)
    v = torch.from_numpy(rng.standard_normal(30))
    u = torch.from_numpy(rng.standard_normal(j.shape[1]))
    # Sums of at most 30 terms, each off by a few eps.
    assert ours.rmv(v).numpy() == pytest.approx(j.T @ v.numpy(), rel=1e-12, abs=1e-13)
    assert ours.mv(u).numpy() == pytest.approx(j @ u.numpy(), rel=1e-12, abs=1e-13)
    assert ours.kernel().dense().numpy() == pytest.approx(j @ j.T, rel=1e-12, abs=1e-13)


def test_all_principal_directions_are_the_whole_kernel():
    x, y, weights = problem(20, (4, 3, 1))
    ours = gn.State(Network.of(weights, activation("tanh")), weights, x, y).jacobian
    pairs = principal_pairs(ours.second_moments(), ours.numbers, 1000)  # p = 15
    directions = ours.columns(pairs, 1.0, torch.float64)
    j = jacobian(x, weights, "tanh")
    assert (directions.mT @ directions).numpy() == pytest.approx(j @ j.T, rel=1e-10, abs=1e-12)


def test_the_preconditioner_is_the_inverse_of_what_it_says():
    rng = np.random.default_rng(0)
    a, v, diagonal = (
        rng.standard_normal((3, 12)),
        rng.standard_normal((2, 12)),
        rng.uniform(1, 2, 12),
    )
    found = DiagonalAndLowRank(torch.from_numpy(a), torch.from_numpy(diagonal))
    expected = np.linalg.solve(np.diag(diagonal) + a.T @ a, v.T).T
    for vectors, solution in ((v, expected), (v[0], expected[0])):
        got = found.solve(torch.from_numpy(vectors)).numpy()
        assert got == pytest.approx(solution, rel=1e-11)


@pytest.mark.parametrize("act", ["relu", "tanh"])
@pytest.mark.parametrize("damping", [1e-3, 0.3])
@pytest.mark.parametrize("by", ["directions", "factor"])
def test_a_tight_step_is_that_of_a_dense_least_squares_solve(act, damping, by):
    state, system = iterative(40, (6, 6, 6, 1), act, eta=1e-13)
    if by == "factor":  # of another network, and to no avail: then a new one
        other = iterative(40, (6, 6, 6, 1), act, seed=9)[1]
        system.eta, system.most = 1e-13, 12
        system.experience.factor = factor_of(other)
    step = system.solve(damping)
    j, r = jacobian(state.x, state.weights, act), state.residual.numpy()
    mu = damping * np.mean((j**2).sum(1))
    stacked = np.vstack([j, math.sqrt(mu) * np.eye(j.shape[1])])
    expected = np.linalg.lstsq(stacked, np.r_[-r, np.zeros(j.shape[1])], rcond=None)[0]
    assert step.residual <= 1e-13  # solved by iteration, with its evidence
    # delta = -J^T (K + mu)^-1 r: a relative residual e moves it by at most e |J| |r| / mu, which is
    # 1e-13 * sqrt(N / damping) * |r| / sqrt(mu).
    assert np.linalg.norm(flat(step.parts) - expected) <= 1e-10 * np.linalg.norm(expected)
    assert step.promised == pytest.approx(r @ r - ((r + j @ expected) ** 2).sum(), rel=1e-9)
    assert system.experience.n_factorised == (by == "factor")


@pytest.mark.parametrize("eta", [0.5, 0.1, 1e-3, 1e-6])
def test_the_residual_it_states_is_the_systems(eta):
    state, system = iterative(60, (6, 8, 8, 1), eta=eta)
    step = system.solve(1e-3)
    assert 0 < step.residual <= eta
    j, r = jacobian(state.x, state.weights, "relu"), state.residual.numpy()
    mu, delta = 1e-3 * np.mean((j**2).sum(1)), flat(step.parts)
    # delta = -J^T u with full row rank: u by least squares, and from it the residual.
    u = np.linalg.lstsq(j.T, -delta, rcond=None)[0]
    left = np.linalg.norm(r - j @ (j.T @ u) - mu * u) / np.linalg.norm(r)
    assert left == pytest.approx(step.residual, rel=1e-6, abs=1e-12)
    assert step.promised == pytest.approx(r @ r - ((r + j @ delta) ** 2).sum(), rel=1e-9)


def test_a_factor_serves_again_once_the_steps_are_small():
    state, system = iterative(60, (8, 8, 8, 1), eta=0.01)
    known = system.experience
    known.rate = 0.0  # the cheap way is known to be hopeless, at any damping
    known.damping = math.inf
    assert system.solve(1e-3).residual <= 0.01
    assert known.n_factorised == 1
    kept = known.factor
    nearby = state.moved([1e-4 * w for w in state.weights])
    again = gi.IterativeSystem(nearby, 0.01, known)
    again.most = 300
    assert again.solve(1e-3).residual <= 0.01
    assert known.factor is kept
    assert known.n_factorised == 1
    again.eta = 0.1  # a poor last step: K is another by now
    again.solve(1e-3)
    assert known.factor is not kept


@pytest.mark.parametrize("failure", ["breakdown", "no progress"])
def test_where_float32_does_not_get_there_a_factor_in_float64_does(monkeypatch, failure):
    state, system = iterative(40, (6, 6, 6, 1), eta=1e-3)
    if failure == "breakdown":
        system.most = 1
        monkeypatch.setattr(cholesky, "factorise", torch_cholesky)
    else:
        nothing = cg.Iterate(torch.zeros(40), 3, 1.0, True)
        monkeypatch.setattr(gi, "conjugate_gradients", lambda *a: nothing)
    step = system.solve(0.01)
    expected = gn.GramSystem(state).solve(0.01)
    assert step.residual is None
    assert flat(step.parts) == pytest.approx(flat(expected.parts), rel=1e-12, abs=1e-14)
    assert step.promised == expected.promised


def torch_cholesky(a):
    if a.dtype == torch.float32:
        return False
    a.copy_(torch.linalg.cholesky(a.tril() + a.tril(-1).mT))
    return True


def test_a_network_beyond_float32_is_solved_in_float64():
    x, y, weights = problem(40, (6, 6, 6, 1))
    large = [weights[0] * 1e30, *weights[1:]]
    state = gn.State(Network.of(large, "relu"), large, x, y * 1e30)
    system = gi.IterativeSystem(state, 0.1, gi.Experience())
    system.most = 300
    step = system.solve(0.01)
    assert step.residual is None
    assert torch.equal(step.parts[0], gn.GramSystem(state).solve(0.01).parts[0])


def test_a_factor_that_preconditions_goes_before_one_that_solves():
    state, system = iterative(40, (6, 6, 6, 1), eta=0.01)
    known = system.experience
    known.factor = factor_of(system)
    system.solve_exactly(0.01)
    assert known.factor is None
    known.factor = factor_of(system)
    assert isinstance(gi.system_for(state, None, known), gn.GramSystem)
    assert known.factor is None


@pytest.mark.parametrize(
    ("n", "widths", "iterates"),
    [
        (1600, (54, 54, 54, 54, 1), True),
        (400, (22, 22, 22, 22, 1), False),  # a factor takes a millisecond
        (1200, (2000, 5, 1), False),  # a basis of order 2000 takes longer than the factor
        (2000, (20, 20, 1), False),  # p < N: the normal equations
    ],
)
def test_it_iterates_where_a_factor_takes_longer(n, widths, iterates):
    x, y, weights = problem(n, widths)
    state = gn.State(Network.of(weights, activation("relu")), weights, x, y)
    system = gi.system_for(state, 0.1, gi.Experience())
    assert isinstance(system, gi.IterativeSystem) == iterates


def test_conjugate_gradients_solve_and_say_where_they_cannot():
    rng = np.random.default_rng(0)
    half = rng.standard_normal((30, 30))
    matrix = torch.from_numpy(half @ half.T + np.eye(30))
    right = torch.from_numpy(rng.standard_normal(30))
    right /= right.norm()
    found = cg.conjugate_gradients(lambda v: matrix @ v, Unchanged(), right, 1e-12, 200)
    assert found.converged
    assert float((matrix @ found.solution - right).norm()) <= 2e-12
    few = cg.conjugate_gradients(lambda v: matrix @ v, Unchanged(), right, 1e-12, 8)
    assert not few.converged
    assert few.n_iterations < 8  # it saw that they would not do
    assert few.solution.isfinite().all()
    bad = cg.conjugate_gradients(lambda v: -(matrix @ v), Unchanged(), right, 1e-12, 50)
    assert not bad.converged
    assert not bad.solution.any()
    lost = cg.conjugate_gradients(lambda v: v * math.nan, Unchanged(), right, 1e-12, 50)
    assert not lost.converged
    assert lost.solution.isfinite().all()


def test_a_fit_by_inexact_steps_takes_no_more_of_them():
    x, y, weights = problem(1100, Network.equal(38, 38, 4, "linear").widths)  # N = p / 4
    runs = [
        lm.least_squares(x, y, weights, activation("relu"), target_loss=1e-20, exact=exact)
        for exact in (False, True)
    ]
    inexact, exact = runs
    for run in runs:
        assert run.reason is lm.LeastSquaresReason.TARGET_REACHED
        out = x
        for layer, w in enumerate(run.weights):
            out = out @ w if layer == len(weights) - 1 else torch.relu(out @ w)
        assert float((out[:, 0] - y).square().mean()) == pytest.approx(run.best_loss, rel=1e-6)
    assert inexact.n_steps <= exact.n_steps + 4
    assert inexact.n_products > 0
    assert 0 < inexact.worst_residual <= lm.LARGEST_FORCING
    assert inexact.n_factorised < exact.n_factorised == exact.n_systems
    assert (exact.n_products, exact.worst_residual) == (0, 0.0)


def search(monkeypatch, n=40):
    monkeypatch.setattr(gi, "budget", lambda state: 50)  # iterate, however small
    x, y, weights = problem(n, (6, 6, 6, 1))
    return lm.Iteration(
        gn.State(Network.of(weights, activation("relu")), weights, x, y), lm.DAMPING, 500, 0.0
    )


def test_no_inexact_step_is_ground_for_calling_a_point_stationary(monkeypatch):
    one = search(monkeypatch)
    monkeypatch.setattr(one, "is_stationary", lambda promised: True)
    assert one.step() is None
    assert (one.n_systems, len(one.losses)) == (1, 1)
    assert isinstance(one.system, gn.GramSystem)
    assert one.step() is lm.LeastSquaresReason.STATIONARY


def test_a_step_that_is_refused_is_solved_for_more_closely(monkeypatch):
    one = search(monkeypatch)
    monkeypatch.setattr(one, "accepts", lambda trial: False)
    asked = []
    for _ in range(12):
        assert one.step() is None
        asked.append(one.system.eta)
    assert asked[:3] == pytest.approx([lm.LARGEST_FORCING * 0.1**k for k in (1, 2, 3)])
    assert asked[-1] == math.sqrt(np.finfo(float).eps)


def test_a_stall_is_only_called_one_after_exact_steps(monkeypatch):
    one, exact = search(monkeypatch), []
    one.system = rough = object()
    monkeypatch.setattr(one, "step", lambda: exact.append((one.exact, one.system)))
    assert one.run() is lm.LeastSquaresReason.STALLED
    assert exact == [(False, rough)] * lm.PATIENCE + [(True, None)] * lm.PATIENCE


def test_the_forcing_term_is_eisenstats_and_walkers(monkeypatch):
    one = search(monkeypatch)
    first, gamma = one.state.loss, lm.FORCING
    assert one.next_forcing() == lm.LARGEST_FORCING
    one.losses = [1.0, 1e-4]
    # gamma eta^2 = 0.225 > 0.1: the safeguard; then 0.046, and the rule by itself.
    assert one.next_forcing() == pytest.approx(gamma * lm.LARGEST_FORCING**2)
    one.losses = [1.0, 0.01]
    assert one.next_forcing() == pytest.approx(gamma * 0.01)
    one.losses = [1.0, 2.0]
    assert one.next_forcing() == lm.LARGEST_FORCING
    one.losses, one.forcing = [1.0, 1e-30], 0.1
    assert one.next_forcing() == pytest.approx(math.sqrt(np.finfo(float).eps))
    one.target = 1e-4 * first
    assert one.next_forcing() == pytest.approx(lm.OVERSOLVE * 1e-2)
