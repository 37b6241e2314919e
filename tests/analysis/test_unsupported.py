"""Every law and every kind of figure over grids that cannot support it: a sentence each."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from lawsweep.analysis.figures.draw import make_figure
from lawsweep.analysis.figures.kinds import KINDS, parse_figures
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import LAWS, find_law, parse_fits
from lawsweep.analysis.laws.table import FORMATS, fit_table
from lawsweep.core.errors import LawsweepError

OWN = {"rate": {"trials": "t"}, "collapse": {"scale": "t"}}  # what else an entry must have


def rows(n_seeds=3):
    rng = np.random.default_rng(0)
    s, p = (i.ravel() for i in np.indices((n_seeds, 6)))
    x = 10.0 * 2 ** np.arange(6)[p]
    y = np.round(1 + 90 * x**-0.5 * np.exp(0.1 * rng.normal(size=len(s))))
    return pd.DataFrame(
        {"x": x, "z": x[::-1] ** 0.7, "y": y, "t": 100, "seed": s, "status": "ok", "g": "a"}
    )


GRIDS = {
    "no row": lambda f: f.iloc[:0],
    "one row": lambda f: f.iloc[:1],
    "one point": lambda f: f[f.x == 10],
    "two points": lambda f: f[f.x <= 20],
    "all failed": lambda f: f.assign(status="failed", y=np.nan),
    "constant y": lambda f: f.assign(y=3.0),
    "zero y": lambda f: f.assign(y=0.0),
    "negative y": lambda f: f.assign(y=-f.y),
    "NaN y": lambda f: f.assign(y=np.nan),
    "infinite y": lambda f: f.assign(y=np.inf),
    "huge y": lambda f: f.assign(y=f.y * 1e300),
    "tiny y": lambda f: f.assign(y=f.y * 1e-300),
    "one x": lambda f: f.assign(x=5.0, z=5.0),
    "negative x": lambda f: f.assign(x=-f.x, z=-f.z),
    "infinite x": lambda f: f.assign(x=np.inf, z=np.inf),
}
# What no law can be fitted to, and what only some can.
NO_LAW = ("no row", "one row", "one point", "two points", "all failed", "NaN y", "infinite y",
          "one x", "infinite x")  # fmt: skip


def entry(law):
    given = {"law": law, "y": "y", **OWN.get(law, {})}
    for key in find_law(law).needs:
        if key in ("x", "terms"):
            given[key] = "x" if key == "x" else ["x", "z"]
    return given


@pytest.mark.parametrize("law", LAWS)
def test_a_law_that_a_grid_cannot_support_is_a_sentence(law):
    for name, change in GRIDS.items():
        frame = change(rows())
        (spec,) = parse_fits([{**entry(law), "by": "g", "name": "asked"}], list(frame))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results = fit(frame, spec)
            if name not in ("huge y", "tiny y") or law in ("linear", "terms"):
                _ = [json.dumps(r.to_dict(), allow_nan=False) for r in results]
            said = [r.summary() for r in results]
            for style in FORMATS:
                assert not results or "asked" in fit_table(results, style)
        assert all(text.startswith("asked") for text in said), name
        if name in NO_LAW:
            assert all(r.reason and not r.parameters for r in results), name
        for r, text in zip(results, said, strict=True):
            assert len(text) < 1500
            if r.reason is not None:
                assert f"no fit of y against {'x' if r.spec.x else r.spec.terms[0]}" in text
                assert r.reason in text


@pytest.mark.parametrize("law", ["power", "exponential", "linear", "power_offset", "two_powers",
                                 "power_log", "joint"])  # fmt: skip
def test_y_that_is_the_same_everywhere_determines_no_law(law):
    (spec,) = parse_fits([entry(law)], list(rows()))
    (found,) = fit(rows().assign(y=3.0), spec)
    assert "y is the same at every point" in found.reason


@pytest.mark.parametrize(("factor", "text"), [(1e300, "too large"), (1e-300, "too small")])
def test_squares_that_leave_the_floats_are_a_sentence(factor, text):
    for law in ("linear", "terms"):
        frame = rows()
        frame["y"] *= factor
        (spec,) = parse_fits([entry(law)], list(frame))
        (found,) = fit(frame, spec)
        assert f"y is {text} for its squares" in found.reason
        assert "give it in other units" in found.summary()


def test_what_became_of_the_rows_stands_beside_the_reason():
    (spec,) = parse_fits([entry("power")], list(rows()))
    (found,) = fit(rows().assign(y=0.0), spec)
    assert found.summary() == (
        "power_y: no fit of y against x: 0 distinct points, 3 needed for an interval; 18 rows left "
        "out: 18 with y ≤ 0; y is ≤ 0 at 18 rows and > 0 at none; fit its negative, or give the "
        "floor that it is told down to"
    )
    assert found.why_not in found.summary()


@pytest.mark.parametrize("law", LAWS)
def test_a_column_of_text_is_refused_while_planning_or_by_a_sentence(law):
    asked = {**entry(law), "y": "g"}
    with pytest.raises(LawsweepError, match="must be a number, and g holds text"):
        parse_fits([asked], list(rows()), {"g": "str"})
    (spec,) = parse_fits([asked], list(rows()))
    with pytest.raises(LawsweepError, match="must be a number at every row"):
        fit(rows(), spec)


FIGURES = {
    "curve": [{"x": "x", "y": "y", "logx": True, "logy": True}, {"x": "x", "y": "y", "fit": True}],
    "scatter": [{"x": "x", "y": "y", "logx": True, "logy": True}],
    "heatmap": [{"x": "x", "y": "seed", "z": "y", "logz": True}, {"x": "x", "y": "z", "z": "y"}],
    "residuals": [{"x": "x", "y": "y"}],
    "slopes": [{"x": "x", "y": "y"}],
    "threshold": [{"x": "x", "y": "n_star", "fit": True}],
    "gram": [{"array": "a"}],
    "loss_curves": [{"array": "a"}],
    "collapse": [{"x": "x", "y": "y", "scale": "seed"}],
}
NO_FIGURE = ("no row", "all failed", "NaN y", "infinite y", "infinite x")
CELLS = ("x", "n_star", "low", "high", "confidence", "state", "n_runs")


def own_kinds():
    return [k for k in KINDS if k in FIGURES]


def drawn(frame, spec, *, on_canvas):
    """What is wrong with the figure; None where it is drawn."""
    try:
        made = make_figure(frame, spec, arrays=lambda _: {})
    except LawsweepError as error:
        return str(error)
    if on_canvas:  # what only a canvas finds out
        made.draw_without_rendering()
    return None


@pytest.mark.parametrize("kind", own_kinds())
def test_a_figure_that_a_grid_cannot_support_is_a_sentence_with_its_name(kind):
    for given in FIGURES[kind]:
        for name, change in GRIDS.items():
            frame = change(rows())
            frame = frame.assign(n_star=frame.y, low=0.9 * frame.y, high=1.1 * frame.y, n_runs=9,
                                 confidence=0.95, state="edge", run_id="r")  # fmt: skip
            columns = list(frame)
            (spec,) = parse_figures([{"kind": kind, "name": "asked", **given}], columns,
                                    cells=CELLS)  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                said = drawn(frame, spec, on_canvas=name in ("one row", "huge y", "tiny y"))
            if said is not None:
                assert spec.name in said, name
                assert said.endswith("."), name
            else:
                assert name not in NO_FIGURE, name
                assert kind not in ("gram", "loss_curves")
