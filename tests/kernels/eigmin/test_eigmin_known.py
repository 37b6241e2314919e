"""``converged`` and ``certified`` against 60 digits: what is claimed is right to a hundredth.

The kernels are small and nearly singular: rows next to each other, clusters, two input dimensions
under a smooth activation, N = p.  The reference takes the same float64 inputs and weights through
forward and backward pass, Gram and eigenvalues in mpmath.
"""

import math

import mpmath as mp
import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.eigmin.block import smallest_eigenvalue_block
from lawsweep.kernels.eigmin.few import smallest_eigenvalues
from lawsweep.kernels.eigmin.result import RESOLUTION, EigenReason
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue, smallest_eigenvalues_batched
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.change import kernel_end
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.kernels.ntk.row_shard import GivenRows, NtkShards

DIGITS = 60
FUNCTIONS = {
    "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "tanh": mp.tanh,
    "relu": lambda z: max(z, mp.mpf(0)),
}
SLOPES = {
    "sigmoid": lambda z: FUNCTIONS["sigmoid"](z) * FUNCTIONS["sigmoid"](-z),
    "tanh": lambda z: 1 / mp.cosh(z) ** 2,
    "relu": lambda z: mp.mpf(int(z > 0)),
}


def exact_eigenvalues(x, weights, name):
    """All eigenvalues of the bias-free NTK at these float64 numbers, ascending, in mpmath."""
    with mp.workdps(DIGITS):
        f, df = FUNCTIONS[name], SLOPES[name]
        w = [mp.matrix(m.tolist()) for m in weights]
        rows = [mp.matrix([row]) for row in x.tolist()]
        passes = []
        for row in rows:
            features, slopes = [row], []
            for m in w[:-1]:
                g = features[-1] * m
                features.append(g.apply(f))
                slopes.append(g.apply(df))
            back = [mp.matrix([[1]])]
            for m, slope in zip(w[:0:-1], slopes[::-1], strict=True):
                b = back[0] * m.T
                back.insert(0, mp.matrix([[a * s for a, s in zip(b, slope, strict=True)]]))
            passes.append((features, back))
        n = len(rows)
        k = mp.zeros(n)
        for i in range(n):
            for j in range(i + 1):
                (fi, bi), (fj, bj) = passes[i], passes[j]
                k[i, j] = k[j, i] = sum(
                    (a * b.T)[0] * (c * d.T)[0] for a, b, c, d in zip(fi, fj, bi, bj, strict=True)
                )
        return sorted(mp.eigsy(k, eigvals_only=True))


def beside(n, d, distance, copies=1):
    x = np.random.default_rng(n).standard_normal((n, d))
    for i in range(1, copies + 1):
        x[i] = x[0] + distance * np.random.default_rng(i).standard_normal(d)
    return x


CASES = {
    **{f"a near copy at 1e-{e}": (beside(6, 4, 10.0**-e), 6, "sigmoid") for e in range(2, 9)},
    "a cluster at 1e-3": (beside(7, 4, 1e-3, 3), 6, "sigmoid"),
    "a cluster at 1e-4": (beside(7, 4, 1e-4, 3), 6, "tanh"),
    "relu, a near copy at 1e-9": (beside(6, 4, 1e-9), 6, "relu"),
    "relu, a near copy at 1e-13": (beside(6, 4, 1e-13), 6, "relu"),
    "two dimensions, 9 samples": (beside(9, 2, 1.0), 8, "sigmoid"),
    "two dimensions, 12 samples": (beside(12, 2, 1.0), 8, "sigmoid"),
    "two dimensions, 14 samples": (beside(14, 2, 1.0), 8, "sigmoid"),
    "N = p": (beside(10, 2, 1.0), 2, "tanh"),  # 4 + 4 + 2 weights
}  # fmt: skip


def problem(name):
    x, width, act = CASES[name]
    weights = init_weights(
        Network((x.shape[1], width, width, 1), "linear"), np.random.default_rng(2)
    )
    return torch.from_numpy(x), weights, act


