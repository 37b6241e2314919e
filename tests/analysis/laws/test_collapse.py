"""Collapse: exponents that data were made with, what they cannot tell, a quality by brute force."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares

from lawsweep.analysis.laws.collapse.curves import Curves, Theta, distance_from_lines
from lawsweep.analysis.laws.collapse.place import collapsed
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import InvalidValueError, UnknownNameError

SIZES = (10, 20, 40)


def bent(u):
    return 1 / (1 + u / 2) ** 1.5


def frame(rng, curve=bent, a=-1.0, b=0.5, n_seeds=5, noise=0.02, n=9, grids=None, offset=0.0):
    """y = curve(x L^a) L^-b, with noise of each row and an offset of each seed, both of log y."""
    found = []
    moved = offset * rng.standard_normal(n_seeds)
    for size in SIZES:
        x = np.geomspace(0.2, 12, n) * size if grids is None else grids[size]
        for seed in range(n_seeds):
            y = curve(x * size**a) * size**-b
            y = y * np.exp(noise * rng.standard_normal(len(x)) + moved[seed])
            rows = {"x": x, "L": size, "y": y, "seed": seed, "status": "ok"}
            found.append(pd.DataFrame(rows))
    return pd.concat(found, ignore_index=True)


def one(data, **entry):
    entry = {"law": "collapse", "x": "x", "y": "y", "scale": "L", **entry}
    (spec,) = parse_fits([entry], list(data.columns))
    (found,) = fit(data, spec)
    return found


def test_exponents_are_those_of_a_fit_that_knows_the_curve():
    """The oracle fits A, c, a and b of y = A (1 + c x L^a)^-1.5 L^-b by scipy."""
    data = frame(np.random.default_rng(3), n=14)
    found = one(data)
    u, size, y = np.log(data.x), np.log(data.L), np.log(data.y)

    def left(p):
        return y - (p[0] - 1.5 * np.log1p(np.exp(p[1] + u + p[2] * size)) - p[3] * size)

    oracle = least_squares(left, [0.1, -0.5, -0.8, 0.3])
    errors = np.sqrt(np.diag(np.linalg.inv(oracle.jac.T @ oracle.jac)) * 2 * oracle.cost / len(y))
    for k, name in ((2, "a"), (3, "b")):
        # The curve that is known has two coefficients, ours some seven: half an error apart.
        assert abs(found[name].estimate - oracle.x[k]) < 2 * errors[k]
        assert found[name].low < oracle.x[k] < found[name].high
        assert found[name].high - found[name].low > 2 * 1.9 * errors[k]


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_intervals_cover_and_s_is_about_1(offset):
    rng = np.random.default_rng(11)
    n, inside, s = 8, 0, []
    for _ in range(n):
        found = one(frame(rng, offset=offset, n_seeds=4))
        inside += found["a"].low <= -1 <= found["a"].high
        inside += found["b"].low <= 0.5 <= found["b"].high
        s.append(found.evidence["quality"])
    # a and b are all but one number, so n intervals: four standard errors of n below 0.95.
    assert inside / (2 * n) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / n)
    # Σ r² has some 27 - 9 degrees of freedom: its mean of n has a standard error of a tenth.
    assert 0.55 < np.mean(s) < 1.6


def test_an_offset_of_each_seed_is_no_distance_between_curves():
    """Seeds that move all curves together leave S and the exponents as they are."""
    data = frame(np.random.default_rng(5))
    moved = data.assign(y=data.y * np.exp(0.5 * np.sin(data.seed)))
    plain, shifted = one(data), one(moved)
    for name in ("a", "b"):
        assert shifted[name].estimate == pytest.approx(plain[name].estimate, rel=1e-6)
        assert shifted[name].seeds == pytest.approx(plain[name].seeds, rel=1e-3)
    assert shifted.evidence["quality"] == pytest.approx(plain.evidence["quality"], rel=1e-6)


def test_seeds_with_exponents_of_their_own_widen_the_interval():
    rng = np.random.default_rng(2)
    data = frame(rng, noise=0.005)
    lift = 0.1 * np.array([-2, -1, 0, 1, 2])
    own = data.assign(y=data.y * (data.L / 20) ** lift[data.seed])
    found = one(own)
    # b of seed s is 0.5 - lift[s]: half a width is t(4) sd / sqrt(5).
    low, high = found["b"].seeds
    assert (high - low) / 2 == pytest.approx(2.7764 * np.std(lift, ddof=1) / np.sqrt(5), rel=0.1)
    assert (found["b"].low, found["b"].high) == (low, high)
    assert "interval from the laws of 5 seeds" in found.summary()


def test_a_critical_point_with_its_exponent():
    rng = np.random.default_rng(8)
    rows = []
    for size in (8, 16, 32):
        x = np.linspace(1, 3, 15)
        for seed in range(4):
            y = 1 / (1 + np.exp(2 * (x - 2.1) * size**0.5)) + 0.01 * rng.standard_normal(len(x))
            rows.append(pd.DataFrame({"x": x, "L": size, "y": y, "seed": seed, "status": "ok"}))
    data = pd.concat(rows, ignore_index=True)
    found = one(data, critical=True, exponents={"b": 0})
    assert found["a"].low < 0.5 < found["a"].high < 0.7
    assert found["x_c"].low < 2.1 < found["x_c"].high < 2.2
    assert found["b"].estimate == found["b"].low == found["b"].high == 0
    assert "collapse_y: y = f((x - 2." in found.summary()
    known = one(data, critical=2.1, exponents={"b": 0})
    assert known["a"].high - known["a"].low <= found["a"].high - found["a"].low


def test_given_exponents_leave_the_quality_alone():
    data = frame(np.random.default_rng(6))
    right = one(data, exponents={"a": -1, "b": 0.5})
    wrong = one(data, exponents={"a": -0.8, "b": 0.5})
    assert right.evidence["chance"] > 0.01
    assert "one curve within their errors" in right.summary()
    assert wrong.evidence["quality"] > 10
    assert "not one curve within their errors" in wrong.summary()
    assert wrong.evidence["quality_lines"] > 3 * right.evidence["quality_lines"]
    assert right["a"].estimate == right["a"].low == -1
    json.dumps(right.to_dict(), allow_nan=False)


def test_curves_of_another_column_are_told_apart():
    data = frame(np.random.default_rng(6))
    other = data.assign(m=1, y=data.y * np.exp(0.5 * (data.x / data.L) ** 0.3))
    both = pd.concat([data.assign(m=0), other], ignore_index=True)
    given = {"exponents": {"a": -1, "b": 0.5}}
    together = one(both, curves="m", **given)
    assert together.evidence["n_curves"] == 6
    assert together.evidence["quality"] > 10 * one(data, **given).evidence["quality"]


def test_curves_of_unequal_ranges_predict_and_scale():
    grids = {10: np.geomspace(5, 300, 9), 20: np.geomspace(20, 900, 11),
             40: np.geomspace(80, 2000, 10)}  # fmt: skip
    found = one(frame(np.random.default_rng(2), noise=0.01, grids=grids))
    x = np.array([100.0, 400.0, 1e9])
    inputs = {"x": x, "L": np.full(3, 20.0)}
    y = found.predict(inputs)
    truth = bent(x[:2] / 20) / np.sqrt(20)
    np.testing.assert_allclose(y[:2], truth, rtol=0.03)
    assert np.isnan(y[2])
    low, high = found.band(inputs)
    assert np.all((low[:2] < truth) & (truth < high[:2]))
    given = collapsed(one(frame(np.random.default_rng(2), noise=0.01, grids=grids),
                          exponents={"a": -1, "b": 0.5}))  # fmt: skip
    np.testing.assert_allclose(given.y, bent(given.x), rtol=0.03)
    np.testing.assert_allclose(given.curve_y, bent(given.curve_x), rtol=0.03)
    assert set(given.size.tolist()) == set(SIZES)
    assert np.all((given.low < given.y) & (given.y < given.high))


def test_straight_curves_tell_one_combination():
    """y = 3 x^-0.5 L^-1 = f(x L^a) L^-b wherever b = 1 - 0.5 a, with f(u) = 3 u^-0.5."""
    straight = frame(np.random.default_rng(5), curve=lambda u: 3 * u**-0.5, a=0.0, b=1.0)
    found = one(straight)
    assert "straight lines" in found.reason
    assert "only b + 0.5 a = " in found.reason
    known = found.evidence["known"]
    assert known["low"] < 1.0 < known["high"]
    fixed = one(straight, exponents={"a": -1})
    assert fixed["b"].low <= 1.5 <= fixed["b"].high


@pytest.mark.parametrize("seed", range(4))
def test_noise_makes_no_exponents_of_straight_curves(seed):
    rng = np.random.default_rng(seed)
    assert one(frame(rng, curve=lambda u: 3 * u**-0.5, noise=0.1, n=12)).reason is not None


def test_what_is_no_collapse_is_a_sentence():
    rng = np.random.default_rng(5)
    data = frame(rng)
    apart = {10: np.geomspace(1, 2, 5), 20: np.geomspace(50, 90, 5), 40: np.geomspace(500, 900, 5)}
    fixed = {"a": 0, "b": 0}
    assert "do not reach across" in one(frame(rng, grids=apart), exponents=fixed).reason
    assert "one size alone (L = 10)" in one(data[data.L == 10]).reason
    assert "6 distinct points, 11 needed" in one(frame(rng, n=2)).reason
    assert "same at all points" in one(data.assign(y=2.0)).reason
    assert "x is ≤ 0" in one(data.assign(x=data.x - 50)).reason
    holes = one(data.assign(y=data.y.where(data.x > 10)))
    assert holes.left_out == {"without a finite y": int((data.x <= 10).sum())}
    assert np.isfinite(holes["a"].high)
    single = one(frame(rng, n_seeds=1))
    assert "one seed" in single.summary()
    assert "no quality" in single.summary()
    assert single.evidence["quality"] is None
    assert single["a"].low < -1 < single["a"].high


def test_a_minimum_at_the_edge_is_no_fit():
    """Curves with nothing in common but a scale that is of no account: y is noise."""
    rng = np.random.default_rng(7)
    data = frame(rng, curve=lambda u: np.ones_like(u), b=0.0, noise=0.3)
    found = one(data, exponents={"b": 0})
    assert found.reason is not None
    assert "a is not bounded" in found.reason


def test_the_lines_of_houdayer_and_hartmann_by_brute_force():
    """numpy's weighted polynomial of the four neighbours of each point."""
    rng = np.random.default_rng(3)
    x = np.concatenate([np.sort(rng.uniform(0, 1, 7)) for _ in range(3)])
    curve = np.repeat([0, 1, 2], 7)
    y, error = rng.standard_normal(21), rng.uniform(0.5, 2, 21)
    total, n = 0.0, 0
    for i in range(21):
        near = []
        for k in {0, 1, 2} - {int(curve[i])}:
            mine = np.flatnonzero(curve == k)
            below, above = mine[x[mine] < x[i]], mine[x[mine] >= x[i]]
            if len(below) and len(above):
                near += [below[-1], above[0]]
        if not near:
            continue
        w = 1 / error[near] ** 2
        design = np.stack([np.ones(len(near)), x[near]], axis=1)
        inverse = np.linalg.inv(design.T * w @ design)
        at = np.array([1, x[i]])
        value = at @ inverse @ (design.T * w @ y[near])
        total += (y[i] - value) ** 2 / (error[i] ** 2 + at @ inverse @ at)
        n += 1
    curves = Curves(x, y, np.zeros(21), curve, True, True)  # log L = 0: nothing is scaled
    s, compared = distance_from_lines(curves, Theta(0.7, -0.2), error)
    assert compared == n
    assert s == pytest.approx(total / n, rel=1e-9)


