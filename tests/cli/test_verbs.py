from __future__ import annotations

import importlib
import json
import re
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from lawsweep.cli.main import cli


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_run_then_again_then_read(lawsweep, toy_sweep, folder):
    toy_sweep.write_text(toy_sweep.read_text().replace(", formats: [svg]", ""))
    code, out, err = lawsweep("run", "toys")
    assert code == 0
    assert "8 planned: 8 ok" in out
    assert "table:  results/tables/toy/part-" in out
    assert ": y ~ n^" in out
    figures = [Path(x.split()[-1]) for x in out.splitlines() if x.startswith("figure:")]
    assert {p.suffix for p in figures} == {".png", ".pdf", ".svg"}
    assert all(p.stat().st_size > 1000 for p in figures)
    assert "8/8 done" in err
    code, out, _ = lawsweep("run", "toys")
    assert code == 0
    assert "nothing to run: every planned run is in the table already" in out
    assert len(list((folder / "results/tables/toy").iterdir())) == 1
    assert lawsweep("run", "toys", "seeds=3", "--no-analysis")[1].count("12 planned: 12 ok") == 1


def test_run_as_json(lawsweep, toy_sweep):
    code, out, _ = lawsweep("run", "toys", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["statuses"] == {"ok": 8}
    assert answer["missing"] == 0
    assert answer["fits"][0]["law"] == "power"


def test_plan_writes_nothing_and_counts(lawsweep, toy_sweep, folder):
    code, out, _ = lawsweep("plan", "toys", "params.n=10,20,30")
    assert code == 0
    assert "6 planned (3 points x 2 seeds): 0 done, 0 failed before, 6 new" in out
    assert not (folder / "results").exists()
    lawsweep("run", "toys", "--no-analysis")
    answer = json.loads(lawsweep("plan", "toys", "params.n=10,20,30", "--json")[1])
    assert (answer["planned"], answer["done"], answer["new"]) == (6, 4, 2)
    assert answer["n_measured"] == 4
    assert [p["params"] for p in answer["points"]] == [{"n": 10}, {"n": 20}, {"n": 30}]
    assert [p["states"] for p in answer["points"]] == [["done"] * 2, ["done"] * 2, ["new"] * 2]
    assert answer["orphaned"] == []  # another question than the one that was run
    file = folder / "sweeps" / "toys.yaml"
    file.write_text(file.read_text().replace("[10, 20, 40, 80]", "[10, 20, 30]"))
    answer = json.loads(lawsweep("plan", "toys", "--json")[1])
    assert len(answer["orphaned"]) == 4  # n = 40 and 80 of the last plan


def test_plan_asks_about_other_hardware(lawsweep, toy_sweep):
    lawsweep("run", "toys", "--no-analysis")
    code, out, _ = lawsweep("plan", "toys", "seeds=6", "--on", "cpus=4")
    assert code == 0
    assert "24 planned (4 points x 6 seeds): 8 done, 0 failed before, 16 new" in out
    assert "on 4 CPU slots" in out
    assert "on 1 CPU slot (" in lawsweep("plan", "toys")[1]  # its own executor is serial
    assert "from 8 finished rows" in out
    answer = json.loads(lawsweep("plan", "toys", "--on", "gpus=8:h100", "seeds=6", "--json")[1])
    assert (answer["n_slots"], answer["n_measured"]) == (8, 0)
    assert answer["makespan_s"] >= answer["bound_s"]
    for on, code in (("cpus=0", 11), ("gpus=8:H1000", 10), ("cpus=4:H100", 11), ("x", 11)):
        assert lawsweep("plan", "toys", "--on", on)[0] == code


def test_plan_knows_rows_of_an_older_version(lawsweep, write, folder):
    source = (folder / "grown.py").write_text
    body = """
    from dataclasses import dataclass
    from lawsweep import experiment

    @dataclass(frozen=True, kw_only=True)
    class Params:
        n: int

    @dataclass(frozen=True, kw_only=True)
    class Metrics:
        y: float

    @experiment(version=VERSION)
    def grown(params: Params, seed: int) -> Metrics:
        return Metrics(y=1.0)
    """
    write("grown", "experiment: grown:grown\nexecutor: serial\naxes: {n: [1, 2]}\n")
    for version, expected in ((1, "2 new"), (3, "0 new")):
        source(textwrap.dedent(body).replace("VERSION", str(version)))
        sys.modules.pop("grown", None)
        importlib.invalidate_caches()
        code, out, _ = lawsweep("plan", "grown")
        assert code == 0
        assert expected in out
        if version == 1:
            lawsweep("run", "grown")
    assert "2 changed (older version)" in out
    sys.modules.pop("grown", None)


def test_status_and_export_tell_missing_from_nan(lawsweep, write, folder):
    write(
        "modes",
        "experiment: toys:toy\nexecutor: serial\naxes: {n: [1], mode: [ok, 'nan', missing]}\n",
    )
    lawsweep("run", "modes")
    code, out, _ = lawsweep("status", "modes", "seeds=2")
    assert code == 0
    assert "6 planned: 3 ok, 3 missing" in out
    assert "3 missing: lawsweep run modes seeds=2" in out
    assert json.loads(lawsweep("status", "modes", "--json")[1])["missing"] == 0
    for kind in ("parquet", "csv", "json"):
        code, out, _ = lawsweep("export", "modes", "seeds=2", "-o", f"out.{kind}")
        assert code == 0
        assert f"out.{kind}: 6 rows (6 planned: 3 ok, 3 missing)" in out
    table = pq.read_table("out.parquet")
    assert table["status"].to_pylist() == ["ok", "missing"] * 3
    y = table["y"].to_pylist()
    assert y[0] is not None
    assert y[2] != y[2]
    assert y[4] is None
    assert table.schema.field("y").metadata[b"unit"] == b"m"
    csv = (folder / "out.csv").read_text().splitlines()
    column = csv[0].split(",").index('"y"')
    assert csv[3].split(",")[column] == "nan"
    assert csv[5].split(",")[column] == ""
    rows = [json.loads(line) for line in (folder / "out.json").read_text().splitlines()]
    assert rows[2]["y"] != rows[2]["y"]
    assert rows[4]["y"] is None
    assert lawsweep("export", "modes", "-o", "out.xls")[0] == 10


def test_show_prints_a_row_and_its_launch(lawsweep, toy_sweep):
    lawsweep("run", "toys", "--no-analysis")
    lawsweep("export", "toys", "-o", "t.parquet")
    run_id = pd.read_parquet("t.parquet")["run_id"][3]
    code, out, _ = lawsweep("show", run_id[:10])
    assert code == 0
    assert run_id in out
    assert "launch.command" in out
    row = json.loads(lawsweep("show", run_id, "--json")[1])
    assert (row["n"], row["seed"], row["status"]) == (20, 1, "ok")
    assert row["launch"]["sweep"] == "toys"
    assert row["launch"]["command"] == "lawsweep run toys"
    assert row["launch"]["packages"]["numpy"]
    assert lawsweep("show", "zz")[0] == 11
    assert lawsweep("show", "0123456789")[0] == 10
    assert lawsweep("show", run_id, "results_dir=elsewhere")[0] == 10


def test_failures_show_stay_and_are_tried_again(lawsweep, write):
    write("faults", "experiment: toys:faulty\nexecutor: serial\naxes: {i: range(4)}\n")
    code, out, err = lawsweep("run", "faults", "params.fault=raise")
    assert code == 3
    assert "4 planned: 3 ok, 1 failed" in out
    assert "failed: fault=raise i=2 seed=0: ValueError: a kernel said no" in err
    assert "1 failed, oom or timeout: lawsweep rerun faults params.fault=raise --failed" in out
    code, out, _ = lawsweep("rerun", "faults", "params.fault=raise", "--failed")
    assert code == 3
    assert "ran 1 in" in out
    code, out, _ = lawsweep("run", "faults", "params.fault=infeasible")
    assert code == 0
    assert "4 planned: 3 ok, 1 infeasible" in out
    assert "1 infeasible: n exceeds p" in out
    code, out, _ = lawsweep("run", "faults", "axes.i=[2]", "params.fault=raise",
                            "params.pause_s=linspace(0, 0.01, 6)",
                            "on_failure.stop_after=3")  # fmt: skip
    assert code == 4
    assert "the first 3 runs all failed alike: ValueError: a kernel said no" in out
    code, out, _ = lawsweep("run", "faults", "params.fault=interrupt")
    assert code == 130
    assert "what had finished is in the table" in out


def test_rerun_when_nothing_has_failed(lawsweep, toy_sweep):
    code, out, _ = lawsweep("rerun", "toys", "--failed")
    assert code == 0
    assert "nothing to run again: no row has failed" in out
    assert "8 missing: lawsweep run toys" in out
    answer = json.loads(lawsweep("rerun", "toys", "--failed", "--json")[1])
    assert (answer["done_before"], answer["missing"]) == (0, 8)


def test_what_an_experiment_prints_does_not_break_json(lawsweep, write, folder):
    (folder / "loud.py").write_text(
        "print('importing')\nfrom toys import *\n@experiment(version=1)\n"
        "def loud(params: Params, seed: int) -> Metrics:\n"
        "    print('running')\n    return Metrics(y=1.0, draws=1)\n"
    )
    write("loud", "experiment: loud:loud\nexecutor: serial\naxes: {n: [1]}\n")
    code, out, err = lawsweep("run", "loud", "--json")
    assert code == 0
    assert json.loads(out)["statuses"] == {"ok": 1}
    assert "running" in err


def test_a_sweep_given_by_path_is_named_by_path(lawsweep, toy_sweep):
    _, out, _ = lawsweep("status", "sweeps/toys.yaml")
    assert "8 missing: lawsweep run sweeps/toys.yaml" in out


def test_report_is_one_page_whole_in_itself(lawsweep, toy_sweep, folder):
    toy_sweep.write_text(toy_sweep.read_text().replace("[svg]", "[png]"))
    lawsweep("run", "toys", "--no-analysis")
    code, out, _ = lawsweep("report", "toys", "seeds=3")
    assert code == 0
    page = (folder / out.split()[-1]).read_text()
    assert "12 planned: 8 ok, 4 missing" in page
    assert "4 missing: lawsweep run toys seeds=3" in page
    assert "y ~ n^" in page
    assert page.count("data:image/png;base64,") == 1
    assert "://" not in re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "n times scale plus noise" in page
    assert "lawsweep run toys</td>" in page
    code, out, _ = lawsweep("report", "toys", "results_dir=empty", "--json")
    assert code == 0
    assert "8 missing" in (folder / json.loads(out)["path"]).read_text()


def test_report_spells_out_what_an_experiment_says(lawsweep, write, folder):
    write("odd", "experiment: toys:faulty\nexecutor: serial\naxes: {i: [2]}\n"
          "params: {fault: infeasible_html}\n")  # fmt: skip
    lawsweep("run", "odd")
    lawsweep("report", "odd")
    page = (folder / "results/sweeps/odd/report.html").read_text()
    assert page.count("<script>") == 3  # its own
    assert "&lt;script&gt;" in page


def test_a_sweep_without_fits_says_so(lawsweep, write):
    write("plain", "experiment: toys:toy\naxes: {n: [1]}\n")
    for verb in ("fit", "plot"):
        code, _, err = lawsweep(verb, "plain")
        assert code == 11
        assert "names no" in err


def test_fit_and_plot_of_nothing_are_one_sentence(lawsweep, toy_sweep):
    code, out, err = lawsweep("plot", "toys")
    assert code == 11
    assert err.startswith("lawsweep: ")
    assert "Traceback" not in err
    code, out, _ = lawsweep("fit", "toys")
    assert code == 0
    assert "missing" in out


BAD = [
    (("run", "toyz"), 10, "Unknown sweep 'toyz'"),
    (("run", "toys", "experiment=ntk_min_eg"), 10, "Did you mean 'ntk_min_eig'"),
    (("run", "toys", "params.m=1"), 10, "Unknown param 'm'"),
    (("run", "toys", "params.n=x"), 11, "n must be int, got 'x'"),
    (("run", "toys", "params.n=-4"), 11, "n must be at least 1, got -4"),
    (("run", "toys", "params.n=1.5"), 11, "n must be int, got 1.5"),
    (("run", "toys", "axes.n=[]"), 12, "The axis 'n' is empty"),
    (("run", "toys", "seeds=0"), 12, "seeds is empty"),
    (("run", "toys", "where=['n > 1000']"), 12, "leaves none of 4 points"),
    (("run", "pairs"), 11, "requires n_compressed <= n_target"),
    (("run", "toys", "results_dir=/proc/nowhere"), 13, "Cannot write in /proc/nowhere"),
    (("run", "toys", "results_dir=blocked"), 13, "Cannot read blocked/tables/toy: Not a directory"),
    (("run", "toys", "executor=ray_cluster", "executor.address=127.0.0.1:1"), 14, "Cannot start"),
    (("run", "toys", "executor=ray_cluster", "executor.address=ray://h:1"), 14, "Ray Client"),
    (("run", "toys", "executor.kind=slurm"), 10, "Unknown executor 'slurm'"),
    (("run", "toys", "store.comit_every_s=1"), 10, "Did you mean 'commit_every_s'"),
    (("run", "toys", "fits=[{law: pwr, x: n, y: y}]"), 10, "Did you mean 'power'"),
    (("run", "toys", "figures=[{kind: curve, x: m, y: y}]"), 10, "Unknown"),
    (("run", "toys", "figures=[{kind: curve, x: n, y: mode}]"), 11, "y must be a number, and mode"),
    (("run", "toys", "where=['mode > n']"), 11, "has text or null where a number belongs"),
    (("run", "toys", "executor.n_cpus=2"), 10, "Unknown option 'n_cpus' in executor serial"),
    (("plan", "toys", "executor.device=foo"), 11, "executor.device must be cpu"),
    (("run", "toys", "store=object_store"), 11, "store=object_store needs results_dir=s3://bucket"),
    (("run", "toys", "store.patience_s=-1"), 11, "store.patience_s must be seconds from 0 to 86,4"),
    (("run", "toys", "store.commit_every_s=nan"), 11, "seconds from 0 to 3,600, got nan"),
    (("run", "toys", "results_dir=az://bucket/x"), 13, "or start with gs:// or s3://, got "),
    (("run", "toys", "results_dir=s3://me:key@bucket/x"), 13, "holds credentials"),
    (("status", "toys", "results_dir=blocked"), 13, "Cannot read blocked"),
    (("run", "toys", "executor=ray_local", "executor.gpus_per_task=1.5"), 11, "a fraction up to 1"),
    (("plan", "toys", "executor=ray_local", "executor.gpus_per_task=autom"), 10, "mean 'auto'"),
    (("plan", "toys", "executor=ray_local", "executor.cpus_per_task=m"), 10, "Unknown param 'm'"),
    (("plan", "toys", "executor=ray_local", "executor.gpus_per_task=-n"), 11, "must give a number"),
    (("plan", "toys", "--on", ""), 11, "--on takes cpus=64"),
    (("rerun", "toys", "--where", "n = 1"), 11, "write == where two things are to be equal"),
    (("run", "costly"), 11, "cost function of costly failed: KeyError"),
    (("plan", "toys", "--limit", "-1"), 2, "--limit"),
    (("runn", "toys"), 2, "Did you mean 'run'"),
    (("run",), 2, "Missing argument"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD)
def test_bad_input_is_one_sentence_a_code_and_nothing_written(
    lawsweep, toy_sweep, write, folder, monkeypatch, words, code, message
):
    monkeypatch.setenv("RAY_gcs_rpc_server_connect_timeout_s", "1")
    monkeypatch.setenv("RAY_gcs_server_request_timeout_seconds", "2")
    write("pairs", "experiment: toys:pair\naxes: {n_target: [4], n_compressed: [8]}\n")
    (folder / "blocked").write_text("a file")
    write("costly", "experiment: costly:costly\nexecutor: serial\naxes: {n: [1]}\n")
    (folder / "costly.py").write_text(
        "from toys import *\n@experiment(version=1, cost=lambda p: {}['x'])\n"
        "def costly(params: Params, seed: int) -> Metrics: ...\n"
    )
    before = tree(folder)
    got, _, err = lawsweep(*words)
    assert got == code, err
    assert message in err
    assert "Traceback" not in err
    if code != 2:
        assert len([x for x in err.splitlines() if x.startswith("lawsweep: ")]) == 1
    assert tree(folder) == before


def test_ray_absent(lawsweep, toy_sweep, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = lawsweep("run", "toys", "executor=ray_local")
    assert code == 14
    assert "Ray cannot be imported" in err
    assert "executor=serial" in err
    assert not (folder / "results").exists()


def test_a_table_of_another_version(lawsweep, toy_sweep, folder):
    lawsweep("run", "toys", "--no-analysis")
    part = next((folder / "results/tables/toy").iterdir())
    table = pq.read_table(part)
    newer = {**table.schema.metadata, b"lawsweep.format": b"9"}
    pq.write_table(table.replace_schema_metadata(newer), part)
    before = tree(folder)
    code, _, err = lawsweep("run", "toys")
    assert code == 15
    assert "was written by a newer lawsweep" in err
    assert tree(folder) == before
    code, out, err = lawsweep("status", "toys")
    assert code == 0
    assert "written by a newer lawsweep" in err
    assert "8 missing" in out


def test_an_internal_error_is_no_stack_either(lawsweep, toy_sweep, monkeypatch):
    from lawsweep.study.study import Study

    def broken(*_, **__):
        raise AssertionError("unthinkable")

    monkeypatch.setattr(Study, "preview", broken)
    code, _, err = lawsweep("plan", "toys")
    assert code == 1
    assert "a bug: AssertionError: unthinkable" in err
    assert "Traceback" not in err


def test_doctor(lawsweep, folder):
    code, out, _ = lawsweep("doctor", "--no-ray")
    assert code == 0
    assert "results is writable" in out
    assert "ntk_min_eig" in out
    checks = json.loads(lawsweep("doctor", "--no-ray", "--json")[1])
    assert {"python", "ray", "store", "devices"} <= {c["name"] for c in checks}
    code, out, _ = lawsweep("doctor", "--no-ray", "results_dir=/proc/x")
    assert code == 13
    assert "BAD  store" in out


def test_doctor_starts_ray(lawsweep, folder):
    code, out, _ = lawsweep("doctor")
    assert code == 0
    assert "starts and runs a task" in out


def test_help_lists_verbs_and_exit_codes(lawsweep):
    _, out, _ = lawsweep("--help")
    for verb in cli.list_commands(None):
        assert verb in out
    assert "130  interrupted" in out


def test_sweeps_beside_the_working_folder_are_found(lawsweep, toy_sweep, folder):
    assert [p.name for p in (folder / "sweeps").iterdir()] == ["toys.yaml"]
    assert lawsweep("plan", "smoke")[0] == 0  # a shipped one
