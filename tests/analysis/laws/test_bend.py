"""When a bend is flagged: by what noise it is judged, how rarely falsely, how often rightly."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.judging.coupling import PRIOR, coupling
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.analysis.laws.points import SeedTable
from lawsweep.analysis.laws.regress import curvature, least_squares

V = np.linspace(0.0, 3.5, 8)
POWER = {"law": "power", "x": "x", "y": "y"}
SIGMAS = 4


def table(logs):
    """Rows of log y (n_trials, n_seeds, n_points) at x = exp(V)."""
    trial, seed, point = (i.ravel() for i in np.indices(logs.shape))
    return pd.DataFrame(
        {"x": np.exp(V)[point], "y": np.exp(logs.ravel()), "seed": seed, "trial": trial}
    )


def fitted(logs, **entry):
    frame = table(logs) if isinstance(logs, np.ndarray) else logs
    (spec,) = parse_fits([{**POWER, "by": "trial", **entry}], list(frame.columns))
    return fit(frame, spec)


def smooth(rng, shape, amplitude=0.1, length=1.0):
    kernel = np.exp(-((V[:, None] - V) ** 2) / (2 * length**2)) + 1e-9 * np.eye(8)
    return amplitude * rng.normal(size=shape) @ np.linalg.cholesky(kernel).T


def test_coupled_seeds_are_judged_by_their_own_bends():
    """Against scipy's t test of the quadratic coefficients that numpy fits to each seed."""
    rng = np.random.default_rng(0)
    logs = -0.5 * V + smooth(rng, (1, 5, 8)) + 0.01 * rng.normal(size=(1, 5, 8))
    (found,) = fitted(logs)
    assert found.curvature.test == "seeds"
    own = [np.polyfit(V, seed, 2)[0] for seed in logs[0]]
    oracle = ttest_1samp(own, 0).pvalue
    assert found.curvature.p_values["seeds"] == pytest.approx(oracle, rel=1e-8)
    assert found.curvature.p_value == pytest.approx(oracle, rel=1e-3)  # of odds above 1000
    told = found.to_dict()
    assert told["curvature_test"] == "seeds"
    assert told["seeds_coupled"] > 0.999
    assert set(told["curvature_p_values"]) == {"points", "replicates", "seeds"}


def test_the_p_value_and_the_change_of_slope_say_the_same():
    """The interval of the change holds 0 exactly where the p-value is above 1 - level."""
    rng = np.random.default_rng(10)
    logs = 0.02 * (V - 1.75) ** 2 + smooth(rng, (60, 3, 8), amplitude=0.03, length=0.8)
    found = fitted(logs + 0.03 * rng.normal(size=logs.shape))
    for level in (0.5, 0.95):
        for f in found:
            change, half = f.curvature.drift(level)
            assert (abs(change) > half) == (f.curvature.p_value < 1 - level)
    assert any(0.1 < f.curvature.coupled < 0.9 for f in found)  # both tests had a share


def test_an_offset_of_seeds_does_no_harm():
    rng = np.random.default_rng(1)
    offsets = rng.normal(size=(1, 6, 1))
    logs = 0.03 * (V - 1.75) ** 2 + offsets + 0.01 * rng.normal(size=(1, 6, 8))
    (found,) = fitted(logs)
    assert found.curvature.test == "seeds"
    assert found.curved


def test_independent_noise_is_judged_by_the_replicates():
    """Near the t test among single rows, which knows that all noise is alike."""
    rng = np.random.default_rng(2)
    logs = 0.012 * (V - 1.75) ** 2 + 0.05 * rng.normal(size=(250, 10, 8))
    found = fitted(logs)
    assert np.mean([f.curvature.test == "replicates" for f in found]) > 0.9
    means = logs.mean(axis=1)
    parabola = np.stack([np.polyval(np.polyfit(V, m, 2), V) for m in means])
    row = np.linalg.pinv(np.stack([V**0, V, V**2], axis=1))[2]
    rss = 10 * ((means - parabola) ** 2).sum(1) + ((logs - means[:, None]) ** 2).sum((1, 2))
    error = np.sqrt(rss / 77 / 10) * np.linalg.norm(row)
    exact = np.mean(np.abs(means @ row) / error > student.ppf(0.975, 77))
    assert 0.3 < exact < 0.95  # a size at which something could be lost
    flagged = np.mean([f.curved for f in found])
    # The same tables: what differs is the few at the edge, whose share varies less than this.
    assert flagged > exact - 0.03 - SIGMAS * np.sqrt(0.03 * 0.97 / 250)


