import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lawsweep.analysis.figures.draw import draw
from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.frames import Columns
from lawsweep.core.errors import InvalidValueError, UnknownNameError

COLUMNS = ["run_id", "seed", "rate", "status"]
KIND = {"kind": "loss_curves", "array": "loss_curve"}
ENDLESS = "b1"  # a run that diverged


def frame():
    rows = [
        {"run_id": f"{rate}{s}", "seed": s, "rate": rate, "status": "failed" if s == 3 else "ok"}
        for rate in ("a", "b") for s in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def source(name):
    """Seed 2 kept no curve; seed 3 failed."""
    held = {f"{r}{s}": np.array([[0, 1, 10], [1, 0.5, 0.1 + s]]) for r in "ab" for s in (0, 1, 3)}
    held[ENDLESS] = np.array([[0, 1, 10], [1, 2, np.inf]])
    return held


def spec_of(**more):
    return parse_figures([KIND | more], COLUMNS, ["loss_curve"])[0]


def paint(**more):
    axes = Figure().add_subplot()
    return axes, find_kind("loss_curves").paint(axes, Columns(frame()), spec_of(**more), source)


def test_each_run_is_a_line_in_its_groups_colour():
    axes, notes = paint(by="rate")
    lines = axes.get_lines()
    assert [line.get_xydata().tolist() for line in lines] == [
        [[1, 0.5], [10, 0.1]], [[1, 0.5], [10, 1.1]], [[1, 0.5], [10, 0.1]], [[1, 2]],
    ]  # fmt: skip
    colours = [line.get_color() for line in lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]
    assert notes == [
        "4 runs, a line each",
        "4 rows without the array, not drawn",
        "1 line cut off where the value has no place on the axes",
    ]


def test_a_linear_axis_has_a_place_for_step_0():
    axes, _ = paint(logx=False, where="seed == 0")
    assert axes.get_lines()[0].get_xydata().tolist()[0] == [0, 1]
    assert axes.get_legend() is None


def test_it_is_written_to_files(tmp_path):
    written = draw(frame(), spec_of(by="rate", xlabel="steps"), tmp_path / "f", "note", source)
    assert [p.suffix for p in written] == [".png", ".pdf", ".svg"]
    assert all(p.stat().st_size > 1000 for p in written)


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InvalidValueError, match="kept the array loss_curve, got none of 2 rows"):
        paint(where="seed == 2")
    axes = Figure().add_subplot()
    with pytest.raises(InvalidValueError, match=r"shape \(2, K\), rows x and y, got loss_curve of"):
        find_kind("loss_curves").paint(
            axes, Columns(frame()), spec_of(), lambda _: {"a0": np.ones(3)}
        )
    with pytest.raises(UnknownNameError, match="loss_curve"):
        spec_of(array="loss_curv")
    with pytest.raises(InvalidValueError, match="kind loss_curves takes no x"):
        spec_of(x="seed")
