"""An override of an axis that applies in a part of the grid keeps to that part."""

from __future__ import annotations

import pytest

from lawsweep.config.compose import load_sweep
from lawsweep.config.overrides import parse_override
from lawsweep.core.errors import InvalidValueError

WHEN = "{name: [a, b], when: {if: \"name == 'b'\", axes: {rate: [0.1, 0.2]}}}"
NESTED = (
    "{name: [a, b], count: [1, 2], when: {if: \"name == 'b'\", axes: {flag: [true], "
    "when: {if: count == 2, axes: {rate: [0.1, 0.2]}}}}}"
)
ZIPPED = "{name: [a, b], when: {if: \"name == 'b'\", axes: {zip: {rate: [1, 2], count: [3, 4]}}}}"
POINTS = (
    "{name: [a, b], when: {if: \"name == 'b'\", axes: {points: [{rate: 1, count: 3}, "
    "{rate: 2, count: 4}]}}}"
)
SAMPLE = (
    "{name: [a, b], when: {if: \"name == 'b'\", axes: {sample: {n: 3, box: {rate: [0, 1], "
    "count: [1, 9]}}}}}"
)
UNION = (
    "{union: [{params: {name: a}, axes: {rate: [0.1, 0.2]}}, {params: {name: b}}, "
    "{params: {name: c, rate: 0.7}}]}"
)
DERIVED = (
    "{union: [{params: {name: a}, axes: {ratio: [1, 2], count: [10]}, "
    "derive: {rate: ratio * count}}, {params: {name: b}}]}"
)
PLAIN = "{zip: {name: [a, b], rate: [0.1, 0.2]}, count: [1, 2]}"


def planned(write, axes, *overrides, more=""):
    write("inside", f"experiment: text_toy:kinds\naxes: {axes}\n{more}")
    plan = load_sweep("inside", *overrides).plan()
    columns = plan.over_points()

    def at(name, i):
        column = columns[name]
        return column.item() if column.ndim == 0 else column[i]

    return [
        (at("name", i), float(at("rate", i)), int(at("count", i))) for i in range(plan.n_points)
    ]


@pytest.mark.parametrize(
    ("axes", "override", "expected"),
    [
        (WHEN, "params.rate=0.3,0.4", [("b", 0.3, 1), ("b", 0.4, 1), ("a", 0.5, 1)]),
        (WHEN, "axes.rate=[0.3,0.4]", [("b", 0.3, 1), ("b", 0.4, 1), ("a", 0.5, 1)]),
        (WHEN, "params.rate=linspace(1, 2, 2)", [("b", 1, 1), ("b", 2, 1), ("a", 0.5, 1)]),
        (WHEN, "params.rate=0.3", [("b", 0.3, 1), ("a", 0.5, 1)]),
        (WHEN, "params.name=a", [("a", 0.5, 1)]),
        (WHEN, "params.name=b", [("b", 0.1, 1), ("b", 0.2, 1)]),
        (WHEN, "params.name=b,c", [("b", 0.1, 1), ("b", 0.2, 1), ("c", 0.5, 1)]),
        (WHEN, "params.count=7", [("b", 0.1, 7), ("b", 0.2, 7), ("a", 0.5, 7)]),
        (WHEN, "~params.rate", [("a", 0.5, 1), ("b", 0.5, 1)]),
        (NESTED, "params.rate=9", [("b", 9, 2), ("b", 0.5, 1), ("a", 0.5, 1), ("a", 0.5, 2)]),
        (NESTED, "params.count=2", [("b", 0.1, 2), ("b", 0.2, 2), ("a", 0.5, 2)]),
        (NESTED, "params.count=1", [("b", 0.5, 1), ("a", 0.5, 1)]),
        (ZIPPED, "params.rate=5,6", [
            ("b", 5, 3), ("b", 6, 3), ("b", 5, 4), ("b", 6, 4), ("a", 0.5, 1)]),
        (ZIPPED, "params.rate=5", [("b", 5, 3), ("b", 5, 4), ("a", 0.5, 1)]),
        (POINTS, "params.count=8,9", [
            ("b", 1, 8), ("b", 1, 9), ("b", 2, 8), ("b", 2, 9), ("a", 0.5, 1)]),
        (POINTS, "params.count=8", [("b", 1, 8), ("b", 2, 8), ("a", 0.5, 1)]),
        (UNION, "params.rate=5,6", [
            ("a", 5, 1), ("a", 6, 1), ("b", 0.5, 1), ("c", 5, 1), ("c", 6, 1)]),
        (UNION, "params.rate=5", [("a", 5, 1), ("b", 0.5, 1), ("c", 5, 1)]),
        (UNION, "params.name=z", [("z", 0.1, 1), ("z", 0.2, 1), ("z", 0.5, 1), ("z", 0.7, 1)]),
        (DERIVED, "params.rate=5", [("a", 5, 10), ("b", 0.5, 1)]),
        (DERIVED, "params.count=20", [("a", 20, 20), ("a", 40, 20), ("b", 0.5, 1)]),
        (PLAIN, "params.rate=5,6", [
            (n, r, c) for n in "ab" for r in (5, 6) for c in (1, 2)]),
        (PLAIN, "params.rate=5", [("a", 5, 1), ("a", 5, 2), ("b", 5, 1), ("b", 5, 2)]),
    ],
)  # fmt: skip
def test_an_override_keeps_to_the_part_of_the_grid_that_has_the_axis(
    write, axes, override, expected
):
    assert sorted(planned(write, axes, override)) == sorted(expected)


