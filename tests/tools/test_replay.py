from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import numpy as np
import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.tools.audit import audit, sample_rows
from lawsweep.tools.replay import replay, replay_row
from lawsweep.tools.sameness import compare_arrays, relative_difference, same_value


def row_of(sweep, **wanted):
    frame = lawsweep.load(sweep)
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    return lawsweep.show(frame["run_id"].iloc[0], sweep.results_dir)


def falsify(sweep, run_id, **values):
    """Write a later attempt of a run with other values, as a careless hand would."""
    row = lawsweep.show(run_id, sweep.results_dir)
    row.pop("launch")
    row |= {"attempt": row["attempt"] + 1, "started_at": datetime.now(UTC), **values}
    ParquetTable(sweep.tables, sweep.find_experiment()).append([row])


def test_a_row_reproduces_bit_for_bit_in_the_same_place(toys):
    row = row_of(toys, n=20, seed=1)
    done = replay(row["run_id"][:8])
    assert done.reproduced
    assert done.exact
    assert done.circumstances == ()
    assert done.compared == ("y", "draws", "converged")
    assert (done.params, done.seed) == ({"n": 20, "scale": 1.0, "mode": "ok"}, 1)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"draws": 21}, ["draws"]),
        ({"converged": False}, ["converged"]),
        ({"y": None}, ["y"]),
        ({"y": float("nan")}, ["y"]),
        ({"y": 3.0, "draws": 0}, ["y", "draws"]),
    ],
)
def test_a_falsified_metric_is_found_with_both_values(toys, values, names):
    row = row_of(toys, n=20, seed=0)
    falsify(toys, row["run_id"], **values)
    done = replay(row["run_id"])
    assert not done.reproduced
    assert [d.name for d in done.differences] == names
    for difference in done.differences:
        assert difference.now == row[difference.name]
        expected = values[difference.name]
        assert difference.recorded == expected or difference.recorded != difference.recorded


def test_the_last_bit_counts_in_the_same_place_and_not_elsewhere(toys):
    row = row_of(toys, n=40, seed=0)
    falsify(toys, row["run_id"], y=float(np.nextafter(row["y"], np.inf)))
    there = replay(row["run_id"])
    assert not there.reproduced
    assert there.differences[0].relative == pytest.approx(2.0**-52, rel=1.0)
    elsewhere = lawsweep.show(row["run_id"])
    elsewhere["n_threads"] += 1
    done = replay_row(elsewhere, "results")
    assert done.reproduced
    assert not done.exact
    assert done.tolerance == 1e-9
    assert f"{row['n_threads'] + 1} threads then, {row['n_threads']} now" in done.circumstances
    assert not replay_row(elsewhere, "results", tolerance=1e-17).reproduced


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"packages": {"numpy": "1.0"}}, "numpy 1.0 then"),
        ({"hosts": {"processor": "abacus"}}, "processor abacus then"),
        ({"hardware": {"host": "elsewhere"}, "row": {"host": "node7"}}, "computed on node7"),
        ({"row": {"device": "cuda:0"}}, "device cuda:0 then, cpu now"),
        ({"gone": True}, "the record of its launch is missing"),
    ],
)
def test_another_machine_is_named_and_compared_to_a_tolerance(toys, change, why):
    row = row_of(toys, n=10, seed=0)
    for key in ("packages", "hardware"):
        row["launch"][key] |= change.get(key, {})
    row["launch"]["hosts"][row["host"]] |= change.get("hosts", {})
    row |= change.get("row", {})
    if "gone" in change:
        row["launch"] = None
    same = replay_row(row, "results", device="cpu", experiment="toys:toy")
    assert same.reproduced
    assert same.exact  # nothing promised it, and it is so all the same
    row["y"] = float(np.nextafter(row["y"], np.inf))
    done = replay_row(row, "results", device="cpu", experiment="toys:toy")
    assert done.reproduced
    assert not done.exact
    assert any(c.startswith(why) for c in done.circumstances), done.circumstances


def test_measures_of_rounding_are_left_out_on_another_machine(module, folder):
    find = module(
        "rounding",
        """
        import os
        from toys import *

        @dataclass(frozen=True, kw_only=True)
        class Found:
            value: float
            residual: float
            grad_norm: float
            n_iterations: int

        @experiment(version=1)
        def rounding(params: Params, seed: int) -> Found:
            noise = float(os.environ.get("NOISE", "1e-16"))
            return Found(value=1.0, residual=noise, grad_norm=noise, n_iterations=3)
        """,
    )
    sweep = Sweep(
        name="r", experiment=find("rounding"), axes={"n": [1]}, executor={"kind": "serial"}
    )
    lawsweep.run(sweep)
    row = row_of(sweep)
    falsify(sweep, row["run_id"], residual=3e-16, grad_norm=5e-16)
    row = row_of(sweep)
    there = replay_row(row, "results", experiment="rounding:rounding")
    assert [d.name for d in there.differences] == ["residual", "grad_norm"]
    assert there.left_out == ()
    row["n_threads"] += 1
    done = replay_row(row, "results", experiment="rounding:rounding")
    assert done.reproduced
    assert done.left_out == ("residual", "grad_norm")
    assert done.compared == ("value", "n_iterations")


