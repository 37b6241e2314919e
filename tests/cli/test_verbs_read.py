from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.shell_completion import ShellComplete

from lawsweep.cli.main import cli, run_command
from lawsweep.config.compose import load_sweep
from lawsweep.core.registry import find_experiment
from lawsweep.store.table.parquet import ParquetTable


@pytest.fixture
def run_toys(lawsweep, toy_sweep):
    assert lawsweep("run", "toys", "--no-analysis")[0] == 0


@pytest.fixture
def run_spectra(lawsweep, write):
    write("spectra", "experiment: toys:spectrum\nexecutor: serial\naxes: {n: [3, 5]}\nseeds: 2\n")
    assert lawsweep("run", "spectra")[0] == 0


def one_run_id(lawsweep, table, where="true"):
    answer = lawsweep("sql", f"SELECT run_id FROM {table} WHERE {where}", "--json")
    return json.loads(answer[1])[0]["run_id"]


def test_show_prints_arrays_meanings_and_provenance(lawsweep, run_spectra):
    run_id = one_run_id(lawsweep, "spectrum", "n = 3 AND seed = 1")
    code, out, _ = lawsweep("show", run_id[:10])
    assert code == 0
    assert "eigenvalues  array of shape (3,)" in out
    assert "table  array of shape (3, 2)" in out
    assert "all eigenvalues" not in out
    for part in (
        "launch.command  lawsweep run spectra",
        "launch.config  executor=",
        "launch.packages  python=",
        "launch.hardware  host=",
        "launch.blas  name=",
        "launch.experiment_source  module=lawsweep.contracts.toys, file=toys.py, hash=",
        "launch.started_at  2",
        "launch.ended_at  2",
    ):
        assert part in out, part
    out = lawsweep("show", run_id, "--meanings")[1]
    assert "all eigenvalues" in out
    assert "threads given to numerical libraries" in out
    answer = json.loads(lawsweep("show", run_id, "--json", "--meanings")[1])
    assert answer["arrays"]["eigenvalues"] == {
        "shape": [3], "unit": "1", "meaning": "all eigenvalues",
    }  # fmt: skip
    assert answer["meanings"]["wall_s"] == {"unit": "s", "meaning": "wall time of the run"}
    assert answer["launch"]["config"]["axes"] == {"n": [3, 5]}
    assert set(answer["launch"]["packages"]) >= {"ray", "torch", "numpy", "python", "duckdb"}


def test_a_beginning_of_a_run_id_must_be_unique(lawsweep, run_toys):
    table = ParquetTable("results/tables", find_experiment("toys:toy"))
    row = table.read().to_pylist()[0]
    other = row["run_id"][:10] + "0" * 22
    table.append([{**row, "run_id": other}])
    for verb in ("show", "replay"):
        code, _, err = lawsweep(verb, row["run_id"][:10])
        assert code == 11
        assert "2 runs begin with" in err
        assert other in err
        assert lawsweep(verb, row["run_id"][:20])[0] == 0
        code, _, err = lawsweep(verb, "ffffffffffff")
        assert code == 10
        assert "No row in results" in err


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_export_puts_a_dictionary_beside_the_table(lawsweep, run_toys, folder, kind):
    code, out, _ = lawsweep("export", "toys", "-o", f"out/table.{kind}")
    assert code == 0
    assert f"out/table.{kind}: 8 rows" in out
    told = pd.read_csv(folder / "out/table.dictionary.csv", keep_default_na=False)
    told = told.set_index("column")
    assert told.loc["n", "meaning"] == "a count"
    assert told.loc["n", "allowed"] == ">= 1, <= 1000"
    assert told.loc["y", "unit"] == "m"
    assert told.loc["scale", "default"] == "1.0"
    if kind == "parquet":
        schema = pq.read_schema(folder / "out/table.parquet")
        assert list(told.index) == schema.names
        assert schema.field("y").metadata[b"unit"] == b"m"


