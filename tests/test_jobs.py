"""Sweeps sent as jobs to a real head with its job server, and what befalls them there."""

from __future__ import annotations

import json
import time

import pytest
from job_study import NOBODY, job_study
from ray_head import ray_head

from lawsweep.cli.main import run_command
from lawsweep.config.compose import load_sweep
from lawsweep.store.table.parquet import ParquetTable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head():
    with ray_head() as made:
        yield made


@pytest.fixture
def study_folder(folder, monkeypatch):
    with job_study(folder, monkeypatch):
        yield folder


@pytest.fixture
def lawsweep(study_folder, capfd):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def run(*words):
        code = run_command(list(words))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def rows_of(folder):
    """Attempts (a run done twice has two), and y by (i, seed)."""
    sweep = load_sweep("mine")
    table = ParquetTable(folder / "results/tables", sweep.find_experiment())
    found = table.attempts()
    ran = set(zip(*(found[n].to_pylist() for n in ("run_id", "started_at")), strict=True))
    rows = table.read().to_pylist()
    return len(ran), {(r["i"], r["seed"]): r["y"] for r in rows}


def wait_for_rows(folder, n):
    end = time.monotonic() + 300  # a hang is an error; a busy machine is none
    while len(rows_of(folder)[1]) < n:
        assert time.monotonic() < end, "no rows came"
        time.sleep(0.1)


def gate_of(folder):
    """A gate that ten runs pass; the others wait until ``open`` stands in it."""
    gate = folder.parent / f"{folder.name}-gate"  # beside the folder, which travels
    gate.mkdir()
    return gate


def test_a_sweep_travels_runs_is_cancelled_and_goes_on(head, lawsweep, study_folder, monkeypatch):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", NOBODY)  # what is named wins over this
    gate = gate_of(study_folder)
    mine = ("mine", "params.i=range(60)", f"params.gate={gate}")
    words = ("submit", *mine, "store.commit_every_s=0.2", "--address", head.address)
    code, out, err = lawsweep(*words, "--json")
    assert code == 0, err
    answer = json.loads(out)
    job = answer["job"]
    assert (answer["missing"], answer["shipped"]["files"]) == (60, 3)
    wait_for_rows(study_folder, 6)
    # What the head has of the folder is what was said to go along: no .env, no results.
    (shipped,) = head.folder.glob("session_2*/runtime_resources/working_dir_files/*/mine.py")
    assert sorted(p.name for p in shipped.parent.iterdir() if p.name != "__pycache__") == [
        "factors.py", "mine.py", "sweeps",
    ]  # fmt: skip

    code, out, err = lawsweep(*words)
    assert (code, out) == (7, "")
    assert f"under way as job {job} (RUNNING" in err
    assert f"job {job}: RUNNING" in lawsweep("status", *mine)[1]

    code, out, err = lawsweep("cancel", *mine)
    assert (code, out) == (0, f"job {job}: STOPPED; what had finished is in the table\n"), err
    n, before = rows_of(study_folder)
    assert 6 <= n == len(before) < 60
    log = lawsweep("logs", *mine, "--job", job)[1]
    assert f"{n} ok" in log  # the driver flushed, and said so, before it ended
    assert "what had finished is in the table" in log
    assert f"job {job}: STOPPED" in lawsweep("status", *mine)[1]
    assert lawsweep("attach", *mine)[0] == 130

    (gate / "open").touch()
    code, out, err = lawsweep(*words, "--follow")
    assert code == 0, out + err
    assert "60 planned: 60 ok" in out  # from its log
    n, rows = rows_of(study_folder)
    assert n == 60, "a finished run was done twice"
    assert rows == {(i, 0): 2.0 * i for i in range(60)}
    jobs = json.loads(lawsweep("status", *mine, "--json")[1])["jobs"]
    assert [(j["state"], j["exit_code"]) for j in jobs][1] == ("SUCCEEDED", 0)
    launches = study_folder.glob("results/sweeps/mine-*/launches/*[0-9a-f].json")
    records = [json.loads(p.read_text()) for p in sorted(launches)]
    assert [r["job"] for r in records] == [j["id"] for j in jobs]
    code, out, _ = lawsweep(*words)
    assert (code, out.partition(":")[0]) == (0, "nothing to run")


def test_a_token_that_is_missing_or_wrong_is_said(head, lawsweep, study_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(study_folder))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    code, _, err = lawsweep("submit", "mine", "--address", head.address)
    assert code == 14
    assert "asks for a token and refuses the one here" in err
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    code, _, err = lawsweep("submit", "mine", "--address", head.address)
    assert code == 14
    assert "asks for a token and there is none here. Put the cluster's own into" in err
    assert not (study_folder / "results").exists()


def test_what_a_head_that_died_leaves_can_be_seen_and_finished(head, lawsweep, study_folder):
    """Last: the head is killed, with its job under way and somebody attached."""
    gate = gate_of(study_folder)
    words = ("mine", "params.i=range(30)", f"params.gate={gate}", "store.commit_every_s=0.2")
    # As a detached process would be: the folder is seen by the cluster, nothing is shipped.
    code, out, err = lawsweep("submit", *words, "--no-ship", "--address", head.address, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["command"].startswith(f"cd {study_folder} && exec lawsweep run mine ")
    wait_for_rows(study_folder, 6)
    head.kill()
    code, out, _ = lawsweep("status", *words)
    assert code == 0
    assert f"job {answer['job']}: UNREACHABLE" in out
    assert f"head at {head.address} does not answer" in out
    code, _, err = lawsweep("attach", *words)
    assert code == 14
    assert "does not answer" in err

    assert 6 <= rows_of(study_folder)[0] < 30
    (gate / "open").touch()
    code, out, _ = lawsweep("run", *words, "executor=serial")
    assert code == 0
    assert "30 planned: 30 ok" in out
    n, rows = rows_of(study_folder)
    assert n == 30, "a finished run was done twice"
    assert rows == {(i, 0): 2.0 * i for i in range(30)}
