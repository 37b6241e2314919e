from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.tools.comparing import compare


def variant(sweep, **changes):
    other = dataclasses.replace(sweep, **changes)
    lawsweep.run(other)
    return other


def by_name(found):
    return {m.name: m for m in found.metrics}


def test_a_sweep_is_the_same_as_itself(toys):
    found = compare(toys, toys)
    assert found.keys == ("n", "scale", "mode", "seed")
    assert found.n_both == 8
    assert (found.only_a, found.only_b, found.not_ok, found.apart) == ((), (), (), {})
    for metric in found.metrics:
        assert metric.n == metric.n_same == 8
        assert metric.n_unlike == 0
    assert by_name(found)["y"].max_absolute == 0.0


def test_a_param_that_is_one_value_in_each_is_what_is_compared(toys):
    other = variant(toys, params={"scale": 2.0}, axes={"n": [20, 40, 80, 160]})
    found = compare(toys, other)
    assert found.apart == {"scale": (1.0, 2.0)}
    assert found.keys == ("n", "mode", "seed")
    assert found.n_both == 6
    assert {r["n"] for r in found.only_a} == {10}
    assert {r["n"] for r in found.only_b} == {160}
    y = by_name(found)["y"]
    # y = n scale + noise(seed), and the noise is the same: the difference is n.
    assert (y.n, y.n_same, y.n_numbers) == (6, 0, 6)
    assert y.max_absolute == pytest.approx(80.0, abs=1e-9)
    assert y.max_absolute_at["n"] == 80
    assert y.mean_difference == pytest.approx((20 + 40 + 80) / 3, abs=1e-9)
    assert y.max_relative == max(
        abs(a - b) / max(abs(a), abs(b)) for a, b in paired(toys, other, "y")
    )
    assert by_name(found)["draws"].n_same == 6


def paired(a, b, name):
    frames = [lawsweep.load(s).set_index(["n", "seed"])[name] for s in (a, b)]
    for key in frames[0].index.intersection(frames[1].index):
        yield float(frames[0][key]), float(frames[1][key])


def test_fits_stand_side_by_side(toys):
    other = variant(toys, params={"scale": 2.0})
    (pair,) = compare(toys, other).fits
    assert pair.a["exponent"].estimate == pytest.approx(1.0, abs=0.1)
    assert pair.b["exponent"].estimate == pytest.approx(1.0, abs=0.1)
    assert pair.a["exponent"].estimate != pair.b["exponent"].estimate
    without = dataclasses.replace(other, fits=())
    assert compare(toys, without).fits == ()
    broken = dataclasses.replace(other, fits=({**toys.fits[0], "where": "y > 1e9"},))
    (pair,) = compare(toys, broken).fits
    assert (pair.a.reason, pair.b.parameters) == (None, ())
    assert "leaves no row" in pair.b.reason
    grouped = {**toys.fits[0], "by": "draws"}
    first, second = (
        dataclasses.replace(s, fits=({**grouped, "where": w},))
        for s, w in ((toys, "y > 0"), (other, "y > 1e9"))
    )
    found = compare(first, second)
    assert found.fits == ()
    assert "cannot be fitted: power_y: no fit of y against n: its where" in found.notes[0]


def test_missing_and_nan_are_no_numbers_and_no_match(folder):
    sweeps = [
        Sweep(
            name=mode, experiment="toys:toy", axes={"n": [1]}, params={"mode": mode},
            executor={"kind": "serial"},
        )
        for mode in ("ok", "nan", "missing")
    ]  # fmt: skip
    for sweep in sweeps:
        lawsweep.run(sweep)
    ok, nan, missing = sweeps
    for a, b in ((ok, nan), (ok, missing), (nan, missing)):
        y = by_name(compare(a, b))["y"]
        assert (y.n_same, y.n_numbers, y.n_unlike) == (0, 0, 1)
        assert y.unlike_at == {"n": 1, "scale": 1.0, "seed": 0}
        assert y.max_absolute is None
        assert y.mean_difference is None
    assert by_name(compare(nan, nan))["y"].n_same == 1


def test_runs_that_are_not_ok_in_both_are_listed_not_compared(toys):
    table = ParquetTable("elsewhere/tables", toys.find_experiment())
    rows = ParquetTable(toys.tables, toys.find_experiment()).read().to_pylist()
    for row in rows:
        if row["n"] == 10:
            row |= {"status": "failed", "y": None, "error": "x"}
    table.append([{**r, "started_at": datetime.now(UTC)} for r in rows])
    found = compare(toys, dataclasses.replace(toys, results_dir="elsewhere"))
    assert found.n_both == 8
    assert [(r["n"], r["a"], r["b"]) for r in found.not_ok] == [(10, "ok", "failed")] * 2
    assert by_name(found)["y"].n == 6


def test_two_experiments_are_joined_on_what_they_share(toys, folder):
    other = Sweep(
        name="pairs",
        experiment="toys:faulty",
        axes={"i": [1, 3]},
        seeds=2,
        executor={"kind": "serial"},
    )
    lawsweep.run(other)
    with pytest.raises(InvalidValueError, match=r"several runs at seed=0.*they differ in n"):
        compare(toys, other)
    one = variant(toys, axes={"n": [10]})
    pinned = variant(other, axes={"i": [1]})
    found = compare(one, pinned)
    assert found.keys == ("seed",)
    assert found.own == {
        "n": "a", "scale": "a", "mode": "a", "i": "b", "fault": "b", "at": "b", "pause_s": "b",
        "gate": "b",
    }  # fmt: skip
    assert [m.name for m in found.metrics] == ["y"]
    assert found.metrics[0].n == 2


def test_ignore_leaves_a_param_out_of_the_join(toys):
    other = dataclasses.replace(
        toys, axes=[{"zip": {"n": [10, 20, 40, 80], "scale": [1.0, 2.0, 1.0, 2.0]}}]
    )
    lawsweep.run(other)
    assert compare(toys, other).n_both == 4
    found = compare(toys, other, ignore=["scale"])
    assert found.n_both == 8
    assert by_name(found)["y"].n_same == 4
    with pytest.raises(UnknownNameError, match="Did you mean 'scale'"):
        compare(toys, other, ignore=["scal"])


def test_tuple_params_are_keys_too(folder):
    sweep = Sweep(
        name="pairs",
        experiment="toys:pair",
        axes={"n_target": [4, 8]},
        params={"n_compressed": 2, "widths": [3, 5]},
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    assert compare(sweep, sweep).metrics[0].n_same == 2


def test_what_two_machines_round_is_told_from_what_they_amplify(module, folder):
    text = """
    from toys import *

    @dataclass(frozen=True, kw_only=True)
    class Found:
        value: float
        end: Annotated[float, Field("the end of a long computation", chaotic=True)]

    @experiment(version=1)
    def twice(params: Params, seed: int) -> Found:
        return Found(value=1.0 + params.scale, end=1e12 * params.scale)
    """
    module("twice", text)
    sweeps = [
        Sweep(name=f"s{i}", experiment="twice:twice", axes={"n": [1, 2]}, params={"scale": scale},
              executor={"kind": "serial"})
        for i, scale in enumerate((1e-12, 2e-12))
    ]  # fmt: skip
    for sweep in sweeps:
        lawsweep.run(sweep)
    value, end = compare(*sweeps).metrics
    assert (value.n_same, value.n_close, value.chaotic) == (0, 2, False)
    assert (end.n_same, end.n_close, end.chaotic) == (0, 0, True)
