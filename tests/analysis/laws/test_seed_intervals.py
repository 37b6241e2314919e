"""Intervals of sums of powers from their seeds, against scipy, closed forms and simulation."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares
from scipy.stats import norm
from scipy.stats import t as student

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.analysis.laws.nonlinear.shape import Shape
from lawsweep.analysis.laws.nonlinear.solver import Problem, minimise
from lawsweep.analysis.laws.nonlinear.sums import Sum

X = np.geomspace(10, 10_000, 10)
U = np.log(X) - np.log(X).mean()


def fitted(rows, kept=None, x=X, **keys):
    """The fit of y by seed and point, (n_seeds, n)."""
    seed, point = (i.ravel() for i in np.indices(rows.shape))
    frame = pd.DataFrame({"n": x[point], "y": rows.ravel(), "seed": seed, "status": "ok"})
    frame = frame if kept is None else frame[kept.ravel()]
    (spec,) = parse_fits([{"law": "power_offset", "x": "n", "y": "y", **keys}], list(frame))
    return fit(frame, spec)[0]


START = (0.5, float(np.log(6)), -0.6)


def power_offset(z, start=START):
    """scipy's E, log A, a of log y."""

    def residuals(q):
        with np.errstate(invalid="ignore"):
            law = np.log(q[0] + np.exp(q[1] + q[2] * np.log(X)))
        return np.where(np.isfinite(law), z - law, 1e3)

    return least_squares(residuals, start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14).x


def half_of_mean(laws):
    n = len(laws)
    return student.ppf(0.975, n - 1) * laws.std(axis=0, ddof=1) / np.sqrt(n)


def test_of_a_linear_law_they_are_those_of_the_seeds_own_laws():
    rng = np.random.default_rng(0)
    design = np.stack([X**-1.0, X**-0.5], axis=1)
    rows = design @ [20, 2] + 0.01 * rng.standard_normal((4, 10)) + 0.2 * rng.normal(size=(4, 1))
    found = fitted(rows, law="two_powers", exponents=[-1, -0.5], errors="absolute")
    laws = rows @ np.linalg.pinv(design).T
    for k, name in enumerate("AB"):
        mean, half = laws[:, k].mean(), half_of_mean(laws)[k]
        assert found[name].seeds == pytest.approx((mean - half, mean + half), rel=1e-6)


def test_where_seeds_differ_little_they_are_those_of_single_fits():
    rng = np.random.default_rng(1)
    z = np.log(0.5 + 6 * X**-0.6) + 0.002 * rng.standard_normal((5, 10)) + 0.01 * rng.normal(
        size=(5, 1)
    )  # fmt: skip
    found = fitted(np.exp(z))
    laws = np.array([power_offset(row) for row in z])
    for name, mean, half in zip(found.parameters, laws.mean(0), half_of_mean(laws), strict=True):
        low, high = np.log(name.seeds) if name.name == "A" else np.array(name.seeds)
        assert (high - low) / 2 == pytest.approx(half, rel=0.05)
        assert (high + low) / 2 == pytest.approx(mean, abs=0.1 * half)


def test_along_one_axis_they_are_the_laws_of_all_its_points():
    """Seeds that are powers of x times one law: no seed follows the law, but their mean does."""
    slopes = np.array([-0.16, -0.03, 0.01, 0.05, 0.1])
    rng = np.random.default_rng(2)
    law = np.log(0.5 + 6 * X**-0.6)
    z = law + slopes[:, None] * U + 1e-4 * rng.standard_normal((5, 10))
    found = fitted(np.exp(z))
    assert found.evidence["own_laws_of_seeds"] == "do not fit"
    reach = student.ppf(0.975, 4) * slopes.std(ddof=1) / np.sqrt(5)
    at, path = power_offset(z.mean(0)), []
    for side in (-1, 1):
        last = at
        for share in np.linspace(0, 1, 13):
            last = power_offset(z.mean(0) + side * share * reach * U, last)
            path.append(last)
    for k, name in ((0, "E"), (2, "exponent")):
        q, ends = found[name], (np.min(path, axis=0)[k], np.max(path, axis=0)[k])
        assert (q.low, q.high) == (min(q.scatter[0], q.seeds[0]), max(q.scatter[1], q.seeds[1]))
        assert q.seeds == pytest.approx(ends, abs=0.03 * np.ptp(ends))


