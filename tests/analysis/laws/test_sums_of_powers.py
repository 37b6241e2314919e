"""Sums of powers against scipy, closed forms, and their own promises where points say little."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq, least_squares
from scipy.stats import t as student

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import LawsweepError

X = np.geomspace(10, 3000, 9)


def fitted(y, x=X, seed=0, **keys):
    frame = pd.DataFrame({"n": x, "y": y, "seed": seed, "status": "ok"})
    (spec,) = parse_fits([{"law": "power_offset", "x": "n", "y": "y", **keys}], list(frame))
    return fit(frame, spec)[0]


def noisy(y, sd, seed=1):
    return y * np.exp(sd * np.random.default_rng(seed).standard_normal(len(y)))


def least(residuals, start):
    """scipy's own minimum, from a start near the truth."""
    found = least_squares(residuals, start, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return found.x, 2 * found.cost


@pytest.mark.parametrize("exponent", [-0.6, 0.45])
def test_a_power_with_a_constant_is_the_least_squares_of_logarithms(exponent):
    y = noisy(2 + 5 * X**exponent, 0.03)

    def residuals(q):
        return np.log(y) - np.log(q[0] + q[1] * X ** q[2])

    theta, rss = least(residuals, [2, 5, exponent])
    found = fitted(y)
    got = [q.estimate for q in found.parameters]
    # Both stop where the sum is flat: their parameters agree to about the square root of that.
    np.testing.assert_allclose(got, theta, rtol=1e-5)
    assert found.rss == pytest.approx(rss, rel=1e-9)
    assert found.n_parameters == 3
    assert found.mean == "geometric"


def test_its_profile_is_that_of_brute_force():
    y = noisy(2 + 5 * X**-0.6, 0.03)
    found = fitted(y)
    dof = len(X) - 3
    limit = found.rss * (1 + student.ppf(0.975, dof) ** 2 / dof)
    start = np.array([q.estimate for q in found.parameters])

    def profile(k, value):
        others = [j for j in range(3) if j != k]

        def residuals(free):
            q = np.empty(3)
            q[k], q[others] = value, free
            inner = q[0] + q[1] * X ** q[2]
            return np.log(y) - np.log(np.maximum(inner, 1e-12))

        return least(residuals, start[others])[1] - limit

    for k, parameter in enumerate(found.parameters):
        low, high = parameter.scatter
        assert (parameter.low, parameter.high) == (low, high)  # one seed has no other
        half = (high - low) / 2
        for end, side in ((low, -1), (high, 1)):
            centre = parameter.estimate
            root = brentq(lambda v, k=k: profile(k, v), centre + side * 0.3 * half,
                          centre + side * 2.5 * half, rtol=1e-8)  # fmt: skip
            assert end == pytest.approx(root, abs=2e-3 * half)


def test_with_absolute_errors_it_is_about_arithmetic_means_and_takes_what_is_below_zero():
    x = np.repeat(X, 2)
    y = 3 - 8 * x**-0.5 + 0.02 * np.random.default_rng(2).standard_normal(len(x))
    y -= 2.9
    assert (y < 0).any()
    found = fitted(y, x, seed=[0, 1] * 9, errors="absolute")
    means = y.reshape(-1, 2).mean(1)
    theta, rss = least(lambda q: means - q[0] - q[1] * X ** q[2], [0.1, -8, -0.5])
    np.testing.assert_allclose([q.estimate for q in found.parameters], theta, rtol=1e-5)
    assert found.rss == pytest.approx(rss, rel=1e-9)
    assert found.mean == "arithmetic"
    assert not found.left_out


@pytest.mark.parametrize(("power", "said"), [(0, "constant"), (1, "in proportion to the mean")])
def test_replicates_tell_how_points_weigh(power, said):
    x = np.repeat(X, 5)
    law = 0.2 + 40 * x**-0.7
    noise = np.random.default_rng(3).standard_normal(len(x))
    y = law + 0.02 * law**power * noise
    found = fitted(y, x, seed=[0, 1, 2, 3, 4] * 9, errors="replicates")
    assert found.evidence["replicate_sd"] == said
    means, fit_y = y.reshape(-1, 5).mean(1), found.predict(X)
    sd = fit_y if power else np.ones(9)
    theta, _ = least(lambda q: (means - q[0] - q[1] * X ** q[2]) / sd, [0.2, 40, -0.7])
    # The weights are those of the first fit, these of the second: apart by the square of the noise.
    np.testing.assert_allclose([q.estimate for q in found.parameters], theta, rtol=1e-3)


def test_exact_data_give_the_law_back():
    found = fitted(2 + 5 * X**-0.6)
    np.testing.assert_allclose([q.estimate for q in found.parameters], [2, 5, -0.6], rtol=1e-9)
    assert all(q.high - q.low < 1e-9 for q in found.parameters)


def test_a_constant_that_is_not_determined_has_no_bounds_and_says_so():
    found = fitted(noisy(10 - np.log(X), 0.05))
    exponent = found["exponent"]
    assert exponent.low <= 0 <= exponent.high
    assert np.isinf([found["E"].low, found["A"].high]).all()
    assert any("may be 0, a logarithm" in w for w in found.warnings)
    assert found.to_dict()["parameters"]["E"]["low"] is None


def test_a_step_at_the_last_point_leaves_the_exponent_open():
    y = noisy(np.where(X[-1] == X, 3.0, 1.0), 0.001)
    found = fitted(y)
    assert np.isposinf(found["exponent"].high)
    assert any("not bounded to one side" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (np.full(9, 2.0), "the same at every point"),
        ((2 + 5 * X**-0.6)[:3], "3 distinct points, 4 needed"),
    ],
)
def test_points_that_determine_nothing_give_a_reason(y, reason):
    found = fitted(y, X[: len(y)])
    assert found.reason is not None
    assert reason in found.reason