def test_a_sampled_axis_that_is_pinned_stays_under_its_condition(write):
    found = planned(write, SAMPLE, "params.rate=0.25")
    assert {(name, rate) for name, rate, _ in found} == {("a", 0.5), ("b", 0.25)}
    assert len(planned(write, SAMPLE, "params.rate=0.25,0.75")) == 7


@pytest.mark.parametrize("part", ["params: {rate: 0.3}", "axes: {rate: [0.3]}"])
def test_a_preset_keeps_to_it_too(write, part):
    more = f"presets: {{p: {{{part}}}}}\n"
    assert sorted(planned(write, WHEN, "preset=p", more=more)) == [("a", 0.5, 1), ("b", 0.3, 1)]


def test_several_overrides_of_one_branch_go_together(write):
    found = planned(write, ZIPPED, "params.rate=5", "params.count=6,7")
    assert sorted(found) == [("a", 0.5, 1), ("b", 5, 6), ("b", 5, 7)]
    # What is fixed outside as well is given everywhere.
    more = "params: {rate: 0.9}\n"
    axes = "{union: [{params: {name: a, rate: 0.1}}, {params: {name: b}}]}"
    assert planned(write, axes, "params.rate=2", more=more) == [("a", 2, 1), ("b", 2, 1)]


def test_an_axis_that_only_a_derived_field_read_goes_with_it(write):
    axes, more = "{ratio: [1, 2, 3], count: [4, 5]}", "derive: {rate: ratio * count}\n"
    kept = [("x", 0.5, 4), ("x", 0.5, 5)]
    for override in ("derive.rate=null", "~derive.rate", "derive={}", "~params.rate"):
        assert planned(write, axes, override, more=more) == kept, override
    assert planned(write, axes, "derive.rate=null", "params.rate=7", more=more)[0] == ("x", 7, 4)
    changed = planned(write, axes, "derive.rate='count / 2'", more=more)
    assert changed == [("x", 2, 4), ("x", 2.5, 5)]
    # What something else reads stays.
    more += "where: [ratio < 3]\n"
    assert len(planned(write, axes, "derive.rate=count", more=more)) == 2


def test_an_override_of_more_values_than_a_grid_may_have_is_counted_as_it_comes(monkeypatch):
    monkeypatch.setattr(
        "lawsweep.config.overrides.MAX_POINTS", 10_000
    )  # to the real one takes seconds
    with pytest.raises(InvalidValueError, match="gives more than 10,000 values"):
        parse_override("seeds=range(0,1000000000000)")
