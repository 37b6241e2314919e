"""Two grouping columns read as two, laws have their intervals, files are the same each time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from lawsweep.analysis.figures.draw import draw
from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.figures.look import group_looks
from lawsweep.analysis.frames import Columns
from lawsweep.core.errors import InvalidValueError


def table(slope=-0.5, x=(1, 2, 4, 8, 16), noise=0.1, n_seeds=4, **columns):
    rng = np.random.default_rng(0)
    rows = [
        {"x": v, "seed": seed, "y": v**slope * float(np.exp(noise * rng.normal())), **columns}
        for v in x
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows).assign(status="ok")


def painted(frame, **entry):
    (spec,) = parse_figures([entry], list(frame.columns))
    axes = Figure().add_subplot()
    return axes, find_kind(spec.kind).paint(axes, Columns(frame), spec, None)


def grid(*sizes):
    a, b = sizes
    return [({"m": i, "d": 10 * j}, None) for i in range(a) for j in range(b)]


def test_the_first_column_is_colour_and_the_second_marker_and_line():
    looks = group_looks(grid(2, 4))
    assert len({str(look["color"]) for look in looks}) == 2
    assert len({look["marker"] for look in looks}) == 4
    assert len({(str(k["color"]), k["marker"], str(k["linestyle"])) for k in looks}) == 8
    for a, b in zip(looks[:4], looks[4:], strict=True):
        assert (a["marker"], a["linestyle"]) == (b["marker"], b["linestyle"])


def test_where_marks_do_not_last_the_columns_change_places_or_groups_are_one():
    assert len({look["marker"] for look in group_looks(grid(3, 12))}) == 3
    assert all("linestyle" not in look for look in group_looks(grid(12, 12)))
    assert all("linestyle" not in look for look in group_looks(grid(1, 4)))


def test_the_legend_has_a_block_for_each_column():
    frame = pd.concat([table(m=m, d=d) for m in (3, 5) for d in (10, 20, 40, 80)])
    axes, _ = painted(frame, kind="curve", x="x", y="y", by=["m", "d"])
    shown = axes.get_legend() or axes.figure.legends[0]
    texts = [t.get_text() for t in shown.get_texts()]
    assert texts == ["m", "3", "5", "d", "10", "20", "40", "80"]


@pytest.mark.parametrize("start", [0, 1])
def test_a_line_is_drawn_with_its_interval_which_is_narrow_in_the_middle(start):
    x = np.arange(start, 11 + start)
    frame = table(slope=0.0, x=x).assign(y=lambda f: 3 + 2 * f.x + np.sin(5 * f.x + f.seed))
    axes, notes = painted(frame, kind="curve", x="x", y="y", fit="linear", band="none")
    (band,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    edge = band.get_paths()[0].vertices[:-1]
    half = len(edge) // 2
    wide = edge[half:][::-1, 1] - edge[:half, 1]
    assert wide.min() > 0
    assert wide[len(wide) // 2] < 0.75 * min(wide[0], wide[-1])
    assert "shaded along a law: its 95 % interval" in notes


def test_residuals_are_points_minus_the_law():
    frame = table()
    axes, notes = painted(frame, kind="residuals", x="x", y="y")
    marks = next(line for line in axes.lines if len(line.get_xdata()) == 5)
    logs = np.log(frame.y).groupby(frame.x).mean()
    line = np.polyfit(np.log(logs.index), logs, 1)
    expected = logs - np.polyval(line, np.log(logs.index))
    # a few roundings of logarithms of size 3
    np.testing.assert_allclose(marks.get_ydata(), expected, rtol=0, atol=1e-13)
    assert axes.get_ylabel() == "ln y − law"
    assert any("standard errors" in note for note in notes)


def test_slopes_stand_between_the_points_beside_that_of_the_law():
    frame = table(noise=0.0, n_seeds=1)
    axes, _ = painted(frame, kind="slopes", x="x", y="y")
    marks = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    np.testing.assert_allclose(marks.get_xdata(), np.sqrt([2, 8, 32, 128]), rtol=1e-14)
    np.testing.assert_allclose(marks.get_ydata(), -0.5, rtol=1e-13)


@pytest.mark.parametrize("kind", ["residuals", "slopes"])
def test_what_has_no_fit_is_a_sentence(kind):
    with pytest.raises(InvalidValueError, match="needs a fit of y against x, got none"):
        painted(table(x=(1,)), kind=kind, x="x", y="y")


def test_slopes_of_a_law_without_them_are_refused_before_anything_is_drawn():
    with pytest.raises(InvalidValueError, match="a law with slopes"):
        painted(table(), kind="slopes", x="x", y="y", fit="power_offset")


def test_the_same_table_gives_the_same_bytes(tmp_path):
    frame = table()
    (spec,) = parse_figures([{"kind": "curve", "x": "x", "y": "y", "fit": True}], list(frame))
    once, again = (draw(frame, spec, tmp_path / name / "a") for name in ("once", "again"))
    assert [p.suffix for p in once] == [".png", ".pdf", ".svg"]
    for a, b in zip(once, again, strict=True):
        assert a.read_bytes() == b.read_bytes()
