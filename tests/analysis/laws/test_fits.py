import json

import numpy as np
import pandas as pd
import pytest

from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import InvalidValueError, UnknownNameError

# sqrt(p (1 - p) / n) of a coverage estimated from n trials; four of them are passed by chance
# once in 16,000.
SIGMAS = 4


def one(frame, **entry):
    (spec,) = parse_fits([entry], list(frame.columns))
    return fit(frame, spec)


def power_frame(exponent=1.25, scale=3e-4, n_seeds=3, noise=0.0, seed=0, n=8):
    rng = np.random.default_rng(seed)
    width = np.repeat((10 * 2 ** np.arange(n)), n_seeds)
    y = scale * width.astype(float) ** (2 * exponent)
    y = y * np.exp(noise * rng.normal(size=len(y)))
    return pd.DataFrame(
        {"width": width, "seed": np.tile(np.arange(n_seeds), n), "edge": y, "status": "ok"}
    )


def test_an_exact_power_law_is_recovered_to_rounding():
    (found,) = one(power_frame(), law="power", x="width**2", y="edge")
    # log y carries a few units in the last place of |log y| < 20, and the span of log x is 10.
    assert found["exponent"].estimate == pytest.approx(1.25, rel=1e-12)
    assert found["C"].estimate == pytest.approx(3e-4, rel=1e-12)
    assert (found.n_points, found.n_rows, found.n_left_out) == (8, 24, 0)
    assert found.curvature.slope_first == pytest.approx(1.25, rel=1e-10)
    assert not found.curved
    assert found.warnings == ()
    assert found.x_range == (100.0, 1280.0**2)


def test_the_power_fit_is_the_line_through_mean_logarithms():
    frame = power_frame(noise=0.3, seed=5)
    (found,) = one(frame, law="power", x="width", y="edge")
    logs = frame.assign(v=np.log(frame.edge)).groupby("width").v.mean()
    slope, intercept = np.polyfit(np.log(logs.index.to_numpy(float)), logs.to_numpy(), 1)
    assert found["exponent"].estimate == pytest.approx(slope, rel=1e-12)
    assert found["C"].estimate == pytest.approx(np.exp(intercept), rel=1e-11)
    assert found["C"].low < found["C"].estimate < found["C"].high


def test_an_exponential_and_a_line_are_recovered():
    t = np.arange(6.0)
    frame = pd.DataFrame({"t": t, "loss": 2.5 * np.exp(-0.75 * t), "cost": 4 - 0.5 * t})
    (decay,) = one(frame, law="exponential", x="t", y="loss")
    assert decay["rate"].estimate == pytest.approx(-0.75, rel=1e-12)
    assert decay["C"].estimate == pytest.approx(2.5, rel=1e-12)
    (line,) = one(frame, law="linear", x="t", y="cost")
    assert line["slope"].estimate == pytest.approx(-0.5, rel=1e-12)
    assert line["intercept"].estimate == pytest.approx(4, rel=1e-12)


def gap_frame():
    n, d = (v.ravel() for v in np.meshgrid([500, 1000, 4000, 16000], [10, 40, 80]))
    return pd.DataFrame(
        {"n": n, "d": d, "gap": -0.31 / np.sqrt(n * d) - 2.0 / n, "status": "ok", "seed": 0}
    )


def test_two_terms_of_a_gap_are_recovered():
    (found,) = one(gap_frame(), law="terms", y="gap", terms=["1/sqrt(n*d)", "1/n"])
    assert found["1/sqrt(n*d)"].estimate == pytest.approx(-0.31, rel=1e-12)
    assert found["1/n"].estimate == pytest.approx(-2.0, rel=1e-12)
    assert found.n_points == 12
    assert found.curvature is None
    with pytest.raises(KeyError):
        found["exponent"]


def test_dependent_terms_are_said_to_be():
    (found,) = one(gap_frame(), law="terms", y="gap", terms=["1/n", "d/n", "(3 + 2*d)/n"])
    assert found.parameters == ()
    assert "rank 2 of 3" in found.reason
    assert "no fit of gap against 1/n, d/n, (3 + 2*d)/n: the terms depend" in found.summary()


