"""Tables where seeds lack points: means within seeds, and intervals that lean on few of them."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import t as student

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import find_law, parse_fits
from lawsweep.analysis.laws.points import Points, SeedTable, seed_table, within_seeds
from lawsweep.analysis.laws.seed_spread import seed_laws

X = np.geomspace(10, 1280, 8)
V = np.log(X)
POWER = {"law": "power", "x": "x", "y": "y"}
SIGMAS = 4
ENDS = np.ones((5, 8), dtype=bool)
ENDS[1:, 6:] = False  # the last two points have one seed
STAIRS = np.array([[j < 8 - i for j in range(8)] for i in range(5)])


def points_of(logs, there, seeds=True):
    seed, point = np.nonzero(there)
    rows = logs[there]
    y = np.bincount(point, weights=rows) / np.bincount(point)
    return Points({"x": X}, y, rows, point, seed if seeds else None)


def solved(logs, there, seeds=True):
    (spec,) = parse_fits([POWER], ["x", "y", "seed"])
    return find_law("power").solve(spec, within_seeds(points_of(logs, there, seeds))[0])


def reml(logs, there):
    """Means of the points and the offsets' variance ratio, from the whole covariance matrix."""
    seed, point = np.nonzero(there)
    y, design = logs[there], np.eye(there.shape[1])[point]

    def fitted(log_kappa):
        v = np.eye(len(y)) + np.exp(log_kappa) * (seed[:, None] == seed)
        inverse = np.linalg.inv(v)
        left = design.T @ inverse @ design
        means = np.linalg.solve(left, design.T @ inverse @ y)
        rest = y - design @ means
        square = (len(y) - len(means)) * np.log(rest @ inverse @ rest)
        return np.linalg.slogdet(v)[1] + np.linalg.slogdet(left)[1] + square, means

    best = minimize_scalar(
        lambda k: fitted(k)[0], bounds=(-6, 12), method="bounded", options={"xatol": 1e-9}
    )
    return fitted(best.x)[1], np.exp(best.x / 2)


@pytest.mark.parametrize("there", [ENDS, STAIRS])
def test_means_within_seeds_are_those_of_restricted_likelihood(there):
    rng = np.random.default_rng(0)
    logs = rng.normal(size=there.shape) + 2 * rng.normal(size=(5, 1))
    found, apart = within_seeds(points_of(logs, there))
    means, ratio = reml(logs, there)
    assert apart == pytest.approx(ratio, rel=0.07)  # the grid of variances has steps of 12 %
    np.testing.assert_allclose(found.y, means, atol=0.01)
    plain = points_of(logs, there)
    assert np.abs(plain.y - means).max() > 0.3
    np.testing.assert_allclose(found.sd, plain.sd)


def test_means_are_plain_where_all_seeds_are_everywhere_or_no_further_apart_than_noise():
    rng = np.random.default_rng(1)
    whole = points_of(rng.normal(size=(5, 8)) + rng.normal(size=(5, 1)), np.ones((5, 8), bool))
    assert within_seeds(whole) == (whole, 0.0)
    alike = rng.normal(size=(5, 8))
    gaps = points_of(alike - alike.mean(axis=1, keepdims=True), ENDS)
    assert within_seeds(gaps)[0] is gaps
    alone = points_of(rng.normal(size=(8, 8)), np.eye(8, dtype=bool))
    assert within_seeds(alone)[0] is alone


@pytest.mark.parametrize("there", [ENDS, STAIRS])
def test_a_seed_that_alone_is_at_the_end_does_not_bend_the_law(there):
    """Offsets of .3 beside noise of .02: the exponent is as good as without them."""
    rng = np.random.default_rng(2)
    n = 150
    misses, inside, curved = [], 0, 0
    for _ in range(n):
        logs = -0.5 * V + 0.3 * rng.normal(size=(5, 1)) + 0.02 * rng.normal(size=(5, 8))
        found = solved(logs, there)
        e = found.parameters[1]
        misses.append(e.estimate + 0.5)
        inside += e.low <= -0.5 <= e.high
        curved += found.curvature.p_value < 0.05
    # Of single rows without offsets the exponent's error is .0033 (ENDS) and .0032 (STAIRS).
    assert np.std(misses) < 2 * 0.0033
    assert inside / n > 0.93 - SIGMAS * np.sqrt(0.07 * 0.93 / n)
    assert curved / n < 0.07 + SIGMAS * np.sqrt(0.07 * 0.93 / n)