def test_export_without_a_dictionary(lawsweep, run_toys, folder):
    code, out, _ = lawsweep("export", "toys", "-o", "table.csv", "--no-dictionary", "--json")
    assert code == 0
    assert json.loads(out)["dictionary"] is None
    assert [p.name for p in folder.glob("table*")] == ["table.csv"]
    answer = json.loads(lawsweep("export", "toys", "--json")[1])
    assert answer["path"] == "results/sweeps/toys/toys.parquet"
    assert answer["dictionary"] == "results/sweeps/toys/toys.dictionary.csv"


def test_compare_two_sweeps_and_one_against_an_override(lawsweep, run_toys, write):
    lawsweep("run", "toys", "params.scale=2", "--no-analysis")
    code, out, _ = lawsweep("compare", "toys", "--against", "params.scale=2")
    assert code == 0
    assert "joined on n, mode, seed: 8 runs in both" in out
    assert "apart: scale is 1.0 in A, 2.0 in B" in out
    assert "y: the same in 0 of 8 runs; largest difference 80 at n=80" in out
    assert "draws: the same in all 8 runs" in out
    assert out.count("y ~ n^") == 2
    write("half", "experiment: toys:toy\nexecutor: serial\naxes: {n: [10, 20, 160]}\nseeds: 2\n")
    lawsweep("run", "half")
    code, out, _ = lawsweep("compare", "toys", "half", "--json")
    found = json.loads(out)
    assert found["n_both"] == 4
    assert {r["n"] for r in found["only_a"]} == {40, 80}
    assert [r["n"] for r in found["only_b"]] == [160, 160]
    assert {m["name"]: m["n_same"] for m in found["metrics"]} == {
        "y": 4, "draws": 4, "converged": 4,
    }  # fmt: skip
    out = lawsweep("compare", "toys", "half")[1]
    assert "4 runs are in toys alone; the first: n=40" in out
    assert "2 runs are in half alone; the first: n=160" in out


