"""Runs on GPUs and runs on CPUs in one launch: neither waits behind the other."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from toys import toy

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import Event, RunSpec, Task
from lawsweep.executors.make import make_executor
from lawsweep.executors.ray.needs import Needs
from lawsweep.executors.ray.placement import Placement
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.backlog import Backlog
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker.execute import Batch

GPU, CPU = 1, 0


class TwoLanes(SerialExecutor):
    """One GPU and two CPUs; kind 0 needs the GPU, kind 1 none.  The GPU answers at the very end."""

    in_process = False

    def start(self, experiment):
        super().start(experiment)
        self.waiting, self.most = {GPU: deque(), CPU: deque()}, {GPU: 0, CPU: 0}
        self.order = []

    def needs_of(self, plan, runs):
        return np.array([0 if n <= 30 else 1 for n in plan.params["n"]])

    def lanes(self):
        return {0: GPU, 1: CPU}

    def slots_in(self, lane):
        return {GPU: 1, CPU: 2}[lane]

    n_slots = 3

    def describe(self):
        return {"kind": "two", "device": None}

    def submit(self, task):
        lane = GPU if task.runs[0].params["n"] <= 30 else CPU
        assert len({r.params["n"] <= 30 for r in task.runs}) == 1
        self.waiting[lane].append(task)
        self.most[lane] = max(self.most[lane], len(self.waiting[lane]))

    def poll(self, timeout_s):
        lane = CPU if self.waiting[CPU] else GPU
        if not self.waiting[lane] or not timeout_s:
            return []
        task = self.waiting[lane].popleft()
        self.order.append(lane)
        batch = Batch(self._experiment, task.runs)
        return [Event(task.id, tuple(o for _ in task.runs for o in batch.step()), done=True)]


def test_the_cpus_go_on_while_a_gpu_is_busy(tmp_path):
    plan = make_plan(toy, axes={"n": range(1, 61)})
    table, made = ParquetTable(tmp_path, toy), TwoLanes()
    made.start(toy)
    report = Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()
    assert dict(report.statuses) == {"ok": 60}
    assert made.most == {GPU: 2, CPU: 3}  # one more than there are slots waits
    n_cpu = made.order.count(CPU)
    assert made.order[:n_cpu] == [CPU] * n_cpu  # none of them had to wait for a run on the GPU


def test_the_backlog_leaves_out_kinds_that_are_full():
    plan = make_plan(toy, axes={"n": range(1, 41)}, seeds=2)
    kinds = np.array([k % 3 for k in range(40)])
    backlog = Backlog(plan, CostModel(plan), range(80), {}, 1, kinds)
    taken = []
    while cut := backlog.take(2, full={0, 2}):
        taken += [r.index for r in cut.runs]
    assert {kinds[i // 2] for i in taken} == {1}
    assert len(taken) == 2 * int((kinds == 1).sum())
    assert len(backlog) == 80 - len(taken)
    rest = []
    while backlog:
        rest += [r.index for r in backlog.take(2).runs]
    assert sorted(taken + rest) == list(range(80))
    assert backlog.take(2, full={0}) is None


class Well:
    def check_processes(self): ...

    def check_own_node(self, nodes): ...

    def head_answers(self):
        return True


class OneNode:
    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}}]

    def cluster_resources(self):
        return {"CPU": 16.0, "GPU": 2.0}


def test_points_without_a_gpu_have_the_cpus_that_the_others_leave():
    plan = make_plan(toy, axes={"n": range(1, 9)})
    made = Placement(Needs(2, "0.5 if n > 4 else 0"), 1, Well())
    kinds = made.kinds_of(plan, range(8))
    assert kinds.tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    made.bind(OneNode())
    assert made.is_mixed
    assert made.lanes() == {0: GPU, 1: CPU}
    assert (made.slots_in(GPU), made.slots_in(CPU)) == (4, 4)  # 16 CPUs, 8 of them beside GPUs
    assert made.n_slots == 8
    task = Task(0, (RunSpec(0, "0", {"n": 1}, 0),))
    assert made.options(task) == {"num_cpus": 2.0, "num_gpus": 0.0}
    executor = make_executor({"kind": "ray_local", "gpus_per_task": "0.5 if n > 4 else 0"})
    executor.needs_of(plan, range(8))
    assert executor.describe()["device"] is None
    executor.needs_of(plan, range(4, 8))
    assert executor.describe()["device"] == "cuda"
    with pytest.raises(InvalidValueError, match=r"gives some none\. Give them CPUs"):
        Needs(0, "0.5 if n > 4 else 0").over(plan, range(8))
