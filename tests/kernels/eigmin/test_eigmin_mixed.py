"""lambda_min steered by a float32 factor: the same value, and a way out where it cannot steer."""

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.base import devices
from lawsweep.kernels.data import sampling
from lawsweep.kernels.eigmin import mixed as eigmin
from lawsweep.kernels.eigmin.result import EigenReason
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.linearisation import linearise

EPS = 2.0**-52


def rotated(values, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    k = (q * np.asarray(values)) @ q.T
    return torch.from_numpy((k + k.T) / 2)


def solved(k, solver="mixed", seed=1, **options):
    return smallest_eigenvalue(k, start=np.random.default_rng(seed), solver=solver, **options)


def test_an_isolated_top_eigenvalue_does_no_harm():
    """Condition number 1e8: undeflated, float32 would not even have the sign."""
    values = np.concatenate([np.linspace(1.0, 50.0, 399), [1e8]])
    got = solved(rotated(values))
    assert got.solver == "mixed"
    assert got.converged
    assert got.certified
    # Entries of K are rounded to eps 1e8 / n each: eigenvalues move by some 1e-8 / sqrt(n).
    assert got.value == pytest.approx(1.0, abs=4 * EPS * 1e8)
    assert got.lambda_max == pytest.approx(1e8, rel=1e-12)


@pytest.mark.parametrize("kappa", [1e9, 1e12])
def test_a_wide_spectrum_is_handed_on(kappa):
    """No one direction to take out: float32 cannot steer, and float64 finds the value."""
    got = solved(rotated(np.geomspace(1.0 / kappa, 1.0, 300)))
    assert got.solver == "cholesky_lanczos"
    assert got.converged == (kappa < 1e12)  # there the bracket is as wide as the value
    assert got.value == pytest.approx(1.0 / kappa, abs=4 * np.sqrt(300) * EPS)


def test_a_failed_proof_is_handed_on(monkeypatch):
    """An estimate that is too high costs time, never the value."""
    real = eigmin.mixed_estimate

    def too_high(*args):
        found = real(*args)
        return eigmin.Estimate(1.001 * found.value, found.vector, found.n_iterations)

    monkeypatch.setattr(eigmin, "mixed_estimate", too_high)
    k = rotated(np.linspace(1.0, 3.0, 200))
    got = solved(k)
    assert got.solver == "cholesky_lanczos"
    assert got.converged
    assert got.value == pytest.approx(1.0, rel=1e-12)


def test_an_estimate_too_low_leaves_a_true_bound(monkeypatch):
    real = eigmin.mixed_estimate

    def too_low(*args):
        found = real(*args)
        return eigmin.Estimate(0.99 * found.value, found.vector, found.n_iterations)

    monkeypatch.setattr(eigmin, "mixed_estimate", too_low)
    got = solved(rotated(np.linspace(1.0, 3.0, 200)))
    assert got.value == pytest.approx(1.0, rel=1e-9)  # the polished vector's quotient
    assert got.lower <= 0.99


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "erf"])
def test_ntk_matrices_of_600_samples(name):
    rng = np.random.default_rng(3)
    x = sampling.rows("gaussian", rng, 600, 60)
    weights = init_weights(Network((60, 60, 60, 1), "linear"), rng)
    k = ntk.gram(linearise(Network.of(weights, activation(name)), weights, x))
    got = solved(k, "auto")
    assert got.solver == "mixed"
    values = np.linalg.eigvalsh(k.numpy())
    # eigvalsh errs by a few eps lambda_max; the bracket by the margin N^2 u mean(K_ii) and the
    # quotient's 2 N u |K|_F, twice each.
    noise = 10 * EPS * values[-1]
    assert abs(got.value - values[0]) <= 1e-10 * values[0] + noise
    bracket = 600 * EPS * (float(k.trace()) + 4 * float(k.norm()))
    assert values[0] - bracket <= got.lower <= values[0] + noise
    assert values[0] - noise <= got.upper <= values[0] + bracket
    assert got.residual <= 1e-9 * values[0] + 600 * EPS * values[-1]


SPECTRA = {
    "wide": lambda r, n: np.geomspace(10.0 ** -r.integers(0, 12), 1, n),
    "multiple": lambda r, n: np.r_[np.full(3, 1e-3), np.linspace(0.1, 1, n - 3)],
    "cluster": lambda r, n: np.r_[
        1e-4, 1e-4 * (1 + 10.0 ** -r.integers(2, 14)), np.linspace(0.01, 1, n - 2)
    ],
    "crowd": lambda r, n: 1e-3 * (1 + 10.0 ** -r.integers(3, 12) * np.arange(n)),
    "identity": lambda r, n: np.full(n, 2.0),
    "rounding": lambda r, n: np.r_[
        r.choice([-1, 1]) * 10.0 ** -r.integers(10, 20), np.linspace(0.5, 1, n - 1)
    ],
    "indefinite": lambda r, n: np.r_[-(10.0 ** -r.integers(0, 5)), np.linspace(0.5, 1, n - 1)],
    "outlier": lambda r, n: np.r_[np.linspace(1, 2, n - 1) * 1e-3, 1e4],
    "zeros": lambda r, n: np.r_[np.zeros(n // 2), np.ones(n - n // 2)],
}


@pytest.mark.parametrize("solver", ["dense", "cholesky_lanczos", "mixed"])
@pytest.mark.parametrize("kind", SPECTRA)
def test_random_spectra_with_small_blocks(monkeypatch, kind, solver):
    """Whatever the spectrum and whoever solves: the bounds hold, a converged value is right."""
    monkeypatch.setitem(devices.OVERRIDES, "cholesky_block", 7)
    for seed in range(25):
        r = np.random.default_rng(seed)
        n = int(r.integers(4, 70))
        k = rotated(SPECTRA[kind](r, n) * 2.0 ** r.integers(-40, 40), seed)
        values = np.linalg.eigvalsh(k.numpy())
        low, size = values[0], np.abs(values).max()
        rounding = 4 * n * EPS * size  # of eigvalsh, and of what built K
        got = solved(k, solver, seed)
        assert got.lower <= low + rounding
        assert got.upper >= low - rounding
        if got.converged:
            # The residual is at most 1e-10 of the value, and in a cluster bounds the distance
            # to some eigenvalue; the proof to the smallest.
            assert abs(got.value - low) <= 3e-10 * abs(low) + rounding
            assert got.certified
            assert got.value - got.lower <= 1e-9 * abs(low) + 8 * n * n * EPS * size
        elif got.reason is EigenReason.NOT_SMALLEST:
            assert kind == "crowd"  # n eigenvalues equal to 1e-11: no vector tells them apart
        else:
            assert abs(low) <= 1e3 * n * EPS * size


@pytest.mark.parametrize("exponent", [-240, 200])
def test_a_matrix_far_out_of_the_range_of_float32_is_solved_all_the_same(exponent):
    """Its residuals overflow there, or vanish: the next solver of the table takes over."""
    f = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 60)))
    matrix = f @ f.mT
    matrix = (matrix + matrix.mT) / 2.0
    start = np.random.default_rng(1)
    found = smallest_eigenvalue(matrix * 2.0**exponent, start=start, solver="mixed")
    least = float(np.linalg.eigvalsh(matrix.numpy())[0])
    assert found.converged
    assert found.value / 2.0**exponent == pytest.approx(least, rel=1e-9)
    assert found.lower / 2.0**exponent <= least * (1.0 + 1e-12)
