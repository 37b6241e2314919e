"""What every executor owes the runner: serial and Ray pass the same tests."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest
from toys import faulty, slowly_importing, spectrum, toy

from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.outcome import RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.loop import Launch
from lawsweep.store.table.parquet import ParquetTable

SLOW_IMPORT = """
import os, time
try:
    os.mkdir(os.path.join(os.path.dirname(__file__), "met"))  # once: one process is first
except FileExistsError:
    pass
else:
    time.sleep(3600)
value = 1.0
"""


@pytest.fixture(scope="module")
def ray_two_cpus():
    """One Ray for the tests of this module; executors join what is running already."""
    import ray

    owner = make_executor({"kind": "ray_local", "n_cpus": 2})
    owner.start(toy)
    yield
    owner.close()
    assert not ray.is_initialized()


@pytest.fixture(params=["serial", "ray_local"])
def executor(request):
    if request.param == "ray_local":
        request.getfixturevalue("ray_two_cpus")
    with contextlib.closing(make_executor(request.param)) as made:
        yield made


def specs(params, seed=0):
    return tuple(RunSpec(i, str(i), p, seed) for i, p in enumerate(params))


def collect(executor, n_tasks, seconds=60):
    outcomes, ended, end = [], 0, time.monotonic() + seconds
    while ended < n_tasks:
        assert time.monotonic() < end, "no answer"
        for event in executor.poll(0.5):
            outcomes += event.outcomes
            ended += event.done or event.lost is not None
    return outcomes


def test_outcomes_of_a_batch_come_in_order_and_equal_a_plain_call(executor):
    executor.start(toy)
    assert executor.n_slots >= 1
    executor.submit(Task(0, specs([{"n": n} for n in (1, 2, 3)], seed=4)))
    outcomes = collect(executor, 1)
    assert [o.index for o in outcomes] == [0, 1, 2]
    assert [o.metrics["y"] for o in outcomes] == [toy(n=n, seed=4).y for n in (1, 2, 3)]
    assert all(o.device == "cpu" and o.wall_s > 0 and o.host for o in outcomes)


def test_polling_with_no_time_starts_no_work(executor):
    executor.start(toy)
    assert executor.poll(0) == []
    executor.submit(Task(0, specs([{"n": 1}])))
    early = [o for event in executor.poll(0) for o in event.outcomes]
    assert executor.name != "serial" or not early  # in this process, poll is where work is done
    late = [] if early else collect(executor, 1)
    assert [o.status for o in early + late] == ["ok"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [("raise", "failed"), ("infeasible", "infeasible"), ("memory", "oom")],
)
def test_a_failure_is_a_row_and_the_batch_goes_on(executor, fault, status):
    executor.start(faulty)
    runs = specs([{"i": i, "fault": fault} for i in range(4)])
    executor.submit(Task(0, runs))
    assert [o.status for o in collect(executor, 1)] == ["ok", "ok", status, "ok"]


def test_a_deadline_ends_a_worker_or_is_refused(executor, tmp_path):
    """What is cut off may be an import or hold a lock: nothing else is executed beside that."""
    executor.start(faulty)
    task = Task(0, specs([{"i": i, "fault": "sleep"} for i in range(4)]), timeout_s=0.5)
    if executor.in_process:
        told = "timeout_s=0.5 needs workers that can be ended, .* Use executor=ray_local or ray_cl"
        with pytest.raises(InvalidValueError, match=told):
            executor.submit(task)
        plan = make_plan(faulty, axes={"i": "range(4)"})
        table, policy = ParquetTable(tmp_path, faulty), OnFailure(timeout_s=0.5)
        with pytest.raises(InvalidValueError, match=told):
            Launch(plan, table, executor, launch_id="L", on_failure=policy)
        return
    executor.submit(task)
    events, end = [], time.monotonic() + 60
    while not any(e.done or e.lost for e in events):
        assert time.monotonic() < end
        events += executor.poll(0.5)
    assert [o.status for e in events for o in e.outcomes] == ["ok", "ok", "timeout"]
    assert str(events[-1].lost) == "retired: a run was cut off at its deadline"


@pytest.mark.parametrize("fault", ["sleep", "swallow_all", "swallow_and_fail", "swallow_exit"])
def test_a_timeout_is_one_row_and_costs_its_batch_nothing(ray_two_cpus, tmp_path, fault):
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(faulty)
        table = ParquetTable(tmp_path, faulty)
        plan = make_plan(faulty, axes={"i": "range(40)"}, params={"fault": fault, "at": 20})
        policy = OnFailure(timeout_s=1.0, max_attempts=1)
        report = Launch(plan, table, made, launch_id="L", on_failure=policy).run()
    assert dict(report.statuses) == {"ok": 39, "timeout": 1}
    rows = table.read(plan.run_ids).to_pylist()
    assert (rows[20]["status"], rows[20]["error"]) == (
        "timeout", "longer than on_failure.timeout_s=1.0",
    )  # fmt: skip
    assert {r["attempt"] for r in rows} == {1}


def test_an_import_that_a_deadline_cuts_off_spoils_no_other_run(
    ray_two_cpus, tmp_path, monkeypatch
):
    """Half a module stays in a process whose import was ended; its next runs would find that."""
    home = tmp_path / "code"
    home.mkdir()
    (home / "slow_import.py").write_text(SLOW_IMPORT, encoding="utf-8")
    monkeypatch.syspath_prepend(str(home))
    plan = make_plan(slowly_importing, axes={"i": "range(12)"}, params={"home": str(home)})
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(slowly_importing)
        table = ParquetTable(tmp_path / "tables", slowly_importing)
        policy = OnFailure(timeout_s=1.0, max_attempts=1)
        report = Launch(plan, table, made, launch_id="L", on_failure=policy).run()
    # As often as the module says it is slow, once for each import that is cut off.
    assert dict(report.statuses) == {"ok": 11, "timeout": 1}


def test_a_sweep_gives_the_same_rows(executor, tmp_path):
    executor.start(faulty)
    table = ParquetTable(tmp_path, faulty)
    plan = make_plan(faulty, axes={"i": "range(20)"}, params={"fault": "raise"}, seeds=2)
    report = Launch(plan, table, executor, launch_id="L", on_failure=OnFailure()).run()
    assert dict(report.statuses) == {"ok": 38, "failed": 2}
    got = [(r["i"], r["seed"], r["status"], r["y"]) for r in table.read(plan.run_ids).to_pylist()]
    assert got == [
        (i, s, "failed" if i == 2 else "ok", None if i == 2 else i + s / 10)
        for i in range(20)
        for s in (0, 1)
    ]


def test_large_arrays_arrive_beside_their_rows(executor, tmp_path):
    executor.start(spectrum)
    table = ParquetTable(tmp_path / "tables", spectrum)
    plan = make_plan(spectrum, axes={"n": [3, 200_000, 3_000_000]}, seeds=2)
    report = Launch(plan, table, executor, launch_id="L", on_failure=OnFailure()).run()
    assert dict(report.statuses) == {"ok": 6}
    found = table.array_store.table("eigenvalues").values()
    assert set(found) == set(plan.run_ids)
    for i, run_id in enumerate(plan.run_ids):
        expected = spectrum(**plan.params_of(i), seed=plan.seed_of(i)).eigenvalues
        np.testing.assert_array_equal(found[run_id], expected.astype(np.float64))


def test_an_experiment_that_calls_exit_is_a_row(executor, tmp_path):
    executor.start(faulty)
    table = ParquetTable(tmp_path, faulty)
    plan = make_plan(faulty, axes={"i": "range(4)"}, params={"fault": "sys_exit"})
    report = Launch(
        plan, table, executor, launch_id="L", on_failure=OnFailure(max_attempts=2)
    ).run()
    assert dict(report.statuses) == {"ok": 3, "failed": 1}
    assert report.stopped is None


def test_closing_twice_is_fine(executor):
    executor.start(toy)
    executor.submit(Task(0, specs([{"n": 1}])))
    executor.close()
    executor.close()
    assert executor.poll(0) == []  # what was queued is gone, not left to come later


@pytest.mark.parametrize("fault", ["exit", "kill", "abort", "segfault"])
def test_a_worker_that_dies_becomes_a_row(ray_two_cpus, tmp_path, fault):
    """Only Ray can promise this: a serial run shares the driver's process."""
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(faulty)
        table = ParquetTable(tmp_path, faulty)
        plan = make_plan(faulty, axes={"i": "range(6)"}, params={"fault": fault})
        policy = OnFailure(max_attempts=2)
        report = Launch(plan, table, made, launch_id="L", on_failure=policy).run()
    assert dict(report.statuses) == {"ok": 5, "failed": 1}
    row = table.read([plan.run_ids[2]]).to_pylist()[0]
    assert (row["status"], row["attempt"]) == ("failed", 2)
    assert row["error"].startswith("worker lost: crashed: the worker process died")


