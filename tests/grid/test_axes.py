"""Axis nodes: what an entry spans, what is left of it, and one more kind by one class."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from toys import toy

from lawsweep import load
from lawsweep.config.compose import load_sweep
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.grid.axes import axis_kind, kind_names, read_axes
from lawsweep.grid.axes.node import KINDS
from lawsweep.grid.plan import make_plan

EVERY_KIND: dict[str, Any] = {
    "a": [1],
    "zip": {"b": [1], "c": [2]},
    "points": [{"d": 1, "e": 2}],
    "sample": {"n": 2, "box": {"f": [0, 1], "g": [0, 1]}},
    "when": {"if": "a > 0", "axes": {"h": [1]}},
    "union": [{"axes": {"i": [1], "j": [2]}}, {"params": {"i": 3}, "derive": {"k": "2 * i"}}],
}


def test_an_entry_is_written_as_it_was_read():
    for entry in (EVERY_KIND, [EVERY_KIND, {"n": "range(3)"}], {}, []):
        assert read_axes(entry).written() == entry
    assert read_axes(None).names == []


def test_every_kind_says_what_it_spans_and_what_is_left_without():
    axes = read_axes(EVERY_KIND)
    assert axes.names == list("abcdefghij")
    assert len(list(axes.inner())) == 3
    for name in "abcdefghijk":
        assert axes.has(name), name
        assert not axes.without(name).has(name), name
        assert axes.has_of_its_own(name) == (name in "abcdefg")
    assert not axes.has("n")
    rest = {k: v for k, v in EVERY_KIND.items() if k != "a"}
    assert read_axes([EVERY_KIND, {"a": [2]}]).without("a").written() == [rest]
    assert read_axes({"when": EVERY_KIND["when"]}).without("h").written() == {
        "when": {"if": "a > 0", "axes": {}}
    }


def test_other_values_stand_where_the_old_ones_stood():
    found = read_axes(EVERY_KIND)
    for name in "abdfhi":
        found = found.with_values(name, [7])
    assert found.written() == {
        "a": [7],
        "zip": {"c": [2]},
        "b": [7],
        "points": [{"e": 2}],
        "d": [7],
        "sample": {"n": 2, "box": {"g": [0, 1]}},
        "f": [7],
        "when": {"if": "a > 0", "axes": {"h": [7]}},
        "union": [
            {"axes": {"i": [7], "j": [2]}},
            {"params": {}, "derive": {"k": "2 * i"}, "axes": {"i": [7]}},
        ],
    }
    assert found.with_values("nowhere", [1]).written() == found.written()


def test_a_block_goes_by_its_key():
    axes = read_axes([{"zip": {"b": [1], "c": [2]}}, {"a": [1], "sample": EVERY_KIND["sample"]}])
    assert axes.has("zip")
    assert not axes.has_of_its_own("union")
    assert axes.without("zip").without("sample").written() == [{"a": [1]}]
    assert axes.with_values("zip", {"d": [3]}).written()[0] == {"zip": {"d": [3]}}


def test_what_advances_together():
    axes = read_axes([EVERY_KIND, {"when": {"if": "a > 0", "axes": {"zip": {"b": [1], "z": [1]}}}}])
    assert axes.together("b") == ["c", "z"]
    assert axes.together("f") == ["g"]
    assert axes.together("a") == axes.together("h") == []


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"zipp": {"n": [1, 2]}}, "Unknown block 'zipp' in axes. Did you mean 'zip'"),
        (
            {"n": [1], "unoin": [{"axes": {}}]},
            "Unknown block 'unoin' in axes. Did you mean",
        ),
        ([{"n": [1]}, {"simple": {"box": {}}}], "Unknown block 'simple' in axes. Did you mean"),
        ({"union": [{"axes": {"point": [{"n": 1}]}}]}, "Unknown block 'point'.*'points'"),
    ],
)
def test_an_unknown_block_is_no_plain_axis(axes, message):
    with pytest.raises(UnknownNameError, match=message.replace(".", r"\.").replace(r"\.*", ".*")):
        make_plan(toy, axes=axes)


def test_a_param_of_a_kinds_name_is_an_axis():
    assert read_axes({"zip": [1, 2]}, ["zip"]).names == ["zip"]
    with pytest.raises(InvalidValueError, match="zip must be a mapping of axes"):
        read_axes({"zip": [1, 2]})


HALVING = """
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.grid.axes import Flat, axis_kind
from lawsweep.grid.grids import Grid
from toys import toy


@axis_kind("halving")
@dataclass(frozen=True)
class Halving(Flat):
    given: Mapping[str, Any]

    @classmethod
    def read(cls, value, params):
        if not isinstance(value, Mapping) or set(value) != {"axis", "start", "times"}:
            raise InvalidValueError(f"halving needs axis, start and times, got {value!r}.")
        return cls(value)

    def written(self):
        return self.given

    @property
    def names(self):
        return (self.given["axis"],)

    def without(self, name):
        return None if name in self.names else self

    def grids(self, space):
        values = [self.given["start"] / 2**i for i in range(self.given["times"])]
        (name,) = self.names
        return [Grid([{name: space.column(name, values)}])]
"""


@pytest.fixture
def halving(folder):
    """One more kind, by one class in the file of an experiment."""
    (folder / "halving_toy.py").write_text(HALVING)
    yield
    KINDS.pop("halving", None)
    sys.modules.pop("halving_toy", None)


def test_one_more_kind_is_one_class(halving, lawsweep, write):
    write(
        "halved",
        "experiment: halving_toy:toy\nexecutor: serial\n"
        "axes: {n: [1, 2], halving: {axis: scale, start: 8, times: 3}}\n",
    )
    sweep = load_sweep("halved")
    code, _, err = lawsweep("run", "halved")
    assert code == 0, err
    frame = load(sweep)
    assert sorted(zip(frame["n"], frame["scale"], strict=True)) == [
        (n, scale) for n in (1, 2) for scale in (2, 4, 8)
    ]
    # Overrides reach into it as into ours.
    assert load_sweep("halved", "params.scale=3").axes == {"n": [1, 2]}
    assert load_sweep("halved", "params.scale=3,5").axes == {"n": [1, 2], "scale": [3, 5]}
    assert load_sweep("halved", "params.n=7").axes == {"halving": sweep.axes["halving"]}
    assert "halving" in kind_names()
    with pytest.raises(UnknownNameError, match="Did you mean 'halving'"):
        read_axes({"halvin": {"axis": "scale"}})
    assert axis_kind("halving")(KINDS["halving"]) is KINDS["halving"]  # a cell that is run again
    with pytest.raises(ValueError, match="there is an axis kind 'zip' already"):
        axis_kind("zip")(KINDS["halving"])