@pytest.mark.parametrize("noise", ["independent", "growing", "smooth", "slopes", "nested"])
@pytest.mark.parametrize("n_seeds", [3, 5])
def test_a_straight_law_is_rarely_called_bent(noise, n_seeds):
    rng = np.random.default_rng([n_seeds, len(noise)])
    n = 200
    shape = (n, n_seeds, 8)
    errors = 0.05 * rng.normal(size=shape)
    if noise == "growing":
        errors *= np.exp(V - 3.5)
    elif noise == "smooth":
        errors = 0.2 * errors + smooth(rng, shape)
    elif noise == "slopes":
        errors += 0.1 * rng.normal(size=(n, n_seeds, 1)) * V
    elif noise == "nested":
        i = np.arange(8)
        root = np.linalg.cholesky(2.0 ** -np.maximum(i[:, None], i))
        errors = 0.2 * rng.normal(size=shape) @ root.T
    false = np.mean([f.curved for f in fitted(-0.5 * V + errors)])
    assert false < 0.07 + SIGMAS * np.sqrt(0.07 * 0.93 / n)


@pytest.mark.parametrize("n_seeds", [2, 3, 10])
def test_seeds_that_share_nothing_are_rarely_called_coupled(n_seeds):
    """The mean of a ratio of likelihoods is 1 under the lower one, so Markov bounds its tail."""
    rng = np.random.default_rng(n_seeds)
    n, there = 500, np.ones((n_seeds, 8), dtype=bool)
    tables = [SeedTable(rng.normal(size=(n_seeds, 8)), there) for _ in range(n)]
    likely = np.array([coupling(V, table, np.ones(8)) for table in tables])
    assert np.mean(likely > 0.5) < PRIOR + SIGMAS * np.sqrt(PRIOR / n)
    assert np.median(likely) < PRIOR


def test_the_evidence_for_coupling_is_the_ratio_of_restricted_likelihoods():
    """Against contrasts of all cells at once, their scale integrated numerically."""
    rng = np.random.default_rng(3)
    u = np.array([0.0, 0.2, 0.55, 0.7, 1.0])
    there = np.ones((3, 5), dtype=bool)
    there[0, 1] = there[2, 4] = False
    values = rng.normal(size=(3, 5)) + 1.5 * rng.normal(size=(3, 1))
    at = np.argwhere(there)
    means = np.eye(5)[at[:, 1]]
    contrasts = np.linalg.svd(means)[0][:, 5:].T
    z = contrasts @ values[there]
    sigmas = np.geomspace(1e-3, 1e3, 4001)

    def likelihood(effect):
        same = at[:, :1] == at[:, 0]
        covariance = np.where(same, (np.eye(5) + effect)[np.ix_(at[:, 1], at[:, 1])], 0.0)
        own = contrasts @ covariance @ contrasts.T
        square = z @ np.linalg.solve(own, z)
        density = np.exp(-square / 2 / sigmas**2) * sigmas ** -float(len(z))
        return np.trapezoid(density, np.log(sigmas)) / np.sqrt(np.linalg.det(own))

    centred = u - u.mean()
    square = np.polyval(np.polyfit(u, u**2, 1), u) - u**2
    shapes = [np.ones((5, 5)), np.outer(centred, centred), np.outer(square, square)]
    shapes += [np.exp(-((u[:, None] - u) ** 2) / 2 / r**2) for r in (0.15, 0.4, 1.0)]
    ratios = [
        likelihood(4.0**k * m * 5 / np.trace(m)) / likelihood(0 * m)
        for m in shapes
        for k in range(-1, 5)
    ]
    odds = PRIOR * np.mean(ratios)
    x, table = 3 + 7 * u, SeedTable(np.where(there, values, 0.0), there)
    assert coupling(x, table, np.ones(5)) == pytest.approx(odds / (1 + odds), rel=1e-6)
    order = [2, 0, 4, 1, 3]
    moved = SeedTable(table.mean[:, order], there[:, order])
    assert coupling(x[order], moved, np.ones(5)) == pytest.approx(odds / (1 + odds), rel=1e-6)


