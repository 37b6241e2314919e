from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

import lawsweep
from lawsweep import Sweep, show
from lawsweep.core.errors import IncompatibleTableError, InvalidValueError
from lawsweep.store.sweeps.skipping import SkippedFileWarning
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.tools.sql import sql


def test_every_experiment_is_a_view(toys, spectra):
    answer = sql("SELECT n, count(*) AS n_runs, avg(y) AS y FROM toy GROUP BY n ORDER BY n")
    frame = lawsweep.load(toys).groupby("n")["y"].mean()
    assert answer["n"].to_pylist() == [10, 20, 40, 80]
    assert answer["n_runs"].to_pylist() == [2] * 4
    assert answer["y"].to_pylist() == pytest.approx(frame.to_list(), rel=1e-12)
    names = sql("SHOW TABLES")["name"].to_pylist()
    assert names == ["spectrum", "spectrum__eigenvalues", "spectrum__table", "toy"]
    assert sql("SELECT count(*) c FROM toy, Spectrum")["c"].to_pylist() == [32]


def test_columns_are_known_of_views_that_are_not_read(toys, spectra):
    known = sql("SELECT column_name AS c FROM information_schema.columns WHERE table_name = 'toy'")
    assert {"run_id", "n", "y", "launch_id"} <= set(known["c"].to_pylist())


def test_only_rows_a_reader_would_return(toys):
    table = ParquetTable(toys.tables, toys.find_experiment())
    rows = table.read().to_pylist()
    now = datetime.now(UTC)
    table.append(rows)  # the same again, as an interrupted merge leaves it
    table.append([{**rows[0], "y": -1.0, "attempt": 2, "started_at": now}])
    table.append([{**rows[1], "y": None, "attempt": 2, "status": "failed", "started_at": now}])
    answer = sql("SELECT run_id, y FROM toy")
    found = dict(zip(answer["run_id"].to_pylist(), answer["y"].to_pylist(), strict=True))
    assert len(found) == answer.num_rows == 8
    assert found[rows[0]["run_id"]] == -1.0
    assert found[rows[1]["run_id"]] == rows[1]["y"]
    assert found == dict(
        zip(*(lawsweep.load(toys)[n].to_list() for n in ("run_id", "y")), strict=True)
    )


def test_missing_nan_and_failed_differ(folder):
    sweep = Sweep(
        name="modes",
        experiment="toys:toy",
        axes={"mode": ["ok", "nan", "missing"]},
        params={"n": 1},
        executor={"kind": "serial"},
    )
    lawsweep.run(sweep)
    answer = sql("SELECT mode, y IS NULL AS gone, isnan(y) AS nan FROM toy ORDER BY mode")
    assert answer["mode"].to_pylist() == ["missing", "nan", "ok"]
    assert answer["gone"].to_pylist() == [True, False, False]
    assert answer["nan"].to_pylist() == [None, True, False]


def test_arrays_are_views_with_shape_and_values(spectra):
    answer = sql(
        "SELECT s.run_id, s.n, e.shape, e.values FROM spectrum s "
        "JOIN spectrum__eigenvalues e USING (run_id)"
    ).to_pylist()
    arrays = lawsweep.load_arrays(spectra, "eigenvalues")
    assert len(answer) == len(arrays) == 4
    for row in answer:
        assert row["shape"] == [row["n"]]
        np.testing.assert_array_equal(row["values"], arrays[row["run_id"]])
    shapes = sql("SELECT DISTINCT shape FROM spectrum__table")["shape"].to_pylist()
    assert shapes == [[3, 2]]
    joined = "spectrum NATURAL JOIN spectrum__eigenvalues"
    (gap,) = sql(f"SELECT max(abs(largest / list_max(values) - 1)) d FROM {joined}")[
        "d"
    ].to_pylist()
    assert gap <= 2.0**-24  # the array was float32: rounded to 24 bits