def test_terms_average_replicates_at_each_design_point():
    frame = pd.concat([gap_frame()] * 3 + [gap_frame().head(6)], ignore_index=True)
    rng = np.random.default_rng(1)
    frame["gap"] += 1e-4 * rng.normal(size=len(frame))
    frame["seed"] = np.arange(len(frame))
    (found,) = one(frame, law="terms", y="gap", terms=["1/sqrt(n*d)", "1/n"])
    mean = frame.groupby(["n", "d"], as_index=False).gap.mean()
    design = np.stack([1 / np.sqrt(mean.n * mean.d), 1 / mean.n], axis=1)
    expected = np.linalg.solve(design.T @ design, design.T @ mean.gap)
    got = [p.estimate for p in found.parameters]
    # Normal equations square the condition number (about 5 for scaled columns).
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    assert (found.n_points, found.n_rows) == (12, 42)


def trials(n_trials, noise=0.2):
    """Independent noisy copies of one power law, told apart by the column ``trial``."""
    rng = np.random.default_rng(2024)
    width = np.tile(np.repeat(10 * 2 ** np.arange(6), 2), n_trials)
    edge = 0.5 * width**1.5 * np.exp(noise * rng.normal(size=len(width)))
    return pd.DataFrame({"trial": np.repeat(np.arange(n_trials), 12), "width": width, "edge": edge})


@pytest.mark.parametrize("level", [0.95, 0.68])
def test_the_interval_covers_as_often_as_it_says_and_curvature_is_rarely_flagged(level):
    n = 1000
    found = one(trials(n), law="power", x="width", y="edge", by="trial", level=level)
    assert len(found) == n
    allowed = SIGMAS * np.sqrt(level * (1 - level) / n)
    for name, truth in (("exponent", 1.5), ("C", 0.5)):
        covered = np.mean([f[name].low <= truth <= f[name].high for f in found])
        assert abs(covered - level) < allowed
    assert abs(np.mean([f.curved for f in found]) - (1 - level)) < allowed


def test_replicates_do_not_narrow_the_interval_below_the_lack_of_fit():
    """log y = 2 log x plus a fixed wiggle: no law holds, and more seeds must not hide it."""

    def half_width(n_seeds):
        frame = power_frame(exponent=1.0, n_seeds=n_seeds, noise=0.01)
        wiggle = np.where(np.log2(frame.width / 10) % 2 == 0, 0.1, -0.1)
        frame["edge"] *= np.exp(wiggle)
        (found,) = one(frame, law="power", x="width", y="edge")
        return (found["exponent"].high - found["exponent"].low) / 2

    # Treating 100 replicates as points of their own would divide by about 10.
    assert half_width(100) > 0.9 * half_width(1)


def test_a_curved_law_is_flagged_with_its_end_slopes():
    frame = power_frame(noise=0.01)
    u = np.log(frame.width)
    frame["edge"] = np.exp(2.4 * u - 0.08 * u**2 + 0.01 * np.sin(np.arange(len(u))))
    (found,) = one(frame, law="power", x="width", y="edge")
    assert found.curved
    # d log y / d log x = 2.4 - 0.16 u at the ends u = log 10 and log 1280, wiggled by 1 %.
    assert found.curvature.slope_first == pytest.approx(2.4 - 0.16 * np.log(10), abs=0.03)
    assert found.curvature.slope_last == pytest.approx(2.4 - 0.16 * np.log(1280), abs=0.03)
    assert found.warnings[0].startswith("the local slope runs from 2.0")
    assert "not one power law" in found.warnings[0]
    assert ", curved (p = " in found.summary()


def test_every_row_left_out_is_counted_by_reason():
    frame = power_frame(n_seeds=6)
    frame["converged"] = True
    frame.loc[0, "status"] = "failed"
    frame.loc[7, "status"] = "oom"
    frame.loc[13, "converged"] = False
    frame.loc[19, "edge"] = np.nan
    frame.loc[25, "edge"] = np.inf
    frame.loc[31, "edge"] = -1.0
    frame.loc[37, ["status", "edge"]] = ["missing", np.nan]
    (found,) = one(frame, law="power", x="width**2", y="edge")
    assert found.left_out == {
        "failed": 1,
        "missing": 1,
        "not converged": 1,
        "oom": 1,
        "with y ≤ 0": 1,
        "without a finite y": 2,
    }
    assert (found.n_left_out, found.n_rows, found.n_points) == (7, 41, 8)
    assert found["exponent"].estimate == pytest.approx(1.25, rel=1e-12)
    assert "; 7 rows left out: 1 failed, 1 missing, " in found.summary()
    assert any("for want of a logarithm" in w for w in found.warnings)


def test_a_metric_of_a_failed_row_is_never_used():
    frame = power_frame()
    frame.loc[5, ["status", "edge"]] = ["failed", 1e9]
    (found,) = one(frame, law="power", x="width", y="edge")
    assert found["exponent"].estimate == pytest.approx(2.5, rel=1e-12)


