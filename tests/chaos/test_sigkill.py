"""The driver is killed or interrupted, really, with a Ray of its own or in one process; the same
command completes the sweep.
"""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from driving import Driver, assert_gone, n_done, n_executed, table_of
from toys import fusable

from lawsweep.experiments.ntk_min_eig import ntk_min_eig

pytestmark = pytest.mark.slow
# A small ntk_width: the real experiment and the real Ray, many short runs (some 20 ms each).
N_RUNS = 160
SWEEP = (
    "ntk_width", "params.n_samples=400,500", "params.input_dim=range(30,70,4)",
    "where=[]", "seeds=8", "--no-analysis",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """As the workers of Ray have it: the values of a serial run are theirs."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def complete(folder):
    """The same command without a fault, in one process, which starts in no time."""
    out, _ = Driver(folder, *SWEEP, "executor=serial").ends(0)
    assert f"{N_RUNS} planned: {N_RUNS} ok" in out
    assert n_executed(folder, ntk_min_eig) == N_RUNS, "a finished run was done twice"
    return out


def test_a_killed_driver_loses_nothing_finished_and_repeats_nothing(tmp_path):
    """Killed as its Ray starts, and as rows are coming in."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    complete(whole)
    driver = Driver(killed, *SWEEP)
    driver.wait_until(lambda: driver.has_started("raylet"))
    driver.kill_it()
    assert n_done(killed, ntk_min_eig) == 0
    driver = Driver(killed, *SWEEP, "store.commit_every_s=0.2")
    driver.wait_until(lambda: n_done(killed, ntk_min_eig) >= 10)
    driver.kill_it()
    before = n_done(killed, ntk_min_eig)
    assert 10 <= before < N_RUNS
    assert f"ran {N_RUNS - before} in" in complete(killed)

    columns = ["run_id", "seed", "lambda_min", "trace"]
    tables = [table_of(f, ntk_min_eig).read().sort_by("run_id").select(columns)
              for f in (whole, killed)]  # fmt: skip
    assert tables[0].num_rows == N_RUNS
    assert tables[0].equals(tables[1])


N_TOYS = 300  # 3 s of work for two workers
TOYS = ("sweep.yaml", "store.commit_every_s=0.05", "--no-analysis")


def interrupted(folder, signals):
    """What a driver said that got these signals, a moment apart, as it worked."""
    (folder / "sweep.yaml").write_text(
        "experiment: toys:fusable\nparams: {pause_s: 0.08}\nexecutor: {max_fused: 4}\n"
        f"axes: {{n: 'range(0, {N_TOYS // 12})', rate: [0.1, 0.2]}}\nseeds: 6\n"
    )
    driver = Driver(folder, *TOYS)
    driver.wait_until(lambda: n_done(folder, fusable) >= 5)
    family = driver.family()
    for i, number in enumerate(signals):
        if i:
            time.sleep(0.05)
        driver.send_signal(number)
    said = driver.ends(130)
    assert_gone(family)
    return said


def test_an_interrupted_driver_flushes_and_exits_with_130(tmp_path):
    """Ctrl-C; SIGTERM has its test in test_drivers."""
    out, _ = interrupted(tmp_path, [signal.SIGINT])
    assert "what had finished is in the table" in out
    assert f"{n_done(tmp_path, fusable)} ok" in out
    assert n_executed(tmp_path, fusable) == n_done(tmp_path, fusable) < N_TOYS


def test_a_driver_interrupted_twice_leaves_a_consistent_table(tmp_path):
    out, err = interrupted(tmp_path, [signal.SIGINT, signal.SIGINT])
    assert "what had finished is in the table" in out or "interrupted" in err
    assert "Traceback" not in err
    assert 5 <= n_done(tmp_path, fusable) == n_executed(tmp_path, fusable) < N_TOYS
    Driver(tmp_path, *TOYS, "executor=serial").ends(0)
    assert n_done(tmp_path, fusable) == n_executed(tmp_path, fusable) == N_TOYS


def test_a_serial_driver_killed_at_any_moment_does_every_run_once(folder):
    """Groups and single runs, a part every 20 ms, so that kills fall into writes and merges."""
    n_runs, n_kills = 2400, 5
    (folder / "sweep.yaml").write_text(
        "experiment: toys:fusable\nparams: {pause_s: 0.01}\n"
        f"axes: {{n: 'range(0, {n_runs // 12})', rate: [0.1, 0.2]}}\nseeds: 6\n"
    )
    words = ("sweep.yaml", "executor=serial", "executor.max_fused=4",
             "store.commit_every_s=0.02", "--no-analysis")  # fmt: skip
    rng = np.random.default_rng(1)
    moments = []
    for _ in range(n_kills):
        known = n_done(folder, fusable)
        driver = Driver(folder, *words)
        driver.wait_until(lambda known=known: n_done(folder, fusable) > known)
        time.sleep(rng.uniform(0.0, 0.4))
        driver.kill_it()
        moments.append(n_done(folder, fusable))
        assert n_executed(folder, fusable) == moments[-1] > known
        assert moments[-1] < n_runs, "it ended before it could be killed"
    Driver(folder, *words).ends(0)
    assert n_done(folder, fusable) == n_executed(folder, fusable) == n_runs, moments
    assert table_of(folder, fusable).skipped == {}
