"""Differences of the groups of a fit, of two sweeps, and of two searches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError
from lawsweep.study.reading.differing import compare_groups
from lawsweep.tools.comparing import compare


def test_two_variants_of_a_sweep_are_paired_by_their_seeds(toys):
    other = dataclasses.replace(toys, params={"scale": 2.0})
    lawsweep.run(other)
    (pair,) = compare(toys, other).fits
    (found,) = pair.differences
    assert (found.parameter, found.a, found.b, found.n_pairs) == ("exponent", "A", "B", 2)

    def slopes(sweep):
        frame = lawsweep.load(sweep).astype({"n": float, "y": float})
        return [np.polyfit(np.log(g.n), np.log(g.y), 1)[0] for _, g in frame.groupby("seed")]

    apart = np.array(slopes(other)) - np.array(slopes(toys))
    assert found.estimate == pytest.approx(apart.mean(), abs=1e-12)
    half = 12.706204736174694 * abs(apart[1] - apart[0]) / 2  # t(1), and sd / sqrt(2)
    assert found.high - found.estimate == pytest.approx(half, rel=1e-6)


def test_the_groups_of_one_sweep_are_compared(toys):
    grouped = dataclasses.replace(
        toys,
        axes={"n": [10, 20, 40, 80], "scale": [1.0, 2.0, 4.0]},
        fits=({**toys.fits[0], "by": "scale"},),
    )
    lawsweep.run(grouped)
    found = compare_groups(lawsweep.open(grouped))
    assert [(d.a, d.b) for d in found.differences] == [
        ("scale=1", "2"), ("scale=1", "4"), ("scale=2", "4"),
    ]  # fmt: skip
    with pytest.raises(InvalidValueError, match="no fit of toys has groups"):
        compare_groups(lawsweep.open(toys))


def test_thresholds_of_two_searches_are_compared_cell_by_cell(folder):
    def edges(name, **changes):
        made = Sweep(
            name=name,
            experiment="search_toys:memory",
            axes={"d": [20, 40], "ratio": "logspace(0.3, 1.5, 40)"},
            derive={"n": "round(ratio * d**2)"},
            seeds=40,
            search={"axis": "n", "event": "loss < 1", "tolerance": 0.1, "max_runs": 40},
            executor={"kind": "serial"},
        )
        made = dataclasses.replace(made, **changes)
        lawsweep.run(made)
        return made

    first, second = edges("first"), edges("second", seeds=list(range(100, 140)))
    found = compare(first, second).thresholds
    assert [d.parameter for d in found] == ["n_star at d=20", "n_star at d=40"]
    cells = [lawsweep.thresholds(s) for s in (first, second)]
    for k, d in enumerate(found):
        (m, low, high), (n, below, above) = (
            (float(c.n_star[k]), float(c.low[k]), float(c.high[k])) for c in cells
        )
        assert d.estimate == pytest.approx(n - m)
        assert d.low == pytest.approx(n - m - np.sqrt((n - below) ** 2 + (high - m) ** 2))
        assert d.high == pytest.approx(n - m + np.sqrt((above - n) ** 2 + (m - low) ** 2))
        assert d.level == 0.9
        assert "unpaired: searches" in d.text()
    beyond = edges("beyond", axes={"d": [20, 80], "ratio": "logspace(3, 12, 10)"})
    found = compare(first, beyond)
    assert found.thresholds == ()
    assert found.notes == (
        "1 cell without a difference: a threshold, or an end of it, is not known",
    )