def test_rows_outside_where_are_no_part_of_the_fit():
    frame = power_frame()
    frame.loc[frame.width < 40, "edge"] = 1.0
    (found,) = one(frame, law="power", x="width", y="edge", where="width >= 40")
    assert found["exponent"].estimate == pytest.approx(2.5, rel=1e-12)
    assert (found.n_rows, found.n_left_out) == (18, 0)


def test_arrow_columns_with_missing_values_fit_alike():
    frame = power_frame()
    frame["converged"] = [None if i % 2 else True for i in range(len(frame))]
    frame.loc[4, "status"] = "failed"
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    arrow.loc[4, "edge"] = pd.NA
    (found,) = one(arrow, law="power", x="width**2", y="edge")
    assert found["exponent"].estimate == pytest.approx(1.25, rel=1e-12)
    assert found.left_out == {"failed": 1}


def test_groups_are_fitted_apart_and_in_order():
    frames = [power_frame(exponent=a).assign(n=n) for n, a in ((2000, 1.2), (500, 0.9))]
    found = one(pd.concat(frames), law="power", x="width**2", y="edge", by="n")
    assert [f.group for f in found] == [{"n": 500}, {"n": 2000}]
    assert [f["exponent"].estimate for f in found] == pytest.approx([0.9, 1.2], rel=1e-12)


@pytest.mark.parametrize(
    ("lost", "warned"),
    [
        (slice(18, 24), True),  # the two largest widths
        (slice(0, 6), True),  # the two smallest
        (slice(5, 24, 7), False),  # 5, 12, 19: one below, two above, of 24 (see below)
        (slice(0, 0), False),
    ],
)
def test_missing_points_that_go_with_scale_are_warned_about(lost, warned):
    frame = power_frame()
    frame.loc[list(range(24))[lost], "status"] = "oom"
    if lost == slice(5, 24, 7):
        frame.loc[2, "status"] = "oom"  # two and two: no trend
    (found,) = one(frame, law="power", x="width", y="edge")
    assert any("left out go with scale" in w for w in found.warnings) == warned


def test_a_small_trend_in_many_rows_is_warned_about():
    frame = power_frame(n_seeds=250)
    frame.loc[frame.index[-60:], "status"] = "oom"  # 6 % of the upper half, none of the lower
    (found,) = one(frame, law="power", x="width", y="edge")
    assert "60 of 1000 in the upper half of width, 0 of 1000" in found.warnings[0]


def test_infeasible_points_are_no_missing_points():
    frame = power_frame()
    frame.loc[18:, "status"] = "infeasible"
    (found,) = one(frame, law="power", x="width", y="edge")
    assert found.left_out == {"infeasible": 6}
    assert found.warnings == ()


def test_points_that_mix_settings_are_warned_about():
    frame = pd.concat([power_frame().assign(depth=d) for d in (2, 3)])
    (found,) = one(frame, law="power", x="width", y="edge")
    assert "mix different settings" in found.warnings[0]
    assert all(not f.warnings for f in one(frame, law="power", x="width", y="edge", by="depth"))


def test_too_few_points_give_a_reason_and_no_parameters():
    (found,) = one(power_frame(n=2), law="power", x="width", y="edge", by=["status"])
    assert found.parameters == ()
    assert found.reason == "2 distinct points, 3 needed for an interval"
    assert found.summary().startswith(
        "power_edge (status=ok): no fit of edge against width: 2 distinct points"
    )
    assert found.rms is None


def test_a_quantity_that_is_never_positive_asks_for_its_negative():
    (found,) = one(gap_frame(), law="power", x="n", y="gap")
    assert found.reason == "0 distinct points, 3 needed for an interval"
    assert any("fit its negative" in w for w in found.warnings)


def test_an_empty_frame_has_no_groups():
    assert one(power_frame().head(0), law="power", x="width", y="edge") == []


def test_summary_is_a_readable_line_and_its_verdict():
    frame = power_frame(noise=0.3, seed=3).assign(n_samples=1000)
    (found,) = one(frame, law="power", x="width**2", y="edge", by="n_samples")
    assert 0.03 <= (found["exponent"].high - found["exponent"].low) / 2 < 0.1  # two decimals
    e, bend = found["exponent"], found.curvature
    low, high = e.scatter
    change, half = bend.drift(0.95)
    assert found.summary() == (
        f"power_edge (n_samples=1000): edge ~ (width**2)^{e.estimate:.2f} [{e.low:.2f}, "
        f"{e.high:.2f}]  (95 %, 8 points, geometric means of 24 rows; interval from the laws of 3 "
        f"seeds, by the scatter [{low:.2f}, {high:.2f}]; local slope {bend.slope_first:.3g} → "
        f"{bend.slope_last:.3g})\n        one power law is supported: no bend is seen, the slope "
        f"changes by {change:.2g} ± {half:.2g}"
    )