def test_seeds_with_laws_of_their_own_are_held_beside_the_law_of_the_means():
    rng = np.random.default_rng(3)
    own = -0.6 + 0.25 * norm.ppf((np.arange(16) + 0.5) / 16)[:, None]
    z = np.log(0.5 + 0.1 * np.exp(own * U)) + 0.005 * rng.standard_normal((16, 10))
    found = fitted(np.exp(z))
    laws = np.array([power_offset(row) for row in z])
    assert found.evidence["own_laws_of_seeds"] == "hold"
    mean, half = laws.mean(0), half_of_mean(laws)
    # To the agreement of two minimisers where the sum is flat.
    assert found["E"].low <= mean[0] - half[0] + 1e-5 < 0.5
    assert mean[0] + half[0] - 1e-5 <= found["E"].high
    means = power_offset(z.mean(0))
    assert found["E"].estimate == pytest.approx(means[0], rel=1e-4)
    assert abs(means[0] - 0.5) > half[0]  # of second order the mean has another E
    assert any("each seed follows a law of its own" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("noise", "loss", "keys"),
    [
        ("slopes", 0.0, {}),
        ("offsets", 0.3, {}),
        ("slopes", 0.3, {"law": "two_powers", "exponents": [-1, -0.5]}),
    ],
)
def test_they_cover(noise, loss, keys):
    n_tables = 60
    rng = np.random.default_rng(4)
    law = 0.5 + 6 * X**-0.6 if not keys else 20 / X + 2 * X**-0.5
    truth = {"E": 0.5, "A": 6, "exponent": -0.6} if not keys else {"A": 20, "B": 2}
    held = dict.fromkeys(truth, 0)
    for _ in range(n_tables):
        along = 0.2 * U if noise == "slopes" else 0.1
        effect = rng.normal(size=(5, 1)) * along + 0.01 * rng.normal(size=(5, 10))
        kept = rng.random((5, 10)) >= loss
        kept[0] |= ~kept.any(axis=0)
        found = fitted(law * np.exp(effect), kept, **keys)
        for name, value in truth.items():
            held[name] += found[name].low <= value <= found[name].high
    # Three standard errors below 95 %.
    least = n_tables * (0.95 - 3 * np.sqrt(0.95 * 0.05 / n_tables))
    assert min(held.values()) >= least, held


def test_few_seeds_at_most_points_say_so():
    rng = np.random.default_rng(5)
    rows = (0.5 + 6 * X**-0.6) * np.exp(0.01 * rng.standard_normal((3, 10)))
    kept = np.zeros(rows.shape, dtype=bool)
    kept[0] = True
    kept[1, :2] = kept[2, 1] = True
    found = fitted(rows, kept)
    assert found["E"].seeds is None
    assert any("too few seeds at most points" in w for w in found.warnings)


def test_problems_of_their_own_data_are_solved_as_one_by_one():
    rng = np.random.default_rng(6)
    model = Sum(np.log(X)[None], (1.0,))
    z = np.log(0.5 + 6 * X**-0.6) + 0.05 * rng.standard_normal((7, 10))
    weights = rng.uniform(0.5, 2, (7, 10))
    start = np.tile([0.4, 2.0, -0.5], (7, 1))
    problem = Problem(model, z, weights, True)
    together, total, settled = minimise(problem, start)
    assert settled.all()
    for k in range(7):
        one = replace(problem, z=z[k], weights=weights[k])
        alone, least, _ = minimise(one, start[k : k + 1])
        assert total[k] == pytest.approx(least[0], rel=1e-9)
        np.testing.assert_allclose(together[k], alone[0], rtol=1e-4)


def test_two_powers_are_read_in_the_order_of_their_exponents():
    shape = Shape(np.stack([np.log(X)] * 2), ("A", "a", "B", "b"), False, same_x=True)
    theta = np.array([0.3, -1.2, 2.0, -0.2])
    once, swapped = shape.reader(theta)(np.stack([theta, theta[[2, 3, 0, 1]]]))
    np.testing.assert_array_equal(once, swapped)
    middle = np.log(X).mean()
    expected = [np.log(0.3) + 1.2 * middle, -1.2, np.log(2) + 0.2 * middle, -0.2]
    np.testing.assert_allclose(once, expected, rtol=1e-12)


def test_seeds_of_a_column_with_nulls_elsewhere_are_seeds():
    """A row without a seed that the fit leaves out makes floats of the column."""
    rng = np.random.default_rng(0)
    x = np.repeat(np.geomspace(10, 1280, 8), 4)
    own = 0.2 * rng.normal(size=4)
    y = np.exp(np.tile(own, 8) * np.log(x)) / x
    whole = pd.DataFrame({"x": x, "y": y, "seed": np.tile(np.arange(4), 8)})
    more = pd.concat([whole, pd.DataFrame({"x": [10.0], "y": [np.nan], "seed": [np.nan]})])
    (spec,) = parse_fits([{"law": "power", "x": "x", "y": "y"}], list(whole))
    (a,), (b,) = fit(whole, spec), fit(more.reset_index(drop=True), spec)
    assert a["exponent"] == b["exponent"]
    assert b["exponent"].seeds is not None
