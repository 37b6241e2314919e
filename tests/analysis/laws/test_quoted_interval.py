"""``interval: seeds``: the seeds' interval is quoted while their noise accounts for the scatter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.analysis.laws.points import SeedTable
from lawsweep.analysis.laws.seed_spread import p_scatter
from lawsweep.core.errors import LawsweepError


def table(y):
    return SeedTable(y, np.ones(y.shape, dtype=bool))


def test_of_three_points_the_scatter_is_one_contrast_of_each_seed():
    """q = 1: |mean r|² S / var r is t², whatever basis is taken (scipy's t test as the oracle)."""
    y = np.random.default_rng(0).standard_normal((7, 3)) + np.array([0.0, 1.4, 2.0])
    design = np.stack([np.ones(3), np.array([0.0, 1.0, 3.0])], axis=1)
    contrast = np.array([2.0, -3.0, 1.0])  # of values at 0, 1 and 3: nought on every line
    p = stats.ttest_1samp(y @ contrast, 0.0).pvalue
    assert p_scatter(design, table(y)) == pytest.approx(p, rel=1e-9)


def test_of_alike_and_independent_noise_it_is_the_f_test_of_lack_of_fit():
    """Many seeds: the pooled F test, by formulas of a textbook (Draper and Smith, section 2.1)."""
    rng = np.random.default_rng(1)
    v, n = np.linspace(0, 1, 5), 4000
    y = 1 + 2 * v + 0.3 * rng.standard_normal((n, 5))
    line = np.polynomial.Polynomial.fit(v, y.mean(axis=0), 1)(v)
    lack = n * np.sum((y.mean(axis=0) - line) ** 2) / 3
    pure = np.sum((y - y.mean(axis=0)) ** 2) / (5 * (n - 1))
    found = p_scatter(np.stack([np.ones(5), v], axis=1), table(y))
    assert found == pytest.approx(stats.f.sf(lack / pure, 3, 5 * (n - 1)), abs=0.02)


@pytest.mark.parametrize("m", [5, 10])
def test_it_is_as_large_as_it_says_where_noise_is_unequal_and_shared(m):
    """A law that holds is doubted at 5 % in 5 % of 1,500 tables; 3.5 sd, and 1 % for Box's F."""
    rng = np.random.default_rng(m)
    v, n = np.linspace(0, 1, m), 8
    design, cov = np.stack([np.ones(m), v], axis=1), rng.standard_normal((m, m)) * (0.2 + v)
    ys = rng.standard_normal((1500, n, m)) @ cov.T + 2 * v
    doubted = np.mean([p_scatter(design, table(y)) < 0.05 for y in ys])
    assert abs(doubted - 0.05) <= 3.5 * np.sqrt(0.05 * 0.95 / 1500) + 0.01


def test_what_cannot_be_known_is_none_and_seeds_that_agree_prove_a_law_wrong():
    design = np.stack([np.ones(4), np.arange(4.0)], axis=1)
    line, bent = np.arange(4.0), np.arange(4.0) ** 2
    assert p_scatter(design, None) is None
    assert p_scatter(design, table(np.tile(line, (2, 1)))) is None  # two seeds
    assert p_scatter(design[:2], table(np.random.default_rng(0).standard_normal((5, 2)))) is None
    assert p_scatter(design, table(np.tile(line, (5, 1)))) == 1.0
    assert p_scatter(design, table(np.tile(bent, (5, 1)))) == 0.0


def rows(bend=0.0, n_seeds=12):
    rng = np.random.default_rng(11)  # whose five means scatter by chance
    x = np.array([10.0, 20, 40, 80, 160])
    v = np.log(x / 40)
    y = np.exp(1.5 * v + bend * v**2 + 0.1 * rng.standard_normal((n_seeds, 5)))
    seed = np.repeat(np.arange(n_seeds), 5)
    return pd.DataFrame({"n": np.tile(x, n_seeds), "y": y.ravel(), "seed": seed, "status": "ok"})


def exponent(frame, **keys):
    entry = {"law": "power", "x": "n", "y": "y", **keys}
    (found,) = fit(frame, parse_fits([entry], ["n", "y"])[0])
    return found, found["exponent"]


def test_the_fit_quotes_the_seeds_interval_where_the_law_holds():
    wider, quoted = exponent(rows())[1], exponent(rows(), interval="seeds")[1]
    assert quoted.scatter == wider.scatter
    assert quoted.seeds == wider.seeds
    assert (wider.low, wider.high) == wider.scatter  # five means scatter with t(3)
    assert (quoted.low, quoted.high) == quoted.seeds
    found = exponent(rows(), interval="seeds")[0]
    assert "interval from the laws of 12 seeds, by the scatter [" in found.summary()
    assert found.to_dict()["interval_from"] == "seeds"


def test_and_the_wider_one_where_it_does_not():
    quoted = exponent(rows(bend=0.2), interval="seeds")[1]
    assert (quoted.low, quoted.high) == quoted.scatter
    assert "own" not in exponent(rows(), interval=None)[0].to_dict()


def test_of_terms_too_and_a_misspelt_one_is_refused():
    terms = [{"law": "terms", "terms": ["log(n)", 1], "y": "log(y)", "interval": "seeds"}]
    (found,) = fit(rows(), parse_fits(terms, ["n", "y"])[0])
    assert (found["log(n)"].low, found["log(n)"].high) == found["log(n)"].seeds
    with pytest.raises(LawsweepError, match="Did you mean 'seeds'"):
        parse_fits([{"law": "power", "x": "n", "y": "y", "interval": "seed"}], ["n", "y"])
    with pytest.raises(LawsweepError, match="interval"):
        parse_fits([{"law": "rate", "x": "n", "y": "y", "interval": "seeds"}], ["n", "y"])
