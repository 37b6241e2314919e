from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime

import pytest

import lawsweep as library
from lawsweep.cli.main import cli
from lawsweep.core.registry import find_experiment
from lawsweep.store.table.parquet import ParquetTable


@pytest.fixture
def run_toys(lawsweep, toy_sweep):
    assert lawsweep("run", "toys", "--no-analysis")[0] == 0


def toy_table():
    return ParquetTable("results/tables", find_experiment("toys:toy"))


def falsify(**values):
    """A later attempt of the first row that says something else; returns its run id."""
    table = toy_table()
    row = table.read().to_pylist()[0]
    table.append([{**row, "attempt": 2, "started_at": datetime.now(UTC), **values}])
    return row["run_id"]


def test_replay_says_whether_a_row_reproduced(lawsweep, run_toys):
    run_id = toy_table().read()["run_id"][0].as_py()
    code, out, _ = lawsweep("replay", run_id[:8])
    assert code == 0
    assert "reproduced bit for bit: 3 values" in out
    falsify(y=1.0)
    code, out, _ = lawsweep("replay", run_id)
    assert code == 5
    assert "NOT reproduced bit for bit: 1 differ" in out
    assert "y: 1.0 recorded, " in out
    assert "(relative difference 0." in out
    answer = json.loads(lawsweep("replay", run_id, "--json")[1])
    assert answer["reproduced"] is False
    assert answer["differences"][0]["name"] == "y"
    assert answer["differences"][0]["recorded"] == 1.0
    assert answer["exact"] is True


def test_replay_of_a_sample_is_an_audit(lawsweep, run_toys):
    code, out, _ = lawsweep("replay", "--sample", "5", "toys")
    assert code == 0
    assert "toys: 5 of 8 ok rows run again: 5 reproduced bit for bit, 0 to 1e-09 relative" in out
    run_id = falsify(draws=0)
    code, out, _ = lawsweep("replay", "--sample", "8", "toys")
    assert code == 5
    assert "7 reproduced bit for bit" in out
    assert "1 did not reproduce" in out
    assert f"toy {run_id}" in out
    code, out, _ = lawsweep("replay", "--sample", "2", "--seed", "3", "toys", "seeds=1", "--json")
    answer = json.loads(out)
    assert answer["n_ok"] == 4
    assert len(answer["replays"]) == 2
    assert {r["seed"] for r in answer["replays"]} == {0}


def test_replay_names_the_trouble_of_a_row_that_cannot_be_run_again(lawsweep, run_toys, folder):
    code, _, err = lawsweep("replay", "0123456789")
    assert (code, "No row in results" in err) == (10, True)
    code, _, err = lawsweep("replay", "--sample", "2", "toys", "results_dir=empty")
    assert (code, "has no ok row to replay" in err) == (11, True)
    assert lawsweep("replay", "--sample", "0", "toys")[0] == 2
    run_id = falsify(n=77)
    code, _, err = lawsweep("replay", run_id)
    assert code == 11
    assert "give the run id" in err


