"""The driver is killed, really; the same command completes the sweep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

COMMAND = [sys.executable, "-m", "lawsweep.cli.main"]
# A small ntk_width: the real experiment and the real Ray, many short runs (some 30 ms each).
SWEEP = (
    "run", "ntk_width", "params.n_samples=500,600", "params.input_dim=range(30,70,4)",
    "where=[]", "seeds=15", "--no-analysis",
)  # fmt: skip


def environment():
    return {**os.environ, "LAWSWEEP_RESULTS_DIR": "results"}


def rows(folder):
    return sum(pq.read_metadata(p).num_rows
               for p in (folder / "results/tables/ntk_min_eig").glob("part-*.parquet"))  # fmt: skip


def children(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_finished_and_repeats_nothing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    subprocess.run([*COMMAND, *SWEEP], cwd=whole, env=environment(), check=True, timeout=300,
                   capture_output=True)  # fmt: skip

    driver = subprocess.Popen(
        [*COMMAND, *SWEEP, "store.commit_every_s=0.2"], cwd=killed, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 120
    while rows(killed) < 10:
        assert driver.poll() is None, "the sweep ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
    family = children(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], "orphans"
    before = rows(killed)
    assert 10 <= before < 300

    again = subprocess.run([*COMMAND, *SWEEP], cwd=killed, env=environment(), check=True,
                           timeout=300, capture_output=True, text=True)  # fmt: skip
    assert "300 planned: 300 ok" in again.stdout
    assert f"ran {300 - before} in" in again.stdout
    assert rows(killed) == 300, "a finished run was done twice"

    tables = []
    for folder in (whole, killed):
        table = pq.read_table(folder / "results/tables/ntk_min_eig")
        tables.append(table.sort_by("run_id").select(["run_id", "seed", "lambda_min", "trace"]))
    assert len(set(tables[0]["run_id"].to_pylist())) == 300
    assert tables[0].equals(tables[1])


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver_flushes_and_exits_with_130(tmp_path, sent):
    driver = subprocess.Popen(
        [*COMMAND, *SWEEP, "store.commit_every_s=0.2"], cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    end = time.monotonic() + 120
    while rows(tmp_path) < 5:
        assert time.monotonic() < end
        time.sleep(0.02)
    family = children(driver.pid)
    driver.send_signal(sent)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "what had finished is in the table" in out
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], "orphans"
    assert f"{rows(tmp_path)} ok" in out
