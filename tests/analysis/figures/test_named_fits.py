"""A figure draws a fit of its sweep by name, in panels if asked, and a joint law by its curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lawsweep.analysis.figures.chart import Band, Line, Marks
from lawsweep.analysis.figures.draw import draw, make_figure
from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.frames import Columns
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.core.errors import InvalidValueError, UnknownNameError

WIDTH = {"law": "power", "name": "width_law", "x": "n", "y": "y", "by": "kind", "where": "n > 10"}
LOSS = {"law": "joint", "name": "scaling", "terms": ["n", "d"], "y": "loss", "compute": "6*n*d"}


def table():
    rng = np.random.default_rng(0)
    rows = [
        {
            "run_id": f"{rng.integers(2**62):032x}", "kind": kind, "n": n, "d": d, "seed": seed,
            "y": n**0.5 * float(np.exp(0.05 * rng.normal())),
            "loss": (1 + 9 * n**-0.7 + 14 * d**-0.5) * float(np.exp(0.002 * rng.normal())),
            "status": "ok",
        }
        for kind in ("a", "b") for n in (10, 20, 40, 80, 160) for d in (50, 100, 200, 400)
        for seed in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def spec_of(entry, fits=(WIDTH, LOSS)):
    names = list(table())
    return parse_figures([entry], names, fits=parse_fits(list(fits), names))[0]


def chart_of(entry, fits=(WIDTH, LOSS)):
    spec = spec_of(entry, fits)
    return find_kind(spec.kind).chart(Columns(table()), spec, None)


def test_a_named_fit_says_what_the_figure_is_about():
    spec = spec_of({"kind": "curve", "fit": "width_law"})
    assert (spec.x, spec.y, spec.by, spec.where) == ("n", "y", ("kind",), "n > 10")
    assert spec.name == "curve_y"
    wider = spec_of({"kind": "curve", "fit": "width_law", "where": "n > 0"})
    assert wider.fit == spec.fit
    assert wider.where == "n > 0"


def test_the_law_that_is_drawn_is_the_one_of_that_name():
    (law, *_) = parse_fits([WIDTH], list(table()))
    found = {r.group["kind"]: r for r in fit(table(), law)}
    chart = chart_of({"kind": "curve", "fit": "width_law", "where": "n > 0"})
    for group, line in zip(chart.groups, chart.kinds(Line), strict=True):
        expected = found[group.values["kind"]].predict(line.x)
        np.testing.assert_array_equal(line.y, expected)
    marks = chart.kinds(Marks)
    assert [m.x.min() for m in marks] == [10, 10]  # of rows that the fit leaves out, too


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"fit": "width_low"}, "Did you mean 'width_law'"),
        ({"fit": "powr"}, "Did you mean 'power'"),
        ({"fit": "width_law", "x": "n**2"}, r"fit width_law has x: n, and the figure x: n\*\*2"),
        ({"fit": "width_law", "by": "d"}, "has a law for each kind"),
        ({"fit": "scaling"}, "must be a law of x alone"),
        ({"fit": "width_law", "kind": "joint"}, "of two inputs, such as joint, got width_law"),
        ({"fit": "joint", "kind": "joint"}, "the name of one of the sweep's fits of law joint"),
        ({"fit": "width_law", "panel": "knd"}, "Did you mean 'kind'"),
        ({"fit": "width_law", "formats": ["pgn"]}, "Did you mean 'png'"),
        ({"fit": "width_law", "formats": []}, "must be a list of png, pdf, svg"),
    ],
)
def test_a_slip_is_told_while_planning(entry, message):
    with pytest.raises((UnknownNameError, InvalidValueError), match=message):
        spec_of({"kind": "curve", **entry})


def test_a_word_that_is_a_law_is_that_law():
    fits = [{**WIDTH, "name": "linear"}]
    assert spec_of({"kind": "curve", "x": "n", "y": "y", "fit": "linear"}, fits).fit.law == "linear"


def test_panels_tell_a_column_apart_on_one_scale():
    entry = {"kind": "curve", "x": "n", "y": "y", "by": "d", "panel": "kind", "fit": "power"}
    chart = chart_of(entry)
    assert list(chart.panels) == ["kind = a", "kind = b"]
    inks = [[g.look["color"] for g in chart.groups if g.panel == p] for p in (0, 1)]
    assert inks[0] == inks[1]
    assert len(set(inks[0])) == 4
    figure = make_figure(table(), spec_of(entry))
    assert isinstance(figure, Figure)
    boxes = [a for a in figure.axes if a.get_title(loc="left")]
    assert [a.get_title(loc="left") for a in boxes] == list(chart.panels)
    assert boxes[0].get_ylim() == boxes[1].get_ylim()
    assert [len(a.get_legend().get_texts()) for a in boxes] == [4, 4]  # laws of their own


@pytest.mark.parametrize("kind", ["curve", "scatter", "residuals", "slopes"])
def test_every_kind_with_panels_has_a_group_in_each(kind):
    chart = chart_of({"kind": kind, "x": "n", "y": "y", "panel": "kind"})
    assert sorted(g.panel for g in chart.groups) == [0, 1]
    assert {layer.panel for layer in chart.kinds(Marks)} == {0, 1}


def test_only_the_formats_that_are_asked_for_are_written(tmp_path):
    spec = spec_of({"kind": "curve", "fit": "width_law", "formats": ["svg", "png"]})
    made = draw(table(), spec, tmp_path / "a")
    assert [p.name for p in made] == ["a.svg", "a.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_curves_of_one_compute_are_the_law_and_the_frontier_is_their_least():
    chart = chart_of({"kind": "joint", "fit": "scaling"})
    law = fit(table(), parse_fits([LOSS], list(table()))[0])[0]
    curves = [line for line in chart.kinds(Line) if line.role == "law"]
    (best,) = [line for line in chart.kinds(Line) if line.role == "frontier"]
    for line in curves:
        level = chart.groups[line.group].values["compute C"]
        expected = law.predict({"n": line.x, "d": level / (6 * line.x)})
        np.testing.assert_allclose(line.y, expected, rtol=1e-12)
        # By search on a fine grid: nothing on the curve of C is below the frontier's value at C.
        n = np.geomspace(1, 5000, 20_001)
        values = law.predict({"n": n, "d": level / (6 * n)})
        at = np.interp(np.log(n[values.argmin()]), np.log(best.x), np.log(best.y))
        if best.x.min() < n[values.argmin()] < best.x.max():
            # The grid's step in log n is 4.3e-4, and the frontier falls slower than 1/n.
            assert np.exp(at) == pytest.approx(values.min(), rel=4.3e-4)
    assert any(b.group is None for b in chart.kinds(Band))  # the frontier's interval
    assert sum(len(m.x) for m in chart.kinds(Marks)) == 20


def test_points_of_a_joint_law_tell_their_rows_and_lie_on_their_own_curve():
    frame, chart = table(), chart_of({"kind": "joint", "fit": "scaling"})
    for marks in chart.kinds(Marks):
        level = chart.groups[marks.group].values["compute C"]
        rows = frame.iloc[marks.rows]
        np.testing.assert_allclose(6 * rows.n * rows.d, level)
        for i, x in enumerate(marks.x):
            own = rows[marks.of == i]
            assert set(own.n) == {x}
            assert np.exp(np.log(own.loss).mean()) == pytest.approx(marks.y[i], rel=1e-12)


def test_without_a_compute_curves_have_one_second_input_and_groups_are_panels():
    plain = {k: v for k, v in LOSS.items() if k != "compute"} | {"by": "kind"}
    chart = chart_of({"kind": "joint", "fit": "scaling"}, [plain])
    assert list(chart.panels) == ["a", "b"]
    assert [g.label for g in chart.groups if g.panel == 0] == ["50", "100", "200", "400"]
    assert not [line for line in chart.kinds(Line) if line.role == "frontier"]
