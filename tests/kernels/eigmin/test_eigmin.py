"""Smallest eigenvalue: against dense solves, prescribed spectra, and its own certificate."""

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.activations import activation
from lawsweep.kernels.data import sampling
from lawsweep.kernels.eigmin.result import EigenReason
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.eigmin.solvers import DENSE_BELOW
from lawsweep.kernels.linalg.lanczos import lanczos_largest
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.linearisation import linearise

EPS = torch.finfo(torch.float64).eps


def rng(seed=0):
    return np.random.default_rng(seed)


def ntk_matrix(n, d, name="sigmoid", layers=None, seed=0, dtype=torch.float64):
    x = sampling.rows("gaussian", rng(seed), n, d, dtype)
    weights = init_weights(Network((d, d, d, 1), "linear"), rng(seed + 100), dtype=dtype)
    return ntk.gram(linearise(Network.of(weights, activation(name)), weights, x).select(layers))


def with_spectrum(values, seed=0):
    """A symmetric matrix with these eigenvalues (to rounding) and random eigenvectors."""
    q, _ = np.linalg.qr(rng(seed).standard_normal((len(values), len(values))))
    k = (q * np.asarray(values)) @ q.T
    return torch.from_numpy((k + k.T) / 2), torch.from_numpy(q)


@pytest.mark.parametrize("solver", ["auto", "dense", "cholesky_lanczos", "mixed"])
@pytest.mark.parametrize(
    ("n", "d", "name"), [(60, 20, "relu"), (350, 60, "sigmoid"), (520, 60, "gelu")]
)
def test_agrees_with_a_dense_solve(n, d, name, solver):
    k = ntk_matrix(n, d, name)
    kept = k.clone()
    got = smallest_eigenvalue(k, start=rng(), solver=solver)
    assert torch.equal(k, kept)
    values = np.linalg.eigvalsh(k.numpy())
    # Condition numbers here are below 1e6, and a dense solver errs by about eps * lambda_max.
    assert values[-1] / values[0] < 1e6
    assert got.value == pytest.approx(values[0], rel=1e-10)
    assert got.lambda_max == pytest.approx(values[-1], rel=1e-12)
    assert got.lower <= values[0] * (1 + 1e-10)
    assert values[0] * (1 - 1e-10) <= got.upper
    assert got.upper - got.lower < 1e-5 * values[0]
    assert got.converged
    assert got.certified
    assert got.sign_trusted
    assert got.reason is EigenReason.CONVERGED
    # Eigenvalue within the residual (plus rounding of the product): the Krylov-Weinstein bound.
    assert np.abs(values - got.value).min() <= got.residual + 100 * EPS * values[-1]
    expected = {"auto": "dense" if n < DENSE_BELOW else "mixed"}.get(solver, solver)
    assert got.solver == expected
    assert (got.n_iterations > 0) == (expected != "dense")
    assert got.condition_number == pytest.approx(values[-1] / values[0], rel=1e-9)


@pytest.mark.parametrize("kappa", [1e2, 1e6, 1e10])
@pytest.mark.parametrize("kind", ["crowded", "multiple", "isolated"])
def test_prescribed_spectra(kind, kappa):
    n, low = 320, 1.0 / kappa
    bulk = np.geomspace(2 * low, 1.0, n - 4)
    small = {"crowded": [1.0, 1.001, 1.01, 1.02], "multiple": [1.0] * 4}.get(kind, [1, 1.5, 1.6, 2])
    k, _ = with_spectrum([*(low * np.asarray(small)), *bulk])
    got = smallest_eigenvalue(k, start=rng(1), solver="cholesky_lanczos")
    # The matrix itself carries rounding of about n^(1/2) eps in norm.
    rounding = 4 * math.sqrt(n) * EPS
    assert got.value == pytest.approx(low, rel=1e-10, abs=rounding)
    assert got.lower - rounding <= low <= got.upper + rounding
    # At 1e10 the bracket, some N^2 eps wide, is a tenth of the value.
    assert got.converged == got.certified == (kappa < 1e10)
    assert got.reason is (EigenReason.CONVERGED if kappa < 1e10 else EigenReason.UNRESOLVED)
    assert got.lambda_max == pytest.approx(1.0, rel=1e-8)


@pytest.mark.parametrize("solver", ["dense", "cholesky_lanczos", "mixed"])
@pytest.mark.parametrize("bottom", [1e-15, 0.0, -1e-15])
def test_rounding_level_is_not_a_result(bottom, solver):
    n = 310
    k, _ = with_spectrum([bottom, *np.linspace(0.5, 1.0, n - 1)])
    got = smallest_eigenvalue(k, start=rng(), solver=solver)
    assert got.reason is EigenReason.NUMERICALLY_SINGULAR
    assert not got.converged
    assert not got.sign_trusted
    assert got.lower < bottom < got.upper
    assert abs(got.value) < 1e-13