@pytest.mark.parametrize("fault", ["deaf", "swallow_for_ever"])
def test_a_call_that_cannot_be_interrupted_is_killed(ray_two_cpus, tmp_path, monkeypatch, fault):
    from lawsweep.launch import loop as run_plan

    monkeypatch.setattr(run_plan, "KILL_GRACE_S", 1.0)
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(faulty)
        table = ParquetTable(tmp_path, faulty)
        plan = make_plan(faulty, axes={"i": "range(4)"}, params={"fault": fault})
        policy = OnFailure(timeout_s=1.0)
        report = Launch(plan, table, made, launch_id="L", on_failure=policy).run()
    assert dict(report.statuses) == {"ok": 3, "timeout": 1}


def test_a_killer_in_a_batch_costs_its_neighbours_nothing(ray_two_cpus, tmp_path):
    """Many short runs in a batch: none but the killer is blamed, with one attempt each."""
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(faulty)
        table = ParquetTable(tmp_path, faulty)
        plan = make_plan(faulty, axes={"i": "range(300)"}, params={"fault": "exit", "at": 150})
        policy = OnFailure(max_attempts=1)
        report = Launch(plan, table, made, launch_id="L", on_failure=policy).run()
    assert dict(report.statuses) == {"ok": 299, "failed": 1}
    assert table.read([plan.run_ids[150]])["status"].to_pylist() == ["failed"]


