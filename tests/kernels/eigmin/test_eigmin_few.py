"""The k smallest eigenvalues: values, residuals, and the proof that none is missing."""

import math

import numpy as np
import pytest
import torch

from lawsweep.kernels.eigmin import few as eigmin_few
from lawsweep.kernels.eigmin.few import smallest_eigenvalues, spectrum

EPS = 2.0**-52


def rotated(values, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    k = (q * np.asarray(values)) @ q.T
    return torch.from_numpy((k + k.T) / 2)


SPECTRA = {
    "wide": np.geomspace(1e-4, 1.0, 520),
    "pairs": np.r_[np.repeat([1e-3, 2e-3], 2), np.linspace(0.1, 1.0, 516)],
    "sevenfold": np.r_[np.full(7, 1e-3), np.linspace(0.1, 1.0, 513)],
    "identity": np.full(520, 3.0),
    "indefinite": np.r_[-1e-3, np.linspace(0.1, 1.0, 519)],
}


@pytest.mark.parametrize("k", [1, 2, 5, 8])
@pytest.mark.parametrize("kind", SPECTRA)
def test_prescribed_spectra(kind, k):
    """Multiple eigenvalues above all: a Krylov space holds one vector of each."""
    matrix = rotated(SPECTRA[kind])
    kept = matrix.clone()
    got = smallest_eigenvalues(matrix, k, start=np.random.default_rng(1))
    assert torch.equal(matrix, kept)
    values = np.sort(SPECTRA[kind])
    rounding = 4 * math.sqrt(520) * EPS * values[-1]
    assert np.abs(got.values.numpy() - values[:k]).max() <= 1e-10 * abs(values[k - 1]) + rounding
    assert got.converged
    assert got.complete
    room = 520**2 * EPS * values[-1] + 4 * float(got.residuals.max())
    assert values[k - 1] - room <= got.lower <= values[k - 1] + rounding
    eye = got.vectors.T @ got.vectors - torch.eye(k, dtype=torch.float64)
    assert float(eye.abs().max()) < 1e-12
    residuals = (matrix @ got.vectors - got.vectors * got.values).norm(dim=0)
    torch.testing.assert_close(got.residuals, residuals, rtol=0.5, atol=rounding)
    assert got.solver == ("dense" if kind == "indefinite" else "cholesky_lanczos")


def test_the_count_exposes_a_missing_copy(monkeypatch):
    """With one start only, a double eigenvalue is found once, and the count says so."""
    values = np.r_[1.0, 1.0, np.linspace(2.0, 3.0, 518)]
    matrix = torch.diag(torch.from_numpy(values))  # a diagonal K keeps a zero entry zero
    start = torch.ones(520, dtype=torch.float64)
    start[1] = 0.0
    monkeypatch.setattr(eigmin_few, "ROUNDS", 1)
    got = smallest_eigenvalues(matrix, 2, start=start)
    assert got.solver == "dense"  # the proof failed, so the dense solve decided
    assert got.values.tolist() == pytest.approx([1.0, 1.0], rel=1e-13)
    unproved = smallest_eigenvalues(matrix, 2, start=start, certify=False)
    assert unproved.solver == "cholesky_lanczos"
    assert unproved.values.tolist() == pytest.approx([1.0, 2.0], rel=1e-9)
    assert not unproved.complete
    assert unproved.lower == -math.inf
    monkeypatch.setattr(eigmin_few, "ROUNDS", 3)
    again = smallest_eigenvalues(matrix, 2, start=start)
    assert again.solver == "cholesky_lanczos"  # another start finds the second copy
    assert again.values.tolist() == pytest.approx([1.0, 1.0], rel=1e-13)


def test_small_orders_large_k_and_scale():
    matrix = rotated(np.linspace(1.0, 2.0, 30))
    for scale in (1.0, 2.0**600, 2.0**-600):
        got = smallest_eigenvalues(matrix * scale, 30, start=np.random.default_rng(0))
        assert got.solver == "dense"
        assert (got.values / scale).numpy() == pytest.approx(np.linspace(1.0, 2.0, 30), rel=1e-13)
        assert got.complete
        assert got.lower / scale == pytest.approx(2.0, rel=1e-10)
        whole = spectrum(matrix * scale) / scale
        assert whole.numpy() == pytest.approx(np.linspace(1.0, 2.0, 30), rel=1e-13)


def test_bad_input_is_named():
    matrix = rotated([1.0, 2.0])
    for k in (0, 3):
        with pytest.raises(ValueError, match=f"k must be from 1 to N=2, got {k}"):
            smallest_eigenvalues(matrix, k, start=np.random.default_rng(0))
    matrix[0, 1] = math.nan
    for call in (spectrum, lambda m: smallest_eigenvalues(m, 1, start=np.random.default_rng(0))):
        with pytest.raises(ValueError, match="NaN or infinite"):
            call(matrix)
