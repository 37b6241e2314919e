"""The edge of an event over a heatmap's rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lawsweep.analysis.figures.draw import draw
from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.frames import Columns
from lawsweep.analysis.laws.threshold.rows import answers_of, edge_of_rows, rises
from lawsweep.core.errors import InvalidValueError


def rows(edge, n_seeds=6, spread=0.03):
    rng = np.random.default_rng(0)
    found = []
    for d in (4.0, 9.0, 16.0):
        for y in np.linspace(2, 20, 19):
            chance = 1 / (1 + math.exp(min(700, math.log(y / (edge * d)) / spread)))
            found += [(d, y, s, float(rng.random() < chance)) for s in range(n_seeds)]
    return pd.DataFrame(found, columns=["d", "n", "seed", "fits"]).assign(status="ok")


def test_the_edge_is_found_at_each_x_where_it_is_within_the_rows():
    frame = rows(edge=1.0)
    happens = frame["fits"].to_numpy().copy()
    happens[5] = np.nan  # a row that does not tell
    found = edge_of_rows(frame["d"].to_numpy(), frame["n"].to_numpy(), happens)
    assert found[:, 0].tolist() == [4.0, 9.0, 16.0]
    for d, edge, low, high in found:
        assert low <= d <= high
        assert low < edge < high < 1.3 * low
    always = edge_of_rows(frame["d"].to_numpy(), frame["n"].to_numpy(), np.ones(len(frame)))
    assert always.shape == (0, 4)


def test_a_heatmap_draws_the_edge_of_an_event(tmp_path):
    entry = {"kind": "heatmap", "x": "d", "y": "n", "z": "fits"}
    frame = rows(edge=1.0)
    plain, marked = parse_figures(
        [entry, {**entry, "threshold": "fits > 0.5"}], list(frame.columns)
    )
    a, b = (draw(frame, spec, tmp_path / spec.name)[0] for spec in (plain, marked))
    assert a.read_bytes() != b.read_bytes()
    with pytest.raises(InvalidValueError, match="takes no threshold"):
        parse_figures(
            [{**entry, "kind": "curve", "z": None, "threshold": "fits"}], ["d", "n", "fits"]
        )


def test_an_event_is_read_of_rows_as_a_search_reads_it():
    table = pa.table(
        {"loss": [0.1, 2.0, float("nan"), None], "converged": [True, True, True, True]}
    )
    columns = Columns(table.to_pandas(types_mapper=pd.ArrowDtype))
    at = np.arange(4)
    nan = np.nan
    for text, expected in {
        "loss < 1": [1, 0, 0, nan],
        "not loss > 1": [1, 0, 1, nan],
        "loss < 1 and converged": [1, 0, 0, nan],
        "loss == None or loss < 1": [1, 0, 0, 1],
        "loss != None": [1, 1, 1, 0],
    }.items():
        np.testing.assert_array_equal(answers_of(columns, text, at, "t"), expected)
    with pytest.raises(InvalidValueError, match="t must be true or false"):
        answers_of(columns, "log10(loss)", at, "t")
    unsure = Columns(pd.DataFrame({"loss": [0.1, 0.1], "converged": [False, True]}))
    np.testing.assert_array_equal(answers_of(unsure, "loss < 1", at[:2], "t"), [nan, 1])


def test_the_edge_of_a_heatmap_counts_runs_that_diverged(tmp_path):
    # Above the edge every loss is NaN: nothing to colour there, and the event did not happen.
    frame = rows(edge=1.0).assign(loss=lambda f: np.where(f["fits"] > 0, 0.01, np.nan))
    entry = {"kind": "heatmap", "x": "d", "y": "n", "z": "loss"}
    plain, marked = parse_figures([entry, {**entry, "threshold": "loss < 1"}], list(frame.columns))
    a, b = (draw(frame, spec, tmp_path / spec.name)[0] for spec in (plain, marked))
    assert a.read_bytes() != b.read_bytes()
    at = np.arange(len(frame))
    happens = answers_of(Columns(frame), "loss < 1", at, "t")
    np.testing.assert_array_equal(happens, frame["fits"])


def test_an_event_that_begins_along_y_is_refused(tmp_path):
    frame = rows(edge=1.0)
    x, y, happens = (frame[n].to_numpy() for n in ("d", "n", "fits"))
    assert not rises(x, y, happens)
    assert rises(x, y, 1 - happens)
    # Answers that say nothing of a direction are no reason to refuse.
    assert not rises(x, y, np.ones(len(y)))
    assert not rises(x, y, (np.arange(len(y)) % 2).astype(float))
    entry = {"kind": "heatmap", "x": "d", "y": "n", "z": "fits", "threshold": "fits < 0.5"}
    (spec,) = parse_figures([entry], list(frame.columns))
    with pytest.raises(InvalidValueError, match=r"stops as n grows.*not \(fits < 0.5\)"):
        draw(frame, spec, tmp_path / spec.name)


def test_a_map_without_an_edge_says_so_and_promises_none():
    frame = rows(edge=1.0)
    entry = {"kind": "heatmap", "x": "d", "y": "n", "z": "fits"}
    entries = [{**entry, "threshold": f"fits > {level}"} for level in (0.5, 2)]
    seen, unseen = (
        find_kind("heatmap").chart(Columns(frame), spec, None)
        for spec in parse_figures(entries, list(frame.columns))
    )
    assert (seen.band, unseen.band) == ("90 % interval of the edge", "")
    said = "no edge of fits > 2 is seen on the map"
    assert said in unseen.notes
    assert not any("no edge" in note for note in seen.notes)