def test_an_array_of_an_attempt_that_no_row_reports_is_not_shown(spectra):
    table = ParquetTable(spectra.tables, spectra.find_experiment())
    row = table.read().to_pylist()[0]
    later = {**row, "attempt": 2, "started_at": datetime.now(UTC)}
    # What a driver leaves that dies after the arrays and before the row.
    table.array_store.append([later], [{"eigenvalues": np.array([9.0])}])
    answer = sql("SELECT * FROM spectrum__eigenvalues").to_pylist()
    assert len(answer) == 4
    assert [9.0] not in [r["values"] for r in answer]


def test_parts_of_several_times_are_one_view(toys):
    table = ParquetTable(toys.tables, toys.find_experiment())
    part = table.read().slice(0, 2)
    gone = part.drop_columns(["scale"]).append_column("retired", pa.array([1.5, 2.5]))
    older = gone.set_column(gone.column_names.index("y"), "y", pa.array([7, 8], type=pa.int64()))
    ids = pa.array(["0" * 32, "1" * 32])
    older = older.set_column(older.column_names.index("run_id"), "run_id", ids)
    from lawsweep.store.table.parts import encode

    table.folder.write("part-0000000000000001-0000000000000000.parquet", encode(older))
    answer = sql("SELECT scale, retired, y FROM toy WHERE retired IS NOT NULL").to_pylist()
    assert answer == [
        {"scale": 1.0, "retired": 1.5, "y": 7.0},  # the default, for a part that is older
        {"scale": 1.0, "retired": 2.5, "y": 8.0},
    ]
    assert sql("SELECT count(*) c FROM toy WHERE retired IS NULL")["c"].to_pylist() == [8]


def test_torn_foreign_and_newer_files_are_passed_over(toys, folder):
    tables = folder / "results/tables/toy"
    (tables / "part-torn.parquet").write_bytes(b"PAR1 no more")
    (tables / "part-empty.parquet").write_bytes(b"")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1]}), tables / "part-foreign.parquet")
    with pytest.warns(SkippedFileWarning) as told:
        assert sql("SELECT count(*) c FROM toy")["c"].to_pylist() == [8]
    said = {str(w.message).partition(":")[0].rpartition("/")[2] for w in told}
    assert said == {f"part-{kind}.parquet" for kind in ("torn", "empty", "foreign")}


def test_a_part_of_another_experiment_adds_no_rows(toys, spectra, folder):
    (part,) = (folder / "results/tables/spectrum").glob("part-*")
    shutil.copy(part, folder / "results/tables/toy" / part.name)
    with pytest.warns(SkippedFileWarning, match="a part of the table of spectrum"):
        assert sql("SELECT count(*) c FROM toy")["c"].to_pylist() == [8]
    run_id = sql("SELECT run_id FROM spectrum")["run_id"][0].as_py()
    with pytest.warns(SkippedFileWarning, match="a part of the table of spectrum"):
        assert show(run_id)["experiment"] == "spectrum"


@pytest.mark.parametrize(
    "query",
    [
        "COPY toy TO 'out.csv'",
        "EXPORT DATABASE 'out'",
        "ATTACH 'out.db'",
        "SELECT * FROM read_csv('secret.csv')",
        "SELECT * FROM read_text('secret.csv')",
        "SELECT * FROM 'secret.csv'",
        "SELECT * FROM glob('*')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "INSERT INTO toy (run_id) VALUES ('x')",
        "UPDATE toy SET y = 0",
        "DELETE FROM toy",
        "SELECT * FROM views",
        "SELECT * FROM query",
    ],
)
def test_a_query_reaches_the_tables_alone(toys, folder, query):
    (folder / "secret.csv").write_text("a\n1\n")
    before = sorted(p.name for p in folder.rglob("*"))
    with pytest.raises(InvalidValueError):
        sql(query)
    assert sorted(p.name for p in folder.rglob("*")) == before
    assert sql("SELECT count(*) c FROM toy WHERE y > 0")["c"].to_pylist() == [8]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT zzz FROM toy", r"\"zzz\" not found in FROM clause\. Tables: toy"),
        ("SELECT yy FROM toy", r"Did you mean y\?.*Columns of toy: run_id, experiment"),
        ("SELECT * FROM toyy", r"toyy does not exist\. Did you mean toy\?.*Tables: toy\."),
        ("SELEC 1", r"Parser Error: syntax error at or near \"SELEC\"\.\Z"),
        ("COPY toy TO 'x.csv'", "A query reads the tables of the results folder and nothing else"),
        ("SELECT CAST(mode AS INT) FROM toy", "Conversion Error"),
        ("  ", "The query is empty"),
    ],
)
def test_a_bad_query_is_one_line_with_the_names_nearest(toys, query, message):
    with pytest.raises(InvalidValueError, match=message) as caught:
        sql(query)
    assert "\n" not in str(caught.value)


