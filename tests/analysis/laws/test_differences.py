"""Differences of parameters against scipy's tests on laws that numpy fits."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lawsweep.analysis.laws.differences import difference, differences, of_ends
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import UnknownNameError

N = np.array([10.0, 20.0, 40.0, 80.0, 160.0])


def rows(exponents, n_seeds, rng, *, shared, own, group="m"):
    """log y = a log n + what a seed adds to the slope of every group + its own noise."""
    common = shared * rng.standard_normal(n_seeds)
    found = []
    for k, a in enumerate(exponents):
        for seed in range(n_seeds):
            logs = (a + common[seed]) * np.log(N) + own * rng.standard_normal(len(N))
            found += [
                {"n": n, "y": np.exp(v), group: k, "seed": seed, "status": "ok"}
                for n, v in zip(N, logs, strict=True)
            ]
    return pd.DataFrame(found)


def fitted(frame, **entry):
    entry = {"law": "power", "x": "n", "y": "y", "by": "m", **entry}
    (spec,) = parse_fits([entry], list(frame.columns))
    return fit(frame, spec)


def slopes(frame, m):
    """Each seed's own slope."""
    own = frame[frame.m == m]
    return np.array(
        [np.polyfit(np.log(g.n), np.log(g.y), 1)[0] for _, g in own.groupby("seed", sort=True)]
    )


def test_shared_seeds_are_pairs_and_the_interval_is_that_of_their_differences():
    frame = rows([1.2, 1.25], 7, np.random.default_rng(1), shared=0.1, own=0.02)
    (found,) = differences(fitted(frame))
    apart = slopes(frame, 1) - slopes(frame, 0)
    oracle = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert found.estimate == pytest.approx(apart.mean(), rel=1e-9)
    assert found.paired == pytest.approx(tuple(oracle), rel=1e-9)
    assert (found.low, found.high) == found.paired
    assert found.n_pairs == 7
    # The two intervals come from the seeds' laws, so that the unpaired one is Welch's.
    welch = stats.ttest_ind(slopes(frame, 1), slopes(frame, 0), equal_var=False)
    assert found.independent == pytest.approx(tuple(welch.confidence_interval(0.95)), rel=1e-9)
    assert found.high - found.low < 0.5 * (found.independent[1] - found.independent[0])
    said = found.text()
    assert said.startswith("exponent, m=0 to 1: 0.0")
    assert "(95 %, paired by 7 seeds; unpaired [" in said
    assert found.to_dict()["paired"] == list(found.paired)


def test_what_is_paired_covers_as_often_as_it_says():
    rng = np.random.default_rng(5)
    n, inside = 150, 0
    for _ in range(n):
        (found,) = differences(fitted(rows([1.0, 1.1], 4, rng, shared=0.2, own=0.05)))
        inside += found.low <= 0.1 <= found.high
    # Four standard errors of a share of 0.95 among 150.
    assert abs(inside / n - 0.95) < 4 * np.sqrt(0.95 * 0.05 / n)


def test_seeds_of_one_alone_are_no_pairs():
    frame = rows([1.2, 1.25], 6, np.random.default_rng(2), shared=0.1, own=0.02)
    frame = frame[(frame.m == 0) | (frame.seed < 4)]
    (found,) = differences(fitted(frame))
    apart = slopes(frame, 1) - slopes(frame, 0)[:4]
    assert found.n_pairs == 4
    assert found.estimate == pytest.approx(apart.mean(), rel=1e-9)
    frame = frame.assign(seed=frame.seed + 100 * frame.m)
    (found,) = differences(fitted(frame))
    assert found.paired is None
    assert (found.low, found.high) == found.independent
    assert "unpaired: 0 seeds in common, 2 needed for pairs" in found.text()


