"""Names that differ in case alone, or in how Unicode spells them, never meet."""

from __future__ import annotations

import dataclasses

import pytest
from toys import toy

from lawsweep import Array, experiment
from lawsweep.core.circumstances import CIRCUMSTANCES
from lawsweep.core.definition import RESERVED
from lawsweep.core.errors import InvalidValueError, nearest
from lawsweep.core.names import alike, folded
from lawsweep.core.registry import experiment_names, find_experiment
from lawsweep.grid.plan import make_plan


def made(params, metrics):
    """An experiment with fields of these names; the values are their types."""
    wheres = [
        dataclasses.make_dataclass(kind, list(fields.items()), frozen=True, kw_only=True)
        for kind, fields in (("Params", params), ("Metrics", metrics))
    ]

    def function(params, seed): ...

    function.__annotations__ = {"params": wheres[0], "return": wheres[1]}
    return experiment(version=1, name="made")(function)


@pytest.mark.parametrize(
    ("params", "metrics", "pair"),
    [
        ({"D": int, "d": int}, {"y": float}, ("D", "d")),
        ({"N": int}, {"n": float}, ("N", "n")),
        ({"x": int}, {"Loss": float, "loss": float}, ("Loss", "loss")),
        ({"x": int}, {"Curve": Array, "curve": float}, ("Curve", "curve")),
        ({"x": int}, {"Curve": Array, "curve": Array}, ("Curve", "curve")),
        ({"straße": int, "STRASSE": int}, {"y": float}, ("straße", "STRASSE")),
        *(({name.upper(): int}, {"y": float}, (name, name.upper())) for name in sorted(RESERVED)),
        ({"x": int}, {"Seed": float}, ("seed", "Seed")),
    ],
)
def test_fields_that_are_one_name_to_sql_are_refused_at_definition(params, metrics, pair):
    with pytest.raises(TypeError) as caught:
        made(params, metrics)
    assert f"{pair[1]!r} and {pair[0]!r}" in str(caught.value)
    assert "are one name to SQL; rename the field" in str(caught.value)


def test_every_circumstance_is_a_reserved_name():
    assert {c.name for c in CIRCUMSTANCES} < RESERVED


def test_the_experiments_here_have_no_such_names():
    for name in experiment_names():
        assert find_experiment(name).name == name


@pytest.mark.parametrize(
    ("axes", "derive"),
    [
        ({"N": [1, 2]}, {"n": "N"}),
        ({"Y": [1, 2]}, {"n": "Y"}),
        ({"Seed": [1, 2]}, {"n": "Seed"}),
        ({"HOST": [1, 2]}, {"n": "HOST"}),
        ({"k": [1], "K": [2]}, {"n": "k + K"}),
        ({"k": [1]}, {"K": "2 * k", "n": "K"}),
        ({"union": [{"axes": {"k": [1]}, "derive": {"n": "k"}},
                    {"axes": {"K": [2]}, "derive": {"n": "K"}}]}, {}),
    ],
)  # fmt: skip
def test_an_axis_is_no_second_spelling_of_a_column(axes, derive):
    with pytest.raises(InvalidValueError, match="are one name to SQL; call"):
        make_plan(toy, axes=axes, derive=derive)


def test_an_axis_that_is_a_param_is_that_param():
    assert len(make_plan(toy, axes={"n": [1, 2], "k": [1]}, where="k < n + 1")) == 2


def test_another_spelling_of_a_name_is_the_nearest_one():
    assert nearest("µ", ["nu", "μ"]) == ["μ"]
    assert nearest("N", ["noise", "n"]) == ["n"]


def test_initials_name_what_they_stand_for():
    assert nearest("RF", ["relu", "random_features", "erf"])[0] == "random_features"
    assert nearest("lr", ["ridge", "learning_rate"]) == ["learning_rate"]
    assert nearest("r", ["random"]) == []


def test_pairs():
    assert alike(["a", "b", "a"]) is None
    assert alike(["a", "B"], ["b", "A"]) == ("A", "a")
    assert alike(["Ridge"], ["Ridge", "ridge"]) == ("ridge", "Ridge")
    assert folded("µ") == folded("μ") == folded("Μ")  # micro sign, Greek mu, Greek capital mu
