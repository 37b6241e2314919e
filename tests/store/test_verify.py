from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import parts, write_part
from toys import pair, toy

from lawsweep.core.identity import run_id
from lawsweep.core.schema import MISSING, Field, FieldSpec
from lawsweep.grid.plan import make_plan
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.stored import stored_experiment
from lawsweep.store.upkeep.compact import compact
from lawsweep.store.upkeep.gc import gc
from lawsweep.store.upkeep.verify import verify
from lawsweep.store.upkeep.verify_rows import check_ids

SPECTRUM = FieldSpec("spectrum", "array", False, False, None, MISSING, Field("eigenvalues"))
spectral = dataclasses.replace(toy, arrays=(SPECTRUM,))


def row(n=3, seed=0, status="ok", y=1.0, attempt=1, second=0, experiment=toy, **more):
    params = {"n": n, "scale": 1.0, "mode": "ok"}
    return {
        **params, "run_id": run_id(toy, params, seed), "experiment": "toy", "version": 1,
        "seed": seed, "status": status, "y": y, "draws": 3, "converged": True,
        "attempt": attempt, "device": "cpu", "host": "h", "n_threads": 1, "launch_id": "L1",
        "started_at": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), **more,
    }  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """A sound table of ten runs, with their arrays and their launch."""
    made = ParquetTable(tmp_path / "tables", spectral)
    SweepFolder(tmp_path / "sweeps" / "s").write_launch("L1", {"command": "x"})
    made.append([row(n) for n in range(1, 11)], [{"spectrum": np.ones(n)} for n in range(1, 11)])
    return made


def bad(found):
    return [f for f in found if f.severity != "ok"]


def only(found, severity, check):
    (finding,) = bad(found)
    assert (finding.severity, finding.check) == (severity, check), finding
    return finding


def test_a_sound_table_says_what_was_checked(table):
    found = verify(table)
    assert bad(found) == []
    assert {f.check for f in found} >= {"files", "repeats", "run_id", "arrays", "launches"}
    of = {f.check: f for f in found}
    assert of["run_id"].n == 10
    assert of["arrays"].n == 10
    compact(table)
    assert bad(verify(table)) == []


def test_an_empty_table_is_sound(tmp_path):
    assert bad(verify(ParquetTable(tmp_path / "tables", spectral))) == []
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_found_wherever_it_is(table):
    (name,) = parts(table.folder)
    path = table.folder.path / name
    whole = path.read_bytes()
    for at in range(4, len(whole) - 8, 61):  # past and before the magic bytes
        data = bytearray(whole)
        data[at] ^= 4
        path.write_bytes(bytes(data))
        damaged = [f for f in verify(table) if f.severity == "problem" and f.check == "files"]
        assert damaged, at
        values = table.read()["y"].to_pylist()  # a reader skips the part, or reads it right
        assert values == ([] if name in table.skipped else [1.0] * 10)


def test_a_damaged_array_part_is_found(table):
    folder = table.array_store.table("spectrum").folder
    (name,) = parts(folder)
    data = bytearray(folder.read(name))
    data[40] ^= 1
    folder.write(name, bytes(data))
    found = [f for f in bad(verify(table)) if f.check == "files"]
    assert found
    assert all(f.severity == "problem" and "spectrum" in f.message for f in found)


def test_skipped_files_come_with_their_reason(table):
    folder = table.folder.path
    (folder / "part-torn.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"x": [1]}), folder / "part-foreign.parquet")
    newer = table.schema.with_metadata({**table.schema.metadata, b"lawsweep.format": b"99"})
    pq.write_table(newer.empty_table(), folder / "part-newer.parquet")
    (folder / "part-copy.parquet").write_bytes((folder / parts(table.folder)[0]).read_bytes())
    (folder / ".tmp-1").write_bytes(b"half")
    found = {f.message.split(": ")[0].rpartition("/")[2]: f for f in bad(verify(table))
             if f.check == "files"}  # fmt: skip
    severities = {name: f.severity for name, f in found.items()}
    assert severities == {
        "part-torn.parquet": "problem", "part-foreign.parquet": "problem",
        "part-newer.parquet": "note", "part-copy.parquet": "note", ".tmp-1": "note",
    }  # fmt: skip
    assert "newer lawsweep" in found["part-newer.parquet"].message
    assert "named by hand" in found["part-copy.parquet"].message


def test_what_an_interrupted_compaction_left_is_a_note(table, monkeypatch):
    write_part(table, [row(11, second=1, status="failed")])
    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "delete", lambda *_: None)
        compact(table)
    notes = [f for f in bad(verify(table)) if "replaced by" in f.message]
    assert [f.severity for f in notes] == ["note", "note"]


