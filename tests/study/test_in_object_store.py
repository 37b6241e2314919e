"""The verbs on results that are in an object store: as on a disk."""

from __future__ import annotations

import dataclasses
import json

import pytest
from object_store import KEYS, make_bucket, s3_server

import lawsweep
from lawsweep import Sweep
from lawsweep.cli.main import run_command
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.tools.archive import archive
from lawsweep.tools.archive_check import verify_archive
from lawsweep.tools.audit import audit, sample_rows
from lawsweep.tools.comparing import compare
from lawsweep.tools.importing import import_rows
from lawsweep.tools.keeping import compact, gc, verify
from lawsweep.tools.replay import replay
from lawsweep.tools.sql import sql


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as place:
        yield place


@pytest.fixture
def sweep(endpoint, folder, monkeypatch):
    """The sweep ``spectra``, run into a bucket."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    found = Sweep(
        name="spectra",
        experiment="toys:spectrum",
        axes={"n": [3, 5]},
        seeds=2,
        executor={"kind": "serial"},
        results_dir=make_bucket(endpoint),
    )
    lawsweep.run(found)
    return found


@pytest.mark.slow
def test_rows_are_asked_and_run_again(sweep, capsys):
    where = sweep.results_dir
    rows = sql("SELECT run_id, n, shape FROM spectrum NATURAL JOIN spectrum__eigenvalues", where)
    assert sorted(r["n"] for r in rows.to_pylist()) == [3, 3, 5, 5]
    assert all(r["shape"] == [r["n"]] for r in rows.to_pylist())
    run_id = rows["run_id"][0].as_py()
    done = replay(run_id[:12], where)
    assert (done.reproduced, done.exact) == (True, True)
    assert done.compared == ("largest", "eigenvalues", "table")
    assert audit(sweep, sample_rows(sweep, 2)[0]).n_exact == 2
    assert run_command(["show", run_id, f"results_dir='{where}'", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arrays"]["table"]["shape"] == [3, 2]


@pytest.mark.slow
def test_rows_are_imported_compacted_checked_and_archived(sweep, folder):
    where = sweep.results_dir
    (folder / "theirs.csv").write_text("n,largest,seed\n3,0.5,7\n")
    done = import_rows("theirs.csv", sweep)
    assert lawsweep.show(done.run_ids[0], where)["launch"]["file"] == "theirs.csv"
    table = ParquetTable(sweep.tables, sweep.find_experiment())
    assert len(table.parts()) == 2
    reports, left = compact(None, where)
    assert left == {}
    assert reports["spectrum"][0].n_parts_after == len(table.parts()) == 1
    found, left = verify(sweep)
    assert left == {}
    assert {f.check for f in found["spectrum"]} >= {"files", "run_id", "plan", "launches"}
    assert gc(where) == []
    archive(sweep, "out.zip")
    assert verify_archive("out.zip") == []
    with pytest.MonkeyPatch.context() as patch:
        archive(sweep, "out")
        patch.chdir("out")
        local = lawsweep.load_sweep("spectra")
        assert lawsweep.run(local).done_before == 4
        both = compare(local, dataclasses.replace(sweep, name="there"))
        assert both.n_both == 4
        assert all(m.n_same == 4 for m in both.metrics)
        for path in (folder / "out").rglob("*.json"):
            assert "127.0.0.1" not in path.read_text()


@pytest.mark.slow
def test_rows_are_taken_out_and_made_again(sweep):
    study = lawsweep.open(sweep)
    assert study.discard("n > 3").held.n_runs == 2
    assert study.status().missing == 2
    assert len(study.arrays("eigenvalues")) == 2
    assert study.run(executor="serial").statuses["ok"] == 2
    assert study.rerun("n > 3", executor="serial").statuses["ok"] == 2
    assert study.table.attempts().num_rows == 6