@pytest.mark.parametrize("there", [ENDS, STAIRS])
def test_seeds_with_exponents_of_their_own_count_as_the_law_leans_on_them(there):
    rng = np.random.default_rng(3)
    n, inside, even = 120, 0, 0
    for _ in range(n):
        logs = (-0.5 + 0.1 * rng.normal(size=(5, 1))) * V + 0.02 * rng.normal(size=(5, 8))
        e = solved(logs, there).parameters[1]
        inside += e.low <= -0.5 <= e.high
        own = np.array([np.polyfit(V[t], y[t], 1)[0] for y, t in zip(logs, there, strict=True)])
        half = student.ppf(0.975, 4) * own.std(ddof=1) / np.sqrt(5)
        even += abs(e.estimate + 0.5) <= half
        assert e.seeds[1] - e.seeds[0] > 2 * half  # what equal shares would have it
    assert even < inside
    assert inside / n > 0.93 - SIGMAS * np.sqrt(0.07 * 0.93 / n)


def test_all_seeds_give_the_laws_where_two_that_are_everywhere_would_promise_less():
    rng = np.random.default_rng(4)
    there = np.ones((5, 8), dtype=bool)
    there[2:, 6:] = False
    design = np.stack([np.ones(8), V], axis=1)
    values = rng.normal(size=(5, 8))
    assert len(seed_laws(design, SeedTable(np.where(there, values, 0), there))) == 5
    there = np.ones((20, 8), dtype=bool)
    there[10:, 2:] = False  # ten seeds tell little of the law, and t(9) is near t(19)
    table = SeedTable(np.where(there, rng.normal(size=(20, 8)), 0), there)
    np.testing.assert_allclose(
        seed_laws(design, table)[:, 1], [np.polyfit(V, y, 1)[0] for y in table.mean[:10]]
    )


@pytest.mark.parametrize("growth", [1.0, 10.0])
def test_noise_that_grows_is_seen_in_replicates_without_seeds(growth):
    rng = np.random.default_rng(int(growth))
    n, inside, plain = 250, 0, 0
    for _ in range(n):
        noise = 0.05 * growth ** (np.arange(8) / 7 - 1)
        logs = -0.5 * V + noise * rng.normal(size=(5, 8))
        e = solved(logs, np.ones((5, 8), dtype=bool), seeds=False).parameters[1]
        inside += e.low <= -0.5 <= e.high
        means = logs.mean(axis=0)
        (a, _), covariance = np.polyfit(V, means, 1, cov=True)
        plain += abs(a + 0.5) <= student.ppf(0.975, 6) * np.sqrt(covariance[0, 0])
    assert inside / n > 0.93 - SIGMAS * np.sqrt(0.07 * 0.93 / n)
    assert inside > plain or growth == 1.0


def test_the_offsets_taken_out_are_said():
    rng = np.random.default_rng(5)
    logs = -0.5 * V + 0.3 * rng.normal(size=(5, 1)) + 0.02 * rng.normal(size=(5, 8))
    seed, point = np.nonzero(ENDS)
    frame = pd.DataFrame({"x": X[point], "y": np.exp(logs[ENDS]), "seed": seed})
    (spec,) = parse_fits([POWER], list(frame.columns))
    (found,) = fit(frame, spec)
    assert any("the offsets of seeds are taken out" in w for w in found.warnings)
    assert seed_table(logs[ENDS], point, seed, 8).shared


@pytest.mark.parametrize("seed", range(4))
def test_offsets_in_proportion_leave_in_proportion(seed):
    """y over three decades, seeds off by 20 % of it: offsets of the largest y are no small y's."""
    rng = np.random.default_rng(seed)
    x = np.geomspace(10, 1e5, 12)
    y = (0.001 + 3 * x**-0.8) * np.exp(
        0.2 * rng.normal(size=(6, 1)) + 0.05 * rng.normal(size=(6, 12))
    )
    s, p = np.nonzero((np.arange(6)[:, None] < 3) | (x < 3000))
    frame = pd.DataFrame({"x": x[p], "y": y[s, p], "seed": s})
    entry = {"law": "power_offset", "x": "x", "y": "y", "errors": "replicates"}
    (spec,) = parse_fits([entry], list(frame))
    (found,) = fit(frame, spec)
    exponent = found["exponent"]
    # Noise of 5 % over sqrt(3 to 6) and a lever of 9 in log x: some .004; offsets make that .1.
    assert exponent.estimate == pytest.approx(-0.8, abs=4 * 0.004)
    assert exponent.low < -0.8 < exponent.high
    assert exponent.high - exponent.low < 0.1
