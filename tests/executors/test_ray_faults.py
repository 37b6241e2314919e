"""What may befall a run on a real Ray: memory, logs, large answers, the same failure again."""

from __future__ import annotations

import contextlib
import os
import time

import numpy as np
import pytest
from engine_toys import hungry, loud, placed, shaky
from toys import faulty

from lawsweep.core.outcome import RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray.manners import inherited
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable


@pytest.fixture(scope="module")
def ray_two_cpus():
    """One Ray for most tests of this module; executors join what is running already.

    It may see two slices of a card, each of which is a GPU of its own to it.
    """
    owner = make_executor({"kind": "ray_local", "n_cpus": 2})
    with inherited({"CUDA_VISIBLE_DEVICES": "MIG-aa,MIG-bb,-1,MIG-cc"}):
        owner.start(faulty)
    yield owner
    owner.close()


def launch(folder, plan, needs=None, **policy):
    table = ParquetTable(folder, plan.experiment)
    made = make_executor({"kind": "ray_local", "n_cpus": 2, **(needs or {})})
    with contextlib.closing(made) as executor:
        executor.start(plan.experiment)
        report = Loop(plan, table, executor, launch_id="L", on_failure=OnFailure(**policy)).run()
    return report, table


def metrics_of(executor, n_runs):
    """What so many runs answered, by their index."""
    found, end = {}, time.monotonic() + 300
    while len(found) < n_runs:
        assert time.monotonic() < end
        found |= {o.index: o.metrics for e in executor.poll(0.5) for o in e.outcomes}
    return found


@pytest.mark.parametrize("how", ["limit", "cuda"])
def test_a_worker_that_is_refused_memory_tries_again_with_a_node_to_itself(
    ray_two_cpus, tmp_path, how
):
    """``limit``: the system really refuses; ``cuda``: torch's exception, by its name."""
    plan = make_plan(hungry, axes={"i": "range(20)"}, params={"how": how, "at": 11})
    report, table = launch(tmp_path, plan)
    assert dict(report.statuses) == {"ok": 20}
    rows = table.read(plan.run_ids).to_pylist()
    assert [(r["attempt"], r["share"]) for r in rows] == [(2, 0.5) if i == 11 else (1, 1.0)
                                                         for i in range(20)]  # fmt: skip
    assert len(table.attempts()) == 20


def test_a_worker_whose_card_failed_is_replaced_and_its_run_goes_to_another_card(
    ray_two_cpus, tmp_path
):
    """Ray's logical GPUs, the card that is pretended, torch's own class of errors; a process that
    failed once would fail for ever.
    """
    met = tmp_path / "met"
    plan = make_plan(shaky, axes={"i": "range(24)"}, params={"met": str(met)})
    report, table = launch(tmp_path / "table", plan, {"gpus_per_task": 1})
    assert dict(report.statuses) == {"ok": 24}
    rows = table.read(plan.run_ids).to_pylist()
    assert [r["attempt"] for r in rows] == [1 + (i == 7) for i in range(24)]
    pid, card = met.read_text().split()
    assert (rows[7]["card"] != card, str(rows[7]["pid"]) != pid) == (True, True)
    assert {r["device"] for r in rows} == {"cuda"}
    assert [r["y"] for r in rows] == [i * (i + 1.0) for i in range(24)]
    assert {card, *(r["card"] for r in rows)} == {"MIG-aa", "MIG-bb"}
    (note,) = report.notes
    assert f"first: GPU {card} of " in note


