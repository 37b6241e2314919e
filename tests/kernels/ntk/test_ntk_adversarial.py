"""Kernels at the edge of singular: what is claimed of lambda_min holds against the Jacobian's SVD.

lambda_min(K) = sigma_min(J)^2, and LAPACK's sigma_min is off by a few eps sigma_max: where the Gram
matrix has lost all digits of lambda_min (relative error eps kappa), the reference still has half of
them (eps sqrt(kappa)).
"""

import itertools

import numpy as np
import pytest
import torch
from reference_ntk import jacobians

from lawsweep.kernels.activations import activation
from lawsweep.kernels.eigmin.result import EigenReason
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk import rank as ntk_rank
from lawsweep.kernels.ntk.linearisation import linearise

EPS = float(torch.finfo(torch.float64).eps)
SOLVERS = ("auto", "cholesky_lanczos", "mixed", "dense")
P = 2 * 10**2 + 10  # parameters of three layers of width 10


def near(distance):
    """The second sample at ``distance`` of the first."""

    def change(x):
        direction = np.random.default_rng(5).standard_normal(x.shape[1])
        x[1] = x[0] + distance * torch.from_numpy(direction / np.linalg.norm(direction))

    return change


def problem(n, d, depth=3, act="sigmoid", betas=None, change=None, scale=1.0):
    rng = np.random.default_rng(0)
    x = scale * torch.from_numpy(rng.standard_normal((n, d)))
    if change is not None:
        change(x)
    weights = init_weights(Network.equal(d, d, depth, "linear", betas=betas), rng)
    return x, weights, act


CASES = {
    "samples 1e-3 apart": problem(60, 20, change=near(1e-3)),
    "samples 1e-6 apart": problem(60, 20, change=near(1e-6)),
    "samples 1e-9 apart": problem(60, 20, change=near(1e-9)),
    "relu, samples 1e-9 apart": problem(60, 20, act="relu", change=near(1e-9)),
    "N = p": problem(P, 10),
    "N = p, tanh": problem(P, 10, act="tanh"),
    "relu, one below its rank": problem(P - 21, 10, act="relu"),
    "tiny output weights": problem(40, 12, betas=(1.0, 1.0, 1e-60)),
    "saturated first layer": problem(40, 12, betas=(1e60, 1.0, 1.0)),
    "constant first layer": problem(40, 12, betas=(1e-60, 1.0, 1.0)),
    "large relu gradients": problem(40, 12, act="relu", betas=(1e60, 1e-60, 1e20)),
    "depth 12": problem(60, 16, depth=12, act="tanh"),
    "depth 12, sigmoid": problem(60, 16, depth=12),
    "small inputs": problem(40, 12, act="tanh", scale=1e-60),
}


def reference(x, weights, act):
    """(lambda_min, its relative error), from the singular values of autograd's Jacobian."""
    jacobian = torch.cat(jacobians(x, weights, None, act), 1)
    size = jacobian.abs().max()  # squares of 1e-60 would be lost beside others
    values = torch.linalg.svdvals(jacobian / size)
    n, kappa = len(x), float(values[0] / values[-1])
    # Twice sigma's error, and that of autograd's own passes, some 16 roundings deep a layer.
    error = 2 * (n + 16 * len(weights)) * EPS * kappa
    return (float(values[-1]) * float(size)) ** 2, error


@pytest.mark.parametrize("name", CASES)
def test_what_is_claimed_holds(name):
    x, weights, act_name = CASES[name]
    act = activation(act_name)
    exact, error = reference(*CASES[name])
    low, high = exact * max(1.0 - error, 0.0), exact * (1.0 + error)
    lin = linearise(Network.of(weights, act), weights, x)
    assert ntk_rank.rank_report(lin).zero is None
    kernel, rounding = ntk.gram(lin), ntk.gram_error_bound(lin)
    for solver in SOLVERS:
        got = smallest_eigenvalue(kernel, start=np.random.default_rng(0), solver=solver)
        assert got.lower - rounding <= high, solver
        assert low <= got.upper + rounding, solver
        if got.lower > rounding:  # what the experiment calls a trusted sign
            assert exact > 0.0
            assert error < 1.0
        if got.converged:  # a value to use: within K's own rounding and the pair's residual
            assert abs(got.value - exact) <= error * exact + rounding + got.residual, solver


def test_the_cases_reach_both_sides_of_what_can_be_known():
    """Some of them have a value that is certain, others none, and none of these says it has."""
    verdicts = set()
    for (x, weights, name), solver in itertools.product(CASES.values(), SOLVERS):
        lin = linearise(Network.of(weights, activation(name)), weights, x)
        got = smallest_eigenvalue(ntk.gram(lin), start=np.random.default_rng(0), solver=solver)
        verdicts.add((got.converged, got.lower > ntk.gram_error_bound(lin)))
        if not got.converged:
            # Noise, or not far enough from it: below a hundred times the bracket, some 2 N tr K u.
            assert got.reason in (EigenReason.NUMERICALLY_SINGULAR, EigenReason.UNRESOLVED)
            assert abs(got.value) <= 200 * len(x) ** 2 * EPS * got.lambda_max
    assert {(True, True), (False, False)} <= verdicts


def test_exact_zeros_one_beyond_the_ranks():
    for n, act, reason in ((P + 1, "sigmoid", "RANK"), (P - 19, "relu", "RANK")):
        x, weights = problem(n, 10, act=act)[:2]
        lin = linearise(Network.of(weights, act), weights, x)
        assert ntk_rank.rank_report(lin).zero == ntk_rank.ZeroReason[reason]


def test_float32_never_trusts_a_sign_that_it_lost():
    """Half of the digits: the certificate counts K's rounding, so a small value has no sign."""
    for name in ("samples 1e-3 apart", "samples 1e-6 apart", "N = p", "depth 12"):
        x, weights, act = CASES[name]
        exact, error = reference(*CASES[name])
        lin = linearise(
            Network.of([w.float() for w in weights], activation(act)),
            [w.float() for w in weights],
            x.float(),
        )
        rounding = ntk.gram_error_bound(lin)
        got = smallest_eigenvalue(ntk.gram(lin), start=np.random.default_rng(0))
        # The rounding of F and B to float32 is not in the bound; the worst case is far above it.
        assert got.lower - rounding <= exact * (1.0 + error)
        assert (got.lower > rounding) == (name == "depth 12")
