from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.plain.annotations import field_specs
from lawsweep.core.schema import Field


@dataclass(frozen=True, kw_only=True)
class Everything:
    flag: bool
    count: Annotated[int, Field("how many", ge=1, lt=10)]
    rate: float = 0.5
    name: str = "x"
    act: Literal["relu", "tanh"] = "relu"
    maybe: float | None = None
    widths: tuple[int, ...] = (1, 2)


SPECS = {s.name: s for s in field_specs(Everything)}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flag", True, True),
        ("count", 3.0, 3),
        ("rate", 2, 2.0),
        ("rate", -0.0, 0.0),
        ("name", 2, "2"),
        ("maybe", None, None),
        ("maybe", 1, 1.0),
        ("widths", [3, 4.0], (3, 4)),
    ],
)
def test_cast(name, value, expected):
    got = SPECS[name].cast(value)
    assert got == expected
    assert type(got) is type(expected)
    if got == 0.0:
        assert math.copysign(1, got) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("flag", 1, "flag must be bool, got 1"),
        ("count", True, "count must be int, got True"),
        ("count", 1.5, "count must be int, got 1.5"),
        ("count", "3", "count must be int, got '3'"),
        ("count", 0, "count must be at least 1, got 0"),
        ("count", 10, "count must be less than 10, got 10"),
        ("count", 2**70, "count must be int"),
        ("rate", float("nan"), "rate must be float, got nan"),
        ("rate", None, "rate must be float, got None"),
        ("name", 1.5, "name must be str, got 1.5"),
        ("act", "relo", "one of relu, tanh, got 'relo' .*Did you mean 'relu'"),
        ("widths", 3, "widths must be list of int"),
        ("widths", "12", "widths must be list of int"),
    ],
)
def test_wrong_values_say_what_was_expected(name, value, message):
    with pytest.raises(InvalidValueError, match=message):
        SPECS[name].cast(value)


def test_metrics_keep_nan_and_infinity():
    assert math.isnan(SPECS["rate"].cast_metric(float("nan")))
    assert SPECS["rate"].cast_metric(float("inf")) == math.inf


def test_an_infinity_is_refused_unless_the_field_speaks_of_it():
    @dataclass
    class Limits:
        rate: float
        cap: Annotated[float, Field(le=math.inf)]
        rates: tuple[float, ...] = (1.0,)
        horizon: float = math.inf

    specs = {s.name: s for s in field_specs(Limits)}
    for name, value in (("rate", math.inf), ("cap", -math.inf), ("horizon", -math.inf)):
        with pytest.raises(InvalidValueError, match=f"{name} must be a finite number, got -?inf"):
            specs[name].cast(value)
    with pytest.raises(InvalidValueError, match="rates must be a finite number, got inf"):
        specs["rates"].cast([2.0, math.inf])
    assert (specs["cap"].cast(math.inf), specs["horizon"].cast(math.inf)) == (math.inf, math.inf)
    assert specs["horizon"].default == math.inf


def test_unsupported_types_are_refused_at_definition():
    @dataclass
    class Bad:
        x: set

    with pytest.raises(TypeError, match=r"Bad\.x has the unsupported type"):
        field_specs(Bad)
    wrong = dataclasses.make_dataclass("Wrong", [("n", int, None)])
    with pytest.raises(InvalidValueError, match=r"default of Wrong\.n does not fit: n must be int"):
        field_specs(wrong)
    with pytest.raises(TypeError, match=r"must be a dataclass; .*frozen=True"):
        field_specs(int)
