"""What becomes of a run that ran out of memory, or whose worker or node was lost."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections import deque

import numpy as np
import pytest
from engine_toys import hungry, priced
from toys import fusable, toy

from lawsweep import Cost
from lawsweep.core.outcome import Event, Loss, Lost, RunSpec
from lawsweep.core.protocols import Done
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.backlog import ALONE_AT
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.costs.memory_model import GROWTH, MEMORY_MARGIN
from lawsweep.launch.ladder import NODE_LOSSES, Ladder
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker.execute import Batch
from lawsweep.worker.memory import memory_share, planned_share, release_memory

SLOT_BYTES = 4e9
OOM = Lost(Loss.OUT_OF_MEMORY, "the node ran out of memory")


class Cramped(SerialExecutor):
    """Four slots of 4 GB, one task a poll; keeps what it was asked for.

    Its worker is killed for a run in ``killers`` that does not have a node to itself.
    """

    n_slots, slot_memory_bytes = 4, SLOT_BYTES

    def __init__(self, killers=(), lost=OOM, always=False):
        super().__init__()
        self.killers, self.lost, self.always = set(killers), lost, always
        self.waiting, self.tasks = deque(), []

    def submit(self, task):
        self.waiting.append(task)
        self.tasks.append(task)

    def poll(self, timeout_s):
        if not self.waiting or not timeout_s:
            return []
        task = self.waiting.popleft()
        if any(r.index in self.killers for r in task.runs) and (self.always or not task.whole_node):
            return [Event(task.id, lost=self.lost)]
        batch = Batch(self._experiment, task.runs, task.groups, memory_share=task.memory_share)
        return [Event(task.id, tuple(o for _ in task.runs for o in batch.step()), done=True)]


class OneNode(Cramped):
    """A node that is never empty as long as something new is sent to it."""

    def submit(self, task):
        assert task.whole_node or not any(t.whole_node for t in self.waiting)
        super().submit(task)


def launch(folder, plan, executor, **policy):
    executor.start(plan.experiment)
    table = ParquetTable(folder, plan.experiment)
    report = Loop(plan, table, executor, launch_id="L", on_failure=OnFailure(**policy)).run()
    rows = table.read(plan.run_ids).to_pylist()
    assert len(rows) == table.attempts().num_rows  # once each
    return report, rows


@pytest.mark.parametrize("how", ["python", "cuda", "cublas", "limit"])
def test_a_run_out_of_memory_is_tried_once_more_with_a_smaller_share(tmp_path, how):
    plan = make_plan(hungry, axes={"i": "range(6)"}, params={"how": how})
    report, rows = launch(tmp_path, plan, SerialExecutor())
    assert dict(report.statuses) == {"ok": 6}
    assert [(r["attempt"], r["share"]) for r in rows] == [(1 + (i == 2), 1 / (1 + (i == 2)))
                                                         for i in range(6)]  # fmt: skip


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_the_last_rung_is_a_row(tmp_path, max_attempts):
    plan = make_plan(hungry, axes={"i": "range(6)"}, params={"how": "never"})
    report, rows = launch(tmp_path, plan, SerialExecutor(), max_attempts=max_attempts)
    assert dict(report.statuses) == {"ok": 5, "oom": 1}
    assert (rows[2]["error"], rows[2]["attempt"]) == ("MemoryError: no room", min(2, max_attempts))


def test_a_killed_worker_climbs_the_same_ladder(tmp_path):
    plan = make_plan(hungry, axes={"i": "range(40)"})
    executor = Cramped({7})
    report, rows = launch(tmp_path / "a", plan, executor)
    assert dict(report.statuses) == {"ok": 40}
    (apart,) = [t for t in executor.tasks if t.whole_node]
    assert ([r.index for r in apart.runs], apart.memory_share) == ([7], 0.5)
    assert apart is executor.tasks[-1]  # last: a node is emptied for it
    assert [i for i, r in enumerate(rows) if r["attempt"] > 1] == [7]
    report, rows = launch(tmp_path / "b", plan, Cramped({7}, always=True))
    assert dict(report.statuses) == {"ok": 39, "oom": 1}
    assert (rows[7]["status"], rows[7]["attempt"]) == ("oom", 2)


def test_a_sweep_that_never_fits_stops_early(tmp_path, monkeypatch):
    monkeypatch.setattr("lawsweep.worker.execute.release_memory", lambda: None)  # it takes its time
    plan = make_plan(hungry, axes={"i": [2], "pause_s": "linspace(0, 1e-6, 400)"},
                     params={"how": "never"})  # fmt: skip
    executor = OneNode()
    report, _ = launch(tmp_path, plan, executor)
    assert report.stopped == "same_failure"
    assert sum(len(t.runs) for t in executor.tasks) < 100


def test_one_that_ran_out_says_nothing_of_others_of_its_size():
    """Points 0, 2, 4, ... are of one size.  Its own seeds are given more, and nobody else."""
    plan = make_plan(priced, axes={"i": "range(40)"}, seeds=2)
    costs = CostModel(plan)
    costs.learn(0, 0.1, int(1.5e9))
    others = [r for r in range(80) if r not in (4, 5)]
    before = costs.memory_bytes_of(others)
    for _ in range(5):  # each seed asks for what the last one lacked
        costs.ran_out(4, max(SLOT_BYTES, costs.to_reserve([5])))
    assert costs.to_reserve([5]) == GROWTH**5 * SLOT_BYTES
    np.testing.assert_array_equal(costs.memory_bytes_of(others), before)
    costs.learn(5, 0.1, int(2e9))  # one of them went through after all: 2 GB is known
    assert costs.to_reserve([4]) == pytest.approx(MEMORY_MARGIN * 2e9)


def test_a_refused_allocation_is_no_measure_of_what_is_needed(tmp_path):
    """Its worker lives, and says what it held: that, and not the slot it did not use, is learnt."""
    plan = make_plan(priced, axes={"i": "range(40)"}, params={"how": "python"})
    executor = Cramped()
    report, _ = launch(tmp_path, plan, executor)
    assert dict(report.statuses) == {"ok": 40}
    assert any(t.whole_node for t in executor.tasks)
    assert max(t.memory_bytes for t in executor.tasks) < SLOT_BYTES
    costs = CostModel(plan)
    before = costs.to_reserve([2])
    costs.was_refused(2, int(1e8))
    costs.was_refused(2, None)  # on a GPU nobody says
    assert costs.to_reserve([2]) == before
    costs.was_refused(2, int(3e9))
    assert costs.to_reserve([2]) == MEMORY_MARGIN * 3e9


def test_runs_that_want_a_node_to_themselves_go_last_where_others_fit(tmp_path):
    plan = make_plan(hungry, axes={"i": "range(200)"})
    executor = OneNode(range(0, 2 * ALONE_AT + 2))  # the first of all, and more than ALONE_AT
    report, _ = launch(tmp_path, plan, executor)
    assert dict(report.statuses) == {"ok": 200}
    where = [t.whole_node for t in executor.tasks]
    assert sum(where) == 2 * ALONE_AT + 2
    assert where == sorted(where)


def test_where_none_fits_so_far_a_few_are_tried_at_once_and_nothing_beside_them(tmp_path):
    in_order = dataclasses.replace(hungry, cost=lambda p: Cost(flops=1e9 + 0 * p.i))
    plan = make_plan(in_order, axes={"i": "range(200)"})
    executor = OneNode(range(60))
    report, _ = launch(tmp_path, plan, executor)
    assert dict(report.statuses) == {"ok": 200}
    where = [t.whole_node for t in executor.tasks]
    first = where.index(True)
    assert not all(where[first:])  # not all of them wait for the end
    assert all(where[first : first + ALONE_AT])


def test_without_a_cost_function_it_is_the_seeds_of_the_point(tmp_path):
    plan = make_plan(hungry, axes={"i": "range(5)"}, seeds=3)
    costs = CostModel(plan)
    costs.learn(0, 0.1, int(2e9))
    assert costs.to_reserve(range(15)) == 0.0  # all points look alike: no reason to ask
    costs.ran_out(6, SLOT_BYTES)
    assert costs.to_reserve([7]) == costs.memory_bytes(8) == GROWTH * SLOT_BYTES
    assert costs.to_reserve([0, 1, 14]) == 0.0
    costs.learn(7, 0.1, int(5e9))  # one of them went through: now it is known
    assert costs.to_reserve([8]) == pytest.approx(MEMORY_MARGIN * 5e9)
    costs.ran_out(3, float("inf"))  # nobody knows what it had
    assert costs.to_reserve([3]) == 0.0


def test_the_ladder_rung_by_rung():
    ladder = Ladder(max_attempts=3)
    crashed, oom = Loss.CRASHED, Loss.OUT_OF_MEMORY
    assert [ladder.after_loss(1, crashed) for _ in range(3)] == ["again", "again", "failed"]
    assert [ladder.after_loss(2, oom) for _ in range(2)] == ["apart", "oom"]
    assert ladder.after_loss(3, Loss.TIMEOUT) == "timeout"
    crashes = [ladder.after_loss(6, r) for r in (crashed, crashed, oom, oom)]
    assert crashes == ["again", "again", "apart", "oom"]  # it is tried apart whatever came before
    assert Ladder(max_attempts=1).after_loss(1, oom) == "oom"
    assert [ladder.after_loss(4, r) for r in (oom, crashed, oom)] == [
        "apart", "apart", "oom",
    ]  # fmt: skip
    nodes = [ladder.after_loss(5, Loss.NODE) for _ in range(NODE_LOSSES + 1)]
    assert nodes == ["again"] * NODE_LOSSES + ["failed"]


def test_a_lost_node_is_no_attempt_of_its_runs(tmp_path):
    class Shaky(Cramped):
        n_losses = 0

        def poll(self, timeout_s):
            if self.waiting and self.n_losses < 5:
                self.n_losses += 1
                return [Event(self.waiting.popleft().id, lost=Lost(Loss.NODE, "its node was lost"))]
            return super().poll(timeout_s)

    plan = make_plan(toy, axes={"n": [1, 2, 3]})
    report, _ = launch(tmp_path, plan, Shaky(), max_attempts=1)
    assert dict(report.statuses) == {"ok": 3}


def test_a_group_that_ran_out_is_made_smaller_and_a_member_may_still_go_apart(tmp_path):
    """The whole ladder: group, alone, alone on the node."""

    def fused(params, seeds, device):
        raise MemoryError("too many at once")

    def alone(params, seed):
        if seed == 3 and memory_share() == 1.0:
            raise MemoryError("even one is too many")
        return fusable.function(params, seed)

    greedy = dataclasses.replace(fusable, fused=fused, function=alone)
    plan = make_plan(greedy, axes={"n": [1]}, seeds=6)
    report, rows = launch(tmp_path, plan, SerialExecutor(), stop_after=0)
    assert dict(report.statuses) == {"ok": 6}
    assert [r["attempt"] for r in rows] == [1, 1, 1, 2, 1, 1]
    assert "oom: MemoryError: too many at once" in report.notes[0]


def test_rows_of_groups_are_told_from_those_of_alone():
    """The members of a group have one wall time, to the last bit, and no peak of their own."""
    plan = make_plan(fusable, axes={"n": [1, 2, 3]}, seeds=20)
    rng = np.random.default_rng(0)
    known = {}
    for point in range(3):
        ids = plan.run_ids[20 * point : 20 * (point + 1)]
        known |= {r: Done("ok", 1, 0.1 + 1e-5 * point) for r in ids[:10]}  # a group of ten
        known |= {r: Done("ok", 1, 1.0 + 1e-3 * rng.random(), 10**8) for r in ids[10:]}
    costs = CostModel(plan)
    costs.learn_table(plan, known)
    assert costs.seconds(0) == pytest.approx(1.0, rel=1e-2)
    costs.fusing = True
    assert costs.seconds(0) == pytest.approx(0.1, rel=1e-2)


def test_shares_nest_and_end():
    assert memory_share() == 1.0
    with planned_share(0.5):
        with planned_share(0.25):
            assert memory_share() == 0.25
        assert memory_share() == 0.5
    assert memory_share() == 1.0


@pytest.mark.parametrize("ready", [True, False])
def test_torchs_cache_is_emptied_where_it_is_loaded(monkeypatch, ready):
    emptied = []
    cuda = types.SimpleNamespace(
        is_initialized=lambda: ready, empty_cache=lambda: emptied.append(1)
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    executor = SerialExecutor()
    executor.start(hungry)
    batch = Batch(hungry, (RunSpec(2, "x", {"i": 2, "how": "cuda"}, 0),))
    (outcome,) = batch.step()
    assert outcome.status == "oom"
    assert outcome.error == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert len(emptied) == ready
    monkeypatch.setitem(sys.modules, "torch", None)
    release_memory()
