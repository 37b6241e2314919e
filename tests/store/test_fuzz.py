"""Any experiment of supported types, any extreme value: what was run is what is read."""

from __future__ import annotations

import dataclasses
import math
import struct
import tempfile
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lawsweep import Array
from lawsweep.core.errors import Infeasible
from lawsweep.core.identity import run_id
from lawsweep.core.outcome import RunSpec
from lawsweep.core.plain.decorator import experiment
from lawsweep.core.schema import INT64_MAX, printable
from lawsweep.grid.plan import make_plan
from lawsweep.launch.committer import Committer
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker.execute import execute_run

INTS = st.one_of(
    st.sampled_from([0, 1, -1, 2**53 + 1, INT64_MAX, -INT64_MAX]),
    st.integers(-INT64_MAX, INT64_MAX),
)
FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308]),
    st.floats(),
)
TEXTS = st.one_of(
    st.sampled_from(["", "\0", "a\0b", "\udc80", "nan", "null", "\N{ROCKET}", "\n,\"'", "￿"]),
    st.text(alphabet=st.characters(), max_size=6),  # lone surrogates are among them
)
# Any real array, of any type and shape: it is kept as float64.
ARRAYS = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int16, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
VALUES = {bool: st.booleans(), int: INTS, float: FLOATS, str: TEXTS}
LITERALS = (Literal["relu", "tänh", ""], Literal[2, -3, INT64_MAX])
KINDS = (*VALUES, *LITERALS)


def scalar_values(kind: Any) -> st.SearchStrategy[Any]:
    return VALUES[kind] if kind in VALUES else st.sampled_from(get_args(kind))


@st.composite
def fields(draw, prefix, *, metric):
    """A dataclass's fields: name, type, whether it has a default, and how to draw values."""
    made = []
    for i in range(draw(st.integers(1, 4))):
        if metric and draw(st.integers(0, 3)) == 0:
            hint = draw(st.sampled_from([Array, Array | None]))
            values = ARRAYS if hint is Array else st.one_of(st.none(), ARRAYS)
            made.append((f"{prefix}{i}", hint, dataclasses.MISSING, values))
            continue
        kind = draw(st.sampled_from(KINDS))
        values = scalar_values(kind)
        if kind is float and not metric:
            values = values.filter(math.isfinite)  # others are refused in a param
        hint = kind
        if draw(st.booleans()):
            hint, values = tuple[kind, ...], st.lists(values, max_size=4).map(tuple)
        if draw(st.booleans()):
            hint, values = hint | None, st.one_of(st.none(), values)
        default = draw(values) if not metric and draw(st.booleans()) else dataclasses.MISSING
        made.append((f"{prefix}{i}", hint, default, values))
    return made


def make_type(name, members):
    built = [
        (n, hint) if default is dataclasses.MISSING else (n, hint, default)
        for n, hint, default, _ in members
    ]
    return dataclasses.make_dataclass(name, built, frozen=True, kw_only=True)


def make_experiment(params, metrics, answer):
    def fuzzed(params, seed):
        return answer(seed)

    fuzzed.__annotations__ = {"params": params, "seed": int, "return": metrics}
    return experiment(version=1)(fuzzed)