def test_arrays_are_compared_entry_by_entry(spectra):
    row = row_of(spectra, n=5, seed=1)
    done = replay(row["run_id"])
    assert done.reproduced
    assert done.compared == ("largest", "eigenvalues", "table")
    table = ParquetTable(spectra.tables, spectra.find_experiment())
    later = {k: v for k, v in row.items() if k != "launch"}
    later |= {"attempt": 2, "started_at": datetime.now(UTC)}
    values = lawsweep.load_arrays(spectra, "eigenvalues")[row["run_id"]]
    values[3] += 1.0
    table.append([later], [{"eigenvalues": values}])
    done = replay(row["run_id"])
    assert [d.name for d in done.differences] == ["eigenvalues", "table"]
    assert "1 of 5 entries differ" in done.differences[0].recorded
    assert done.differences[1].recorded == "missing"
    assert done.differences[1].now == "an array of shape (3, 2)"


def test_compare_arrays_knows_shapes_nan_and_tolerance():
    a = {"x": np.array([[1.0, np.nan], [0.0, np.inf]])}
    assert compare_arrays(a, {"x": a["x"].copy()}, None) == []
    assert compare_arrays(a, {"x": a["x"].ravel()}, None)[0].now == "an array of shape (4,)"
    close = {"x": np.array([[1.0 + 1e-12, np.nan], [0.0, np.inf]])}
    assert compare_arrays(a, close, 1e-9) == []
    assert compare_arrays(a, close, None)[0].relative == pytest.approx(1e-12, rel=1e-3)
    assert len(compare_arrays(a, {}, None)) == 1


@pytest.mark.parametrize(
    ("a", "b", "exact", "close"),
    [
        (1.0, 1.0, True, True),
        (1.0, 1.0 + 1e-12, False, True),
        (1.0, 1.0 + 1e-6, False, False),
        (0.0, -0.0, False, True),
        (0.0, 1e-300, False, False),
        (float("nan"), float("nan"), True, True),
        (float("nan"), 1.0, False, False),
        (float("nan"), None, False, False),
        (float("inf"), float("inf"), True, True),
        (float("inf"), 1e308, False, False),
        (float("inf"), float("-inf"), False, False),
        (None, None, True, True),
        (1, 1.0, False, False),
        (True, 1, False, False),
        ("a", "a", True, True),
        ([1.0, 2.0], (1.0, 2.0), True, True),
        ([1.0, 2.0], [1.0], False, False),
    ],
)
def test_when_two_values_are_the_same(a, b, exact, close):
    assert same_value(a, b) is exact
    assert same_value(b, a) is exact
    assert same_value(a, b, 1e-9) is close


def test_relative_difference_is_of_finite_numbers_only():
    assert relative_difference(2.0, 1.0) == 0.5
    assert relative_difference(0.0, 0) == 0.0
    for a, b in ((1.0, None), (True, 1.0), (float("nan"), 1.0), (1.0, float("inf")), ("a", "a")):
        assert relative_difference(a, b) is None