@pytest.mark.parametrize(
    ("estimate", "half", "expected"),
    [
        (1.1876, 0.0412, "1.19 [1.15, 1.23]"),
        (1.1876, 0.0142, "1.188 [1.173, 1.202]"),
        (-27.3, 13.6, "-27 [-41, -14]"),
        (1.25, 0.0, "1.25 [1.25, 1.25]"),
        (0.0, 0.0, "0 [0, 0]"),
        (4.2e-9, 1e-10, "4.2e-09 [4.1e-09, 4.3e-09]"),
        (1.0, float("inf"), "1 [-inf, inf]"),
    ],
)
def test_numbers_show_what_their_interval_supports(estimate, half, expected):
    from lawsweep.analysis.laws.fitted import Parameter

    assert Parameter("a", estimate, estimate - half, estimate + half).interval() == expected


@pytest.mark.parametrize("n", [2, 8])
def test_to_dict_is_strict_json(n):
    frame = power_frame(n=n, noise=0.1).assign(tag=None, ratio=0.5)
    frame = frame.convert_dtypes(dtype_backend="pyarrow")
    (found,) = one(frame, law="power", x="width", y="edge", by=["ratio", "tag"])
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["group"] == {"ratio": 0.5, "tag": None}
    assert read["summary"] == found.summary()
    if n == 8:
        assert read["parameters"]["exponent"]["low"] == found["exponent"].low
    else:
        assert read["parameters"] == {}
        assert read["r2"] is None


def test_a_text_column_cannot_be_fitted():
    frame = power_frame()
    with pytest.raises(InvalidValueError, match=r"power_status\.y must be a number"):
        one(frame, law="power", x="width", y="status")


def test_a_column_that_the_frame_lacks_is_named():
    spec = FitSpec(name="f", law="power", x="widht", y="edge")
    with pytest.raises(UnknownNameError, match="Did you mean 'width'"):
        fit(power_frame(), spec)


def seeded(exponents, widths=(10, 20, 40, 80, 160), noise=0.0, seed=0):
    """A row a width and seed: each seed has a power law of its own, and noise if asked for."""
    rng = np.random.default_rng(seed)
    rows = [
        {"width": w, "seed": s, "edge": 2.0 * w**a * np.exp(noise * rng.normal())}
        for s, a in enumerate(exponents)
        for w in widths
    ]
    return pd.DataFrame(rows)


def test_seeds_that_scatter_along_the_law_are_in_its_interval():
    """Exponents -.3, -.4, -.6, -.7: the means lie on a line, whose slope nobody knows so well."""
    exponents = [-0.3, -0.4, -0.6, -0.7]
    (found,) = one(seeded(exponents), law="power", x="width", y="edge")
    # Student's t of 3 degrees of freedom at 97.5 %, from a table; sd of the four is 0.18257.
    half = 3.18245 * np.std(exponents, ddof=1) / 2
    a = found["exponent"]
    assert a.estimate == pytest.approx(-0.5, rel=1e-12)
    assert (a.low, a.high) == pytest.approx((-0.5 - half, -0.5 + half), rel=1e-5)
    assert found.n_seeds == 4
    assert "[-0.79, -0.21]" in found.summary()
    assert "interval from the laws of 4 seeds" in found.summary()
    read = found.to_dict()
    assert (read["interval_from"], read["n_seeds"], read["mean"]) == ("seeds", 4, "geometric")


def test_the_seeds_of_every_law_are_in_its_interval():
    x = np.tile(np.arange(1.0, 6.0), 3)
    seed = np.repeat([0, 1, 2], 5)
    slope = np.array([1.0, 2.0, 4.0])[seed]
    frame = pd.DataFrame(
        {"x": x, "seed": seed, "line": 3 + slope * x, "decay": np.exp(-slope * x),
         "both": slope / x + 2 * slope * x}
    )  # fmt: skip
    half = 4.30265 * np.std([1.0, 2.0, 4.0], ddof=1) / np.sqrt(3)
    for entry, name, scale in [
        ({"law": "linear", "x": "x", "y": "line"}, "slope", 1),
        ({"law": "exponential", "x": "x", "y": "decay"}, "rate", 1),
        ({"law": "terms", "terms": ["1/x", "x"], "y": "both"}, "1/x", 1),
        ({"law": "terms", "terms": ["1/x", "x"], "y": "both"}, "x", 2),
    ]:
        (found,) = one(frame, **entry)
        width = (found[name].high - found[name].low) / 2
        assert width == pytest.approx(scale * half, rel=1e-5), name
        assert found.n_seeds == 3
        assert found.mean == ("geometric" if entry["law"] == "exponential" else "arithmetic")


