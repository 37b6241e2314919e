"""Slopes between neighbouring points: exact values, intervals that cover, and how they are said."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind, ttest_rel

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import InvalidValueError

POWER = {"law": "power", "x": "width", "y": "edge", "local": True}


def one(frame, **entry):
    (spec,) = parse_fits([entry], list(frame.columns))
    (found,) = fit(frame, spec)
    return found


def frame(values, n_seeds=1, noise=0.0, rng=None):
    rng = np.random.default_rng(0) if rng is None else rng
    width = np.repeat([30.0, 10.0, 90.0], n_seeds)  # not in order
    y = np.array([values[w] for w in width]) * np.exp(noise * rng.normal(size=len(width)))
    return pd.DataFrame({"width": width, "seed": list(range(n_seeds)) * 3, "edge": y})


def test_slopes_of_two_powers():
    found = one(frame({10: 1.0, 30: 3.0**2, 90: 3.0**2 * 3.0**0.5}), **POWER)
    assert [(s.x_low, s.x_high) for s in found.local] == [(10.0, 30.0), (30.0, 90.0)]
    assert [s.estimate for s in found.local] == pytest.approx([2.0, 0.5], rel=1e-13)
    assert all(s.low is None and s.high is None for s in found.local)  # one replicate
    assert "; between neighbours 2.00, 0.50" in found.summary()


def test_a_long_line_keeps_its_ends():
    v = np.arange(1.0, 13.0)
    found = one(pd.DataFrame({"v": v, "y": v**2}), law="linear", x="v", y="y", local=True)
    assert len(found.local) == 11
    shown = "3.00, 5.00, 7.00, 9.00, ..., 17.00, 19.00, 21.00, 23.00)"
    assert found.summary().splitlines()[0].endswith(f"; between neighbours {shown}")


def test_only_where_asked_for():
    table = frame({10: 1.0, 30: 2.0, 90: 3.0})
    found = one(table, **{**POWER, "local": False})
    assert found.local == ()
    assert "neighbours" not in found.summary()


@pytest.mark.parametrize(
    ("law", "column"),
    [("exponential", "np.exp(-0.25 * v)"), ("linear", "7 - 0.25 * v")],
)
def test_other_laws(law, column):
    v = np.array([1.0, 2.0, 4.0, 7.0])
    y = np.exp(-0.25 * v) if law == "exponential" else 7 - 0.25 * v
    found = one(pd.DataFrame({"v": v, "y": y}), law=law, x="v", y="y", local=True)
    assert [s.estimate for s in found.local] == pytest.approx([-0.25] * 3, rel=1e-12), column


def test_interval_is_welchs():
    """Against scipy's test of two means with unequal variances, where rows have no seeds."""
    table = frame({10: 1.0, 30: 9.0, 90: 60.0}, n_seeds=5, noise=0.2).drop(columns="seed")
    found = one(table, **POWER)
    logs = {w: np.log(g.to_numpy()) for w, g in table.groupby("width")["edge"]}
    for slope in found.local:
        test = ttest_ind(logs[slope.x_high], logs[slope.x_low], equal_var=False)
        interval = test.confidence_interval(0.95)
        gap = np.log(slope.x_high / slope.x_low)
        assert slope.low == pytest.approx(interval.low / gap, rel=1e-10)
        assert slope.high == pytest.approx(interval.high / gap, rel=1e-10)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_seeds_that_shift_their_points_together_are_paired(sign):
    """Against scipy's paired test: an offset of each seed leaves the slope as well known."""
    table = frame({10: 1.0, 30: 9.0, 90: 60.0}, n_seeds=5, noise=0.02)
    offset = np.random.default_rng(5).normal(size=5)[table.seed]
    table["edge"] *= np.exp(offset * np.where(table.width == 30, sign, 1.0))
    found = one(table, **POWER)
    for slope in found.local:
        first, second = (
            np.log(table[table.width == w].sort_values("seed").edge.to_numpy())
            for w in (slope.x_low, slope.x_high)
        )
        interval = ttest_rel(second, first).confidence_interval(0.95)
        gap = np.log(slope.x_high / slope.x_low)
        assert (slope.low, slope.high) == pytest.approx(
            (interval.low / gap, interval.high / gap), rel=1e-9
        )
        assert slope.n_seeds == 5
    widths = [s.high - s.low for s in found.local]
    assert max(widths) < 0.1 if sign > 0 else min(widths) > 1


def test_neighbours_that_share_few_seeds_are_compared_as_means():
    table = frame({10: 1.0, 30: 9.0, 90: 60.0}, n_seeds=6, noise=0.1)
    table = table[(table.width != 30) | (table.seed < 5)]
    table.loc[table.width == 90, "seed"] += 4  # seeds 4 to 9, of which 30 has one
    found = one(table, **POWER)
    assert [s.n_seeds for s in found.local] == [5, None]


def test_intervals_cover_at_their_level():
    rng, hits, n = np.random.default_rng(1), 0, 400
    for _ in range(n):
        found = one(frame({10: 1.0, 30: 9.0, 90: 60.0}, 4, 0.3, rng), **POWER)
        first = found.local[0]
        hits += first.low <= 2.0 <= first.high
    # Welch's interval is a little wide at 4 replicates; below 0.95 by four sigmas would be wrong.
    assert hits / n > 0.95 - 4 * np.sqrt(0.95 * 0.05 / n)
    assert hits / n < 0.99


def test_equal_replicates_have_an_interval_of_no_width():
    found = one(frame({10: 1.0, 30: 3.0, 90: 9.0}, n_seeds=2), **POWER)
    for slope in found.local:
        assert slope.low == pytest.approx(slope.high, rel=1e-12)


def test_dictionary_is_strict_json():
    for n_seeds in (1, 3):
        found = one(frame({10: 1.0, 30: 3.0, 90: 8.0}, n_seeds, 0.1), **POWER)
        read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert len(read["local_slopes"]) == 2
        assert set(read["local_slopes"][0]) == {
            "x_low",
            "x_high",
            "estimate",
            "low",
            "high",
            "n_seeds",
        }


def test_too_few_points_have_no_fit_but_a_slope():
    table = frame({10: 1.0, 30: 9.0, 90: 9.0}).iloc[:2]
    found = one(table, **POWER)
    assert found.reason == "2 distinct points, 3 needed for an interval"
    assert [s.estimate for s in found.local] == pytest.approx([2.0])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"law": "terms", "y": "edge", "terms": ["width"], "local": True}, "takes no local"),
        ({**POWER, "local": "yes"}, r"fits\[0\].local must be true or false, got 'yes'"),
    ],
)
def test_bad_entries(entry, message):
    with pytest.raises(InvalidValueError, match=message):
        parse_fits([entry], ["edge", "width"])
