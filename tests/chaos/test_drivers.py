"""Drivers on a Ray that was there before them: killed twenty times, and two at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from clusters import local_cluster
from toys import faulty

from lawsweep.store.parquet import ParquetTable

pytestmark = pytest.mark.slow
N_KILLS = 20
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


def driver_of(folder, cluster, n_runs, pause_s):
    """Starts ``lawsweep run`` of so many runs of ``faulty``, some of which fail."""
    (folder / "sweep.yaml").write_text(
        f"experiment: toys:faulty\nparams: {{pause_s: {pause_s}, fault: raise, at: 7}}\n"
        f"axes: {{i: 'range({n_runs})'}}\n"
    )
    support = Path(sys.modules["toys"].__file__).parent
    command = [
        sys.executable, "-m", "lawsweep.cli.main", "run", "sweep.yaml", "executor=ray_cluster",
        f"executor.address={cluster.address}", "store.commit_every_s=0.02", "--no-analysis",
    ]  # fmt: skip
    path = f"{support}:{os.environ.get('PYTHONPATH', '')}"
    driver = subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    _started.append(driver)
    return driver


def table_of(folder):
    return ParquetTable(folder / "results/tables", faulty)


def times_executed(folder):
    """How often a run was finished and its row kept: a run done twice has two starting times."""
    found = table_of(folder).attempts()
    return len(set(zip(*(found[n].to_pylist() for n in ("run_id", "started_at")), strict=True)))


def check(folder, n_runs):
    """Exactly the planned runs, each with the value of an undisturbed one."""
    rows = table_of(folder).read().to_pylist()
    got = {(r["i"], r["status"], r["y"]) for r in rows}
    assert len(rows) == n_runs
    assert got == {(i, "failed", None) if i == 7 else (i, "ok", float(i)) for i in range(n_runs)}
    assert table_of(folder).skipped == {}


def test_a_driver_killed_at_twenty_random_moments(folder, cluster):
    """Half of them anywhere from its first second on, half while rows are coming in."""
    n_runs, rng, moments = 1200, np.random.default_rng(20), []
    for kill in range(N_KILLS):
        known = len(table_of(folder).done())
        driver = driver_of(folder, cluster, n_runs, 0.02)
        end = time.monotonic() + (120 if kill % 2 else rng.uniform(0.1, 4.0))
        while time.monotonic() < end and (kill % 2 == 0 or len(table_of(folder).done()) == known):
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.3) if kill % 2 else 0.0)
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.communicate()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], "orphans"
        moments.append(len(table_of(folder).done()))
        assert moments[-1] == times_executed(folder) >= known
    assert moments[-1] < n_runs, "it ended before it could be killed"
    last = driver_of(folder, cluster, n_runs, 0.02)
    out, err = last.communicate(timeout=300)
    assert last.returncode == 3, err  # one run failed, as it does undisturbed
    assert f"{n_runs} planned: {n_runs - 1} ok" in out
    assert times_executed(folder) == n_runs, f"a finished run was done twice {moments}"
    check(folder, n_runs)


def test_two_drivers_on_one_table(folder, cluster):
    """Neither knows of the other: a run may be done by both, and is one row all the same."""
    both = [driver_of(folder, cluster, 300, 0.01) for _ in range(2)]
    for driver in both:
        _, err = driver.communicate(timeout=300)
        assert driver.returncode == 3, err
    assert 300 <= times_executed(folder) <= 600
    check(folder, 300)
