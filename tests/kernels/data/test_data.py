"""Clusters, correlated coordinates, and rows that are given: laws, prefixes, refusals."""

import math

import numpy as np
import pytest

from lawsweep.kernels.data import laws as data


def rng(seed=0):
    return np.random.default_rng(seed)


def test_mixture_is_centres_plus_unit_noise():
    n, d, k, separation = 30_000, 4, 3, 5.0
    x = data.mixture(rng(), n, d, k, separation)
    assert x.shape == (n, d)
    for cluster in range(k):
        own = x[np.arange(n) % k == cluster]
        # The centre's distance is exact; the mean of 10,000 unit normals is off by 0.01 a column.
        assert np.linalg.norm(own.mean(0)) == pytest.approx(separation, abs=5 * 0.01 * math.sqrt(d))
        np.testing.assert_allclose(np.cov(own.T), np.eye(d), atol=5 * math.sqrt(2 / len(own)))


def test_a_mixture_without_separation_is_gaussian():
    centred = data.mixture(rng(3), 50, 4, 2, 0.0)
    generator = rng(3)
    generator.standard_normal((2, 4))  # the centres
    np.testing.assert_array_equal(centred, generator.standard_normal((50, 4)))


def test_power_law_spectrum():
    values = data.power_law_spectrum(4, 2.0)
    assert values.sum() == pytest.approx(4.0, rel=1e-15)
    np.testing.assert_allclose(values / values[0], [1, 1 / 4, 1 / 9, 1 / 16], rtol=1e-15)
    np.testing.assert_array_equal(data.power_law_spectrum(3, 0.0), [1.0, 1.0, 1.0])


def test_correlated_has_the_covariance():
    eigenvalues = np.array([2.0, 0.5, 0.0])
    x = data.correlated(rng(), 40_000, eigenvalues)
    # A sample covariance entry is off by sqrt(2 a b / n) at most.
    np.testing.assert_allclose(
        x.T @ x / len(x), np.diag(eigenvalues), atol=5 * 2 * math.sqrt(2 / 40_000)
    )
    assert (x[:, 2] == 0).all()


@pytest.mark.parametrize("n", [1, 7, 50])
def test_a_larger_sample_extends_a_smaller_one(n):
    given = rng(9).standard_normal((120, 3))
    for draw in (
        lambda m: data.mixture(rng(), m, 3, 4, 1.5),
        lambda m: data.correlated(rng(), m, np.array([1.0, 2.0, 3.0])),
        lambda m: data.drawn(given, rng(), m, "rows"),
    ):
        np.testing.assert_array_equal(draw(n), draw(101)[:n])


def test_drawn_is_a_permutation_without_repeats():
    given = np.arange(40.0).reshape(20, 2)
    x = data.drawn(given, rng(1), 20, "rows")
    assert sorted(x[:, 0].tolist()) == given[:, 0].tolist()
    assert not np.array_equal(x, given)
    assert not np.array_equal(x, data.drawn(given, rng(2), 20, "rows"))
    with pytest.raises(ValueError, match=r"rows has 20 rows, got n_samples=21; ask for fewer"):
        data.drawn(given, rng(), 21, "rows")


def test_standardised_columns_and_constant_ones():
    x = rng().uniform(0, 16, (50, 3))
    x[:, 1] = 0.1  # its computed variance is of rounding size, not 0
    z = data.standardised(x)
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-15 * 16)
    np.testing.assert_allclose((z * z).mean(0), [1.0, 0.0, 1.0], rtol=1e-13)
    assert (z[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((5, 2)), r"F must have shape \(n, 3\), one sample a row, got \(5, 2\)"),
        (np.zeros(5), r"F must have shape \(n, 3\), one sample a row, got \(5,\)"),
        (np.zeros((2, 3, 1)), r"got \(2, 3, 1\)"),
        (np.zeros((5, 3), dtype=complex), "F must hold real numbers, got complex128"),
        (np.array([["a", "b", "c"]]), "F must hold real numbers, got <U1"),
        (np.array([[0, 1, 2], [3, np.nan, 5]]), "F has nan at row 1, column 1, counted from 0; "),
        (
            np.array([[0, 1, -np.inf], [3, np.nan, 5]]),
            r"F has -inf at row 0, column 2, counted from 0 \(and 1 more\); remove or impute it",
        ),
    ],
)
def test_rows_that_cannot_be_used(rows, message):
    with pytest.raises(ValueError, match=message):
        data.checked(rows, 3, "F")


def test_whole_numbers_become_doubles():
    x = data.checked(np.array([[1, 2], [3, 4]], dtype=np.int8), 2, "F")
    assert x.dtype == np.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.mixture(rng(), 3, 2, 0, 1.0), "at least 1 cluster, got 0"),
        (lambda: data.mixture(rng(), 3, 2, 1, -1.0), "separation must be 0 or more, got -1.0"),
        (lambda: data.mixture(rng(), 3, 2, 1, math.nan), "separation must be 0 or more, got nan"),
        (lambda: data.correlated(rng(), 3, [1.0, -1.0]), "finite eigenvalues of 0 or more"),
        (lambda: data.correlated(rng(), 3, [math.inf]), "finite eigenvalues of 0 or more"),
    ],
)
def test_bad_laws(call, message):
    with pytest.raises(ValueError, match=message):
        call()