def test_seeds_that_move_the_law_widen_its_interval():
    rng = np.random.default_rng(5)
    x, seed = np.repeat(X, 6), np.tile(np.arange(6), 9)
    slope = 0.1 * rng.standard_normal(6)
    y = (1 + 30 * x ** (-0.6 + slope[seed])) * np.exp(0.002 * rng.standard_normal(len(x)))
    found = fitted(y, x, seed)
    exponent = found["exponent"]
    assert found.n_seeds == 6
    assert (exponent.low, exponent.high) == exponent.seeds
    assert exponent.seeds[1] - exponent.seeds[0] > 3 * (exponent.scatter[1] - exponent.scatter[0])
    # Of a mean of six slopes: t(5) times their sd over root six, of first order in the slopes.
    half = student.ppf(0.975, 5) * slope.std(ddof=1) / np.sqrt(6)
    assert (exponent.seeds[1] - exponent.seeds[0]) / 2 == pytest.approx(half, rel=0.3)
    low, high = found.band(X)
    assert np.all(low < found.predict(X))
    assert np.all(found.predict(X) < high)


def test_two_powers_are_found_in_order_and_given_ones_are_linear():
    y = noisy(6 * X**-1.0 + 0.5 * X**-0.2, 0.001)
    found = fitted(y, law="two_powers")
    assert found["a"].estimate == pytest.approx(-1, abs=0.05)
    assert found["b"].estimate == pytest.approx(-0.2, abs=0.02)
    assert found["a"].high <= found["b"].high
    given = fitted(-y, law="two_powers", exponents=[-0.2, -1], errors="absolute")
    design = np.stack([X**-1.0, X**-0.2], axis=1)
    expected, rss, *_ = np.linalg.lstsq(design, -y, rcond=None)
    np.testing.assert_allclose([given["A"].estimate, given["B"].estimate], expected, rtol=1e-9)
    half = student.ppf(0.975, 7) * np.sqrt(rss[0] / 7 * np.diag(np.linalg.inv(design.T @ design)))
    got = [(q.high - q.low) / 2 for q in (given["A"], given["B"])]
    np.testing.assert_allclose(got, half, rtol=1e-4)


def test_one_power_is_not_two():
    found = fitted(noisy(6 * X**-0.5, 0.0), law="two_powers")
    assert found.reason is not None


def test_a_logarithm_beside_a_power_is_linear_in_logarithms():
    y = noisy(3 * X * np.log(X) ** 2, 0.01)
    found = fitted(y, law="power_log")
    design = np.stack([np.ones(9), np.log(np.log(X)), np.log(X)], axis=1)
    expected = np.linalg.lstsq(design, np.log(y), rcond=None)[0]
    got = [np.log(found["C"].estimate), found["k"].estimate, found["exponent"].estimate]
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    fixed = fitted(y, law="power_log", exponent=1)
    expected = np.linalg.lstsq(design[:, :2], np.log(y / X), rcond=None)[0]
    assert fixed["k"].estimate == pytest.approx(expected[1], rel=1e-9)
    assert fixed["exponent"].low == fixed["exponent"].high == 1
    assert "y ~ n^1 * log(n)^1.999 [" in fixed.summary()
    assert fitted(y, X / 10, law="power_log").left_out == {"with x ≤ 1, where log log x is none": 1}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"errors": "relatve"}, "relative"),
        ({"law": "two_powers", "exponents": [1]}, "two distinct numbers"),
        ({"law": "two_powers", "exponents": [1, 1]}, "two distinct numbers"),
        ({"law": "power_log", "k": "two"}, "without the key it is fitted"),
        ({"law": "power_log", "errors": "absolute"}, "errors"),
        ({"exponents": [0, 1]}, "exponents"),
    ],
)
def test_wrong_keys_are_refused_without_data(keys, message):
    with pytest.raises(LawsweepError, match=message):
        parse_fits([{"law": "power_offset", "x": "n", "y": "y", **keys}], ["n", "y"])


def test_nothing_ends_in_an_error_of_numpy():
    """Hard cases: each gives a law or a reason."""
    rng = np.random.default_rng(7)
    for y in (X**-30.0, 1e250 * X**10, 1e-250 + 0 * X + 1e-252 * rng.random(9), X % 7 + 1,
              np.exp(rng.standard_normal(9) * 20), 1 + 1e-12 * rng.random(9)):  # fmt: skip
        for law in ("power_offset", "two_powers", "power_log"):
            found = fitted(y, law=law)
            assert (found.reason is None) == bool(found.parameters)
            found.summary()
            found.to_dict()