def test_a_seed_that_lacks_a_point_is_no_pair():
    frame = rows([1.2, 1.25], 3, np.random.default_rng(3), shared=0.1, own=0.02)
    gone = (frame.m == 1) & (frame.n == 40) & (frame.seed > 0)
    (found,) = differences(fitted(frame[~gone]))
    assert found.paired is None
    assert "1 seed at every point of both, 2 needed for pairs" in found.text()


def test_one_group_gives_none_and_three_give_each_pair():
    rng = np.random.default_rng(4)
    assert differences(fitted(rows([1.0], 3, rng, shared=0.1, own=0.1))) == []
    found = differences(fitted(rows([1.0, 1.1, 1.2], 3, rng, shared=0.1, own=0.1)))
    assert [(d.a, d.b) for d in found] == [("m=0", "1"), ("m=0", "2"), ("m=1", "2")]
    many = differences(fitted(rows(np.linspace(1, 2, 7), 2, rng, shared=0.1, own=0.1)))
    assert [(d.a, d.b) for d in many] == [(f"m={k}", str(k + 1)) for k in range(6)]


def test_groups_that_differ_in_two_columns_are_not_compared():
    rng = np.random.default_rng(6)
    frame = rows([1.0, 1.1, 1.2, 1.3], 3, rng, shared=0.1, own=0.1, group="k")
    frame = frame.assign(p=frame.k % 2, q=frame.k // 2)
    found = differences(fitted(frame, by=["p", "q"]))
    assert [(d.a, d.b) for d in found] == [
        ("p=0: q=0", "1"), ("q=0: p=0", "1"), ("q=1: p=0", "1"), ("p=1: q=0", "1"),
    ]  # fmt: skip


def test_a_parameter_is_asked_for_by_its_name_and_a_fit_that_is_none_has_no_difference():
    frame = rows([1.0, 1.1], 3, np.random.default_rng(7), shared=0.1, own=0.1)
    a, b = fitted(frame)
    (c,) = difference(a, b, "C")
    assert c.estimate == pytest.approx(b["C"].estimate - a["C"].estimate)
    with pytest.raises(UnknownNameError, match="Did you mean 'exponent'"):
        difference(a, b, "exponnt")
    lost = fitted(frame[frame.n < 20])[0]
    assert lost.reason is not None
    assert difference(a, lost) == []


def test_laws_over_different_x_are_compared_over_the_points_of_both():
    """A bend, or draws that go along x, would make them differ by the choice of x alone."""
    n = np.geomspace(10, 1000, 8)
    bent = pd.DataFrame(
        {"n": np.tile(n, 2), "m": np.repeat([0, 1], 8), "status": "ok",
         "y": np.tile(np.exp(np.log(n) ** 2 / 5), 2)}
    )  # fmt: skip
    a, b = fitted(bent[(bent.m == 0) | (bent.n > 50)])
    assert b["exponent"].estimate - a["exponent"].estimate > 0.1
    (found,) = differences([a, b])
    assert found.estimate == pytest.approx(0, abs=1e-12)
    assert "over the 5 points of both" in found.text()
    (found,) = differences(fitted(bent[(bent.m == 0) == (bent.n > 50)]))
    assert found.estimate != 0
    assert "over different x" in found.text()
    frame = rows([1.2, 1.25], 5, np.random.default_rng(8), shared=0.1, own=0.02)
    (found,) = differences(fitted(frame[(frame.m == 0) | (frame.n > 10)]))
    few = frame[frame.n > 10]
    apart = slopes(few, 1) - slopes(few, 0)
    oracle = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert found.paired == pytest.approx(tuple(oracle), rel=1e-9)


def test_intervals_that_are_not_even_keep_their_sides():
    low, high = of_ends((10.0, 8.0, 11.0), (20.0, 17.0, 26.0))
    assert (low, high) == pytest.approx((10 - np.hypot(3, 1), 10 + np.hypot(6, 2)))
    assert of_ends((10.0, np.nan, 11.0), (20.0, 17.0, 26.0)) is None
