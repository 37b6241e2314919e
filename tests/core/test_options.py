"""Options: what does not fit a field is one sentence, whoever declared it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.options import check_options, option_fields, read_options
from lawsweep.core.schema import Field


@dataclass(frozen=True)
class Options:
    size: Annotated[int, Field("a count", ge=1)]
    share: Annotated[float, Field("of them", gt=0, lt=1)] = 0.5
    wait_s: Annotated[float | None, Field("patience", unit="s", ge=0, le=3600)] = None
    per_task: Annotated[float | str, Field("a number, or an expression", ge=0)] = 1
    device: Literal["cpu", "cuda"] = "cpu"
    fuse: bool = True
    address: str | None = None
    extra: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_options(self, "thing")


def test_what_fits_is_taken_as_it_is():
    given = {"size": 2, "per_task": "n / 2", "device": "cuda", "extra": {"a": [1]}, "wait_s": 3}
    made = read_options(Options, given, "thing")
    assert made == Options(2, 0.5, 3, "n / 2", "cuda", True, None, {"a": [1]})
    assert read_options(Options, made, "thing") is made
    whole = Options(size=np.int64(4), per_task=1.5)
    assert (whole.size, type(whole.size), whole.per_task) == (4, int, 1.5)
    assert type(Options(size=3.0).size) is int


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 1.5}, "thing.size must be a whole number from 1, got 1.5."),
        ({"size": True}, "thing.size must be a whole number from 1, got True."),
        ({"size": "3"}, "thing.size must be a whole number from 1, got '3'."),
        ({"size": None}, "thing.size must be a whole number from 1, got None."),
        ({"size": 0}, "thing.size must be a whole number from 1, got 0."),
        ({"size": 10**400}, "thing.size must be a whole number from 1, got 1000"),
        ({"size": float("nan")}, "thing.size must be a whole number from 1, got nan."),
        ({"share": 1}, "thing.share must be a number above 0 below 1, got 1."),
        ({"share": [1]}, "thing.share must be a number above 0 below 1, got [1]."),
        ({"wait_s": 4000}, "thing.wait_s must be seconds from 0 to 3,600, or null, got 4000."),
        ({"wait_s": float("inf")}, "thing.wait_s must be seconds from 0 to 3,600, or null, got"),
        ({"per_task": -1}, "thing.per_task must be a number from 0 or text, got -1."),
        ({"device": "cdua"}, "one of cpu, cuda, got 'cdua'. Did you mean 'cuda'?"),
        ({"fuse": 1}, "thing.fuse must be true or false, got 1."),
        ({"fuse": "false"}, "thing.fuse must be true or false, got 'false'."),
        ({"address": 8265}, "thing.address must be text, or null, got 8265."),
        ({"extra": "a"}, "thing.extra must be a mapping, or null, got 'a'."),
    ],
)
def test_what_does_not_fit_is_one_sentence(given, message):
    for make in (lambda v: read_options(Options, v, "thing"), lambda v: Options(**v)):
        with pytest.raises(InvalidValueError) as told:
            make({"size": 1, **given})
        assert message in str(told.value)
        assert "\n" not in str(told.value)


def test_names_are_checked_before_values():
    with pytest.raises(UnknownNameError, match=r"option 'sise' in thing\. Did you mean 'size'"):
        read_options(Options, {"sise": "x"}, "thing")
    with pytest.raises(UnknownNameError, match="option '3' in thing"):
        read_options(Options, {3: "x"}, "thing")
    with pytest.raises(InvalidValueError, match=r"thing needs size; got \{.share.: 0\.1\}"):
        read_options(Options, {"share": 0.1}, "thing")
    with pytest.raises(InvalidValueError, match=r"thing must be a mapping of size, .* got \[1\]"):
        read_options(Options, [1], "thing")


def test_a_field_of_another_type_is_the_owners_slip():
    @dataclass(frozen=True)
    class Wrong:
        sizes: list[int]

    with pytest.raises(TypeError, match=r"Wrong.sizes has the unsupported type list\[int\]"):
        option_fields(Wrong)


def test_a_field_says_whether_a_text_is_one():
    assert {f.name for f in option_fields(Options) if f.is_text} == {"per_task", "address"}