def test_many_points_and_seeds_are_looked_at_in_bounded_time_and_still_tell():
    rng = np.random.default_rng(12)
    v, there = np.linspace(0, 1, 500), np.ones((60, 500), dtype=bool)
    noise = rng.normal(size=there.shape)
    assert coupling(v, SeedTable(noise, there), np.ones(500)) < PRIOR
    shared = noise + 0.3 * rng.normal(size=(60, 1))
    assert coupling(v, SeedTable(shared, there), np.ones(500)) > 0.99


def test_seeds_with_gaps_are_called_coupled_when_they_are():
    rng = np.random.default_rng(4)
    logs = -0.5 * V + smooth(rng, (1, 6, 8), amplitude=0.3) + 0.01 * rng.normal(size=(1, 6, 8))
    frame = table(logs)
    kept = frame[(frame.index % 7) != 3]  # every seed lacks a point or two
    (found,) = fitted(kept)
    assert found.curvature.test == "seeds"
    straight = fitted(
        table(-0.5 * V + smooth(rng, (120, 6, 8)) + 0 * logs)[lambda f: f.index % 7 != 3]
    )
    false = np.mean([f.curved for f in straight])
    assert false < 0.07 + SIGMAS * np.sqrt(0.07 * 0.93 / 120)


def test_one_value_a_point_is_judged_by_the_points():
    rng = np.random.default_rng(5)
    logs = -0.5 * V + 0.02 * rng.normal(size=(1, 1, 8))
    (found,) = fitted(logs)
    line = least_squares(np.stack([np.ones(8), V], axis=1), logs[0, 0], 0.95)
    assert found.curvature.test == "points"
    assert found.curvature.p_value == pytest.approx(
        curvature(V, logs[0, 0], line).p_value, rel=1e-9
    )
    assert "one seed" in found.warnings[0]


def test_replicates_at_one_point_alone_are_used_with_care():
    rng = np.random.default_rng(6)
    frame = table(-0.5 * V + 0.02 * rng.normal(size=(1, 4, 8)))
    (found,) = fitted(frame[(frame.seed == 0) | (frame.index == 9) | (frame.index == 17)])
    assert 0 <= found.curvature.p_value <= 1
    assert found.curvature.test in {"points", "replicates"}


def test_points_that_miss_every_smooth_law_are_not_called_bent():
    """A fixed zigzag of 10 % that 50 seeds resolve: the scatter of the points decides."""
    rng = np.random.default_rng(7)
    zigzag = 0.1 * np.array([1, -1, 1, -1, -1, 1, -1, 1]) * np.linspace(1, 1.5, 8)
    (found,) = fitted(-0.5 * V + zigzag + 0.01 * rng.normal(size=(1, 50, 8)))
    assert not found.curved
    assert found.curvature.p_value > 0.05


@pytest.mark.parametrize("n_seeds", [3, 20])
def test_an_offset_that_bends_one_end_is_flagged(n_seeds):
    """y = E + x^-1 over four decades, whose logarithm is a hinge rather than a parabola."""
    v = V / V[-1] * np.log(1e4)
    rng = np.random.default_rng(8)
    logs = np.log(np.exp(-v) + 0.03) + 0.01 * rng.normal(size=(1, n_seeds, 8))
    (found,) = fitted(table(logs).assign(x=np.tile(np.exp(v), n_seeds)))
    assert found.curved
    assert "one power law is not supported: it bends" in found.verdict


def test_replicates_without_seeds_are_independent():
    rng = np.random.default_rng(9)
    frame = table(0.02 * (V - 1.75) ** 2 + 0.02 * rng.normal(size=(1, 6, 8)))
    (found,) = fitted(frame.drop(columns="seed"))
    assert found.curvature.test == "replicates"
    assert found.curved


def test_data_without_noise_have_a_bend_or_none():
    (straight,) = fitted(np.broadcast_to(-0.5 * V, (1, 3, 8)).copy())
    assert straight.curvature.p_value == 1
    (bent,) = fitted(np.broadcast_to(0.1 * V**2, (1, 3, 8)).copy())
    assert bent.curved


def test_the_verdict_says_both_where_replicates_and_seeds_disagree():
    rng = np.random.default_rng(11)
    logs = 0.012 * (V - 1.75) ** 2 + 0.03 * rng.normal(size=(10, 3, 8))
    asked = 0
    for f in fitted(logs):
        tests = f.curvature.p_values
        apart = (tests["replicates"] < 0.05) != (tests["seeds"] < 0.05)
        said = f"by replicates {tests['replicates']:.1g}, by the seeds' own bends"
        assert (said in f.verdict) == apart
        asked += apart
    assert 0 < asked < 10
