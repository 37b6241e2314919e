"""Where a launch is, as it is told: slots, and the runs that are longest under way."""

from __future__ import annotations

import json

import pytest
from toys import toy

from lawsweep.core.outcome import Event, Outcome
from lawsweep.core.protocols import Executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch import telling
from lawsweep.launch.loop import Loop
from lawsweep.launch.report import describe_snapshot, slot_name
from lawsweep.store.table.parquet import ParquetTable


@pytest.mark.parametrize(
    ("executor", "expected"),
    [
        ({"kind": "serial", "device": "cpu"}, "CPU"),
        ({"kind": "serial", "device": "cuda:1"}, "GPU"),
        ({"cpus_per_task": 1, "gpus_per_task": 0}, "CPU"),
        ({"cpus_per_task": 4, "gpus_per_task": 0}, "4 CPUs"),
        ({"cpus_per_task": 0.5}, "0.5 CPU"),
        ({"cpus_per_task": 2, "gpus_per_task": 0.25, "device": "cuda"}, "0.25 GPU"),
        ({"cpus_per_task": 2, "gpus_per_task": 2, "device": "cuda"}, "2 GPUs"),
    ],
)
def test_what_a_slot_holds(executor, expected):
    assert slot_name(executor) == expected


class Stepped(Executor):
    """Two slots; each poll is a second, in which the first task answers one run."""

    name, n_slots = "stepped", 2

    def __init__(self):
        self.now, self.tasks, self.begun = 0.0, [], set()

    def submit(self, task):
        self.tasks.append((task, list(task.runs)))

    def poll(self, timeout_s):
        self.now += 1.0
        events = []
        for task, _ in self.tasks[:2]:
            if task.id not in self.begun:
                self.begun.add(task.id)
                events.append(Event(task.id))
        if not events and self.tasks:
            task, left = self.tasks[0]
            run = left.pop(0)
            ok = Outcome(run.index, "ok", metrics={"y": 1.0, "draws": 1, "converged": True},
                         wall_s=1.0)  # fmt: skip
            events.append(Event(task.id, (ok,), done=not left))
            if not left:
                del self.tasks[0]
        return events

    def describe(self):
        return {"device": "cpu", "n_threads": 1, "cpus_per_task": 2}

    def kill(self, task_id):
        raise AssertionError("nothing is late")

    def start(self, experiment): ...

    def close(self): ...


def test_busy_slots_and_the_slowest_runs_are_told(tmp_path):
    plan = make_plan(toy, axes={"n": [1, 2, 3, 4, 5, 6]})
    executor, seen = Stepped(), []
    Loop(
        plan, ParquetTable(tmp_path, toy), executor, launch_id="L", on_failure=OnFailure(),
        watcher=seen.append, clock=lambda: executor.now,
    ).run()  # fmt: skip
    assert seen[0].n_busy == 0
    assert {s.n_slots for s in seen} == {2}
    assert {s.slot for s in seen} == {"2 CPUs"}
    assert max(s.n_busy for s in seen) == 2  # a third task waits at the executor: it is not busy
    assert max(s.running for s in seen) == 3
    # The second slot's run is under way a second longer with every answer of the first.
    waits = [s for s in seen if s.n_busy == 2 and s.slowest[0].seconds > s.slowest[-1].seconds]
    assert waits
    for s in waits:
        assert s.slowest[0].seconds >= s.slowest[1].seconds
        assert s.slowest[0].params["n"] != s.slowest[1].params["n"]
    assert (seen[-1].n_busy, seen[-1].slowest) == (0, ())
    told = json.loads(json.dumps(describe_snapshot(waits[0])))
    assert told["slowest"][0]["params"]["n"] == waits[0].slowest[0].params["n"]
    assert told["finished"] == waits[0].finished
    assert telling.TELL_S < 1.0
