"""Laws of rows of which some are only bounds: floors, censored values, lower bounds."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq, minimize
from scipy.stats import norm, t

from lawsweep.analysis.figures.chart import Line, Marks
from lawsweep.analysis.figures.draw import make_figure
from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.frames import Columns
from lawsweep.analysis.laws.censored.components import find_components
from lawsweep.analysis.laws.censored.tobit import Rows, maximise
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.analysis.laws.table import fit_table
from lawsweep.core.errors import LawsweepError

X = np.geomspace(10, 1280, 8)


def table(n_seeds=5, slope=-1.5, noise=0.3, offset=0.0, seed=0, x=X):
    rng = np.random.default_rng(seed)
    s, p = (i.ravel() for i in np.indices((n_seeds, len(x))))
    errors = noise * rng.normal(size=len(s)) + offset * rng.normal(size=n_seeds)[s]
    return pd.DataFrame({"x": x[p], "y": 100 * x[p] ** slope * np.exp(errors), "seed": s})


def fitted(frame, **entry):
    (spec,) = parse_fits([{"law": "power", "x": "x", "y": "y", **entry}], list(frame))
    (found,) = fit(frame, spec)
    return found


def reference(v, c, bound):
    """The Tobit likelihood by a simplex: (a, b, log sigma), sigma freed of two coefficients."""

    def miss(q):
        u = (c - q[0] - q[1] * v) / np.exp(q[2])
        terms = np.where(bound == 0, norm.logpdf(u) - q[2], norm.logcdf(-bound * u))
        return -(terms.sum() + 2 * q[2])

    def least(start, fixed=None):
        def of(r):
            return miss(r if fixed is None else np.array([r[0], fixed, r[1]]))

        found = minimize(of, start, method="Nelder-Mead", options={
            "xatol": 1e-9, "fatol": 1e-11, "maxiter": 20_000, "maxfev": 20_000})  # fmt: skip
        return found.x, found.fun

    line = np.polyfit(v, c, 1)
    best, value = least(np.array([line[1], line[0], np.log(np.std(c))]))
    return best, value, lambda b: least(best[[0, 2]], b)[1] - value


def test_without_shared_seeds_it_is_the_tobit_likelihood_and_its_profile():
    frame = table(n_seeds=6)
    frame["seed"] = np.arange(len(frame))  # no seed is at two points
    floor = 0.02
    frame["y"] = frame["y"].where(frame["y"] > floor, 1e-9)
    found = fitted(frame, floor=floor)
    assert 5 < found.n_bounds["upper"] == int((frame["y"] <= floor).sum())
    v, bound = np.log(frame["x"]), np.where(frame["y"] <= floor, -1, 0)
    c = np.log(np.maximum(frame["y"], floor))
    best, _, fall = reference(v, c, bound)
    assert found["C"].estimate == pytest.approx(np.exp(best[0]), rel=1e-5)
    assert found["exponent"].estimate == pytest.approx(best[1], rel=1e-6)
    assert found.evidence["row_sd"] == pytest.approx(np.exp(best[2]), rel=1e-5)
    # phi by the definition: slopes and curvatures of the likelihood in each point's own value.
    sigma, step = np.exp(best[2]), 1e-4
    chi2 = 0.0
    for x in X:
        at = (frame["x"] == x).to_numpy()

        def of(shift, at=at):
            u = (c - best[0] - best[1] * v - shift)[at] / sigma
            return np.where(bound[at] == 0, norm.logpdf(u), norm.logcdf(u)).sum()

        g = (of(step) - of(-step)) / (2 * step)
        chi2 += g**2 / -((of(step) - 2 * of(0) + of(-step)) / step**2)
    valued = int((frame.groupby("x")["y"].max() > floor).sum())
    room = float((bound == 0).sum() - 2)
    tau2 = t.ppf(0.975, valued - 2) ** 2 * chi2 / (valued - 2)
    wanted = room * np.log1p(tau2 / room) / 2
    ends = [
        brentq(lambda b: fall(b) - wanted, best[1], best[1] + side, xtol=1e-6)
        for side in (-1.0, 1.0)
    ]
    assert found["exponent"].scatter == pytest.approx(ends, abs=2e-4)


def test_a_single_bound_far_from_its_value_changes_a_fit_of_values_by_little():
    frame = table(n_seeds=8, offset=0.5)
    plain = fitted(frame)
    high = frame["y"].idxmin()
    frame["stopped"] = frame.index == high
    bound = fitted(frame, censored="stopped")  # at most what it is: it lies on the law as it did
    for name in ("C", "exponent"):
        assert bound[name].estimate == pytest.approx(plain[name].estimate, rel=0.03)
        for a, b in zip(bound[name].seeds, plain[name].seeds, strict=True):
            assert a == pytest.approx(b, rel=0.2)


def test_a_floor_that_no_row_reaches_leaves_the_fit_as_it_is():
    frame = table()
    with_floor, without = fitted(frame, floor=1e-16), fitted(frame)
    assert with_floor.parameters == without.parameters
    assert with_floor.n_bounds == {"upper": 0, "lower": 0, "points": 0}
    assert "bounds" not in with_floor.summary()


def test_lower_bounds_are_upper_bounds_of_the_inverse():
    frame = table()
    frame["low"] = frame["y"] < 0.05
    frame["inverse"] = 1 / frame["y"]
    down = fitted(frame, censored="low")
    up = fitted(frame, y="inverse", censored_above="low")
    assert up["exponent"].estimate == pytest.approx(-down["exponent"].estimate, rel=1e-7)
    assert up["exponent"].low == pytest.approx(-down["exponent"].high, rel=1e-5)
    assert (up.n_bounds["lower"], up.n_bounds["upper"]) == (down.n_bounds["upper"], 0)


def test_seeds_are_told_from_noise_where_the_far_end_is_bounds_of_the_low_ones():
    """Offsets of 1 beside a noise of .05: the seeds that reach the far end are the high ones."""
    misses, naive = [], []
    for k in range(12):
        frame = table(n_seeds=6, noise=0.05, offset=1.0, seed=k)
        floor = 100 * X[5] ** -1.5
        found = fitted(frame, floor=floor)
        misses.append(found["exponent"].estimate + 1.5)
        seen = np.log(frame.loc[frame["y"] > floor, ["x", "y"]]).groupby("x")["y"].mean()
        naive.append(np.polyfit(seen.index, seen, 1)[0] + 1.5)
        assert found["exponent"].low < -1.5 < found["exponent"].high
    assert abs(np.mean(naive)) > 0.15  # what leaving bounds out does
    assert np.std(misses) < 0.03  # seeds' own laws know it to .05 sqrt(12 / 6 / 6) / 4.8
    assert abs(np.mean(misses)) < 4 * np.std(misses) / np.sqrt(12)


def test_the_restricted_likelihood_is_that_of_the_normal_law_where_all_are_values():
    rng = np.random.default_rng(3)
    n_seeds, n = 6, 7
    u = np.linspace(-1, 1, n)
    y = rng.normal(size=(n_seeds, n)) + 2 * rng.normal(size=(n_seeds, 1)) + 0.5 * u
    s, p = (i.ravel() for i in np.indices((n_seeds, n)))
    design = np.stack([np.ones(n), u], axis=1)[p]
    rows = Rows(design, y.ravel(), np.zeros(len(s), int), np.ones(len(s)), np.ones(len(s)),
                np.zeros((len(s), 0)), s, np.arange(n_seeds) * n, np.zeros(0), 2.0)  # fmt: skip
    found = find_components(rows, u[p], shared=True, replicated=False)

    def minus(logs):
        cov = np.eye(len(s)) + np.exp(-logs[0]) * (s[:, None] == s)
        cov += np.exp(-logs[1]) * (s[:, None] == s) * np.outer(u[p], u[p])
        inverse = np.linalg.inv(cov)
        inner = design.T @ inverse @ design
        beta = np.linalg.solve(inner, design.T @ inverse @ y.ravel())
        miss = y.ravel() - design @ beta
        m = len(s) - 2
        return 0.5 * (np.linalg.slogdet(cov)[1] + np.linalg.slogdet(inner)[1]
                      + m * np.log(miss @ inverse @ miss / m) + m)  # fmt: skip

    best = minimize(minus, [0.0, 4.0], method="Nelder-Mead")
    logs = np.log(found.rows.precision)
    assert minus([logs[0], logs[1] if len(logs) > 1 else 40.0]) == pytest.approx(best.fun, abs=0.1)
    assert found.restricted == pytest.approx(
        -minus([logs[0], logs[1] if len(logs) > 1 else 40.0]), abs=1e-4
    )


def test_effects_with_bounds_are_as_a_general_optimiser_has_them():
    rng = np.random.default_rng(4)
    s, p = (i.ravel() for i in np.indices((4, 6)))
    u = np.linspace(-1, 1, 6)[p]
    y = 1 - 2 * u + 0.4 * rng.normal(size=24) + rng.normal(size=4)[s]
    bound = np.where(y < -1, -1, np.where(y > 3, 1, 0))
    c = np.clip(y, -1, 3)
    design, effects = np.stack([np.ones(24), u], axis=1), np.stack([np.ones(24), u], axis=1)
    weight, scale = rng.uniform(0.5, 2, 24), np.exp(0.3 * u)
    rows = Rows(design, c, bound, weight, scale, effects, s, np.arange(4) * 6,
                np.array([0.5, 4.0]), 2.0)  # fmt: skip

    def minus(q):
        a = q[3:].reshape(4, 2)
        z = (c * q[2] - design @ q[:2] - np.sum(effects * a[s], axis=1)) / scale
        terms = np.where(bound == 0, np.log(q[2]) - z**2 / 2, norm.logcdf(-bound * z))
        return -(weight @ terms - 2 * np.log(q[2]) - 0.5 * np.sum(a**2 * [0.5, 4.0]))

    start = np.array([1, -2, 1.0, *np.zeros(8)])
    limits = [(None, None)] * 2 + [(1e-3, None)] + [(None, None)] * 8
    best = minimize(minus, start, bounds=limits, options={"ftol": 1e-14, "gtol": 1e-9})
    found = maximise(rows)
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-7)
    assert found.beta == pytest.approx(best.x[:2] / best.x[2], abs=1e-4)


@pytest.mark.parametrize(("law", "name"), [("exponential", "rate"), ("linear", "slope")])
def test_other_straight_laws_take_bounds_too(law, name):
    rng = np.random.default_rng(1)
    x = np.tile(np.linspace(1, 8, 8), 6)
    line = 3 - 0.5 * x + 0.2 * rng.normal(size=48)
    y = np.exp(line) if law == "exponential" else line
    frame = pd.DataFrame({"x": x, "y": y, "seed": np.repeat(np.arange(6), 8)})
    frame["stopped"] = line < 0.3
    frame.loc[frame["stopped"], "y"] = np.exp(0.3) if law == "exponential" else 0.3
    found = fitted(frame, law=law, censored="stopped")
    naive = fitted(frame, law=law)
    assert found[name].low < -0.5 < found[name].high
    assert abs(found[name].estimate + 0.5) < abs(naive[name].estimate + 0.5)


def test_a_bend_is_seen_among_bounds_and_a_straight_law_has_none():
    frame = table(n_seeds=6, noise=0.1)
    floor = 0.02
    straight = fitted(frame, floor=floor)
    assert not straight.curved
    assert straight.verdict.startswith("one power law is supported")
    frame["y"] += 0.3
    bent = fitted(frame, floor=0.31)
    assert bent.curved
    assert bent.curvature.slope_last > bent.curvature.slope_first
    assert "not supported" in bent.verdict
    assert bent.judged.checks["hold_out"] is None
    assert bent.judged.checks["candidates"] == []
    assert len(bent.judged.checks["windows"]) == 4


def test_values_on_the_law_to_rounding_with_bounds_that_agree_are_that_law():
    frame = pd.DataFrame({"x": X, "y": 100 * X**-1.5})
    frame.loc[frame["x"] > 300, "y"] = 0.0
    found = fitted(frame, floor=0.04)
    assert found["exponent"].estimate == pytest.approx(-1.5, abs=1e-12)
    assert found.n_bounds == {"upper": 3, "lower": 0, "points": 3}
    above = fitted(frame, floor=1e-6)  # the law is above these bounds: it does not hold
    assert above.rms > 0.1


def test_counts_are_told_everywhere():
    frame = table()
    found = fitted(frame, floor=0.02, name="decay")
    n, alone = found.n_bounds["upper"], found.n_bounds["points"]
    said = f"40 rows, {n} upper bounds among them ({alone} point"
    assert said in found.summary()
    told = found.to_dict()
    json.dumps(told, allow_nan=False)
    assert told["n_bounds"] == found.n_bounds
    assert told["floor"] == "0.02"
    assert f"{n} upper of 40" in fit_table([found])
    assert f"{n} upper of 40" in fit_table([found], "latex")
    assert fit_table([found], "csv").splitlines()[1].endswith(f",{n},0")
    assert "bounds" not in fit_table([fitted(frame)])


def test_the_band_is_that_of_the_law_and_wider_where_a_point_is_new():
    found = fitted(table(), floor=0.02)
    low, high = found.band(X)
    law = found.predict(X)
    assert np.all((low < law) & (law < high))
    new_low, new_high = found.band(X, new=True)
    assert np.all((new_low < low) & (high < new_high))


def test_local_slopes_are_those_between_points_of_values():
    frame = table()
    found = fitted(frame, floor=0.02, local=True)
    reached = frame[frame["y"] <= 0.02]["x"].min()
    assert found.local
    assert all(s.x_high < reached for s in found.local)


@pytest.mark.parametrize(
    ("floor", "text"),
    [
        (1e9, "no point has a value that is more than a bound, of 8 points: 3 needed"),
        (2.0, "1 point has a value that is more than a bound, of 8 points: 3 needed"),
        (0.5, "2 points have a value that is more than a bound, of 8 points: 3 needed"),
    ],
)
def test_too_few_points_of_values_are_a_sentence(floor, text):
    found = fitted(table(noise=0.01), floor=floor)
    assert found.parameters == ()
    assert text in found.reason
    assert "upper bounds among them" in found.summary()
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_is_no_bound_of_a_number_is_left_out_by_name():
    frame = table().astype({"y": float})
    frame["stopped"] = False
    frame["converged"] = True
    frame.loc[0, "y"] = np.nan
    frame.loc[1, ["stopped", "converged"]] = True, False  # the entry says what it says
    frame.loc[2, "converged"] = False
    frame.loc[3, "y"] = -np.inf  # below any floor
    found = fitted(frame, floor=0.001, censored_above="stopped")
    assert found.left_out == {"not converged": 1, "without a finite y": 1}
    assert (found.n_bounds["lower"], found.n_bounds["upper"]) == (1, 1)
    both = fitted(frame, censored="stopped", censored_above="stopped")
    assert both.left_out["a bound to both sides"] == 1


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"law": "terms", "terms": ["x"], "floor": 1}, "law terms takes no floor, got 1"),
        ({"law": "rate", "censored": "x > 1"}, "law rate takes no censored"),
        ({"floor": 0}, "floor must be above 0, as the law takes log y, got 0"),
        ({"floor": True}, "floor must be an expression"),
        ({"floor": "z"}, "Unknown column 'z' in fits[0].floor"),
        ({"floors": 1}, "Did you mean 'floor'"),
        ({"censored_abov": "x"}, "Did you mean 'censored_above'"),
    ],
)
def test_wrong_entries_are_refused_while_planning(entry, text):
    entry = {"law": "power", "x": "x", "y": "y", **entry}
    if entry["law"] == "terms":
        del entry["x"]
    with pytest.raises(LawsweepError) as caught:
        parse_fits([entry], ["x", "y"])
    assert text in str(caught.value)
    with pytest.raises(LawsweepError, match="true or false"):
        parse_fits([{"law": "power", "x": "x", "y": "y", "censored": "x + 1"}], ["x", "y"],
                   {"x": "float", "y": "float"})  # fmt: skip


@pytest.mark.parametrize("n_seeds", [1, 2, 3])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_intervals_are_finite_and_around_the_estimate_for_few_seeds(n_seeds, share):
    floor = 100 * float(np.quantile(X, 1 - share)) ** -1.5
    for k in range(6):
        found = fitted(table(n_seeds=n_seeds, offset=0.3, seed=k), floor=floor)
        if found.reason is not None:
            continue
        for p in found.parameters:
            assert np.isfinite([p.low, p.high]).all()
            assert p.low < p.estimate < p.high
            each = [p.scatter] if p.seeds is None else [p.scatter, p.seeds]
            assert (p.low, p.high) == (min(a for a, _ in each), max(b for _, b in each))
        assert ("one seed" in " ".join(found.warnings)) == (n_seeds == 1)


def test_figures_draw_bounds_as_open_arrows_apart_from_the_means():
    frame = table()
    frame["y"] = frame["y"].where(frame["y"] > 0.02, 0.0)
    n_bounds = int((frame["y"] == 0).sum())
    law = {"law": "power", "floor": 0.02}
    entries = [
        {"kind": "curve", "x": "x", "y": "y", "logx": True, "logy": True, "fit": law},
        {"kind": "residuals", "x": "x", "y": "y", "fit": law},
    ]
    curve, residuals = parse_figures(entries, list(frame))
    chart = find_kind("curve").chart(Columns(frame), curve, None)
    means, arrows = (
        [m for m in chart.kinds(Marks) if (m.marker == "v") is down] for down in (False, True)
    )
    reached = frame[frame["y"] == 0]["x"].unique()
    assert sorted(arrows[0].x) == sorted(reached)
    assert arrows[0].y == pytest.approx(0.02)
    assert len(means[0].rows) == len(frame) - n_bounds
    (line,) = (line for line in chart.kinds(Line) if line.role == "law")
    assert line.x.max() == pytest.approx(X[-1])
    assert "open arrows: rows that are only bounds of y" in chart.notes
    assert not any("≤ 0" in note for note in chart.notes)
    left = find_kind("residuals").chart(Columns(frame), residuals, None)
    assert not {*reached} & {*left.kinds(Marks)[0].x}
    for spec in (curve, residuals):
        make_figure(frame, spec)
