"""Rates of counts: against scipy's optimiser, with zeros, and seeds that scatter beyond chance."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import binom, chi2, poisson

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import LawsweepError

X = np.geomspace(10, 10_000, 7)


def fitted(k, x, seed=0, **keys):
    frame = pd.DataFrame({"n": x, "k": k, "seed": seed, "status": "ok", "m": 1000})
    (spec,) = parse_fits([{"law": "rate", "x": "n", "y": "k", **keys}], list(frame))
    return fit(frame, spec)[0]


def minus_log(k, x, trials):
    def of(q):
        rate = np.exp(q[0] + q[1] * np.log(x))
        if trials is None:
            return -poisson.logpmf(k, rate).sum()
        return -binom.logpmf(k, trials, np.minimum(rate, 1 - 1e-12)).sum()

    return of


@pytest.mark.parametrize("trials", [1000, None])
def test_it_is_the_most_likely_law_and_keeps_zeros(trials):
    rng = np.random.default_rng(1)
    rate = 2 * X**-0.9
    k = rng.binomial(1000, rate) if trials else rng.poisson(300 * rate)
    k[-1] = 0
    found = fitted(k, X, **({"trials": "m"} if trials else {}))
    of = minus_log(k, X, trials)
    best = minimize(of, [0.0 if trials else 6.0, -0.9], method="Nelder-Mead",
                    options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000})  # fmt: skip
    assert np.log(found["C"].estimate) == pytest.approx(best.x[0], abs=1e-5)
    assert found["exponent"].estimate == pytest.approx(best.x[1], abs=1e-6)
    assert found.n_rows == 7
    assert not found.left_out
    if found.evidence["dispersion"] > 1:
        return
    # The end of the profile: least over C with the exponent held there.
    for end in found["exponent"].scatter:
        held = minimize(lambda c, end=end: of([c[0], end]), [best.x[0] - (end - best.x[1]) * 5],
                        method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})  # fmt: skip
        assert 2 * (held.fun - best.fun) == pytest.approx(chi2.ppf(0.95, 1), rel=1e-3)


def test_seeds_that_scatter_beyond_chance_widen_the_interval():
    rng = np.random.default_rng(2)
    x, seed = np.repeat(X, 8), np.tile(np.arange(8), 7)
    tilt = 0.15 * rng.standard_normal(8)
    level = np.log(x) - np.log(X).mean()
    k = rng.binomial(1000, 0.02 * np.exp((-0.3 + tilt[seed]) * level))
    found = fitted(k, x, seed, trials="m")
    exponent = found["exponent"]
    assert found.n_seeds == 8
    assert (exponent.low, exponent.high) == exponent.seeds
    assert exponent.low < -0.3 < exponent.high
    assert exponent.seeds[1] - exponent.seeds[0] > 2 * (exponent.scatter[1] - exponent.scatter[0])


def test_what_no_count_can_be_is_a_reason():
    assert "no event" in fitted(np.zeros(7), X).reason
    assert "whole numbers" in fitted(np.full(7, 1.5), X).reason
    assert "more than trials" in fitted(np.full(7, 2000), X, trials="m").reason
    assert "every trial" in fitted(np.full(7, 1000), X, trials="m").reason
    assert "3 needed" in fitted(np.ones(2), X[:2]).reason


def test_trials_are_an_expression():
    with pytest.raises(LawsweepError, match="mm"):
        parse_fits([{"law": "rate", "x": "n", "y": "k", "trials": "mm"}], ["n", "k", "m"])


def gapped(rng, tilt=0.0, n_seeds=8):
    """Counts of seeds with levels of their own, most of whom are not at the last x."""
    s, p = (i.ravel() for i in np.indices((n_seeds, len(X))))
    own = 0.3 * rng.standard_normal(n_seeds)
    slope = tilt * rng.standard_normal(n_seeds)
    level = np.log(X) - np.log(X).mean()
    k = rng.poisson(3000 * X[p] ** -0.9 * np.exp(own[s] + slope[s] * level[p]))
    there = (p < 5) | (s < 3)
    return k[there], X[p[there]], s[there]


def test_counts_stay_counts_where_seeds_lack_points():
    k, x, seed = gapped(np.random.default_rng(3))
    found = fitted(k, x, seed)
    assert found.evidence["events"] == k.sum()
    assert found["exponent"].estimate == fitted(k, x)["exponent"].estimate
    best = minimize(minus_log(k, x, None), [8.0, -0.9], method="Nelder-Mead",
                    options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000})  # fmt: skip
    assert found["exponent"].estimate == pytest.approx(best.x[1], abs=1e-5)


def test_seeds_that_lack_points_move_the_law_as_leaving_each_out_does():
    k, x, seed = gapped(np.random.default_rng(4), tilt=0.1)
    found = fitted(k, x, seed)
    without = []
    for one in range(8):
        of = minus_log(k[seed != one], x[seed != one], None)
        without.append(minimize(of, [8.0, -0.9], method="Nelder-Mead",
                                options={"xatol": 1e-8, "fatol": 1e-8}).x[1])  # fmt: skip
    jackknife = np.sqrt(7 / 8 * np.sum((np.array(without) - np.mean(without)) ** 2))
    # Both are of first order in what one of eight seeds does.
    assert np.sqrt(found.seed_covariance[1, 1]) == pytest.approx(jackknife, rel=0.35)
    assert found["exponent"].seeds is not None


def test_one_seed_is_said():
    rng = np.random.default_rng(5)
    assert any("one seed" in w for w in fitted(rng.poisson(300 * X**-0.5), X).warnings)


def test_intervals_of_counts_far_beyond_chance_have_ends():
    x = np.repeat(X, 5)
    noise = np.exp(0.1 * np.random.default_rng(6).standard_normal(len(x)))
    found = fitted(np.round(1e13 * x**-0.9 * noise), x, np.tile(np.arange(5), 7))
    assert found.evidence["dispersion"] > 1e8
    assert found["exponent"].low < -0.9 < found["exponent"].high
    assert found["exponent"].high - found["exponent"].low < 0.4