def test_who_starts_ray_gives_its_workers_their_environment_from_birth(ray_two_cpus, monkeypatch):
    """So the workers that Ray starts in advance serve: a runtime_env would ask for others."""
    assert ray_two_cpus._task_env() is None
    for options, by_ray in (
        ({}, False),
        ({"cpus_per_task": 2}, True),
        ({"shards": {"n": 2}}, False),
    ):
        with contextlib.closing(make_executor({"kind": "ray_local", **options})) as joined:
            joined.start(placed)
            assert (joined._task_env() is not None) == by_ray
    ray_two_cpus.start(placed)
    ray_two_cpus.submit(Task(0, (RunSpec(0, "0", {"i": 0, "pause_s": 0.0}, 0),)))
    (found,) = metrics_of(ray_two_cpus, 1).values()
    assert found["threads"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("LAWSWEEP_TEST_NONE", raising=False)
    with inherited({"OMP_NUM_THREADS": "1", "LAWSWEEP_TEST_NONE": "x"}):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["LAWSWEEP_TEST_NONE"]) == ("1", "x")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "LAWSWEEP_TEST_NONE" not in os.environ


def test_a_run_with_a_node_to_itself_has_all_cpus_and_the_same_threads(ray_two_cpus):
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(placed)
        assert made.n_slots == 2
        for i, whole in enumerate((False, False, True)):
            run = RunSpec(i, str(i), {"i": i, "pause_s": 0.4}, 0)
            made.submit(Task(i, (run,), whole_node=whole))
        found = metrics_of(made, 3)
    assert [found[i]["n_cpus"] for i in range(3)] == [1.0, 1.0, 2.0]
    assert {m["threads"] for m in found.values()} == {"1"}  # or its result would differ
    apart = found.pop(2)
    for other in found.values():
        assert apart["begun"] >= other["ended"] or apart["ended"] <= other["begun"]


def test_a_node_that_others_never_leave_is_not_waited_for(ray_two_cpus, monkeypatch):
    """Somebody else's actor holds a CPU for good: no run can ever have the node to itself."""
    import ray

    from lawsweep.executors.ray import tasks as ray_tasks

    class Tenant:
        """Stays."""

        def here(self):
            return True

    tenant = ray.remote(num_cpus=1)(Tenant).remote()
    assert ray.get(tenant.here.remote())
    monkeypatch.setattr(ray_tasks, "APART_PATIENCE_S", 0.5)
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(hungry)
        run = RunSpec(2, "2", {"i": 2, "how": "python"}, 0)
        made.submit(Task(5, (run,), whole_node=True, memory_share=0.5))
        (found,) = metrics_of(made, 1).values()
    ray.kill(tenant)
    assert found["share"] == 0.5  # on the CPU that was left, and told to plan with less


def test_a_flood_of_log_lines_holds_nothing_up(ray_two_cpus, tmp_path, capfd):
    plan = make_plan(loud, axes={"i": "range(6)"}, params={"n_bytes": 2_000_000})
    report, table = launch(tmp_path, plan)
    assert dict(report.statuses) == {"ok": 6}
    assert table.read(plan.run_ids)["y"].to_pylist() == [float(i) for i in range(6)]
    said = capfd.readouterr()
    assert len(said.out) + len(said.err) < 10_000  # 24 MB were said; none of it on the terminal


def test_large_answers_come_whole_and_are_not_all_held_at_once(ray_two_cpus, tmp_path):
    plan = make_plan(loud, axes={"i": "range(4)"}, params={"n_numbers": 4_000_000})  # 32 MB each
    report, table = launch(tmp_path, plan)
    assert dict(report.statuses) == {"ok": 4}
    found = table.array_store.table("numbers").values()
    for i, run_id in enumerate(plan.run_ids):
        assert found[run_id].shape == (4_000_000,)
        np.testing.assert_array_equal(found[run_id][::1000], float(i))


def test_the_same_failure_stops_a_sweep_on_ray_too(ray_two_cpus, tmp_path):
    plan = make_plan(faulty, axes={"i": [2], "pause_s": "linspace(0.01, 0.02, 300)"},
                     params={"fault": "raise"})  # fmt: skip
    report, table = launch(tmp_path, plan, stop_after=5)
    assert report.stopped == "same_failure"
    assert 5 <= len(table.done(plan.run_ids)) == report.statuses["failed"] < 300