@pytest.mark.slow
def test_replay_starts_afresh_with_the_threads_of_the_row(lawsweep, run_toys, folder):
    threads = library.show(toy_table().read()["run_id"][0].as_py())["n_threads"]
    run_id = toy_table().read()["run_id"][0].as_py()
    env = {**os.environ, "OMP_NUM_THREADS": str(threads + 1)}
    env["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p.endswith("support"))
    done = subprocess.run(
        [sys.executable, "-m", "lawsweep.cli.main", "replay", run_id, "--json",
         "--experiment", "toys:toy"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["exact"] is True
    assert answer["circumstances"] == []


def test_archive_and_verify(lawsweep, run_toys, folder):
    code, out, _ = lawsweep("archive", "toys")
    assert code == 0
    assert "toys.zip: 1" in out
    assert "8 rows (8 planned: 8 ok)" in out
    assert "check it with: lawsweep verify toys.zip" in out
    code, out, _ = lawsweep("verify", "toys.zip")
    assert (code, out) == (0, "toys.zip: every file is whole\n")
    answer = json.loads(lawsweep("archive", "toys", "-o", "folder", "--json")[1])
    assert answer["path"] == "folder"
    assert (folder / "folder/results/sweeps/toys/figures/curve_y.svg").is_file()
    (folder / "folder/toys.py").write_text("")
    code, out, _ = lawsweep("verify", "folder")
    assert code == 6
    assert "problem  toys.py: its content was changed" in out
    answer = json.loads(lawsweep("verify", "folder", "--json")[1])
    assert answer["problems"] == [{"file": "toys.py", "reason": "its content was changed"}]
    assert lawsweep("archive", "toys", "-o", "folder")[0] == 11
    assert lawsweep("verify", "none.zip")[0] == 13


def test_import_from_the_command_line(lawsweep, run_toys, folder):
    (folder / "theirs.csv").write_text("N,who,y,seed\n10,a,1.5,0\n10,a,2.5,7\n")
    words = ("import", "theirs.csv", "toys", "--map", "N=n", "--drop", "who")
    code, out, err = lawsweep(*words, "--dry")
    assert code == 0
    assert "1 rows of toy would come from theirs.csv" in out
    assert "the file has no draws, converged: missing in these rows" in out
    assert "1 runs are in the table as ok, and stay as they are" in out
    assert "1 of 2 rows are not in the plan of toys" in err
    assert toy_table().read().num_rows == 8
    code, out, _ = lawsweep(*words, "--source", "A. Nonymous")
    assert code == 0
    assert "1 rows of toy imported from theirs.csv (launch " in out
    (row,) = [r for r in toy_table().read().to_pylist() if r["device"] == "imported"]
    shown = json.loads(lawsweep("show", row["run_id"], "--json")[1])
    assert shown["launch"]["command"] == (
        "lawsweep import theirs.csv toys --map N=n --drop who --source 'A. Nonymous'"
    )
    assert shown["y"] == 2.5
    answer = json.loads(lawsweep(*words, "--json")[1])
    assert (answer["run_ids"], len(answer["kept"])) == ([], 2)


def test_several_files_come_before_the_sweep(lawsweep, toy_sweep, folder):
    (folder / "one.csv").write_text("n,y,draws,seed\n10,1.5,10,0\n")
    (folder / "two.tsv").write_text("n\ty\tdraws\tseed\n20\t2.5\t20\t0\n")
    words = ("import", "one.csv", "two.tsv", "toys", "seeds=1")
    code, out, _ = lawsweep(*words)
    assert code == 0
    assert "the files have no converged: missing in these rows" in out
    assert "2 rows of toy imported from one.csv, two.tsv (launch " in out
    launch = json.loads(lawsweep("show", toy_table().read()["run_id"][0].as_py(), "--json")[1])
    assert launch["launch"]["command"] == "lawsweep import one.csv two.tsv toys seeds=1"
    for words in ((), ("one.csv",), ("one.csv", "two.tsv")):
        code, _, err = lawsweep("import", *words)
        assert code == 2
        assert "import takes a file (or several) and then a sweep or an experiment" in err


def test_import_into_an_experiment(lawsweep, folder):
    (folder / "theirs.csv").write_text("n,y\n10,1.5\n")
    code, out, _ = lawsweep("import", "theirs.csv", "toys:toy", "results_dir=own", "--seed", "3")
    assert code == 0
    assert "1 rows of toy imported" in out
    assert (folder / "own/tables/toy").is_dir()
    for words, code, message in [
        (("theirs.csv", "toyz"), 10, "Experiments: compression"),
        (("theirs.csv", "toys:toy", "seeds=3"), 10, "Unknown key 'seeds'"),
        (("theirs.csv", "toys:toy", "--map", "n"), 11, "--map is written THEIRS=OURS"),
        (("theirs.csv", "toys:toy"), 11, "no column for the seed"),
        (("none.csv", "toys:toy", "--seed", "1"), 13, "There is no file none.csv"),
    ]:
        got, _, err = lawsweep("import", *words)
        assert got == code, err
        assert message in err


def test_verify_a_sweep_an_experiment_and_everything(lawsweep, run_toys, folder):
    code, out, _ = lawsweep("verify", "toys")
    assert code == 0
    assert "toy: clean" in out
    assert "8 of 8 planned runs have a row" in out
    for words in (("toys:toy",), ("toy",), ()):
        code, out, _ = lawsweep("verify", *words)
        assert code == 0
        assert "toy: clean" in out
        assert "planned" not in out
    falsify(n=77)  # params that do not give this run id
    for words in (("toys",), ("toys:toy",), ()):
        code, out, _ = lawsweep("verify", *words)
        assert code == 6
        assert "problem  run_id" in out
    answer = json.loads(lawsweep("verify", "--json")[1])
    assert "problem" in {f["severity"] for f in answer["tables"]["toy"]}
    assert answer["not_checked"] == {}
    code, out, _ = lawsweep("verify", "results_dir=empty")
    assert (code, out) == (0, "there are no tables here\n")
    assert lawsweep("verify", "toyz")[0] == 10


def test_a_table_whose_experiment_is_not_there_is_named(lawsweep, run_toys, folder):
    (folder / "results/tables/toy").rename(folder / "results/tables/stranger")
    code, _, err = lawsweep("verify")
    assert code == 0
    assert "not checked stranger: No part of the table results/tables/stranger can be read" in err
    code, _, err = lawsweep("compact", "stranger")
    assert code == 10
    code, out, err = lawsweep("compact", "--json")
    assert code == 0
    assert list(json.loads(out)["left_alone"]) == ["stranger"]


def test_compact_makes_one_part_and_changes_no_answer(lawsweep, run_toys, folder):
    rows = toy_table().read().to_pylist()
    for row in rows[:5]:
        toy_table().append([{**row, "attempt": 2, "started_at": datetime.now(UTC)}])
    before = lawsweep("sql", "SELECT * FROM toy ORDER BY run_id", "--json")[1]
    assert len(list((folder / "results/tables/toy").iterdir())) == 6
    code, out, _ = lawsweep("compact", "toy")
    assert code == 0
    assert "results/tables/toy: 6 -> 1 parts" in out
    assert len(list((folder / "results/tables/toy").iterdir())) == 1
    assert lawsweep("sql", "SELECT * FROM toy ORDER BY run_id", "--json")[1] == before
    assert "8 planned: 8 ok" in lawsweep("status", "toys")[1]
    answer = json.loads(lawsweep("compact", "--json")[1])
    assert answer["tables"]["toy"][0]["n_parts_after"] == 1
    assert lawsweep("compact", "toyz")[0] == 10


def test_gc_lists_first_and_removes_when_told(lawsweep, run_toys, folder):
    old = folder / "results/tables/toy/.tmp-left"
    old.write_text("x")
    fresh = folder / "results/tables/toy/.tmp-fresh"
    fresh.write_text("x")
    os.utime(old, (0, 0))
    code, out, _ = lawsweep("gc")
    assert code == 0
    assert "could go  temporary: results/tables/toy/.tmp-left" in out
    assert "1 could go, 1 bytes: lawsweep gc --delete" in out
    assert old.exists()
    code, out, _ = lawsweep("gc", "--delete")
    assert "removed   temporary: results/tables/toy/.tmp-left" in out
    assert not old.exists()
    assert fresh.exists()
    assert lawsweep("gc")[1] == "nothing to remove\n"
    assert json.loads(lawsweep("gc", "--json")[1]) == []
    assert toy_table().read().num_rows == 8


def test_gc_lists_rows_of_no_sweep_only_when_asked_and_imports_are_some_sweeps(
    lawsweep, run_toys, folder
):
    (folder / "theirs.csv").write_text("n,y,seed\n500,1.5,0\n")
    lawsweep("import", "theirs.csv", "toys:toy")
    assert lawsweep("gc", "--orphans")[1] == "nothing to remove\n"
    for path in (folder / "results/sweeps").rglob("*plan.parquet"):
        path.unlink()
    assert lawsweep("gc")[1] == "nothing to remove\n"
    out = lawsweep("gc", "--orphans", "--delete")[1]
    assert "9 of 9 runs are in no plan" in out
    assert toy_table().read().num_rows == 9


def test_every_verb_has_help_json_and_a_line_that_fits(lawsweep):
    out = lawsweep("--help")[1]
    for name in cli.list_commands(None):
        lines = [x for x in out.splitlines() if x.startswith(f"  {name} ")]
        assert len(lines) == 1
        assert not lines[0].endswith("...")
        code, text, _ = lawsweep(name, "--help")
        assert code == 0
        # What a job has printed is its own text, and not ours to put into JSON.
        assert "--json" in text or name in ("logs", "attach")
    assert "5    replay: a row did not reproduce" in out
    assert "6    verify: the table or archive has problems" in out
    assert "5 not reproduced" in " ".join(lawsweep("replay", "--help")[1].split())
    assert "6 problems" in " ".join(lawsweep("verify", "--help")[1].split())


def test_help_loads_nothing_heavy_and_is_there_at_once():
    code = (
        "import sys\nfrom lawsweep.cli.main import run_command\nrun_command(['--help'])\n"
        "from lawsweep.cli.verbs import sections\nsections()\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    heavy = {"torch", "ray", "hydra", "omegaconf", "pyarrow", "pandas", "scipy", "matplotlib",
             "duckdb", "numpy", "yaml"}  # fmt: skip
    assert not heavy & set(done.stdout.splitlines()[-1].split())


def test_rows_of_an_older_version_are_carried_over(lawsweep, toy_sweep, folder, monkeypatch):
    assert lawsweep("run", "toys")[0] == 0
    code, _, err = lawsweep("import", "toys", "--from-version", "1")
    assert code == 11
    assert "names an older version of toy, which is at 1; got 1" in err
    import toys

    newer = dataclasses.replace(toys.toy, version=2, carries={1: library.Carry("n > 15")})
    monkeypatch.setattr(toys, "toy", newer)
    code, _, err = lawsweep("run", "toys", "seeds=1", "axes={n: [10]}")
    assert code == 0
    command = err.partition(": lawsweep ")[2].partition(" carries over those that mean the same")[0]
    assert shlex.split(command)[1:4] == ["toys", "seeds=1", "axes={n: [10]}"]
    assert lawsweep(*shlex.split(command), "--dry")[0] == 0
    code, out, _ = lawsweep("import", "toys", "--from-version", "1", "--dry")
    assert code == 0
    assert "6 rows of toy version 1 would come" in out
    assert "2 rows mean something else in version 2" in out
    code, out, _ = lawsweep("import", "toys", "--from-version", "1", "--json")
    assert len(json.loads(out)["run_ids"]) == 6
    code, out, _ = lawsweep("run", "toys")
    assert code == 0
    assert "8 planned: 8 ok" in out
    for words in (["toys", "--map", "a=b"], ["toys", "--seed", "3"], []):
        assert lawsweep("import", *words, "--from-version", "1")[0] == 2


def test_rows_are_made_again_by_a_condition_and_what_that_is_is_said_first(
    lawsweep, run_toys, monkeypatch
):
    code, out, _ = lawsweep("rerun", "toys", "--where", "n > 20 and status == 'ok'", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["again"]["n_runs"] == 4
    assert (found["again"]["statuses"], found["again"]["n_made_before"]) == ({"ok": 4}, 0)
    assert toy_table().attempts().num_rows == 12
    asked = []
    monkeypatch.setattr("lawsweep.cli.launching.confirmed", lambda text, **_: asked.append(text))
    code, out, err = lawsweep("rerun", "toys", "--where", "n > 20", "--status", "ok")
    assert (code, asked, err) == (1, ["Run them again?"], "nothing was run\n")
    assert "again: 4 rows (4 ok), which took " in out
    assert "; their older attempts stay in the table" in out
    code, out, _ = lawsweep("rerun", "toys", "--where", "n > 80", "--no-analysis")
    assert code == 0
    assert "no row where n > 80\nnothing to run again" in out
    code, _, err = lawsweep("rerun", "toys")
    assert code == 11
    assert "Say which rows: --where 'width > 64', --status failed" in err
    code, _, err = lawsweep("rerun", "toys", "--where", "m > 1")
    assert code == 10
    assert "Unknown column 'm'" in err


def test_rows_are_discarded_when_that_is_wanted(lawsweep, run_toys):
    words = ("discard", "toys", "--where", "n > 20")
    code, out, _ = lawsweep(*words, "--dry-run")
    assert code == 0
    assert out.startswith("lost: 4 rows (4 ok), ")
    assert out.endswith(" of work\nnothing was discarded\n")
    code, out, err = lawsweep(*words)
    assert code == 11
    assert "Discard 4 rows? Nobody can be asked here: add --yes to do it" in err
    assert toy_table().attempts().num_rows == 8
    code, out, _ = lawsweep(*words, "--yes", "--json")
    assert code == 0
    assert json.loads(out)["removed"] is True
    assert toy_table().attempts().num_rows == 4
    code, out, _ = lawsweep(*words, "--yes")
    assert (code, out) == (0, "nothing to discard: no row where n > 20\n")
    assert lawsweep("verify")[0] == 0
    code, out, _ = lawsweep("run", "toys", "--no-analysis")
    assert (code, "ran 4 in" in out) == (0, True)
