import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lawsweep.analysis.figures.draw import draw
from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.figures.of_arrays import gram_map
from lawsweep.analysis.frames import Columns
from lawsweep.core.errors import InvalidValueError, UnknownNameError

COLUMNS = ["run_id", "seed", "d", "status", "converged"]
GRAM = {"kind": "gram", "array": "cosines"}


def frame(settings=(5,)):
    """Four seeds a setting: seed 0 failed, seed 1 did not converge, seed 2 kept no array."""
    rows = [
        {"run_id": f"{d}-{s}", "seed": s, "d": d, "converged": s != 1,
         "status": "failed" if s == 0 else "ok"}
        for d in settings for s in (3, 2, 1, 0, 4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def matrix(seed):
    values = np.full((3, 3), -0.5)
    values[0, 1] = values[1, 0] = seed / 10
    np.fill_diagonal(values, 1.0)
    return values


def source(settings=(5,)):
    held = {f"{d}-{s}": matrix(s) for d in settings for s in (0, 1, 3, 4)}
    return lambda name: held


def spec_of(**more):
    return parse_figures([GRAM | more], COLUMNS, ["cosines"])[0]


def test_the_least_converged_seed_is_drawn_and_nothing_is_averaged():
    axes = Figure().add_subplot()
    notes = find_kind("gram").paint(axes, Columns(frame()), spec_of(), source())
    (mesh,) = axes.collections
    drawn = mesh.get_array().reshape(3, 3)
    assert drawn[0, 1] == 0.3  # seed 3
    assert drawn.mask.tolist() == np.eye(3, dtype=bool).tolist()
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-0.5, 0.3)
    assert [t.get_text() for t in axes.texts][:3] == ["1", "0.300", "\N{MINUS SIGN}0.500"]
    assert notes == [
        "one run of 3, seed 3; its rows have no order, so runs are not averaged",
        "off the diagonal -0.5 to 0.3",
    ]


def test_a_run_that_did_not_converge_says_so_and_equal_entries_look_alike():
    axes = Figure().add_subplot()
    alike = np.eye(2) - 0.25 * (1 - np.eye(2)) + [[0, 1e-15], [0, 0]]
    notes = find_kind("gram").paint(
        axes, Columns(frame()), spec_of(where="seed == 1"), lambda name: {"5-1": alike}
    )
    assert notes[-1] == "it did not converge"
    norm = axes.collections[0].norm
    assert norm.vmax - norm.vmin == pytest.approx(gram_map.LEAST_SPAN)


def test_it_is_written_as_any_figure(tmp_path):
    paths = draw(frame(), spec_of(), tmp_path / "a", "whole", source())
    assert [p.name for p in paths] == ["a.png", "a.pdf", "a.svg"]
    assert all(p.stat().st_size > 1000 for p in paths)


@pytest.mark.parametrize(
    ("settings", "where", "arrays", "message"),
    [
        ((5,), None, None, "needs the arrays beside the rows"),
        ((5,), "seed == 2", source(), "needs a run that kept the array cosines, got none of 1"),
        ((5, 6), None, source((5, 6)), "of one run, got 6 of several settings"),
        ((5,), None, lambda name: {"5-3": np.zeros((2, 3))}, r"a square matrix, got .*\(2, 3\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings, where, arrays, message):
    with pytest.raises(InvalidValueError, match=message):
        find_kind("gram").paint(
            Figure().add_subplot(), Columns(frame(settings)), spec_of(where=where), arrays
        )


def test_the_entry_is_checked_before_anything_runs():
    with pytest.raises(UnknownNameError, match="cosines"):
        parse_figures([GRAM | {"array": "cosins"}], COLUMNS, ["cosines"])
    with pytest.raises(InvalidValueError, match="kind gram takes no x"):
        parse_figures([GRAM | {"x": "d"}], COLUMNS, ["cosines"])
    with pytest.raises(InvalidValueError, match="needs array"):
        parse_figures([{"kind": "gram"}], COLUMNS, ["cosines"])
    with pytest.raises(InvalidValueError, match="kind curve takes no array"):
        parse_figures([{"kind": "curve", "x": "d", "y": "d", "array": "cosines"}], COLUMNS)
