"""Fused runs: as good as alone, in every executor, whatever becomes of the group."""

from __future__ import annotations

import contextlib
import dataclasses
import math

import pytest
from toys import faulty, fusable

from lawsweep.executors.make import make_executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Launch
from lawsweep.store.table.parquet import ParquetTable


@pytest.fixture(scope="module")
def ray_two_cpus():
    owner = make_executor({"kind": "ray_local", "n_cpus": 2})
    owner.start(faulty)
    yield
    owner.close()


@pytest.fixture(params=["serial", "ray_local"])
def kind(request):
    if request.param == "ray_local":
        request.getfixturevalue("ray_two_cpus")
    return request.param


def launch(folder, plan, kind, policy=None, **options):
    """The rows of a launch in plan order, and its report."""
    table = ParquetTable(folder, plan.experiment)
    with contextlib.closing(make_executor({"kind": kind, **options})) as executor:
        executor.start(plan.experiment)
        policy = policy or OnFailure(stop_after=0)
        report = Launch(plan, table, executor, launch_id="L", on_failure=policy).run()
    rows = table.read(plan.run_ids).to_pylist()
    assert [r["run_id"] for r in rows] == plan.run_ids
    return rows, report


def planned(n_seeds=6, rates=(0.1, 0.2), log="", **params):
    return make_plan(
        fusable,
        axes={"n": [1, 2], "rate": list(rates)},
        params={**params, "log": str(log)},
        seeds=n_seeds,
    )


def sizes(log):
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def answers(rows):
    return [(r["status"], r["error"], None if r["y"] != r["y"] else r["y"]) for r in rows]


def test_fused_runs_are_those_of_alone(kind, tmp_path):
    plan = planned(log=tmp_path / "sizes")
    rows, report = launch(tmp_path / "fused", plan, kind)
    assert dict(report.statuses) == {"ok": 24}
    assert report.notes == ()
    # Every run was in a group, groups run over rates, and never over n.
    assert sum(sizes(tmp_path / "sizes")) == 24
    assert max(sizes(tmp_path / "sizes")) > 1
    alone = dataclasses.replace(plan, experiment=dataclasses.replace(fusable, fused=None))
    expected, _ = launch(tmp_path / "alone", alone, kind)
    assert answers(rows) == answers(expected)
    kept = ("run_id", "seed", "n", "rate", "attempt", "device", "host", "n_threads")
    assert [[r[k] for k in kept] for r in rows] == [[r[k] for k in kept] for r in expected]
    assert all(0 < r["wall_s"] < 5 for r in rows)
    assert sum(1 / r["n_fused"] for r in rows) == pytest.approx(len(sizes(tmp_path / "sizes")))
    assert {r["n_fused"] for r in expected} == {1}


def test_fusing_can_be_switched_off_and_capped(kind, tmp_path):
    for name, options in (("off", {"fuse": False}), ("two", {"max_fused": 2})):
        log = tmp_path / f"{name}_sizes"
        _, report = launch(tmp_path / name, planned(log=log), kind, **options)
        assert dict(report.statuses) == {"ok": 24}
        assert max(sizes(log), default=0) == {"off": 0, "two": 2}[name]


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("nan", "ok", None),
        ("infeasible", "infeasible", "this seed has no answer"),
        ("raise", "failed", "ValueError: this seed cannot"),
    ],
)
def test_a_members_failure_is_its_own(kind, tmp_path, fault, status, error):
    plan = planned(fault=fault, at=3, log=tmp_path / "sizes")
    rows, report = launch(tmp_path, plan, kind)
    assert report.notes == ()  # the group itself worked
    assert sum(sizes(tmp_path / "sizes")) == 24
    for row in rows:
        mine = row["seed"] == 3
        assert (row["status"], row["error"]) == ((status, error) if mine else ("ok", None))
        assert (row["traceback"] is not None) == (mine and status == "failed")
        if row["status"] == "ok":
            assert math.isnan(row["y"]) == mine


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("group_raise", "ValueError: they do not fit together"),
        ("group_exit", "SystemExit: 3"),
        ("too_few", "must return one answer a run; it was given"),
        ("nothing", "TypeError: 'NoneType' object is not iterable"),
        ("wrong_type", "fusable must return FaultMetrics, got str"),
        ("group_memory", "oom: MemoryError: too many at once"),
    ],
)
def test_a_group_that_fails_costs_no_run(kind, tmp_path, fault, message):
    plan = planned(n_seeds=12, fault=fault, at=3)
    rows, report = launch(tmp_path, plan, kind)
    assert dict(report.statuses) == {"ok": 48}
    assert {r["attempt"] for r in rows} == {1}
    (note,) = report.notes
    assert "the fused form of fusable failed for" in note
    assert message in note


def test_a_group_past_its_deadline_goes_alone_and_each_run_has_its_own_time(ray_two_cpus, tmp_path):
    kind = "ray_local"
    plan = planned(rates=(0.1,), fault="group_slow", at=3)
    rows, report = launch(tmp_path, plan, kind, OnFailure(timeout_s=0.3, stop_after=0))
    assert dict(report.statuses) == {"ok": 12}
    assert "timeout: longer than" in report.notes[0]
    slow = planned(rates=(0.1,), fault="slow", at=3)
    rows, report = launch(tmp_path, slow, kind, OnFailure(timeout_s=0.3, stop_after=0))
    assert [r["status"] for r in rows] == ["ok", "ok", "ok", "timeout", "ok", "ok"] * 2


@pytest.mark.parametrize("fault", ["group_kill", "group_os_exit"])
def test_a_group_that_loses_its_worker_goes_alone(ray_two_cpus, tmp_path, fault):
    plan = planned(fault=fault, at=3)
    rows, report = launch(tmp_path, plan, "ray_local", OnFailure(max_attempts=1))
    assert dict(report.statuses) == {"ok": 24}
    assert {r["attempt"] for r in rows} == {1}
    assert "crashed: the worker process died" in report.notes[0]


def test_a_member_that_kills_its_worker_is_found_and_its_neighbours_live(ray_two_cpus, tmp_path):
    plan = planned(n_seeds=12, rates=(0.1,), fault="kill", at=7)
    rows, report = launch(tmp_path, plan, "ray_local", OnFailure(max_attempts=1, stop_after=0))
    assert [i for i, r in enumerate(rows) if r["status"] == "failed"] == [7, 19]
    assert rows[7]["error"].startswith("worker lost: crashed: the worker process died")
    assert report.statuses["ok"] == 22


def test_a_group_that_cannot_be_interrupted_is_killed(ray_two_cpus, tmp_path, monkeypatch):
    from lawsweep.launch import loop as run_plan

    monkeypatch.setattr(run_plan, "KILL_GRACE_S", 1.0)
    plan = make_plan(fusable, axes={"n": [1]}, params={"fault": "group_deaf", "at": 1}, seeds=4)
    _, report = launch(tmp_path, plan, "ray_local", OnFailure(timeout_s=0.5, stop_after=0))
    assert dict(report.statuses) == {"ok": 4}