def test_breakdown_of_the_cholesky_falls_back_to_dense_and_still_brackets():
    k, _ = with_spectrum([-1e-3, *np.linspace(0.5, 1.0, 319)])
    got = smallest_eigenvalue(k, start=rng(), solver="cholesky_lanczos")
    assert got.solver == "dense"
    assert got.value == pytest.approx(-1e-3, rel=1e-10)
    assert got.converged  # clearly negative, far above rounding: a value, and no positive one
    assert got.lower < -1e-3 + 1e-12
    assert not got.sign_trusted


def test_certificate_exposes_a_start_vector_that_misses_the_smallest():
    values = np.concatenate([[0.1], np.linspace(1.0, 2.0, 309)])
    k = torch.diag(torch.from_numpy(values))
    start = torch.ones(310, dtype=torch.float64)
    start[0] = 0.0  # orthogonal to the eigenvector sought; a diagonal K never mixes it in
    got = smallest_eigenvalue(k, start=start, solver="cholesky_lanczos")
    assert got.value == pytest.approx(1.0, rel=1e-8)
    assert not got.certified
    assert not got.converged
    assert got.reason is EigenReason.NOT_SMALLEST
    assert got.lower == -math.inf
    good = smallest_eigenvalue(k, start=rng(), solver="cholesky_lanczos")
    assert good.converged
    assert good.value == pytest.approx(0.1, rel=1e-12)


def test_iteration_limit_is_reported():
    k = ntk_matrix(320, 60)
    got = smallest_eigenvalue(k, start=rng(), solver="cholesky_lanczos", max_iterations=6)
    assert got.reason is EigenReason.MAX_ITERATIONS
    assert not got.converged
    true = float(torch.linalg.eigvalsh(k)[0])
    assert got.upper >= true  # a Rayleigh quotient bounds from above wherever it stopped


def test_without_certificate_the_lower_bound_is_what_one_factorisation_proves():
    k = ntk_matrix(320, 60)
    got = smallest_eigenvalue(k, start=rng(), certify=False, solver="cholesky_lanczos")
    true = float(torch.linalg.eigvalsh(k)[0])
    assert not got.certified
    assert -1e-4 * true < got.lower < 0.0
    assert got.value == pytest.approx(true, rel=1e-10)
    dense = smallest_eigenvalue(k, start=rng(), certify=False, solver="dense")
    assert dense.lower == -math.inf
    assert not dense.sign_trusted


def test_float32_does_not_claim_a_sign_it_cannot_know():
    """Layer 2 alone near its threshold: positive in float64, noise in float32 (THEORY part B)."""
    true = smallest_eigenvalue(ntk_matrix(420, 22, layers=(2,)), start=rng())
    assert true.sign_trusted
    got = smallest_eigenvalue(ntk_matrix(420, 22, layers=(2,), dtype=torch.float32), start=rng())
    assert not got.sign_trusted
    assert not got.converged
    assert got.reason is EigenReason.NUMERICALLY_SINGULAR


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("solver", ["dense", "cholesky_lanczos", "mixed"])
def test_tiny_matrices(n, solver):
    k = torch.diag(torch.arange(2.0, 2.0 + n, dtype=torch.float64))
    got = smallest_eigenvalue(k, start=rng(), solver=solver)
    assert got.value == pytest.approx(2.0, rel=1e-14)
    assert got.lambda_max == pytest.approx(1.0 + n, rel=1e-12)
    assert got.converged


def test_same_start_same_bits():
    k = ntk_matrix(320, 60)
    first, again = (smallest_eigenvalue(k, start=rng(5)) for _ in range(2))
    assert first == again
    vector = torch.from_numpy(rng(5).standard_normal(320))
    assert smallest_eigenvalue(k, start=vector) == first


def test_bad_input_is_named():
    k = torch.eye(4, dtype=torch.float64)
    bad = k.clone()
    for value in (math.nan, math.inf):
        bad[1, 2] = value
        with pytest.raises(ValueError, match="NaN or infinite entries"):
            smallest_eigenvalue(bad, start=rng())
    lopsided = k.clone()
    lopsided[0, 3] = 1e-3
    with pytest.raises(ValueError, match=r"not symmetric; pass \(K \+ K.T\) / 2"):
        smallest_eigenvalue(lopsided, start=rng())
    with pytest.raises(ValueError, match=r"square matrix \(N, N\), got shape \(2, 4\)"):
        smallest_eigenvalue(k[:2], start=rng())
    with pytest.raises(ValueError, match=r"float64 or float32, got torch\.int64"):
        smallest_eigenvalue(k.long(), start=rng())
    with pytest.raises(ValueError, match=r"unknown solver 'lobpcg'; valid: auto, mixed, .*dense"):
        smallest_eigenvalue(k, start=rng(), solver="lobpcg")
    for start in (torch.zeros(4), torch.ones(3)):
        with pytest.raises(ValueError, match="start must be 4 finite numbers, not all 0"):
            smallest_eigenvalue(k, start=start)