def test_compare_with_another_results_folder_and_shared_overrides(lawsweep, run_toys):
    lawsweep("run", "toys", "results_dir=other", "seeds=1", "--no-analysis")
    code, out, _ = lawsweep(
        "compare", "toys", "seeds=1", "--against", "results_dir=other", "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert (found["n_both"], found["only_a"], found["only_b"]) == (4, [], [])
    assert all(m["n_same"] == 4 for m in found["metrics"])
    (pair,) = found["fits"]
    assert pair["a"]["parameters"] == pair["b"]["parameters"]


def test_fits_are_a_table_in_a_terminal_a_paper_and_a_file(lawsweep, run_toys):
    grouped = (
        "fit",
        "toys",
        "fits=[{law: power, x: n, y: y, by: mode, name: m}, {law: linear, x: n, y: y}]",
    )
    out = lawsweep(*grouped, "--format", "table")[1]
    assert out.startswith("m (power, 95 %)\n")
    assert "linear_y (linear, 95 %)" in out
    assert lawsweep(*grouped)[1].count("fit:    ") == 2  # one group each: lines
    assert r"\toprule" in lawsweep(*grouped, "--format", "latex")[1]
    for name, start in (
        ("a.csv", "fit,law,"),
        ("a.tex", r"\begin{tabular}"),
        ("a.txt", "m (power"),
    ):
        code, out, _ = lawsweep(*grouped, "-o", name)
        assert (code, out) == (0, f"fits: {name}\n")
        assert Path(name).read_text().startswith(start)
    assert len(json.loads(lawsweep(*grouped, "--json")[1])) == 2
    assert lawsweep(*grouped, "--format", "latx")[0] != 0


def test_compare_gives_the_differences_of_exponents(lawsweep, run_toys):
    lawsweep("run", "toys", "params.scale=2", "--no-analysis")
    out = lawsweep("compare", "toys", "--against", "params.scale=2")[1]
    assert "  difference: exponent, A to B: " in out
    assert "(95 %, paired by 2 seeds; unpaired [" in out
    alone = ("compare", "toys", "axes.scale=[1,2]", "fits=[{law: power, x: n, y: y, by: scale}]")
    assert lawsweep("run", *alone[1:], "--no-analysis")[0] == 0
    code, out, _ = lawsweep(*alone)
    assert code == 0
    assert out.startswith("fit power_y:\n  power_y (scale=1): y ~ n^")
    assert "  difference: exponent, scale=1 to 2: " in out
    found = json.loads(lawsweep(*alone, "--json")[1])
    (difference,) = found["differences"]
    assert (difference["a"], difference["b"], difference["n_pairs"]) == ("scale=1", "2", 2)
    assert difference["low"] <= difference["estimate"] <= difference["high"]
    lost = lawsweep(*alone[:3], "fits=[{law: power, x: n, y: y, by: scale, where: 'n > 40'}]")[1]
    assert "no difference: fewer than two groups with a law" in lost


def test_compare_takes_two_variants_as_they_are_asked_for(lawsweep, run_toys):
    for words in (("preset=big",), ("preset=big", "seeds=2", "params.scale=2")):
        assert lawsweep("run", "toys", *words, "executor=serial", "--no-analysis")[0] == 0
    both = ("toys", "preset=big", "seeds=2", "toys", "preset=big", "seeds=2", "params.scale=2")
    code, out, _ = lawsweep("compare", *both)
    assert code == 0
    assert out.startswith("A: toys preset=big seeds=2\nB: toys preset=big seeds=2 params.scale=2\n")
    assert "apart: scale is 1.0 in A, 2.0 in B" in out
    assert "4 runs in both" in out
    against = (
        "toys",
        "preset=big",
        "seeds=3",
        "--against",
        "seeds=2",
        "--against",
        "params.scale=2",
    )
    found = json.loads(lawsweep("compare", *against, "--json")[1])
    assert found["asked"] == [
        ["toys", "preset=big", "seeds=3"],
        ["toys", "preset=big", "seeds=2", "params.scale=2"],
    ]
    assert (found["n_both"], len(found["only_a"])) == (4, 2)
    alone = json.loads(lawsweep("compare", "toys", "preset=big", "toys", "--json")[1])
    assert alone["asked"] == [["toys", "preset=big"], ["toys"]]
    listed = lawsweep("list")[1]
    assert "- toys preset=big: 6 of 6 runs" in listed
    assert "- toys preset=big seeds=2 params.scale=2: 4 of 4 runs" in listed
    assert {"preset=big", "params.scale=2"} <= set(offered("plan", "toys", ""))
    assert {"toys", "params.scale=2"} <= set(offered("compare", "toys", "preset=big", ""))
    assert offered("compare", "toys", "preset=big", "toys", "params.sc") == [
        "params.scale=2", "params.scale=",
    ]  # fmt: skip


def offered(*words):
    complete = ShellComplete(cli, {}, "lawsweep", "_LAWSWEEP_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_compare_needs_something_to_compare_with(lawsweep, run_toys):
    code, _, err = lawsweep("compare", "toys")
    assert code == 11
    assert "compare needs a second sweep, or --against" in err
    assert lawsweep("compare", "toys", "toyz")[0] == 10
    assert lawsweep("compare", "toys", "--against", "params.x=1")[0] == 10


def test_sql_prints_writes_and_answers_in_json(lawsweep, run_toys, folder):
    code, out, _ = lawsweep("sql", "SELECT n, count(*) AS c FROM toy GROUP BY n ORDER BY n")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["n", "c"], ["10", "2"], ["20", "2"], ["40", "2"], ["80", "2"],
    ]  # fmt: skip
    out = lawsweep("sql", "SELECT n, error FROM toy ORDER BY n", "--limit", "3")[1]
    assert "... and 5 more rows" in out
    assert out.count("null") == 3
    assert lawsweep("sql", "SELECT 1 WHERE false")[1].split() == ["1"]
    for kind in ("parquet", "csv", "json"):
        code, out, _ = lawsweep("sql", "SELECT * FROM toy", "-o", f"answer.{kind}")
        assert code == 0
        assert out.strip() == f"answer.{kind}: 8 rows"
    assert len(pd.read_csv(folder / "answer.csv")) == 8
    assert pq.read_table(folder / "answer.parquet").num_rows == 8
    answer = json.loads(lawsweep("sql", "SELECT max(n) AS n FROM toy", "--json")[1])
    assert answer == [{"n": 80}]
    # A sum of whole numbers is a decimal to SQL, and a number to JSON.
    query = "SELECT sum(n) AS s, 1.25::decimal(5, 2) AS d FROM (VALUES (1), (2)) AS t(n)"
    assert json.loads(lawsweep("sql", query, "--json")[1]) == [{"s": 3, "d": 1.25}]
    assert json.loads(lawsweep("sql", query, "--format", "json")[1]) == {"s": 3, "d": 1.25}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("sql", "SELECT lamda FROM toy"), 11, "not found in FROM clause"),
        (("sql", "SELECT 1", "seeds=2"), 10, "Unknown key 'seeds'"),
        (("sql", "SELECT 1", "-o", "x.txt"), 10, "Unknown export format 'txt'"),
        (("sql",), 2, "Missing argument"),
        (("show", "xyz"), 11, "hexadecimal digits"),
        (("show", "ab"), 11, "hexadecimal digits"),
    ],
)
def test_bad_questions_are_one_sentence(lawsweep, run_toys, words, code, message):
    got, _, err = lawsweep(*words)
    assert got == code
    assert message in err
    assert "Traceback" not in err


