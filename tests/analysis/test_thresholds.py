"""The edge of an event over a heatmap's rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from lawsweep.analysis.figures import draw
from lawsweep.analysis.specs import parse_figures
from lawsweep.analysis.threshold_fits import edge_of_rows
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
