"""The driver is killed, really; the same command completes the sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from toys import fusable

from lawsweep.experiments.ntk_min_eig import ntk_min_eig
from lawsweep.store.parquet import ParquetTable

COMMAND = [sys.executable, "-m", "lawsweep.cli.main"]
# A small ntk_width: the real experiment and the real Ray, many short runs (some 30 ms each).
SWEEP = (
    "run", "ntk_width", "params.n_samples=500,600", "params.input_dim=range(30,70,4)",
    "where=[]", "seeds=15", "--no-analysis",
)  # fmt: skip


def environment():
    return {**os.environ, "LAWSWEEP_RESULTS_DIR": "results"}


def table_of(folder, experiment=ntk_min_eig):
    return ParquetTable(folder / "results/tables", experiment)


def n_done(folder, experiment=ntk_min_eig):
    """Distinct runs with a row.  (Parts may hold one twice for a moment, as they are merged.)"""
    return len(table_of(folder, experiment).done())


def n_executed(folder, experiment=ntk_min_eig):
    """How often a run was finished and its row kept: a run done twice has two starting times."""
    found = table_of(folder, experiment).attempts()
    columns = (found[name].to_pylist() for name in ("run_id", "started_at"))
    return len(set(zip(*columns, strict=True)))


def wait_until(condition, driver, seconds=180):
    """Poll until ``condition()``; the driver must live that long."""
    end = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, "the driver ended before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_gone(family):
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], "orphans"


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
    wait_until(lambda: n_done(killed) >= 10, driver)
    family = children(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert_gone(family)
    before = n_done(killed)
    assert 10 <= before < 300

    again = subprocess.run([*COMMAND, *SWEEP], cwd=killed, env=environment(), check=True,
                           timeout=300, capture_output=True, text=True)  # fmt: skip
    assert "300 planned: 300 ok" in again.stdout
    assert f"ran {300 - before} in" in again.stdout
    assert n_executed(killed) == 300, "a finished run was done twice"

    columns = ["run_id", "seed", "lambda_min", "trace"]
    tables = [table_of(f).read().sort_by("run_id").select(columns) for f in (whole, killed)]
    assert tables[0].num_rows == 300
    assert tables[0].equals(tables[1])


def interrupted(folder, signals):
    """Exit code and output of a driver that got these signals, a moment apart, as it worked."""
    driver = subprocess.Popen(
        [*COMMAND, *SWEEP, "store.commit_every_s=0.05"], cwd=folder, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: n_done(folder) >= 5, driver)
    family = children(driver.pid)
    for i, number in enumerate(signals):
        if i:
            time.sleep(0.05)
        driver.send_signal(number)
    out, err = driver.communicate(timeout=120)
    assert_gone(family)
    return driver.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver_flushes_and_exits_with_130(tmp_path, sent):
    code, out, _ = interrupted(tmp_path, [sent])
    assert code == 130
    assert "what had finished is in the table" in out
    assert f"{n_done(tmp_path)} ok" in out
    assert n_executed(tmp_path) == n_done(tmp_path)


@pytest.mark.slow
def test_a_driver_interrupted_twice_leaves_a_consistent_table(tmp_path):
    code, out, err = interrupted(tmp_path, [signal.SIGINT, signal.SIGINT])
    assert code == 130
    assert "what had finished is in the table" in out or "interrupted" in err
    assert "Traceback" not in err
    assert 5 <= n_done(tmp_path) == n_executed(tmp_path) < 300
    again = subprocess.run([*COMMAND, *SWEEP], cwd=tmp_path, env=environment(), check=True,
                           timeout=300, capture_output=True, text=True)  # fmt: skip
    assert "300 planned: 300 ok" in again.stdout
    assert n_executed(tmp_path) == 300, "a finished run was done twice"


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "ray_local"])
def test_a_driver_killed_at_any_moment_does_every_run_once(folder, executor):
    """Groups and single runs, a part every 20 ms, so that kills fall into writes and merges."""
    n_runs, n_kills = (2400, 5) if executor == "serial" else (1200, 2)
    (folder / "sweep.yaml").write_text(
        "experiment: toys:fusable\nparams: {pause_s: 0.01}\n"
        f"axes: {{n: 'range(0, {n_runs // 12})', rate: [0.1, 0.2]}}\nseeds: 6\n"
    )
    support = sys.modules["toys"].__file__.rpartition("/")[0]
    path = os.environ.get("PYTHONPATH", "")
    command = [
        *COMMAND, "run", "sweep.yaml", f"executor={executor}", "executor.max_fused=4",
        "store.commit_every_s=0.02", "--no-analysis",
    ]  # fmt: skip
    env = {**environment(), "PYTHONPATH": f"{support}:{path}"}
    rng = np.random.default_rng(1)
    moments = []
    for _ in range(n_kills):
        known = n_done(folder, fusable)
        driver = subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda known=known: n_done(folder, fusable) > known, driver)
        time.sleep(rng.uniform(0.0, 0.4))
        family = children(driver.pid)
        driver.kill()
        driver.wait()
        assert_gone(family)
        moments.append(n_done(folder, fusable))
        assert n_executed(folder, fusable) == moments[-1] > known
        assert moments[-1] < n_runs, "it ended before it could be killed"
    subprocess.run(command, cwd=folder, env=env, check=True, timeout=300, capture_output=True)
    assert n_done(folder, fusable) == n_executed(folder, fusable) == n_runs, moments
    assert table_of(folder, fusable).skipped == {}


@pytest.mark.slow
def test_a_worker_that_exits_inside_a_group_costs_no_run(folder):
    """As a user would meet it: the command, its rows, its exit code, and the note it leaves."""
    (folder / "sweep.yaml").write_text(
        "experiment: toys:fusable\nparams: {fault: group_os_exit, at: 2}\n"
        "axes: {n: [1, 2, 3]}\nseeds: 5\non_failure: {max_attempts: 1}\n"
    )
    support = sys.modules["toys"].__file__.rpartition("/")[0]
    env = {**environment(), "PYTHONPATH": f"{support}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([*COMMAND, "run", "sweep.yaml", "--json"], cwd=folder, env=env,
                          timeout=300, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["statuses"] == {"ok": 15}
    assert "crashed: the worker process died" in answer["notes"][0]
    assert set(table_of(folder, fusable).read()["attempt"].to_pylist()) == {1}