def test_ray_outcomes_stream_while_a_batch_runs(ray_two_cpus):
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(faulty)
        made.submit(Task(0, specs([{"i": 10 + i, "pause_s": 0.5} for i in range(6)])))
        first, arrivals = time.monotonic(), []
        ended = False
        while not ended:
            for event in made.poll(1.0):
                arrivals += [time.monotonic()] * len(event.outcomes)
                ended = ended or event.done
        assert len(arrivals) == 6
        assert arrivals[0] < arrivals[-1] - 1.0, "all outcomes came at the end"
        assert first < arrivals[0]


def test_a_task_that_no_node_has_memory_for_gets_a_node_to_itself(ray_two_cpus):
    with contextlib.closing(make_executor("ray_local")) as made:
        made.start(toy)
        for i, memory in enumerate((1e18, 3e9, 1e6)):
            made.submit(Task(i, specs([{"n": 1}]), memory_bytes=memory))
        assert [o.status for o in collect(made, 3)] == ["ok"] * 3


def test_threads_follow_the_cpus_of_a_task(ray_two_cpus):
    with contextlib.closing(make_executor({"kind": "ray_local", "cpus_per_task": 2})) as made:
        made.start(toy)
        assert made.n_slots == 1
        made.submit(Task(0, specs([{"n": 1}])))
        assert collect(made, 1)[0].n_threads == 2


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ("ray_locl", UnknownNameError, "Unknown executor 'ray_locl'. Did you mean 'ray_local'"),
        ({"kind": "serial", "n_cpus": 2}, UnknownNameError, "option 'n_cpus' in executor serial"),
        ({"kind": "serial", "shards": {"n": 2}}, UnknownNameError, "option 'shards' in executor s"),
        (
            {"kind": "ray_cluster", "n_cpus": 2},
            UnknownNameError,
            "'n_cpus' in executor ray_cluster",
        ),
        ({"kind": "ray_local", "address": "auto"}, UnknownNameError, "'address' in executor ray_l"),
        ({"kind": "ray_local", "n_cpus": 1.5}, InvalidValueError, "from 1, or null, got 1.5"),
        ({"kind": "ray_local", "n_cpus": True}, InvalidValueError, "from 1, or null, got True"),
        ({"kind": "ray_local", "fuse": 1}, InvalidValueError, "fuse must be true or false, got 1"),
        ({"kind": "ray_local", "max_fused": 0}, InvalidValueError, "whole number from 1, got 0"),
        (
            {"kind": "ray_local", "gpus_per_task": 1.5},
            InvalidValueError,
            "fraction up to 1, or whole",
        ),
        (
            {"kind": "ray_local", "cpus_per_task": 0},
            InvalidValueError,
            "0 where no GPU is asked for",
        ),
        ({"kind": "ray_cluster", "address": 1}, InvalidValueError, "address must be text, or null"),
        (
            {"kind": "ray_cluster", "runtime_env": 1},
            InvalidValueError,
            "must be a mapping, or null",
        ),
        (
            {"kind": "serial", "device": "gpu"},
            InvalidValueError,
            "must be cpu, cuda, cuda:N or mps",
        ),
        ({"kind": "ray_local", "cpus": 2}, UnknownNameError, "Did you mean 'n_cpus'"),
        (
            {"kind": "ray_local", "n_cpus": "2"},
            InvalidValueError,
            "executor.n_cpus must be a whole number from 1, or null, got '2'",
        ),
    ],
)
def test_bad_executors(config, error, message):
    with pytest.raises(error, match=message):
        make_executor(config)