def test_rows_that_stand_twice_are_a_note(table):
    write_part(table, [row(1), row(2)])
    finding = only(verify(table), "note", "repeats")
    assert finding.n == 2
    assert "equal in every bit" in finding.message


def test_a_run_that_gives_another_value_the_second_time_is_a_problem(table):
    write_part(table, [row(1, second=5, y=1.0 + 1e-15), row(2, second=5), row(3, second=5, y=None)])
    write_part(table, [row(4, second=5, status="failed", y=None)])  # a failure is no other answer
    found = [f for f in bad(verify(table)) if f.check == "repeats"]
    (finding,) = found
    assert (finding.severity, finding.n) == ("problem", 2)
    assert "not deterministic" in finding.message
    assert "(y)" in finding.message
    assert set(finding.run_ids) == {row(1)["run_id"], row(3)["run_id"]}


def test_nan_again_is_the_same_answer(tmp_path):
    table = ParquetTable(tmp_path / "tables", toy)
    SweepFolder(tmp_path / "sweeps" / "s").write_launch("L1", {})
    write_part(table, [row(1, y=math.nan), row(2, y=math.nan)])
    write_part(table, [row(1, y=math.nan, second=5), row(2, y=0.0, second=5)])
    finding = only(verify(table), "problem", "repeats")
    assert finding.run_ids == (row(2)["run_id"],)


def test_rounding_between_two_machines_is_a_note(tmp_path):
    table = ParquetTable(tmp_path / "tables", toy)
    SweepFolder(tmp_path / "sweeps" / "s").write_launch("L1", {})
    write_part(table, [row(1), row(2)])
    write_part(table, [row(1, y=1.0 + 1e-12, second=5, host="g"), row(2, second=5, host="g")])
    finding = only(verify(table), "note", "repeats")
    assert "between two machines" in finding.message
    write_part(table, [row(2, y=1.0 + 1e-6, second=6, host="f")])
    problems = [f for f in verify(table) if f.severity == "problem"]
    assert [f.run_ids for f in problems] == [(row(2)["run_id"],)]
    write_part(table, [row(1, draws=4, second=7, host="e")])  # a count is not rounded
    problems = [f for f in verify(table) if f.severity == "problem"]
    assert problems[0].n == 2


def test_amplified_rounding_between_two_machines_is_a_note_where_the_metric_says_so(tmp_path):
    y, *rest = toy.metrics
    says = dataclasses.replace(y, info=dataclasses.replace(y.info, chaotic=True))
    chaotic = dataclasses.replace(toy, metrics=(says, *rest))
    SweepFolder(tmp_path / "sweeps" / "s").write_launch("L1", {})
    table = ParquetTable(tmp_path / "tables", chaotic)
    write_part(table, [row(n) for n in (1, 2, 3)])
    write_part(table, [row(1, y=1.5, second=5, host="g"), row(2, second=5, host="g")])
    # Who has only the parts is told, too.
    stored = stored_experiment(open_folder(tmp_path / "tables"), "toy")
    assert [m.info.chaotic for m in stored.metrics] == [True, False, False]
    finding = only(verify(table), "note", "repeats")
    assert (finding.n, "amplify rounding" in finding.message) == (1, True)
    # In the same place, or in a metric that says nothing, it is what it always was.
    write_part(table, [row(2, y=1.5, second=7, host="g"), row(3, second=7, host="g", draws=4)])
    problem = next(f for f in verify(table) if f.severity == "problem")
    assert problem.n == 2
    assert "(y, draws)" in problem.message