def test_a_folder_without_tables_says_so(folder):
    assert sql("SELECT 1 AS one")["one"].to_pylist() == [1]
    with pytest.raises(InvalidValueError, match="There are no tables here"):
        sql("SELECT * FROM toy")


def test_names_that_differ_in_case_never_answer_for_each_other(toys):
    table = ParquetTable(toys.tables, toys.find_experiment())
    rows = table.read().to_pylist()
    other = dataclasses.replace(toys.find_experiment(), name="Toy")
    ParquetTable(toys.tables, other).append([{**rows[0], "experiment": "Toy"}])
    arrays = dataclasses.replace(toys.find_experiment(), name="toy__y")
    ParquetTable(toys.tables, arrays).append([{**rows[0], "experiment": "toy__y"}])
    for name in ("toy", "Toy", "TOY"):
        with pytest.raises(IncompatibleTableError, match="tables Toy and toy are one name to SQL"):
            sql(f"SELECT count(*) FROM {name}")
    assert sql("SELECT count(*) AS c FROM toy__y")["c"].to_pylist() == [1]  # others do no harm


def test_columns_of_old_and_new_parts_that_differ_in_case_are_refused(toys):
    experiment = toys.find_experiment()
    rows = ParquetTable(toys.tables, experiment).read().to_pylist()
    loud = dataclasses.replace(experiment.metrics[0], name="Y")
    then = dataclasses.replace(experiment, metrics=(loud, *experiment.metrics[1:]))
    ParquetTable(toys.tables, then).append([{**rows[0], "run_id": "f" * 32, "Y": 1.0}])
    with pytest.raises(IncompatibleTableError, match=r"columns of toy .* are one name to SQL"):
        sql("SELECT avg(y) FROM toy")


def test_what_is_too_large_for_memory_goes_to_a_temporary_folder(toys, folder, monkeypatch):
    """DuckDB's own place for it is .tmp in the working folder, where here a file is in the way."""
    (folder / ".tmp").write_text("somebody's")
    (folder / "spill").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "spill"))
    monkeypatch.setitem(sys.modules["lawsweep.tools.sql"]._LOCKED, "memory_limit", "30MB")
    monkeypatch.setitem(sys.modules["lawsweep.tools.sql"]._LOCKED, "threads", 1)
    query = "SELECT a, row_number() OVER (ORDER BY md5(a::varchar)) AS r FROM range(600000) t(a)"
    assert sql(f"SELECT max(r) AS n FROM ({query})")["n"].to_pylist() == [600_000]
    assert list((folder / "spill").iterdir()) == []
    assert (folder / ".tmp").read_text() == "somebody's"


@pytest.mark.parametrize("query", [
    "INSTALL httpfs", "FORCE INSTALL json", "INSTALL spatial FROM 'http://127.0.0.1:1'",
    "LOAD httpfs", "SELECT * FROM sqlite_scan('a', 'b')", "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('own.txt')", "SELECT * FROM 'own.parquet'", "ATTACH 'own.db'",
    "COPY (SELECT 1) TO 'out.csv'", "EXPORT DATABASE 'out'", "SET temp_directory = '/tmp/x'",
    "SELECT * FROM glob('*')", "SELECT getenv('HOME')", "CREATE SECRET s (TYPE s3)",
])  # fmt: skip
def test_a_query_reads_no_file_and_installs_nothing(toys, folder, monkeypatch, query):
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "home").mkdir()
    (folder / "own.txt").write_text("secret")
    before = sorted(p.name for p in folder.rglob("*"))
    with pytest.raises(InvalidValueError):
        sql(query)
    assert sorted(p.name for p in folder.rglob("*")) == before
