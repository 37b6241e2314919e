from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lawsweep
from lawsweep import Sweep, experiment
from lawsweep.core.errors import InvalidValueError, LawsweepError, StoreError, UnknownNameError
from lawsweep.core.registry import find_experiment
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.tools.importing import import_rows


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
                "kernel": ["full", "NA"],
                "y": [1, 2],
            }
        ),
        folder / "theirs.parquet",
    )
    import_rows(folder / "theirs.parquet", pair, seed=0)
    rows = sorted(table_of(pair), key=lambda r: r["n_target"])
    assert [r["widths"] for r in rows] == [[1, 2], [3]]
    assert [r["rate"] for r in rows] == [None, 0.5]
    assert [r["kernel"] for r in rows] == ["full", "NA"]
    assert [r["y"] for r in rows] == [1.0, 2.0]


@dataclass(frozen=True, kw_only=True)
class LabelParams:
    i: int
    label: str | None = "none"


@dataclass(frozen=True, kw_only=True)
class NumberMetrics:
    y: float | None
    ys: tuple[float, ...] = ()
    flag: bool | None = None
    word: str | None = None


VALUES = [None, math.nan, math.inf, -math.inf, -0.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308]
WORDS = [None, "", "NA", "None", "=1", "'", "a\r\nb", '"']


@experiment(version=1)
def numbers(params: LabelParams, seed: int) -> NumberMetrics:
    y, word = VALUES[params.i], WORDS[params.i]
    listed = () if y is None else (y, 1.0, math.nan, -math.inf)
    return NumberMetrics(y=y, ys=listed, flag=[None, True, False][params.i % 3], word=word)


PLAIN = ("run_id", "seed", "status", "error", "traceback")


def rows_of(experiment, results, *, own=PLAIN):
    """What a table says of each run, by id, but for who computed it; NaN compares as text."""
    names = [*own, *(s.name for s in (*experiment.params, *experiment.metrics))]
    rows = ParquetTable(f"{results}/tables", experiment).read().to_pylist()
    return {r["run_id"]: {n: repr(r[n]) for n in names} for r in rows}


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "json", "jsonl"])
@pytest.mark.parametrize(
    "parts",
    [
        {
            "experiment": "toys:pair",
            "axes": [{"n_target": [4, 8], "widths": [[2, 2], [5]], "rate": [None, 0.1, 1e300]}],
            "params": {"n_compressed": 1, "kernel": '=cmd|"a,b"\n\t;'},
        },
        {"experiment": "toys:pair", "axes": {"kernel": [
            "NA", "None", "null", "", " ", "010", "1e3", "true", "nan", "2020-01-01", "'quoted'",
            "'=1", "''=1", "=1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'", "é µ", " =1", "#N/A",
        ]}, "params": {"n_target": 1, "n_compressed": 0}},
        {"experiment": "toys:toy", "axes": {"n": [1, 2], "mode": ["ok", "nan", "missing"]}},
        {"experiment": "toys:faulty", "axes": {"i": [1, 2]}, "params": {"fault": "raise"}},
        {"experiment": "toys:faulty", "axes": {"i": [1, 2]},
         "params": {"fault": "infeasible_html"}},
        {"experiment": "toys:toy", "axes": {"half": [1, 2, 5]}, "derive": {"n": "2 * half"},
         "seeds": [0, 2**63 - 1]},
    ],
)  # fmt: skip
def test_what_export_wrote_comes_in_again_equal(folder, kind, parts):
    sweep = Sweep(name="there", executor={"kind": "serial"}, **parts)
    lawsweep.run(sweep)
    lawsweep.export(sweep, folder / f"out.{kind}")
    done = import_rows(folder / f"out.{kind}", sweep, results_dir="elsewhere")
    experiment = sweep.find_experiment()
    assert list(done.run_ids) == sweep.plan().run_ids
    assert done.notes == ()
    assert rows_of(experiment, "elsewhere") == rows_of(experiment, "results")


def test_every_kind_of_number_comes_back_from_every_kind_of_file(folder):
    sweep = Sweep(
        name="numbers", experiment=numbers, axes={"i": list(range(8))}, executor={"kind": "serial"}
    )
    lawsweep.run(sweep)
    for kind in ("csv", "tsv", "json", "parquet"):
        lawsweep.export(sweep, folder / f"out.{kind}")
        import_rows(folder / f"out.{kind}", sweep, results_dir=kind)
        here, there = rows_of(numbers, kind), rows_of(numbers, "results")
        assert [(kind, n, here[r][n]) for r in there for n in there[r]] == [
            (kind, n, there[r][n]) for r in there for n in there[r]
        ]


