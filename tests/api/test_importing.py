from __future__ import annotations

import hashlib
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lawsweep
from lawsweep import Sweep
from lawsweep.api.importing import import_rows
from lawsweep.core.errors import InvalidValueError, StoreError, UnknownNameError
from lawsweep.core.registry import find_experiment
from lawsweep.store.parquet import ParquetTable


@pytest.fixture
def toy(folder):
    return find_experiment("toys:toy")


def write(folder, text, name="theirs.csv"):
    path = folder / name
    path.write_text(text)
    return path


def table_of(experiment):
    return ParquetTable("results/tables", experiment).read().to_pylist()


def tree(folder):
    return sorted(p.name for p in folder.rglob("*") if "__pycache__" not in p.parts)


def test_a_csv_becomes_rows_with_a_launch_that_tells_where_from(toy, folder):
    text = "N,seed,value,draws,converged\n10,3,9.5,10,true\n20,4,nan,20,false\n40,5,,40,true\n"
    path = write(folder, text)
    done = import_rows(path, toy, columns={"N": "n", "value": "y"}, source="A. Nonymous, by hand")
    assert (len(done.run_ids), done.kept, done.missing) == (3, (), ())
    rows = sorted(table_of(toy), key=lambda r: r["n"])
    assert [r["n"] for r in rows] == [10, 20, 40]
    assert rows[0]["y"] == 9.5
    assert math.isnan(rows[1]["y"])
    assert rows[2]["y"] is None
    for row in rows:
        assert (row["status"], row["device"], row["host"]) == ("ok", "imported", "imported")
        assert (row["scale"], row["mode"], row["version"]) == (1.0, "ok", 1)
        assert row["wall_s"] is None
    launch = lawsweep.show(done.run_ids[0])["launch"]
    assert launch["kind"] == "import"
    assert launch["file"] == "theirs.csv"
    assert launch["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert launch["source"] == "A. Nonymous, by hand"
    assert launch["columns"] == {
        "N": "n", "seed": "seed", "value": "y", "draws": "draws", "converged": "converged",
    }  # fmt: skip
    assert set(launch["run_ids"]) == set(done.run_ids)
    assert launch["ended_at"] >= launch["started_at"]
    assert str(folder) not in json.dumps(launch)


def test_run_ids_are_those_of_a_plan_so_that_nothing_is_run_twice(toy, folder):
    sweep = Sweep(
        name="toys",
        experiment="toys:toy",
        axes={"n": [10, 20]},
        params={"scale": 2.0},
        seeds=2,
        executor={"kind": "serial"},
    )
    path = write(folder, "n,seed,y,draws\n10,0,1.5,10\n10.0,1,2.5,10\n20,0,3.5,20\n77,0,1,1\n")
    done = import_rows(path, sweep)
    assert set(done.run_ids[:3]) < set(sweep.plan().run_ids)
    assert done.missing == ("converged",)
    assert done.notes == ("1 of 4 rows are not in the plan of toys",)
    report = lawsweep.run(sweep)
    assert report.done_before == 3
    frame = lawsweep.load(sweep)
    assert frame["device"].to_list() == ["imported"] * 3 + ["cpu"]
    assert frame["y"].to_list()[:3] == [1.5, 2.5, 3.5]
    assert frame["converged"].isna().to_list() == [True] * 3 + [False]


def test_a_run_that_is_ok_stays_and_one_that_failed_is_replaced(folder):
    sweep = Sweep(
        name="faults",
        experiment="toys:faulty",
        axes={"i": [1, 2]},
        params={"fault": "raise"},
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    before = lawsweep.load(sweep)
    path = write(folder, "i,y,seed\n1,-1,0\n2,-2,0\n")
    done = import_rows(path, sweep)
    assert done.kept == (before["run_id"].iloc[0],)
    assert done.run_ids == (before["run_id"].iloc[1],)
    frame = lawsweep.load(sweep)
    assert frame["y"].to_list() == [before["y"].iloc[0], -2.0]
    assert frame["attempt"].to_list() == [1, 2]
    again = import_rows(path, sweep)
    assert (again.run_ids, len(again.kept), again.launch_id) == ((), 2, None)


def test_dry_shows_and_writes_nothing(toy, folder):
    path = write(folder, "n,y,draws\n10,1,2\n20,2,3\n")
    before = tree(folder)
    done = import_rows(path, toy, seed=7, dry=True)
    assert len(done.run_ids) == 2
    assert done.launch_id is None
    assert done.first[0]["seed"] == 7
    assert tree(folder) == before
    real = import_rows(path, toy, seed=7)
    assert real.run_ids == done.run_ids


def test_parquet_lists_and_optionals(folder):
    pair = find_experiment("toys:pair")
    pq.write_table(
        pa.table(
            {
                "n_target": [8, 9],
                "n_compressed": [2.0, 3.0],
                "widths": [[1, 2], [3]],
                "rate": [None, 0.5],
                "kernel": ["full", None],
                "y": [1, 2],
            }
        ),
        folder / "theirs.parquet",
    )
    import_rows(folder / "theirs.parquet", pair, seed=0)
    rows = sorted(table_of(pair), key=lambda r: r["n_target"])
    assert [r["widths"] for r in rows] == [[1, 2], [3]]
    assert [r["rate"] for r in rows] == [None, 0.5]
    assert [r["kernel"] for r in rows] == ["full", "full"]
    assert [r["y"] for r in rows] == [1.0, 2.0]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_export_wrote_comes_in_again_without_its_failures(folder, kind):
    sweep = Sweep(
        name="pairs",
        experiment="toys:pair",
        axes={"n_target": [4, 8], "widths": [[2, 2], [5]]},
        params={"n_compressed": 1},
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    lawsweep.export(sweep, folder / f"out.{kind}")
    elsewhere = import_rows(
        folder / f"out.{kind}", sweep.find_experiment(), results_dir="elsewhere"
    )
    assert list(elsewhere.run_ids) == sweep.plan().run_ids
    faults = Sweep(
        name="faults",
        experiment="toys:faulty",
        axes={"i": [1, 2]},
        params={"fault": "raise"},
        executor={"kind": "serial"},
    )
    lawsweep.run(faults)
    lawsweep.export(faults, folder / f"faults.{kind}")
    done = import_rows(folder / f"faults.{kind}", faults.find_experiment(), results_dir="elsewhere")
    assert list(done.run_ids) == faults.plan().run_ids[:1]
    assert done.notes == ("1 of 2 rows are not ok, and stay out",)


BAD = [
    ("n,y,lam,who\n1,2,3,4\n", {"seed": 0}, InvalidValueError, "Unknown column 'lam'.*So are who"),
    ("n,yy\n1,2\n", {"seed": 0}, InvalidValueError, "Did you mean 'y'.*--map theirs=ours"),
    ("n,y\n1,2\n", {}, InvalidValueError, "no column for the seed"),
    ("n,y,seed\n1,2,3\n", {"seed": 0}, InvalidValueError, "has seeds, and --seed gives another"),
    ("n,y,seed\n1,2,-3\n", {}, InvalidValueError, "Row 1 of .*A seed must be"),
    ("n,y,seed\n1,2,0.5\n", {}, InvalidValueError, "Row 1 of .*A seed must be"),
    ("n,y,seed\n1,2,0\n0,2,0\n-4,1,1\n", {}, InvalidValueError,
     "Row 2 of .*n must be at least 1, got 0.*1 more rows are bad. Nothing was imported"),
    ("n,y,seed\n1,x,0\n", {}, InvalidValueError, "Row 1 of .*y must be float or null, got 'x'"),
    ("n,y,seed\n,2,0\n", {}, InvalidValueError, "Row 1 of .*toy needs a value for n"),
    ("y,seed\n2,0\n", {}, InvalidValueError, "toy needs a value for n"),
    ("n,mode,y,seed\n1,good,2,0\n", {}, InvalidValueError, "one of ok, nan, missing, got 'good'"),
    ("n,y,seed\n1,2,0\n1,3,0\n", {}, InvalidValueError, "Rows 1 and 2 of .* are the same run"),
    ("n,m,y,seed\n1,1,2,0\n", {"columns": {"m": "n"}}, InvalidValueError, "m are both n; leave"),
    ("n,y,y,seed\n1,1,2,0\n", {}, InvalidValueError, "several columns called y"),
    ("n,y,seed\n", {}, InvalidValueError, "holds no rows"),
    ("n,y,seed,status\n1,2,0,failed\n", {}, InvalidValueError, "no row whose status is ok"),
    ("n,y,seed\n1,2\n", {}, StoreError, "Cannot read"),
    ("n,y,seed\n1,2,0\n", {"drop": ["x"]}, UnknownNameError, "Unknown column 'x' in the file"),
    ("n,y,seed\n1,2,0\n", {"columns": {"n": "m"}}, UnknownNameError, "experiment toy"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "error", "message"), BAD)
def test_a_bad_file_is_one_sentence_and_nothing_is_written(
    toy, folder, text, options, error, message
):
    path = write(folder, text)
    before = tree(folder)
    with pytest.raises(error, match=message):
        import_rows(path, toy, **options)
    assert tree(folder) == before


def test_a_file_that_is_not_there_or_of_another_kind(toy, folder):
    with pytest.raises(StoreError, match="There is no file"):
        import_rows(folder / "none.csv", toy)
    with pytest.raises(InvalidValueError, match=r"takes a \.csv or \.parquet"):
        import_rows(write(folder, "n", "theirs.txt"), toy)
    with pytest.raises(StoreError, match="Cannot read"):
        import_rows(write(folder, "no parquet", "theirs.parquet"), toy)


def test_a_constraint_is_held(folder):
    path = write(folder, "n_target,n_compressed,y,seed\n4,8,1,0\n")
    with pytest.raises(InvalidValueError, match="requires n_compressed <= n_target"):
        import_rows(path, find_experiment("toys:pair"))


def test_imported_rows_can_be_checked_by_replay(toy, folder):
    from lawsweep.api.replay import replay

    right = toy(n=10, seed=3)
    text = f"n,seed,y\n10,3,{right.y * (1 + 1e-12)!r}\n10,4,0.5\n"
    done = import_rows(write(folder, text), toy)
    good, bad = (replay(r) for r in done.run_ids)
    assert good.reproduced
    assert good.circumstances == ("the row was imported",)
    assert good.compared == ("y",)
    assert [d.name for d in bad.differences] == ["y"]


@pytest.mark.parametrize(("column", "value"), [("version", 7), ("experiment", "other")])
def test_an_export_of_another_version_or_experiment_is_refused(toy, folder, column, value):
    known = {"run_id": ["ab"], "experiment": ["toy"], "version": [1], "n": [10], "seed": [3]}
    pq.write_table(pa.table(known | {"y": [9.5], column: [value]}), folder / "x.parquet")
    with pytest.raises(InvalidValueError, match=f"rows of {column} {value}, and toy here is"):
        import_rows("x.parquet", toy)
    assert len(import_rows("x.parquet", toy, drop=[column]).run_ids) == 1


def test_a_large_csv_whose_texts_span_lines_is_read(toy, folder):
    error = '"Traceback\n' + "line\n" * 200 + '"'
    rows = [f"10,{i},1.5,ok,{error if i % 2 else ''}\n" for i in range(5_000)]
    path = write(folder, "n,seed,y,status,error\n" + "".join(rows))
    assert path.stat().st_size > 2 * 2**20
    assert len(import_rows(path, toy, dry=True).run_ids) == 5_000
