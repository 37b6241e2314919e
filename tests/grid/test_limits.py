"""The limit of a grid is looked at before its points, or the values of an axis, are there."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from toys import toy

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.axes import Plain
from lawsweep.grid.plan import make_plan

MANY = "linspace(0, 1, 10000000)"
SMALL = {"n": "range(1, 1000)"}


@pytest.mark.parametrize(
    "axes",
    [
        {"n": 1, "scale": MANY},
        {"n": 1, "scale": "logspace(1, 2, 9000000)"},
        {"n": 1, "scale": "2 * range(9000000) + 1"},
        {"n": 1, "scale": "range(0, 1e300, 1e-300)"},
        {**SMALL, "scale": "linspace(0, 1, 1000000)"},
        {**SMALL, "zip": {"scale": MANY, "other": MANY}},
        [SMALL, {"scale": "linspace(0, 1, 4000000)"}],
        {**SMALL, "sample": {"n": 4_000_000, "box": {"scale": [0, 1]}}},
        {"points": {"n": "range(1, 7000000)"}},
        {"union": [{"axes": {"n": 1}}, {"axes": {"n": 1, "scale": MANY}}]},
        {"n": [1, 2], "when": {"if": "n == 1", "axes": {"scale": MANY}}},
        {"union": [{"axes": {"union": [{"axes": {"n": 1, "scale": MANY}}]}}]},
    ],
)
def test_too_many_points_are_refused_before_they_are_made(axes):
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(InvalidValueError, match=r"span [\d,]+ points, more than the limit"):
            make_plan(toy, axes=axes, where=["other > 0"] if "zip" in axes else None)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 50e6  # ten million floats alone are 80 MB
    assert time.process_time() - start < 20  # it was 92 s


def test_values_that_coincide_when_they_are_rounded_are_few():
    plan = make_plan(toy, axes={"n": "linspace(1, 3, 50000)", "scale": "range(0, 200)"})
    assert plan.n_points == 600


def test_conditions_that_split_the_axes_without_end_are_refused():
    whens = [{"if": f"n > {k}", "axes": {"scale": [1.0, 2.0]}} for k in range(30)]
    with pytest.raises(InvalidValueError, match=r"split the axes into [\d,]+ grids, more than"):
        make_plan(toy, axes={"n": [1, 2], "when": whens})


def test_axes_that_nest_without_end_are_refused():
    axes = {"n": 1}
    for _ in range(3000):
        axes = {"union": [{"axes": axes}]}
    with pytest.raises(InvalidValueError, match="axes nest too deep"):
        make_plan(toy, axes=axes)


def test_a_larger_limit_lets_more_through():
    with pytest.raises(InvalidValueError, match="at most 10,000,000 values, got 10,000,001"):
        make_plan(toy, axes={"n": 1, "scale": "range(10000001)"}, max_points=10**8)
    assert make_plan(toy, axes={"n": 1, "scale": "range(30)"}, max_points=30).n_points == 30


def test_a_union_ends_at_the_first_grid_too_many(monkeypatch):
    read = []
    grids = Plain.grids
    monkeypatch.setattr(Plain, "grids", lambda self, s: read.append(self) or grids(self, s))
    members = [{"axes": {"n": "range(1, 901)"}}] * 200
    with pytest.raises(
        InvalidValueError, match=r"at least 1,800 points, more than the limit of 1,000"
    ):
        make_plan(toy, axes={"union": members}, max_points=1000)
    assert len(read) == 2