TAMPERED = [
    {"n": 4}, {"scale": 1.0000000000000002}, {"mode": "nan"}, {"seed": 1}, {"n": None},
    {"mode": None}, {"scale": math.nan}, {"scale": math.inf},
]  # fmt: skip


@pytest.mark.parametrize("change", TAMPERED, ids=str)
@pytest.mark.parametrize("n_others", [0, 200])
def test_a_row_whose_params_are_not_its_ids_is_found(tmp_path, change, n_others):
    """By both ways to compute ids: row by row, and by seed where there are many rows."""
    table = ParquetTable(tmp_path / "tables", toy)
    SweepFolder(tmp_path / "sweeps" / "s").write_launch("L1", {})
    write_part(table, [row(i + 10) for i in range(n_others)] + [{**row(3), **change}])
    finding = only(verify(table), "problem", "run_id")
    assert (finding.n, finding.run_ids) == (1, (row(3)["run_id"],))


def test_every_kind_of_param_gives_its_id_again(tmp_path):
    plan = make_plan(
        pair,
        axes={"n_target": [4, 5], "rate": [None, 0.5, -0.0], "widths": [[1], [], [2, 2]],
              "kernel": ["full", "x"]},
        params={"n_compressed": 2}, seeds=[0, 7, 2**63 - 1],
    )  # fmt: skip
    table = ParquetTable(tmp_path / "tables", pair)
    rows = [
        {"run_id": plan.run_ids[i], "experiment": "pair", "version": 2, "seed": plan.seed_of(i),
         "status": "ok", "width": 3, "attempt": 1, "started_at": 0, **plan.params_of(i)}
        for i in range(len(plan))
    ]  # fmt: skip
    write_part(table, rows)
    found = list(check_ids(table.attempts(), pair))
    assert [(f.severity, f.n) for f in found] == [("ok", len(plan))]
    changed = [{**r, "widths": (9,)} if i == 5 else r for i, r in enumerate(rows)]
    write_part(table, changed)
    assert [f.n for f in check_ids(table.attempts(), pair) if f.severity == "problem"] == [1]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 3), st.booleans()), min_size=1, max_size=8
    ),
    st.booleans(),
)
def test_both_ways_to_compute_ids_agree(tmp_path_factory, runs, many):
    table = ParquetTable(tmp_path_factory.mktemp("t") / "tables", toy)
    rows = [{**row(n, seed), "seed": seed + 1} if odd else row(n, seed) for n, seed, odd in runs]
    write_part(table, rows + [row(n) for n in range(5, 300 if many else 6)])
    wrong = [f.n for f in check_ids(table.attempts(), toy) if f.severity == "problem"]
    assert wrong == ([sum(odd for *_, odd in runs)] if any(odd for *_, odd in runs) else [])


def test_rows_of_another_version_are_not_judged(table):
    write_part(table, [{**row(20), "version": 2, "run_id": "f" * 32}])
    found = bad(verify(table))
    assert ("note", "run_id", 1) in [(f.severity, f.check, f.n) for f in found]
    assert not [f for f in found if f.severity == "problem" and f.check == "run_id"]


def test_rows_of_another_experiment_are_a_problem(tmp_path):
    table = ParquetTable(tmp_path / "tables", toy)
    SweepFolder(tmp_path / "sweeps" / "s").write_launch("L1", {})
    write_part(table, [row(1), {**row(2), "experiment": "other"}])
    assert only(verify(table), "problem", "run_id").run_ids == (row(2)["run_id"],)


def test_a_value_without_a_row_is_a_note_and_a_row_without_its_value_a_problem(table):
    table.array_store.append([row(50)], [{"spectrum": np.ones(2)}])
    write_part(table, [row(60), row(61, status="failed"), row(62, device="imported")])
    found = {f.severity: f for f in bad(verify(table))}
    assert set(found) == {"note", "problem"}
    assert "1 values of spectrum have no row" in found["note"].message
    assert found["problem"].run_ids == (row(60)["run_id"],)
    assert "not optional" in found["problem"].message