def verdicts(x, weights, act):
    """(who, value, its bracket or residual, claimed) of everything that gives a lambda_min."""
    lin = linearise(Network.of(weights, activation(act)), weights, x)
    k, error = ntk.gram(lin), ntk.gram_error_bound(lin)
    for solver in ("dense", "cholesky_lanczos", "mixed"):
        for certify in (True, False):
            got = smallest_eigenvalue(
                k, start=np.random.default_rng(0), solver=solver, certify=certify
            )
            assert got.converged or not got.given_error(error).converged
            got = got.given_error(error)
            if certify:
                assert not got.certified or got.upper - got.lower <= RESOLUTION * got.value
                assert got.certified or not got.converged
            yield f"{solver} {certify}", got.value, got.lower, got.upper, got.converged
    one, other = smallest_eigenvalues_batched(
        torch.stack([k, k]), starts=[np.random.default_rng(s) for s in (0, 1)]
    )
    for got in (one.given_error(error), other.given_error(error)):
        yield "batched", got.value, got.lower, got.upper, got.converged
    end = kernel_end(
        Network.of(weights, activation(act)), x, weights, start=np.random.default_rng(0)
    )
    yield "kernel_end", end.value, end.lower, end.upper, end.value is not None
    shards = NtkShards(len(x), GivenRows(x), Network.of(weights, act), [w.numpy() for w in weights])
    got = smallest_eigenvalue_block(
        shards.in_process(2), key=3, layers=(1, 2, 3), tol=1e-3, n_starts=2, max_basis=12
    )
    yield "matrix_free", got.value, got.lower, got.upper, got.converged


@pytest.mark.parametrize("name", CASES)
def test_what_is_claimed_is_right_to_a_hundredth(name):
    x, weights, act = problem(name)
    exact = exact_eigenvalues(x, weights, act)
    low = float(exact[0])
    lin = linearise(Network.of(weights, activation(act)), weights, x)
    error = ntk.gram_error_bound(lin)
    for who, value, lower, upper, claimed in verdicts(x, weights, act):
        assert lower - error <= low <= upper + error, who
        if claimed:
            assert abs(value - low) <= RESOLUTION * low, who
    few = smallest_eigenvalues(ntk.gram(lin), 3, start=np.random.default_rng(0))
    for value, known, true in zip(few.values, few.known, exact, strict=False):
        if known:
            assert abs(float(value) - float(true)) <= RESOLUTION * float(true)


def test_the_cases_are_both_known_and_not():
    said = {}
    for name in CASES:
        for who, value, _, _, claimed in verdicts(*problem(name)):
            said.setdefault(who, []).append(claimed)
            assert value is None or not math.isnan(value)
    for who, claims in said.items():
        assert 0 < sum(claims) < len(claims), who


def test_noise_within_its_bracket_is_not_converged():
    """40 samples in two dimensions: 1.5e-11 in a bracket of 3e-11, where 1.07e-11 is true."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 2)))
    weights = init_weights(Network((2, 40, 40, 1), "linear"), np.random.default_rng(1))
    k = ntk.gram(linearise(Network.of(weights, activation("sigmoid")), weights, x))
    got = smallest_eigenvalue(k, start=np.random.default_rng(0))
    assert got.upper - got.lower > RESOLUTION * abs(got.value)
    assert (got.converged, got.certified) == (False, False)
    assert got.reason in (EigenReason.UNRESOLVED, EigenReason.NUMERICALLY_SINGULAR)


def test_a_value_beside_the_error_of_its_matrix_is_none():
    k = torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64))
    got = smallest_eigenvalue(k, start=np.random.default_rng(0))
    assert (got.converged, got.certified) == (True, True)
    same, less = got.given_error(1e-4), got.given_error(0.1)
    assert same == got
    assert (less.converged, less.certified, less.reason) == (False, False, EigenReason.UNRESOLVED)
    assert (less.value, less.lower, less.upper) == (got.value, got.lower, got.upper)