def test_lanczos_finds_a_prescribed_pair():
    k, q = with_spectrum(np.linspace(-1.0, 1.0, 60))
    found = lanczos_largest(lambda v: k @ v, torch.from_numpy(rng().standard_normal(60)), 1e-9, 60)
    assert found.converged
    assert found.value == pytest.approx(1.0, rel=1e-13)
    assert abs(float(found.vector @ q[:, -1])) == pytest.approx(1.0, abs=1e-13)
    residual = float((k @ found.vector - found.value * found.vector).norm())
    assert residual <= max(2 * found.estimate, 1e-13)


def test_lanczos_stops_at_an_invariant_subspace():
    found = lanczos_largest(lambda v: 3.0 * v, torch.ones(50, dtype=torch.float64), 1e-9, 40)
    assert found.n_iterations == 1
    assert found.value == pytest.approx(3.0, rel=1e-15)
    assert found.converged


def shifted_wishart(shift=0.0, n=400):
    a = rng(0).standard_normal((n, 2 * n))
    return torch.from_numpy(a @ a.T / (2 * n) - shift * np.eye(n))


@pytest.mark.parametrize("solver", ["auto", "dense", "cholesky_lanczos", "mixed"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_matrix_of_either_sign_is_certified(solver, dtype):
    exchange = torch.eye(4).flip(0)  # zero diagonal, eigenvalues -1 and 1
    for k in (-torch.eye(5), exchange, shifted_wishart(2.0), 3.0 * torch.eye(400)):
        k = k.to(dtype)
        got = smallest_eigenvalue(k, start=rng(1), solver=solver)
        true = float(np.linalg.eigvalsh(k.double().numpy())[0])
        assert got.reason is EigenReason.CONVERGED
        assert got.certified
        # The bounds of Cholesky and quotient are about N tr|K| u = N^2 u and N |K|_F u.
        room = 4 * len(k) ** 2 * torch.finfo(dtype).eps
        assert true - room <= got.lower <= true + 1e-13
        assert true - 1e-13 <= got.upper <= true + room
        assert got.sign_trusted == (true > 0)


@pytest.mark.parametrize("solver", ["auto", "dense", "cholesky_lanczos", "mixed"])
def test_a_zero_matrix_is_singular_not_missed(solver):
    got = smallest_eigenvalue(torch.zeros(4, 4, dtype=torch.float64), start=rng(), solver=solver)
    assert got.reason is EigenReason.NUMERICALLY_SINGULAR
    assert (got.value, got.residual, got.lambda_max) == (0.0, 0.0, 0.0)
    assert got.lower <= 0.0 <= got.upper
    assert got.lower > -1e-150  # squares of less are no number
    assert not got.sign_trusted


@pytest.mark.parametrize("solver", ["dense", "cholesky_lanczos", "mixed"])
@pytest.mark.parametrize(
    ("dtype", "exponent"),
    [
        (torch.float64, 560),
        (torch.float64, -560),
        (torch.float64, 1020),
        (torch.float64, -1000),
        (torch.float32, 100),
        (torch.float32, -110),
    ],
)
def test_scale_changes_nothing_but_the_scale(dtype, exponent, solver):
    """By powers of 2, to the last bit of the evidence's vector; 2^560 is 4e168."""
    # In float32 a bracket of N tr(K) u is little beside the value only where N is small.
    k = shifted_wishart() if dtype is torch.float64 else shifted_wishart(-1.0, 60).to(dtype)
    scale = 2.0**exponent
    plain = smallest_eigenvalue(k, start=rng(1), solver=solver)
    kept = k * scale
    got = smallest_eigenvalue(kept, start=rng(1), solver=solver)
    assert torch.equal(kept, k * scale)
    assert (got.reason, got.certified) == (EigenReason.CONVERGED, True)
    assert got.solver == (
        "cholesky_lanczos" if (solver, dtype) == ("mixed", torch.float32) else solver
    )
    eps = torch.finfo(dtype).eps
    # Scaled to another power of 2 than before, and subnormal entries may lose digits.
    for name in ("value", "lower", "upper", "lambda_max"):
        assert getattr(got, name) / scale == pytest.approx(
            getattr(plain, name), rel=1e4 * eps, abs=0
        )
    assert got.lower <= got.value <= got.upper
    assert got.sign_trusted


def test_a_subnormal_bound_is_rounded_outwards():
    k = 2.0**-1060 * torch.diag(torch.tensor([3.0, 5.0, 9.0], dtype=torch.float64))
    got = smallest_eigenvalue(k, start=rng())
    true = 3.0 * 2.0**-1060
    assert got.value == true
    assert got.lower < true < got.upper
    assert got.upper - got.lower <= 8 * 2.0**-1074


def test_a_start_of_any_size():
    k = shifted_wishart()
    start = torch.from_numpy(rng(1).standard_normal(400))
    values = [smallest_eigenvalue(k, start=s * start).value for s in (1.0, 1e-200, 1e200)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-13)
