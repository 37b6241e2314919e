"""Drivers on a Ray that was there before them: killed, told to end, two at once."""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import pytest
from clusters import local_cluster
from driving import Driver, assert_gone, n_done, n_executed, table_of
from toys import fusable

pytestmark = pytest.mark.slow
FAILS_AT = 3  # of six seeds this one fails
PER_N = 12
_started = []


@pytest.fixture(autouse=True)
def no_driver_outlives_its_test():
    yield
    for driver in _started:
        driver.kill()
        driver.communicate()
    _started.clear()


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(num_cpus=2) as made:
        yield made


def driver_of(folder, cluster, *words):
    words = ("sweep.yaml", "executor=ray_cluster", f"executor.address={cluster.address}", *words)
    _started.append(Driver(folder, *words))
    return _started[-1]


def write_sweep(folder, n_runs, group_s):
    """So many runs of ``fusable``, a sixth of which fail, four of them in ``group_s``."""
    (folder / "sweep.yaml").write_text(
        f"experiment: toys:fusable\nparams: {{fault: raise, at: {FAILS_AT}, pause_s: {group_s}}}\n"
        f"axes: {{n: 'range({n_runs // PER_N})', rate: [0.1, 0.2]}}\nseeds: {PER_N // 2}\n"
        "executor: {max_fused: 4}\nstore: {commit_every_s: 0.02}\n"
    )


def check(folder, n_runs):
    """Exactly the planned runs, each with the value of an undisturbed one."""
    rows = table_of(folder, fusable).read().to_pylist()
    assert len(rows) == n_runs
    found = {(r["n"], r["rate"], r["seed"]): (r["status"], r["y"]) for r in rows}
    for n in range(n_runs // PER_N):
        for rate in (0.1, 0.2):
            for seed in range(PER_N // 2):
                alone = fusable(n=n, rate=rate, seed=seed).y
                expected = ("failed", None) if seed == FAILS_AT else ("ok", alone)
                assert found[n, rate, seed] == expected
    assert table_of(folder, fusable).skipped == {}


def test_a_driver_killed_again_and_again(folder, cluster):
    """At random moments as rows are coming in, of groups and of single runs, a part every 20 ms, so
    that kills fall into writes and merges.  As it starts: in test_sigkill.
    """
    # 6 s of work for two workers: more than the drivers live that are killed as they work.
    n_runs, rng, moments = 600, np.random.default_rng(20), []
    write_sweep(folder, n_runs, 0.08)
    for _ in range(2):
        known = n_done(folder, fusable)
        driver = driver_of(folder, cluster, "--no-analysis")
        driver.wait_until(lambda known=known: n_done(folder, fusable) > known)
        time.sleep(rng.uniform(0.0, 0.3))
        driver.kill_it()
        moments.append(n_done(folder, fusable))
        assert moments[-1] == n_executed(folder, fusable) >= known
    assert moments[-1] < n_runs, "it ended before it could be killed"
    out, _ = driver_of(folder, cluster, "--no-analysis").ends(3)  # some fail, as undisturbed
    n_failed = n_runs // 6
    assert f"{n_runs} planned: {n_runs - n_failed} ok, {n_failed} failed" in out
    assert n_executed(folder, fusable) == n_runs, f"a finished run was done twice {moments}"
    check(folder, n_runs)


def test_two_drivers_on_one_table(folder, cluster):
    """Neither knows of the other: a run may be done by both, and is one row all the same."""
    write_sweep(folder, 180, 0.04)
    both = [driver_of(folder, cluster, "--no-analysis") for _ in range(2)]
    for driver in both:
        driver.ends(3)
    assert 180 <= n_executed(folder, fusable) <= 360
    check(folder, 180)


def test_a_driver_told_to_end_flushes_and_exits_with_130(folder, cluster):
    """SIGTERM, as SLURM and Kubernetes send it; Ctrl-C has its test in test_sigkill."""
    write_sweep(folder, 600, 0.08)
    driver = driver_of(folder, cluster, "--no-analysis")
    driver.wait_until(lambda: n_done(folder, fusable) >= 5)
    family = driver.family()
    driver.send_signal(signal.SIGTERM)
    out, _ = driver.ends(130)
    assert_gone(family)
    assert "what had finished is in the table" in out
    statuses = table_of(folder, fusable).read()["status"].to_pylist()
    assert f"{statuses.count('ok')} ok" in out
    assert 5 <= len(statuses) == n_executed(folder, fusable) < 600


def test_a_worker_that_exits_inside_a_group_costs_no_run(folder):
    """As a user would meet it: the command, its rows, its exit code, and the note it leaves.  That
    it is the same on Ray is part of the contract.
    """
    (folder / "sweep.yaml").write_text(
        "experiment: toys:fusable\nparams: {fault: group_os_exit, at: 2}\n"
        "axes: {n: [1, 2, 3]}\nseeds: 5\non_failure: {max_attempts: 1}\n"
    )
    words = ("executor=processes", "executor.n_workers=1", "--json")
    out, _ = Driver(folder, "sweep.yaml", *words).ends(0)
    answer = json.loads(out)
    assert answer["statuses"] == {"ok": 15}
    assert "crashed: exit code 3" in answer["notes"][0]
    assert set(table_of(folder, fusable).read()["attempt"].to_pylist()) == {1}