@st.composite
def studies(draw):
    """An experiment, the params of one point, and what each seed answers."""
    params, metrics = draw(fields("p", metric=False)), draw(fields("m", metric=True))
    given_params = {n: draw(values) for n, _, _, values in params}
    for name, _, default, _ in params:
        if default is not dataclasses.MISSING and draw(st.booleans()):
            del given_params[name]
    answers = [
        draw(
            st.one_of(
                st.fixed_dictionaries({n: values for n, _, _, values in metrics}),
                TEXTS.map(ValueError),
                TEXTS.map(Infeasible),
                TEXTS.map(MemoryError),
            )
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    params_type, metrics_type = make_type("Params", params), make_type("Metrics", metrics)

    def answer(seed):
        if isinstance(answers[seed], Exception):
            raise answers[seed]
        return metrics_type(**answers[seed])

    return make_experiment(params_type, metrics_type, answer), given_params, answers


def bits(value):
    """A value so that equal means the same: NaN to NaN, 0.0 not to -0.0, 1 not to 1.0 or True."""
    if isinstance(value, list | tuple):
        return ("list", *map(bits, value))
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else struct.pack("<d", value))
    return (type(value).__name__, value)


def plain(value, *, metric):
    """What the table promises to hold for a value that was given."""
    if isinstance(value, tuple):
        return tuple(plain(v, metric=metric) for v in value)
    if isinstance(value, str):
        return printable(value)  # a lone surrogate is spelled out: UTF-8 has none
    if isinstance(value, float) and not metric:
        return value + 0.0  # -0.0 is 0.0 in a param: one spelling, one run id
    return value


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(study=studies())
def test_what_was_run_is_what_is_read(study):
    fuzzed, given_params, answers = study
    plan = make_plan(fuzzed, params=given_params, seeds=list(range(len(answers))))
    with tempfile.TemporaryDirectory() as folder:
        table = ParquetTable(f"{folder}/tables", fuzzed)
        committer = Committer(table, plan, "L")
        outcomes = []
        for i, seed in enumerate(plan.seeds):
            run = RunSpec(i, plan.run_ids[i], plan.params_of(i), seed)
            outcomes.append(execute_run(fuzzed, run))
            committer.add(outcomes[-1])
        committer.flush()
        rows = table.read(plan.run_ids).to_pylist()
        assert not table.skipped
        check_arrays(table, plan, answers)
    assert [r["run_id"] for r in rows] == plan.run_ids
    full = fuzzed.with_defaults(given_params)
    for row, answer, outcome in zip(rows, answers, outcomes, strict=True):
        for spec in fuzzed.params:
            assert bits(row[spec.name]) == bits(plain(full[spec.name], metric=False)), spec.name
        failed = isinstance(answer, Exception)
        for spec in fuzzed.metrics:
            value = None if failed else plain(answer[spec.name], metric=True)
            assert bits(row[spec.name]) == bits(value), spec.name
        assert row["status"] == outcome.status == expected_status(answer)
        assert row["error"] == outcome.error
        if failed:
            assert printable(str(answer)) in row["error"]
        # The row alone names its run: what verify and replay rest on.
        cast = {s.name: s.cast(row[s.name]) for s in fuzzed.params}
        assert run_id(fuzzed, cast, row["seed"]) == row["run_id"]


def check_arrays(table, plan, answers):
    for spec in plan.experiment.arrays:
        found = table.array_store.table(spec.name).values(table.read())
        expected = {
            name: answer[spec.name]
            for name, answer in zip(plan.run_ids, answers, strict=True)
            if not isinstance(answer, Exception) and answer[spec.name] is not None
        }
        assert set(found) == set(expected), spec.name
        for name, value in expected.items():
            real = value.astype(np.float64)
            assert found[name].shape == real.shape
            assert found[name].tobytes() == real.tobytes()


def expected_status(answer):
    if not isinstance(answer, Exception):
        return "ok"
    known = {Infeasible: "infeasible", MemoryError: "oom"}
    return known.get(type(answer), "failed")


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, 2**63, "must be int, got 9223372036854775808 (int). Whole numbers have at most"),
        (int, True, "must be int, got True"),
        (float, "1.0", "must be float, got '1.0'"),
        (float, 1j, "must be float, got 1j"),
        (str, b"raw", "must be str, got b'raw'"),
        (tuple[int, ...], (1, None), "must be list of int, got None"),
    ],
)
def test_a_metric_of_another_type_is_a_failed_row_that_says_so(tmp_path, hint, value, said):
    metrics = make_type("Metrics", [("m", hint, dataclasses.MISSING, None)])
    params = make_type("Params", [("p", int, dataclasses.MISSING, None)])
    wrong = make_experiment(params, metrics, lambda seed: metrics(m=value))
    plan = make_plan(wrong, params={"p": 1})
    table = ParquetTable(tmp_path, wrong)
    committer = Committer(table, plan, "L")
    committer.add(execute_run(wrong, RunSpec(0, plan.run_ids[0], {"p": 1}, 0)))
    committer.flush()
    (row,) = table.read().to_pylist()
    assert (row["status"], row["m"]) == ("failed", None)
    assert said in row["error"]


def test_numpy_values_are_metrics_too(tmp_path):
    hints = {"a": float, "b": int, "c": bool, "d": tuple[float, ...], "e": float | None}
    metrics = make_type("Metrics", [(n, h, dataclasses.MISSING, None) for n, h in hints.items()])
    params = make_type("Params", [("p", int, dataclasses.MISSING, None)])
    values = {
        "a": np.float64(-0.0), "b": np.int32(-7), "c": np.bool_(True),
        "d": np.array([np.nan, -np.inf]), "e": np.float32(0.5),
    }  # fmt: skip
    given_numpy = make_experiment(params, metrics, lambda seed: metrics(**values))
    plan = make_plan(given_numpy, params={"p": 1})
    table = ParquetTable(tmp_path, given_numpy)
    committer = Committer(table, plan, "L")
    committer.add(execute_run(given_numpy, RunSpec(0, plan.run_ids[0], {"p": 1}, 0)))
    committer.flush()
    (row,) = table.read().to_pylist()
    assert row["error"] is None
    got = [bits(row[n]) for n in hints]
    assert got == [bits(v) for v in (-0.0, -7, True, [math.nan, -math.inf], 0.5)]