def test_a_row_without_an_optional_array_is_no_problem(tmp_path):
    optional = dataclasses.replace(SPECTRUM, optional=True)
    table = ParquetTable(tmp_path / "tables", dataclasses.replace(toy, arrays=(optional,)))
    SweepFolder(tmp_path / "sweeps" / "s").write_launch("L1", {})
    table.append([row(1), row(2)], [{"spectrum": np.ones(1)}, None])
    assert bad(verify(table)) == []


def test_an_array_that_the_experiment_has_no_more_is_a_note(table):
    without = ParquetTable(table.root, toy)
    assert "no array of this name any more" in only(verify(without), "note", "arrays").message


def test_rows_without_a_launch_record_are_a_problem(table):
    write_part(
        table, [row(30, status="failed", launch_id="L9"), row(31, status="failed", launch_id=None)]
    )
    messages = [f.message for f in bad(verify(table)) if f.check == "launches"]
    assert len(messages) == 2
    assert any("the launch L9, which has no record" in m for m in messages)
    assert any("do not say which launch" in m for m in messages)


def test_an_unknown_status_is_a_problem(table):
    write_part(table, [row(30, status="fine")])
    assert only(verify(table), "problem", "status").run_ids == (row(30)["run_id"],)


def test_the_plan_against_the_rows(table):
    plan = make_plan(toy, axes={"n": [1, 2, 11, 12]})
    write_part(table, [row(12, status="oom")])
    notes = [f.message for f in bad(verify(table, plan=plan))]
    assert len(notes) == 3
    assert any("1 of 4 planned runs have no row yet" in m for m in notes)
    assert any("1 of 4 planned runs failed" in m for m in notes)
    assert any("8 runs in the table are of no run of this plan" in m for m in notes)


def test_after_gc_and_compaction_a_neglected_table_is_sound(table, tmp_path):
    write_part(table, [row(1), row(2)])
    table.array_store.append([row(50)], [{"spectrum": np.ones(2)}])
    (table.folder.path / ".tmp-1").write_bytes(b"half")
    assert bad(verify(table))
    old = time.time() - 7200
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            os.utime(os.path.join(folder, name), (old, old))  # noqa: PTH118
    gc(tmp_path, dry=False)
    compact(table)
    assert bad(verify(table)) == []


def test_all_tools_work_in_a_bucket_as_on_a_disk(root):
    results = open_folder(root)
    table = ParquetTable(results / "tables", spectral)
    SweepFolder(results / "sweeps" / "s").write_launch("L1", {"command": "x"})
    for n in range(1, 5):
        write_part(table, [row(n)])
        table.array_store.append([row(n)], [{"spectrum": np.full((2, n), math.nan)}])
    table.array_store.append([row(50)], [{"spectrum": np.ones(2)}])
    write_part(table, [row(4)])
    before = sorted(map(repr, table.read().to_pylist()))
    assert {f.check for f in bad(verify(table))} == {"repeats", "arrays"}
    later = time.time() + 7200
    listed = gc(results, dry=False, now=lambda: later)
    assert sorted(r.kind for r in listed) == ["covered", "values without rows"]
    assert bad(verify(table)) == []
    rows, spectra = compact(table)
    assert (rows.n_parts_before, rows.n_parts_after) == (4, 1)
    assert (spectra.n_parts_before, spectra.n_parts_after) == (4, 1)
    assert bad(verify(table)) == []
    assert sorted(map(repr, table.read().to_pylist())) == before
    values = table.array_store.table("spectrum").values(table.read())
    assert sorted(v.shape for v in values.values()) == [(2, n) for n in range(1, 5)]


def test_findings_are_plain_values(table):
    write_part(table, [row(1)])
    text = json.dumps([dataclasses.asdict(f) for f in verify(table)])
    assert '"severity": "note"' in text