def test_a_failure_reproduces_as_the_same_failure(folder):
    sweep = Sweep(
        name="faults",
        experiment="toys:faulty",
        axes={"fault": ["raise", "infeasible"]},
        params={"i": 2},
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    for fault, status in (("raise", "failed"), ("infeasible", "infeasible")):
        row = row_of(sweep, fault=fault)
        done = replay(row["run_id"])
        assert (done.status_recorded, done.status) == (status, status)
        assert done.reproduced
        falsify(sweep, row["run_id"], error="ValueError: another reason")
        assert [d.name for d in replay(row["run_id"]).differences] == ["error"]
        falsify(sweep, row["run_id"], status="ok", y=1.0)
        (difference,) = replay(row["run_id"]).differences
        assert (difference.name, difference.recorded, difference.now) == ("status", "ok", status)


@pytest.mark.parametrize("status", ["timeout", "oom"])
def test_a_row_without_an_answer_is_not_replayed(toys, status):
    row = row_of(toys, n=10, seed=0)
    row |= {"status": status, "error": "longer than on_failure.timeout_s=1"}
    with pytest.raises(InvalidValueError, match="has no answer to reproduce"):
        replay_row(row, "results")
    row |= {"status": "failed", "error": "worker lost: crashed: exit code 139"}
    with pytest.raises(InvalidValueError, match="has no answer to reproduce"):
        replay_row(row, "results")


def test_params_that_do_not_give_the_run_id_are_refused(toys):
    row = row_of(toys, n=10, seed=0)
    with pytest.raises(InvalidValueError, match="give the run id"):
        replay_row({**row, "seed": 1}, "results")
    with pytest.raises(InvalidValueError, match="give the run id"):
        replay_row({**row, "scale": 2.0}, "results")


GROWN = """
from toys import *

@experiment(version={version})
def grown(params: Params, seed: int) -> Metrics:
    return Metrics(y=float({value}), draws=1)
"""


def test_a_row_of_an_older_version_names_the_commit_of_its_launch(module, folder):
    module("grown", GROWN.format(version=1, value=1))
    sweep = Sweep(name="g", experiment="grown:grown", axes={"n": [1]}, executor={"kind": "serial"})
    lawsweep.run(sweep)
    row = row_of(sweep)
    row["launch"]["git"] = {"commit": "0123abc", "dirty": True}
    module("grown", GROWN.format(version=2, value=1))
    with pytest.raises(InvalidValueError, match=r"version 1 of grown.*version 2.*0123abc, with ch"):
        replay_row(row, "results", experiment="grown:grown")


def test_code_changed_under_the_same_version_is_noted(module, folder):
    module("grown", GROWN.format(version=1, value=1))
    sweep = Sweep(name="g", experiment="grown:grown", axes={"n": [1]}, executor={"kind": "serial"})
    lawsweep.run(sweep)
    run_id = row_of(sweep)["run_id"]
    assert replay(run_id).notes == ()
    module("grown", GROWN.format(version=1, value=2))
    done = replay(run_id, experiment="grown:grown")
    assert not done.reproduced
    assert "the code of grown has changed since (grown.py)" in done.notes[0]


def test_an_experiment_that_cannot_be_found_can_be_named(toys):
    row = row_of(toys, n=10, seed=0)
    row["launch"] = None
    with pytest.raises(UnknownNameError, match="--experiment module:function"):
        replay_row(row, "results")
    assert replay_row(row, "results", experiment="toys:toy").reproduced
    with pytest.raises(InvalidValueError, match="is called 'pair'"):
        replay_row(row, "results", experiment="toys:pair")
    with pytest.raises(InvalidValueError, match="tolerance must be from 0 to 1"):
        replay_row(row, "results", experiment="toys:toy", tolerance=2.0)


def test_a_fused_row_may_differ_in_its_last_bits_and_no_other(folder):
    for n, fuse in ((1, True), (2, False)):
        sweep = Sweep(
            name=f"fused-{n}",
            experiment="toys:fusable",
            axes={"n": [n]},
            seeds=3,
            executor={"kind": "serial", "fuse": fuse},
        )
        lawsweep.run(sweep)
        row = row_of(sweep, seed=0)
        assert replay(row["run_id"]).exact
        row["y"] = float(np.nextafter(row["y"], np.inf))
        assert replay_row(row, "results").reproduced is fuse


def test_a_sample_is_the_same_for_a_seed_and_ends_with_the_rows(toys):
    rows, n_ok = sample_rows(toys, 3, seed=1)
    again, _ = sample_rows(toys, 3, seed=1)
    assert n_ok == 8
    assert [r["run_id"] for r in rows] == [r["run_id"] for r in again]
    assert len({r["run_id"] for r in rows}) == 3
    others = {tuple(r["run_id"] for r in sample_rows(toys, 3, seed=s)[0]) for s in range(6)}
    assert len(others) > 3
    everything, _ = sample_rows(toys, 50)
    assert len(everything) == 8
    assert all(r["launch"]["sweep"] == "toys" for r in everything)
    for n, seed in ((0, 0), (1, -1)):
        with pytest.raises(InvalidValueError, match="at least"):
            sample_rows(toys, n, seed)
    empty = dataclasses.replace(toys, results_dir="nothing")
    with pytest.raises(InvalidValueError, match="no ok row to replay"):
        sample_rows(empty, 1)


def test_an_audit_counts_what_did_not_reproduce(toys):
    falsify(toys, row_of(toys, n=80, seed=1)["run_id"], y=0.0)
    seen = []
    found = audit(toys, sample_rows(toys, 8)[0], watcher=seen.append)
    assert (found.n_exact, found.n_close, found.n_differ) == (7, 0, 1)
    assert tuple(seen) == found.replays
    (bad,) = [r for r in found.replays if not r.reproduced]
    assert (bad.params["n"], bad.seed) == (80, 1)
    json.dumps([dataclasses.asdict(r) for r in found.replays])


def test_an_audit_skips_failed_rows(folder):
    sweep = Sweep(
        name="faults",
        experiment="toys:faulty",
        axes={"i": [1, 2, 3]},
        params={"fault": "raise"},
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    rows, n_ok = sample_rows(sweep, 10)
    assert n_ok == 2
    assert {r["i"] for r in rows} == {1, 3}