def test_an_empty_results_folder_is_no_error_of_sql(lawsweep, folder):
    assert lawsweep("sql", "SHOW TABLES")[0] == 0
    code, _, err = lawsweep("sql", "SELECT * FROM toy")
    assert code == 11
    assert "There are no tables here" in err
    assert run_command(["sql", "SELECT 1"]) == 0


def test_a_figure_that_cannot_be_drawn_costs_the_others_and_the_fits_nothing(lawsweep, toy_sweep):
    bad = (
        "figures=[{kind: curve, x: n, y: y, where: 'y > 1e9'}, {kind: scatter, x: n, y: y}, "
        "{kind: curve, name: third, x: n, y: y, where: 'y < -1e9'}]"
    )
    code, out, err = lawsweep("run", "toys", bad)
    assert code == 0
    assert ": y ~ n^" in out
    (note,) = [line for line in err.splitlines() if line.startswith("note: Figure")]
    assert "Figure curve_y needs" in note
    assert "Figure third needs" in note
    place = Path(load_sweep("toys", bad).folder)
    assert f"figure: {place}/figures/scatter_y.png" in out
    assert sorted(p.name for p in (place / "figures").iterdir()) == [
        "scatter_y.pdf",
        "scatter_y.png",
        "scatter_y.svg",
    ]
    code, _, err = lawsweep("report", "toys", bad)
    assert (code, err.count("curve_y needs at least one ok row")) == (11, 1)
    assert (place / "report.html").read_text().count("data:image/png") == 1


def test_a_table_goes_to_a_pipe_as_text(lawsweep, toy_sweep):
    assert lawsweep("run", "toys", "seeds=1")[0] == 0
    code, out, err = lawsweep("export", "toys", "seeds=1", "-o", "-")
    lines = out.splitlines()
    assert (code, len(lines), lines[0].startswith('"run_id",')) == (0, 5, True)
    code, out, err = lawsweep("export", "toys", "seeds=2", "--format", "tsv")
    assert (code, len(out.splitlines())) == (0, 9)
    assert "note: 4 missing: lawsweep run toys seeds=2" in err
    query = "SELECT n, 'a|b' AS \"text\", NULL AS nothing FROM toy ORDER BY n LIMIT 1"
    assert lawsweep("sql", query, "--format", "md")[1].splitlines() == [
        "| n | text | nothing |", "| ---: | --- | --- |", "| 10 | a\\|b |  |",
    ]  # fmt: skip
    assert lawsweep("sql", query, "-o", "-")[1] == '"n","text","nothing"\n10,"a|b",\n'
    for words in (("sql", query, "-o", "-"), ("export", "toys", "--format", "csv")):
        code, out, err = lawsweep(*words, "--json")  # two answers to one question
        assert (code, out) == (2, "")
        assert "give one of them" in err
    assert json.loads(lawsweep("sql", query, "--format", "json")[1])["n"] == 10
    code, _, err = lawsweep("sql", query, "--format", "xml")
    assert (code, "'csv', 'tsv', 'json'" in err) == (2, True)
