"""The figure of a collapse: two panels whose marks are the means, raw and scaled."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from lawsweep.analysis.figures.draw import draw, make_figure
from lawsweep.analysis.figures.kinds import parse_figures
from lawsweep.core.errors import InvalidValueError, UnknownNameError

SIZES = (10, 20, 40)


def frame(n_seeds=3, bend=True):
    rng = np.random.default_rng(4)
    rows = []
    for size in SIZES:
        x = np.geomspace(0.2, 12, 8) * size
        for seed in range(n_seeds):
            u = x / size
            y = ((1 + u / 2) ** -1.5 if bend else u**-0.5) * size**-0.5
            y = y * np.exp(0.01 * rng.standard_normal(8))
            rows.append(pd.DataFrame({"x": x, "L": size, "y": y, "seed": seed, "status": "ok"}))
    return pd.concat(rows, ignore_index=True)


def figure_of(data, **entry):
    entry = {"kind": "collapse", "x": "x", "y": "y", "scale": "L", **entry}
    (spec,) = parse_figures([entry], list(data.columns))
    return make_figure(data, spec), spec


def marks(axes):
    """The points of the lines that have a marker: (n, 2)."""
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", "")]
    return np.concatenate(
        [np.column_stack(line.get_data()) for line in lines if len(line.get_xdata())]
    )


def test_marks_are_geometric_means_and_those_scaled(tmp_path):
    data = frame()
    figure, spec = figure_of(data, exponents={"a": -1, "b": 0.5}, title="laid on one")
    raw, scaled = figure.axes
    means = np.exp(np.log(data.y).groupby([data.L, data.x]).mean())
    size, x = (means.index.get_level_values(k).to_numpy(float) for k in ("L", "x"))
    np.testing.assert_allclose(marks(raw), np.column_stack([x, means]), rtol=1e-12)
    wanted = np.column_stack([x / size, means.to_numpy() * size**0.5])
    np.testing.assert_allclose(marks(scaled), wanted, rtol=1e-12)
    assert raw.get_title(loc="left") == "laid on one"
    assert "a = -1 (given), b = 0.5 (given), S = " in scaled.get_title(loc="left")
    assert "one curve within their errors" in figure.get_supxlabel().replace("\n", " ")
    assert len({line.get_color() for line in raw.get_lines()}) == len(SIZES)
    assert all(path.stat().st_size for path in draw(data, spec, tmp_path / "c"))


def test_found_exponents_stand_above_with_their_intervals():
    figure, _ = figure_of(frame())
    title = figure.axes[1].get_title(loc="left")
    assert re.match(r"a = -(1\.0|0\.99)\d* \[-1\.\d+, -0\.\d+\], b = 0\.\d+ \[.*\], S = ", title)


def test_curves_that_tell_no_exponents_are_drawn_as_they_are():
    figure, _ = figure_of(frame(bend=False))
    assert len(figure.axes) == 1
    assert "not laid on one: the curves are straight" in figure.get_supxlabel().replace("\n", " ")


def test_keys_are_those_of_the_law():
    columns = ["x", "y", "L"]
    base = {"kind": "collapse", "x": "x", "y": "y"}
    with pytest.raises(InvalidValueError, match="needs scale"):
        parse_figures([base], columns)
    with pytest.raises(UnknownNameError, match="exponents"):
        parse_figures([{**base, "scale": "L", "exponent": {}}], columns)
    with pytest.raises(InvalidValueError, match="critical must be true"):
        parse_figures([{**base, "scale": "L", "critical": "no"}], columns)
    with pytest.raises(InvalidValueError, match="needs curves of y against x"):
        figure_of(frame().assign(status="failed"))


@pytest.mark.parametrize("unit", [1e-7, 1e-3, 1.0])
def test_numbers_along_a_logarithmic_axis_do_not_overlap(unit):
    data = frame()
    figure, _ = figure_of(data.assign(x=data["x"] * unit))
    figure.draw_without_rendering()
    for axes in figure.axes:
        both = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
        low, high = axes.get_xlim()
        labels = [t.label1 for t in both if low <= t.get_loc() <= high and t.label1.get_text()]
        ends = sorted((b.x0, b.x1) for b in (text.get_window_extent() for text in labels))
        assert len(ends) >= 2
        assert all(b[0] > a[1] for a, b in itertools.pairwise(ends))
