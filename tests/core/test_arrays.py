"""Metrics that are large arrays: declared, checked, and carried beside the row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from toys import FaultMetrics, spectrum

from lawsweep import Array, Field, experiment
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import RunSpec
from lawsweep.core.plain.annotations import field_specs
from lawsweep.worker.execute import execute_run


@dataclass(frozen=True, kw_only=True)
class Large:
    values: Annotated[Array | None, Field("values", unit="m")] = None


(SPEC,) = field_specs(Large)


def outcome(**params):
    return execute_run(spectrum, RunSpec(0, "id", params, 3))


def test_arrays_are_kept_apart_from_the_scalars():
    assert [s.name for s in spectrum.metrics] == ["largest"]
    assert [(s.name, s.kind, s.optional) for s in spectrum.arrays] == [
        ("eigenvalues", "array", True), ("table", "array", False)
    ]  # fmt: skip
    assert (SPEC.info.unit, SPEC.type_name) == ("m", "array or null")


def test_an_outcome_carries_its_arrays():
    found = outcome(n=5)
    assert found.status == "ok"
    assert set(found.metrics) == {"largest"}
    assert {n: a.shape for n, a in found.arrays.items()} == {"eigenvalues": (5,), "table": (3, 2)}
    assert all(a.dtype == np.float64 and a.flags.c_contiguous for a in found.arrays.values())
    # float32 eigenvalues keep their values; the largest one is rounded from float64.
    assert found.arrays["eigenvalues"].max() == np.float32(found.metrics["largest"])
    np.testing.assert_array_equal(found.arrays["table"], [[0, 3], [1, 4], [2, 5]])
    assert set(outcome(n=5, kind="none").arrays) == {"table"}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("complex", "must be an array of real numbers, got one of complex128"),
        ("text", "must be an array of real numbers, got one of <U1"),
        ("ragged", "numpy cannot read the list it got"),
    ],
)
def test_an_array_that_is_none_fails_its_run(kind, message):
    found = outcome(n=2, kind=kind)
    assert (found.status, found.metrics, found.arrays) == ("failed", None, None)
    assert found.error.startswith("InvalidValueError: eigenvalues must be")
    assert message in found.error


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, np.array(2.0)),
        ([True, False], np.array([1.0, 0.0])),
        ([[1, 2], [3, 4]], np.array([[1.0, 2.0], [3.0, 4.0]])),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        ([float("nan"), float("inf")], np.array([np.nan, np.inf])),
    ],
)
def test_whatever_numpy_reads_as_real(value, expected):
    got = SPEC.cast_array(value)
    assert (got.dtype, got.shape) == (np.float64, expected.shape)
    np.testing.assert_array_equal(got, expected)


def test_what_is_kept_is_a_copy():
    mine = np.ones(3)
    kept = SPEC.cast_array(mine)
    mine[:] = 2.0
    np.testing.assert_array_equal(kept, 1.0)


@pytest.mark.parametrize("value", [{"a": 1}, object(), ["a"], np.array(["2020"], "M8[Y]"), 1j])
def test_other_values_are_refused(value):
    with pytest.raises(InvalidValueError, match="must be an array of real numbers"):
        SPEC.cast_array(value)


def test_params_are_no_arrays():
    def f(params: Large, seed: int) -> FaultMetrics: ...

    with pytest.raises(TypeError, match="'values' is a param, and a param is no Array"):
        experiment(version=1)(f)


def test_lists_of_arrays_are_refused():
    @dataclass
    class Many:
        x: tuple[Array, ...]

    Many.__annotations__["x"] = tuple[Array, ...]
    with pytest.raises(TypeError, match="unsupported type"):
        field_specs(Many)