def test_keys_are_checked_without_data():
    columns = ["x", "y", "L"]
    base = {"law": "collapse", "x": "x", "y": "y"}
    full = {**base, "scale": "L"}
    with pytest.raises(InvalidValueError, match="needs scale"):
        parse_fits([base], columns)
    with pytest.raises(UnknownNameError, match="Did you mean 'scale'"):
        parse_fits([{**base, "scal": "L"}], columns)
    with pytest.raises(InvalidValueError, match=r"exponents must be a mapping such as \{a: -1"):
        parse_fits([{**full, "exponents": [1, 2]}], columns)
    with pytest.raises(InvalidValueError, match="numbers, a being one"):
        parse_fits([{**full, "exponents": {"a": "one"}}], columns)
    with pytest.raises(UnknownNameError, match="nu"):
        parse_fits([{**full, "exponents": {"nu": 1}}], columns)
    with pytest.raises(InvalidValueError, match=r"critical must be true \(to be found\)"):
        parse_fits([{**full, "critical": "yes"}], columns)
    with pytest.raises(InvalidValueError, match="logx must be false"):
        parse_fits([{**full, "critical": True, "logx": True}], columns)


@pytest.mark.parametrize("n_seeds", [2, 4])
def test_seeds_that_agree_have_no_quality(n_seeds):
    grids = {size: np.geomspace(0.2, 12, 11 + k) * size for k, size in enumerate(SIZES)}
    data = frame(np.random.default_rng(0), n_seeds=n_seeds, noise=0.0, grids=grids)
    found = one(data)
    assert found.evidence["quality"] is None
    assert found["a"].estimate == pytest.approx(-1, abs=1e-3)
    assert found["b"].estimate == pytest.approx(0.5, abs=1e-3)