def test_an_interval_over_coupled_seeds_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    n, covered = 400, 0
    for k in range(n):
        frame = seeded(rng.normal(-0.5, 0.2, size=4), noise=0.02, seed=k)
        (found,) = one(frame, law="power", x="width", y="edge")
        covered += found["exponent"].low <= -0.5 <= found["exponent"].high
    assert covered / n > 0.95 - SIGMAS * np.sqrt(0.95 * 0.05 / n)


def test_the_wider_of_both_intervals_is_given():
    frame = seeded([-0.5, -0.5, -0.5])
    frame["edge"] *= np.exp(np.where(np.log2(frame.width / 10) % 2 == 0, 0.1, -0.1))
    (found,) = one(frame, law="power", x="width", y="edge")
    (alone,) = one(frame.drop(columns="seed"), law="power", x="width", y="edge")
    assert found.n_seeds is None
    assert (found["exponent"].low, found["exponent"].high) == alone["exponent"].scatter
    assert "interval from" not in found.summary()


def test_seeds_of_their_own_at_every_point_say_nothing_of_the_law():
    frame = seeded([-0.3, -0.4, -0.6, -0.7])
    frame["seed"] = np.arange(len(frame))
    (found,) = one(frame, law="power", x="width", y="edge")
    assert found.n_seeds is None
    assert found.warnings == ()


def test_seeds_that_lack_a_point_have_a_law_of_their_own():
    frame = seeded([-0.3, -0.4, -0.6, -0.7])
    gaps = [(0, 10), (1, 20), (2, 40), (3, 80)]
    kept = [(s, w) not in gaps for s, w in zip(frame.seed, frame.width, strict=True)]
    (found,) = one(frame[kept], law="power", x="width", y="edge")
    assert found.n_seeds == 4
    a = found["exponent"]
    half = 3.18245 * np.std([-0.3, -0.4, -0.6, -0.7], ddof=1) / 2
    assert (a.high - a.low) / 2 >= half * (1 - 1e-5)


def test_what_cannot_be_known_of_seeds_is_said():
    (found,) = one(seeded([-0.5]), law="power", x="width", y="edge")
    assert found.warnings == ("one seed: the interval lacks how other draws would move the law",)
    assert found.warnings[0] in found.summary()
    frame = seeded([-0.5, -0.6])
    short = frame[(frame.seed == 0) | (frame.width == 10)]
    (found,) = one(short, law="power", x="width", y="edge")
    assert "too few seeds with a law of their own" in found.summary()
    (found,) = one(seeded([-0.3, -0.7], widths=(10, 20)), law="power", x="width", y="edge")
    assert found.reason == "2 distinct points, 3 needed for an interval"


def test_seeds_that_are_alike_leave_the_law_exact():
    (found,) = one(seeded([-0.5] * 3), law="power", x="width", y="edge")
    assert found.n_seeds is None
    assert found["exponent"].high - found["exponent"].low < 1e-12


@pytest.mark.parametrize("rate", [0.1, -0.1])
def test_a_law_far_from_where_c_is_predicts_and_is_judged_alike(rate):
    """C = exp(-1005) or its inverse is no float; the law over x - 10050 is the same."""
    rng = np.random.default_rng(0)
    x = np.repeat(np.linspace(10000.0, 10100.0, 8), 4)
    y = np.exp(rate * (x - 10050) + 0.02 * rng.normal(size=32))
    frame = pd.DataFrame({"x": x, "y": y, "seed": np.tile(np.arange(4), 8)})
    (far,) = one(frame, law="exponential", x="x", y="y")
    (near,) = one(frame, law="exponential", x="x - 10050", y="y")
    at = np.array([9990.0, 10050.0, 10110.0])
    np.testing.assert_allclose(far.predict(at), near.predict(at - 10050), rtol=1e-8)
    np.testing.assert_allclose(far.band(at), near.band(at - 10050), rtol=1e-8)
    assert far.verdict == near.verdict
