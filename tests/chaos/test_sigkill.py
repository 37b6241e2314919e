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

pytestmark = pytest.mark.slow
N_RUNS = 300  # 3 s of work for two workers
WORDS = ("sweep.yaml", "store.commit_every_s=0.05", "--no-analysis")


def write_sweep(folder, n_runs=N_RUNS, group_s=0.08):
    """So many runs of ``fusable``, four of them in ``group_s``."""
    (folder / "sweep.yaml").write_text(
        f"experiment: toys:fusable\nparams: {{pause_s: {group_s}}}\nexecutor: {{max_fused: 4}}\n"
        f"axes: {{n: 'range(0, {n_runs // 12})', rate: [0.1, 0.2]}}\nseeds: 6\n"
    )


def complete(folder, n_runs=N_RUNS):
    """The same command without a fault, in one process, which starts in no time."""
    out, _ = Driver(folder, *WORDS, "executor=serial").ends(0)
    assert f"{n_runs} planned: {n_runs} ok" in out
    assert n_executed(folder, fusable) == n_runs, "a finished run was done twice"
    rows = table_of(folder, fusable).read().to_pylist()
    assert len(rows) == n_runs
    for row in rows:
        assert row["y"] == fusable(n=row["n"], rate=row["rate"], seed=row["seed"]).y
    assert table_of(folder, fusable).skipped == {}
    return out


def test_a_killed_driver_loses_nothing_finished_and_repeats_nothing(tmp_path):
    """Killed as its Ray starts, and as rows are coming in."""
    write_sweep(tmp_path)
    driver = Driver(tmp_path, *WORDS)
    driver.wait_until(lambda: driver.has_started("raylet"))
    driver.kill_it()
    assert n_done(tmp_path, fusable) == 0
    driver = Driver(tmp_path, *WORDS)
    driver.wait_until(lambda: n_done(tmp_path, fusable) >= 10)
    driver.kill_it()
    before = n_done(tmp_path, fusable)
    assert 10 <= before < N_RUNS
    assert f"ran {N_RUNS - before} in" in complete(tmp_path)


def interrupted(folder, signals):
    """What a driver said that got these signals, a moment apart, as it worked."""
    write_sweep(folder)
    driver = Driver(folder, *WORDS)
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
    assert n_executed(tmp_path, fusable) == n_done(tmp_path, fusable) < N_RUNS


def test_a_driver_interrupted_twice_leaves_a_consistent_table(tmp_path):
    out, err = interrupted(tmp_path, [signal.SIGINT, signal.SIGINT])
    assert "what had finished is in the table" in out or "interrupted" in err
    assert "Traceback" not in err
    assert 5 <= n_done(tmp_path, fusable) == n_executed(tmp_path, fusable) < N_RUNS


def test_a_serial_driver_killed_at_any_moment_does_every_run_once(folder):
    """Groups and single runs, a part every 20 ms, so that kills fall into writes and merges."""
    n_runs, n_kills = 1800, 3
    write_sweep(folder, n_runs, 0.01)
    words = (*WORDS, "executor=serial", "store.commit_every_s=0.02")
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
    complete(folder, n_runs)
