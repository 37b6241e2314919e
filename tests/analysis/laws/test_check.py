"""Bands, windows, the largest x held out, rivals, and the sentence."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits


def one(frame, **entry):
    (spec,) = parse_fits([entry], list(frame.columns))
    (found,) = fit(frame, spec)
    return found


def line(n=7, noise=0.1, n_seeds=1, seed=0, spread=0.0):
    rng = np.random.default_rng(seed)
    x = np.tile(np.arange(1.0, n + 1), n_seeds)
    seeds = np.repeat(np.arange(n_seeds), n)
    y = 1 + (2 + spread * rng.normal(size=n_seeds)[seeds]) * x + noise * rng.normal(size=len(x))
    return pd.DataFrame({"x": x, "y": y, "seed": seeds})


LINEAR = {"law": "linear", "x": "x", "y": "y"}


def classical(x, y, at, new):
    """Half width of a regression line's interval, by the textbook's sums."""
    n, dx = len(x), x - x.mean()
    slope, intercept = np.polyfit(x, y, 1)
    s2 = np.sum((y - intercept - slope * x) ** 2) / (n - 2)
    variance = s2 * (float(new) + 1 / n + (at - x.mean()) ** 2 / np.sum(dx**2))
    return student.ppf(0.975, n - 2) * np.sqrt(variance)


@pytest.mark.parametrize("new", [False, True])
def test_band_of_a_line_is_the_classical_one(new):
    frame = line()
    found = one(frame, **LINEAR)
    at = np.array([0.0, 3.3, 20.0])
    low, high = found.band(at, new=new)
    half = classical(frame.x.to_numpy(), frame.y.to_numpy(), at, new)
    np.testing.assert_allclose((high - low) / 2, half, rtol=1e-9)
    np.testing.assert_allclose((high + low) / 2, found.predict(at), rtol=1e-9)


def test_band_of_logarithms_is_positive_and_holds_the_law():
    frame = line(noise=0.05).assign(y=lambda f: np.exp(-f.y))
    found = one(frame, law="exponential", x="x", y="y")
    at = np.array([1.0, 5.0])
    low, high = found.band({"x": at})
    half = classical(frame.x.to_numpy(), np.log(frame.y.to_numpy()), at, False)
    np.testing.assert_allclose(np.log(high / low) / 2, half, rtol=1e-9)
    assert np.all(low > 0)


def test_band_knows_the_seeds():
    """At every x the laws of single seeds spread as they do, with t(S - 1)."""
    frame = line(n_seeds=4, spread=0.5, noise=0.01)
    found = one(frame, **LINEAR)
    at = np.array([2.0, 10.0])
    low, high = found.band(at)
    own = np.stack([np.polyval(np.polyfit(g.x, g.y, 1), at) for _, g in frame.groupby("seed")])
    half = student.ppf(0.975, 3) * own.std(axis=0, ddof=1) / 2
    np.testing.assert_allclose((high - low) / 2, half, rtol=1e-8)
    wider_low, wider_high = found.band(at, new=True)
    assert np.all(wider_high - wider_low > high - low)


def test_band_of_terms():
    frame = line().assign(one=1.0)
    found = one(frame, law="terms", terms=["one", "x"], y="y")
    at = np.array([3.0])
    low, high = found.band({"one": np.ones(1), "x": at})
    half = classical(frame.x.to_numpy(), frame.y.to_numpy(), at, False)
    np.testing.assert_allclose((high - low) / 2, half, rtol=1e-9)


def test_no_fit_has_no_band_and_no_verdict():
    found = one(line(n=2), **LINEAR)
    assert found.band(np.ones(1)) is None
    assert found.verdict is None
    assert found.to_dict()["checks"] == {}


def test_a_prediction_knows_noise_that_grows():
    """Held-out largest x over 150 tables whose noise grows tenfold: covered about as asked."""
    rng = np.random.default_rng(3)
    u, held = np.linspace(0, 1, 8), []
    for _ in range(150):
        logs = -u + 0.05 * 10 ** (u - 1) * rng.normal(size=(5, 8))
        frame = pd.DataFrame(
            {
                "x": np.tile(np.exp(5 * u), 5),
                "y": np.exp(logs.ravel()),
                "seed": np.repeat(range(5), 8),
            }
        )
        held.append(one(frame, law="power", x="x", y="y").judged.hold_out["holds"])
    assert np.mean(held) > 0.93 - 4 * np.sqrt(0.93 * 0.07 / 150)


def test_windows_are_fits_of_the_rest():
    frame = line(n=8)
    windows = one(frame, **LINEAR).judged.checks["windows"]
    assert [w["without"] for w in windows] == ["first 1", "last 1", "first 2", "last 2"]
    for window, kept in zip(
        windows, (slice(1, 8), slice(0, 7), slice(2, 8), slice(0, 6)), strict=True
    ):
        part = frame.iloc[kept]
        slope, _ = np.polyfit(part.x, part.y, 1)
        assert window["parameters"]["slope"][0] == pytest.approx(slope, rel=1e-10)
        assert window["x_range"] == (part.x.min(), part.x.max())
        assert window["n_points"] == len(part)


def test_windows_that_are_too_short_say_so():
    windows = one(line(n=4), **LINEAR).judged.checks["windows"]
    assert windows[-1]["reason"] == "2 distinct points, 3 needed for an interval"
    assert windows[-1]["parameters"] == {}


def test_the_largest_x_is_predicted_from_the_others():
    frame = line(n=8)
    held = one(frame, **LINEAR).judged.hold_out
    rest = frame.iloc[:7]
    predicted = np.polyval(np.polyfit(rest.x, rest.y, 1), 8.0)
    half = classical(rest.x.to_numpy(), rest.y.to_numpy(), 8.0, True)
    assert held["x"] == 8.0
    assert held["seen"] == pytest.approx(frame.y.iloc[7])
    assert held["predicted"] == pytest.approx(predicted, rel=1e-10)
    assert (held["low"], held["high"]) == pytest.approx((predicted - half, predicted + half))
    assert held["holds"]
    frame.loc[7, "y"] += 5
    found = one(frame, **LINEAR)
    assert not found.judged.hold_out["holds"]
    assert "x = 8 is not as the others predict" in found.verdict


def power_table(n=8, noise=0.02, n_seeds=4, offset=0.0):
    rng = np.random.default_rng(1)
    x = np.tile(np.geomspace(10, 1000, n), n_seeds)
    y = (offset + x**-0.7) * np.exp(noise * rng.normal(size=len(x)))
    return pd.DataFrame({"x": x, "y": y, "seed": np.repeat(np.arange(n_seeds), n)})


POWER = {"law": "power", "x": "x", "y": "y"}


def test_rivals_are_compared_by_aicc():
    frame = power_table()
    rows = {r["law"]: r for r in one(frame, **POWER).judged.candidates}
    logs = frame.assign(v=np.log(frame.y)).groupby("x").v.mean()
    for law, v in (("power", np.log(logs.index)), ("exponential", logs.index.to_numpy())):
        rss = np.polyfit(v, logs, 1, full=True)[1][0]
        assert rows[law]["rss"] == pytest.approx(rss, rel=1e-9)
        assert rows[law]["aicc"] == pytest.approx(8 * math.log(rss / 8) + 6 + 24 / 4, rel=1e-9)
    assert rows["power"]["delta_aicc"] == 0
    known = [r["weight"] for r in rows.values() if r["weight"] is not None]
    assert sum(known) == pytest.approx(1)
    assert rows["exponential"]["largest_x_missed_by"] is not None


def test_few_points_have_no_aicc():
    rows = one(power_table(n=4), **POWER).judged.candidates
    assert rows[0]["aicc"] is None
    assert rows[0]["reason"] == "4 points: AICc of 2 parameters needs 5"
    assert all(r["weight"] is None for r in rows)


def test_an_exact_law_is_not_compared():
    rows = one(power_table(noise=0.0), **POWER).judged.candidates
    assert rows[0]["reason"] == "fits to rounding: there is no scatter to compare by"
    assert all(r["delta_aicc"] is None for r in rows)


def test_the_sentence():
    supported = one(power_table(), **POWER)
    assert supported.verdict.startswith("one power law is supported: no bend is seen, the slope")
    assert supported.summary().endswith(f"\n        {supported.verdict}")
    bent = one(power_table(offset=0.02), **POWER)
    assert bent.verdict.startswith("one power law is not supported: it bends, local slope -0.")
    few = one(power_table(n=3), **POWER)
    assert few.verdict == "3 points cannot say whether one power law holds: 4 are needed"


def test_everything_is_strict_json():
    for frame in (power_table(), power_table(n=3), power_table(noise=0.0), power_table(n=2)):
        read = json.loads(json.dumps(one(frame, **POWER).to_dict(), allow_nan=False))
        assert set(read) >= {"verdict", "checks", "rss", "n_parameters", "curvature_test"}
    exponent = json.loads(json.dumps(one(power_table(), **POWER).to_dict()))["parameters"][
        "exponent"
    ]
    assert set(exponent) == {"estimate", "low", "high", "scatter", "seeds"}
    assert exponent["low"] == min(exponent["scatter"][0], exponent["seeds"][0])


def test_what_a_fit_keeps():
    frame = power_table()
    found = one(frame, **POWER)
    grouped = np.log(frame.y).groupby(frame.x)
    np.testing.assert_allclose(found.points.y, grouped.mean())
    np.testing.assert_allclose(found.points.sd, grouped.std())
    np.testing.assert_array_equal(found.points.n, 4)
    _, covariance = np.polyfit(np.log(found.points.inputs["x"]), found.points.y, 1, cov=True)
    np.testing.assert_allclose(found.covariance, covariance[::-1, ::-1], rtol=1e-8)
    assert found.rss == pytest.approx(8 * found.rms**2)
    half = student.ppf(0.975, 6) * np.sqrt(covariance[0, 0])
    exponent = found["exponent"]
    assert exponent.scatter == pytest.approx((exponent.estimate - half, exponent.estimate + half))