def test_planned_runs_without_a_row_stay_out(folder):
    sweep = Sweep(name="t", experiment="toys:toy", axes={"n": [1]}, executor={"kind": "serial"})
    lawsweep.run(sweep)
    wider = replace(sweep, axes={"n": [1, 2, 3]})
    lawsweep.export(wider, folder / "out.csv")
    done = import_rows(folder / "out.csv", wider, results_dir="elsewhere")
    assert list(done.run_ids) == sweep.plan().run_ids
    assert done.notes == ("2 of 3 rows are of runs not done (missing), and stay out",)


def test_a_failure_replaces_nothing(folder):
    sweep = Sweep(
        name="faults",
        experiment="toys:faulty",
        axes={"i": [1, 2]},
        params={"fault": "raise"},
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    lawsweep.export(sweep, folder / "out.csv")
    done = import_rows(folder / "out.csv", sweep)
    assert (done.run_ids, len(done.kept)) == ((), 1)
    assert done.notes == ("1 of 2 rows are not ok, and their runs have a row: they stay out",)


def test_an_export_that_was_changed_by_hand_is_refused(folder):
    sweep = Sweep(name="t", experiment="toys:toy", axes={"n": [1, 2]}, executor={"kind": "serial"})
    lawsweep.run(sweep)
    lawsweep.export(sweep, folder / "out.csv")
    text = (folder / "out.csv").read_text()
    (folder / "out.csv").write_text(text.replace(",2,1,", ",3,1,"))
    assert text != (folder / "out.csv").read_text()
    with pytest.raises(InvalidValueError, match=r"Row 2 of .*changed by hand"):
        import_rows(folder / "out.csv", sweep, results_dir="elsewhere")


def test_what_a_cell_means_is_told_by_its_field(folder):
    pair = find_experiment("toys:pair")
    cells = ["010", "1e3", "true", "nan", "2020-01-01", "12:30:45", " x ", "NA", "0x1F"]
    lines = [f"{k}.0,1,{cell},1e0,0\n" for k, cell in enumerate(cells, 3)]
    path = write(folder, "n_target,n_compressed,kernel,y,seed\n" + "".join(lines))
    import_rows(path, pair)
    rows = sorted(table_of(pair), key=lambda r: r["n_target"])
    assert [r["kernel"] for r in rows] == cells
    assert [r["n_target"] for r in rows] == list(range(3, 12))


def test_na_without_quotation_marks_is_null_where_a_text_may_be_null(folder):
    path = write(folder, 'i,label,y,ys,seed\n1,NA,0,[],0\n2,"NA",0,[],0\n3,,0,[],0\n4,"",0,[],0\n')
    import_rows(path, numbers)
    rows = sorted(table_of(numbers), key=lambda r: r["i"])
    assert [r["label"] for r in rows] == [None, "NA", None, ""]


@pytest.fixture
def derived(folder):
    return Sweep(
        name="halves",
        experiment="toys:toy",
        axes={"half": [1, 2], "scale": [0.5, 1.5]},
        derive={"n": "2 * half"},
        executor={"kind": "serial"},
    )


def test_the_params_of_a_row_are_those_that_the_sweep_derives(folder, derived):
    path = write(folder, "half,scale,y,draws,converged,seed\n1,0.5,1,2,true,0\n2,1.5,3,4,true,0\n")
    done = import_rows(path, derived)
    plan = derived.plan()
    assert list(done.run_ids) == [plan.run_ids[0], plan.run_ids[3]]
    assert done.notes == ()
    assert sorted(r["n"] for r in table_of(derived.find_experiment())) == [2, 4]


def test_a_cell_that_is_not_what_the_sweep_derives_is_refused_with_its_row(folder, derived):
    path = write(folder, "half,n,scale,y,seed\n1,2,0.5,1,0\n2,5,0.5,1,0\n3,6,0.5,1,0\n")
    with pytest.raises(InvalidValueError, match=r"Row 2 of .*n is 5, and the sweep derives 4"):
        import_rows(path, derived)
    path = write(folder, "n,scale,y,seed\n2,0.5,1,0\n")  # what it is derived from is not there
    assert import_rows(path, derived, dry=True).run_ids == (derived.plan().run_ids[0],)
    path = write(folder, "scale,y,seed\n0.5,1,0\n")
    with pytest.raises(InvalidValueError, match=r"n is derived .2 . half., and half is not given"):
        import_rows(path, derived)


def test_a_derived_float_may_be_written_with_fewer_digits(folder):
    sweep = Sweep(
        name="thirds", experiment="toys:toy", axes={"n": [1, 2]}, derive={"scale": "n / 3"}
    )
    path = write(folder, "n,scale,y,draws,seed\n1,0.33333333333,1,1,0\n2,0.66666666667,1,1,0\n")
    assert list(import_rows(path, sweep, dry=True).run_ids) == sweep.plan().run_ids
    path = write(folder, "n,scale,y,draws,seed\n1,0.333,1,1,0\n")
    with pytest.raises(InvalidValueError, match=r"scale is 0.333, and the sweep derives 0.333333"):
        import_rows(path, sweep)


def test_an_axis_without_a_column_is_refused_and_may_be_pinned(folder, derived):
    path = write(folder, "half,y,draws,seed\n1,1,2,0\n")
    with pytest.raises(InvalidValueError, match=r"no column for scale, .*params.scale=VALUE"):
        import_rows(path, derived)
    pinned = replace(derived, axes={"half": [1, 2]}, params={"scale": 1.5})
    done = import_rows(path, pinned, dry=True)
    assert done.run_ids == (derived.plan().run_ids[1],)


def test_the_grid_of_a_union_that_a_row_is_of_completes_it(folder):
    sweep = Sweep(
        name="two",
        experiment="toys:toy",
        axes={
            "union": [
                {"params": {"mode": "ok"}, "axes": {"n": [2, 4]}, "derive": {"scale": "n / 2"}},
                {"params": {"mode": "nan"}, "axes": {"n": [2, 4], "scale": [5.0]}},
            ]
        },
    )
    path = write(folder, "mode,n,y,draws,seed\nok,4,1,1,0\n")
    (run_id,) = import_rows(path, sweep, dry=True).run_ids
    assert run_id == sweep.plan().run_ids[1]
    path = write(folder, "mode,n,scale,y,draws,seed\nok,4,2.0,1,1,0\nnan,2,5,nan,1,0\n")
    plan = sweep.plan()
    assert import_rows(path, sweep, dry=True).run_ids == (plan.run_ids[1], plan.run_ids[2])
    path = write(folder, "mode,n,y,draws,seed\nnan,4,1,1,0\n")
    with pytest.raises(InvalidValueError, match="scale is an axis of the sweep, and is not given"):
        import_rows(path, sweep)
    path = write(folder, "n,scale,y,draws,seed\n4,2.0,1,1,0\n")
    with pytest.raises(InvalidValueError, match=r"several grids .* different mode"):
        import_rows(path, sweep)


def test_an_axis_that_applies_in_places_is_asked_for_there_alone(folder):
    sweep = Sweep(
        name="some",
        experiment="toys:toy",
        axes={"n": [1, 2], "mode": ["ok", "nan"],
              "when": {"if": "mode == 'ok'", "axes": {"scale": [2.0, 3.0]}}},
    )  # fmt: skip
    path = write(folder, "n,mode,y,draws,seed\n1,nan,nan,1,0\n")
    assert set(import_rows(path, sweep, dry=True).run_ids) < set(sweep.plan().run_ids)
    path = write(folder, "n,mode,y,draws,seed\n1,nan,nan,1,0\n1,ok,1,1,0\n")
    with pytest.raises(InvalidValueError, match=r"Row 2 of .*scale is an axis"):
        import_rows(path, sweep)


def test_several_files_are_one_import(toy, folder):
    one = write(folder, "n,y,draws,seed\n1,1,1,0\n", "one.csv")
    two = write(folder, "n\ty\tdraws\tseed\n2\t1\t1\t0\n", "two.tsv")
    done = import_rows([one, two], toy)
    assert len(done.run_ids) == 2
    launch = lawsweep.show(done.run_ids[1])["launch"]
    assert [f["file"] for f in launch["files"]] == ["one.csv", "two.tsv"]
    three = write(folder, "n,y,draws,seed\n3,1,1,0\n2,1,1,0\n", "three.csv")
    before = tree(folder)
    with pytest.raises(InvalidValueError, match=r"1 runs are in .*two\.tsv and in .*three\.csv"):
        import_rows([two, three], toy)
    assert tree(folder) == before


ENCODED = [
    (b"\xef\xbb\xbfn,y,draws,seed\r\n1,1.5,1,0\r\n", None),
    (b'"n","y","draws","seed"\n"1","1.5","1","0"\n', None),
    (b"n,y,draws,seed\r1,1.5,1,0\r", None),
    (b"n , y,draws,seed\n1,1.5,1,0\n", "Unknown column 'n '"),
    ("n,y,draws,seed\n1,1.5,1,0\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    (b"n,y,draws,seed\n1,1.5,1,0\n2,\xff,1,0\n", r"not UTF-8 \(line 3\)"),
    (b'n,y,draws,seed\n1,1.5,1,"0\n2,1,1,0\n', "quotation mark that is never closed"),
    (b"n,y,draws,seed\n1,1.5,1,0\n1,1.5,1\n", "row 2 has 3 cells, and the header 4"),
    (b"n,y,draws,seed\n1,1.5\0,1,0\n", "NUL characters"),
    (b"n;y;draws;seed\n1;1,5;1;0\n", "separated by semicolons"),
    (b"n\ty\tdraws\tseed\n1\t1.5\t1\t0\n", "separated by tabs"),
    (b",n,y,draws,seed\n0,1,1.5,1,0\n", "Column 1 of .* has no name"),
    (b"n,y,draws,seed\n1,1_5,1,0\n", "y must be float or null, got '1_5'"),
    (b"n,y,draws,seed\n1,1.5,,0\n", "Row 1 of .*draws is empty, and must be int"),
    (b"n,y,draws,seed\n1,1.5,1,\n", "Row 1 of .*A seed must be"),
    (b"", "holds no rows"),
]


@pytest.mark.parametrize(("data", "message"), ENCODED)
def test_how_a_csv_is_written_is_seen_through_or_said(toy, folder, data, message):
    path = folder / "theirs.csv"
    path.write_bytes(data)
    if message is None:
        assert import_rows(path, toy, dry=True).first[0]["y"] == 1.5
        return
    with pytest.raises(LawsweepError, match=message):
        import_rows(path, toy)


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"n": 1, "n": 2}', "1", "[" * 100_000, '"x'])
def test_json_that_is_no_object_a_line_is_said(toy, folder, text):
    with pytest.raises(StoreError, match="line 1 is no JSON object"):
        import_rows(write(folder, text + "\n", "theirs.jsonl"), toy)


def test_a_file_of_very_many_columns_or_rows_is_refused_at_once(toy, folder):
    names = ",".join(f"c{i}" for i in range(100_000))
    path = write(folder, f"{names}\n{'1,' * 99_999}1\n")
    started = time.process_time()
    with pytest.raises(InvalidValueError, match=r"So are c1, c2, c3, .*\.\.\."):
        import_rows(path, toy, seed=0)
    many = pa.DictionaryArray.from_arrays(pa.array([0] * 10**6, pa.int8()), pa.array([1]))
    with pq.ParquetWriter(folder / "many.parquet", pa.schema([("n", many.type)])) as writer:
        for _ in range(10):
            writer.write_table(pa.table({"n": many}))
    with pytest.raises(InvalidValueError, match="10,000,000 rows, and import takes 2,000,000"):
        import_rows(folder / "many.parquet", toy, seed=0)
    assert time.process_time() - started < 20  # a minute, and a MemoryError, before


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
    ("n,y,seed\n,2,0\n", {}, InvalidValueError, "Row 1 of .*n is empty, and must be int"),
    ("y,seed\n2,0\n", {}, InvalidValueError, "toy needs a value for n"),
    ("n,mode,y,seed\n1,good,2,0\n", {}, InvalidValueError, "one of ok, nan, missing, got 'good'"),
    ("n,y,seed\n1,2,0\n1,3,0\n", {}, InvalidValueError, "Rows 1 and 2 of .* are the same run"),
    ("n,m,y,seed\n1,1,2,0\n", {"columns": {"m": "n"}}, InvalidValueError, "m are both n; leave"),
    ("n,y,y,seed\n1,1,2,0\n", {}, InvalidValueError, "several columns called y"),
    ("n,y,seed\n", {}, InvalidValueError, "holds no rows"),
    ("n,y,seed,status\n1,2,0,failed\n", {}, InvalidValueError, "not ok has no metrics"),
    ("n,y,seed,status\n1,2,0,done\n", {}, InvalidValueError, "status must be one of ok, failed"),
    ("n,y,seed,status\n1,2,0,missing\n", {}, InvalidValueError, "no row of a run that was done"),
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
    with pytest.raises(InvalidValueError, match=r"ends in \.csv, \.tsv, \.parquet"):
        import_rows(write(folder, "n", "theirs.txt"), toy)
    with pytest.raises(StoreError, match="Cannot read"):
        import_rows(write(folder, "no parquet", "theirs.parquet"), toy)
    os.mkfifo(folder / "pipe.csv")
    for odd in ("pipe.csv", "folder.csv"):
        (folder / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(StoreError, match="a folder, a pipe or a device"):
            import_rows(folder / odd, toy)


def test_a_constraint_is_held(folder):
    path = write(folder, "n_target,n_compressed,y,seed\n4,8,1,0\n")
    with pytest.raises(InvalidValueError, match="requires n_compressed <= n_target"):
        import_rows(path, find_experiment("toys:pair"))


def test_imported_rows_can_be_checked_by_replay(toy, folder):
    from lawsweep.tools.replay import replay

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
    rows = [f"10,{i},1.5,2,ok,{error if i % 2 else ''}\n" for i in range(5_000)]
    path = write(folder, "n,seed,y,draws,status,error\n" + "".join(rows))
    assert path.stat().st_size > 2 * 2**20
    assert len(import_rows(path, toy, dry=True).run_ids) == 5_000
