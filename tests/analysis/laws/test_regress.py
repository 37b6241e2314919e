"""Least squares against the normal equations in exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import t as student

from lawsweep.analysis.laws.regress import curvature, least_squares


def solve(a, b):
    """Gauss elimination over the rationals; a (p, p), b (p, k), lists of Fractions."""
    p, rows = len(a), [ra + rb for ra, rb in zip(a, b, strict=True)]
    for i in range(p):
        pivot = next(r for r in range(i, p) if rows[r][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(p):
            if r != i:
                rows[r] = [x - rows[r][i] * y for x, y in zip(rows[r], rows[i], strict=True)]
    return [row[p:] for row in rows]


def reference(design, y, level):
    """Coefficients, standard errors and half widths from (DᵀD)⁻¹ in exact arithmetic."""
    d = [[Fraction(float(v)) for v in row] for row in design]
    r = [Fraction(float(v)) for v in y]
    n, p = len(d), len(d[0])
    gram = [[sum(d[k][i] * d[k][j] for k in range(n)) for j in range(p)] for i in range(p)]
    right = [[sum(d[k][i] * r[k] for k in range(n))] for i in range(p)]
    c = [row[0] for row in solve(gram, right)]
    identity = [[Fraction(int(i == j)) for j in range(p)] for i in range(p)]
    inverse = solve(gram, identity)
    residuals = [r[k] - sum(d[k][i] * c[i] for i in range(p)) for k in range(n)]
    variance = sum(v * v for v in residuals) / (n - p)
    errors = np.sqrt([float(variance * inverse[i][i]) for i in range(p)])
    half = student.ppf((1 + level) / 2, n - p) * errors
    return np.array([float(v) for v in c]), errors, half


@pytest.mark.parametrize("p", [1, 2, 3])
def test_least_squares_agrees_with_the_normal_equations(p):
    rng = np.random.default_rng(p)
    design = rng.normal(size=(9, p)) * 10.0 ** rng.integers(-4, 5, size=p)
    y = rng.normal(size=9) + 3
    found = least_squares(design, y, 0.9)
    c, errors, half = reference(design, y, 0.9)
    # Backward stable: relative error about the condition number times the unit roundoff, with a
    # factor p^2 n for the sums; the condition number here is below ten.
    assert found.condition < 10
    tolerance = 9 * p**2 * 10 * np.finfo(float).eps * 10
    np.testing.assert_allclose(found.coefficients, c, rtol=tolerance, atol=0)
    np.testing.assert_allclose(found.std_errors, errors, rtol=tolerance)
    # The quantile adds the error of two libraries' inverse Student functions.
    np.testing.assert_allclose(found.high - found.coefficients, half, rtol=1e-10)
    np.testing.assert_allclose(found.coefficients - found.low, half, rtol=1e-10)
    rss = np.sum((y - design @ c) ** 2)
    assert found.rms == pytest.approx(np.sqrt(rss / 9), rel=1e-12)
    assert found.r2 == pytest.approx(1 - rss / np.sum((y - y.mean()) ** 2), rel=1e-11)
    assert found.dof == 9 - p
    assert not found.exact


def test_dependent_columns_have_no_solution_whatever_their_units():
    v = np.linspace(1, 2, 6)
    found = least_squares(np.stack([v, 1e-9 * v * 3], axis=1), v**2, 0.95)
    assert found.rank == 1
    assert np.isnan(found.coefficients).all()


def test_columns_of_very_different_units_are_independent():
    v = np.linspace(1, 2, 6)
    found = least_squares(np.stack([v, 1e-14 * v**2], axis=1), v + v**2, 0.95)
    assert found.rank == 2
    np.testing.assert_allclose(found.coefficients, [1, 1e14], rtol=1e-12)
    assert found.exact


def test_a_zero_column_is_dependent():
    found = least_squares(np.stack([np.ones(4), np.zeros(4)], axis=1), np.ones(4), 0.95)
    assert found.rank == 1
    assert found.condition == np.inf


def test_constant_data_have_no_r2():
    v = np.arange(5.0)
    assert least_squares(np.stack([np.ones(5), v], axis=1), np.full(5, 0.1), 0.95).r2 is None


def test_curvature_of_a_parabola_gives_its_derivative_at_the_ends():
    v = np.array([1.0, 2.0, 4.0, 5.0])
    y = 3 * v**2 - v
    bend = curvature(v, y, least_squares(np.stack([np.ones(4), v], axis=1), y, 0.95))
    assert bend.quadratic == pytest.approx(3, rel=1e-12)
    assert bend.slope_first == pytest.approx(6 * 1 - 1, rel=1e-12)
    assert bend.slope_last == pytest.approx(6 * 5 - 1, rel=1e-12)
    assert bend.p_value < 1e-6


def test_curvature_p_value_agrees_with_the_rational_reference():
    rng = np.random.default_rng(0)
    v = np.sort(rng.normal(size=8))
    y = v + 0.2 * v**2 + 0.3 * rng.normal(size=8)
    line = least_squares(np.stack([np.ones(8), v], axis=1), y, 0.95)
    c, errors, _ = reference(np.stack([np.ones(8), v, v**2], axis=1), y, 0.95)
    expected = 2 * student.sf(abs(c[2] / errors[2]), 5)
    assert curvature(v, y, line).p_value == pytest.approx(expected, rel=1e-9)


def test_rounding_is_not_curvature():
    v = np.log(np.arange(3.0, 20.0))
    y = 1.7 * v - 40.3
    bend = curvature(v, y, least_squares(np.stack([np.ones_like(v), v], axis=1), y, 0.95))
    assert bend.p_value == 1.0


def test_three_points_say_nothing_about_curvature():
    v = np.arange(3.0)
    line = least_squares(np.stack([np.ones(3), v], axis=1), v**2, 0.95)
    assert curvature(v, v**2, line) is None
