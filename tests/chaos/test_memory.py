"""The host runs out of memory: Ray's monitor kills workers, really."""

from __future__ import annotations

import contextlib

import pytest
from engine_toys import hungry

from lawsweep.executors.make import make_executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable

pytestmark = pytest.mark.slow


def launch(folder, plan):
    """On a Ray of its own, whose monitor is told in its environment when to step in."""
    table = ParquetTable(folder, plan.experiment)
    with contextlib.closing(make_executor({"kind": "ray_local", "n_cpus": 2})) as executor:
        executor.start(plan.experiment)
        policy = OnFailure(stop_after=0)
        report = Loop(plan, table, executor, launch_id="L", on_failure=policy).run()
    return report, table


def test_a_worker_killed_for_the_hosts_memory_climbs_the_ladder_and_ends_as_a_row(
    tmp_path, monkeypatch
):
    """Any use of the memory is told to be too much, so every run that takes long enough is killed:
    in a batch, alone, and with the node to itself.
    """
    plan = make_plan(hungry, axes={"i": [0, 1, 2]}, params={"pause_s": 4.0})
    with monkeypatch.context() as patch:
        patch.setenv("RAY_memory_usage_threshold", "0.0")
        patch.setenv("RAY_memory_monitor_refresh_ms", "50")
        report, table = launch(tmp_path, plan)
    assert dict(report.statuses) == {"oom": 3}
    for row in table.read(plan.run_ids).to_pylist():
        assert (row["error"], row["attempt"]) == ("worker lost: oom: the node ran out of memory", 2)
