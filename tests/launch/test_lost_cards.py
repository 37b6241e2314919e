"""What a GPU that fails costs a launch: its own run an attempt, and the others nothing."""

from __future__ import annotations

import dataclasses
from collections import deque

import pytest
import torch
from toys import fusable

from lawsweep.core.errors import ExecutorError
from lawsweep.core.outcome import Event, Loss, Lost, Mishap, RunSpec, Task
from lawsweep.executors.ray.cards import HOLD_S, LOST_IN_A_ROW, Cards
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.ladder import Ladder
from lawsweep.launch.loop import Loop
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker.cards import card_name, placed
from lawsweep.worker.execute import Batch

POISON = "CUDA error: device-side assert triggered"
FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 80.00 GiB of "
    "which 1.00 GiB is free. Process 7 has 70.00 GiB memory in use. Including non-PyTorch memory, "
    "this process has 9.00 GiB memory in use."
)


class Farm(SerialExecutor):
    """GPUs in this process, one task a poll on the first that is free: the one that failed last.

    What a task is told and what becomes of its card is as on Ray; time goes on a second a poll.
    """

    in_process = False

    def __init__(self, n=2):
        super().__init__()
        self.names = deque(f"GPU {i}" for i in range(n))
        self.now, self.waiting, self.tasks, self.places = 0.0, deque(), [], []
        self.cards = Cards(lambda: self.now)

    @property
    def n_slots(self):
        return max(1, len(self.names) - self.cards.n_held)

    def submit(self, task):
        self.waiting.append(task)
        self.tasks.append(task)

    def poll(self, timeout_s):
        self.now += 1.0
        for worker in self.cards.due(len(self.names)):
            self.held.remove(worker)
        if not self.waiting or not timeout_s:
            return []
        task = self.waiting.popleft()
        free = [name for name in self.names if name not in self.held]
        card = free[0]
        self.cards.begun(task, card)
        self.places.append((tuple(r.index for r in task.runs), card))
        batch = Batch(self._experiment, task.runs, task.groups, "cuda",
                      memory_share=task.memory_share)  # fmt: skip
        found = []
        with placed(card):
            while batch and batch.spoiled is None:
                found += batch.step()
        events = [Event(task.id, tuple(found))]
        if any(o.status == "ok" for o in found):
            self.cards.went_well(card)
            self.names.remove(card)
            self.names.append(card)  # whose turn it is
        if batch.spoiled is None:
            return [*events, Event(task.id, done=True)]
        self.cards.lost(card, batch.spoiled.card)
        self.held.append(card)
        return [*events, Event(task.id, lost=batch.spoiled)]

    def start(self, experiment):
        super().start(experiment)
        self.held = []

    def notes(self):
        return self.cards.notes()


def toy(fails, fused=None):
    """Raises what ``fails(seed)`` gives."""

    def function(params, seed):
        failure = fails(seed)
        if failure is not None:
            raise failure
        return fusable.function(params, seed)

    return dataclasses.replace(fusable, function=function, fused=fused, fuse_over=())


def launch(folder, experiment, executor, n=12, **policy):
    plan = make_plan(experiment, axes={"n": [1]}, seeds=n)
    executor.start(experiment)
    table = ParquetTable(folder, experiment)
    policy = OnFailure(**{"stop_after": 0, **policy})
    report = Loop(plan, table, executor, launch_id="L", on_failure=policy).run()
    rows = table.read(plan.run_ids).to_pylist()
    assert len(rows) == table.attempts().num_rows == n  # once each
    return report, rows


def test_a_run_that_lost_its_card_goes_to_another_and_no_other_run_heeds_it(tmp_path):
    met = []

    def fails(seed):
        if seed == 5 and not met:
            met.append(card_name("cuda"))
            return torch.AcceleratorError(POISON)
        return None

    farm = Farm(3)
    report, rows = launch(tmp_path, toy(fails), farm)
    assert dict(report.statuses) == {"ok": 12}
    assert [r["attempt"] for r in rows] == [1 + (i == 5) for i in range(12)]
    (again,) = [t for t in farm.tasks if t.avoid]
    assert ([r.index for r in again.runs], again.avoid) == ([5], tuple(met))
    assert farm.places[farm.tasks.index(again)][1] != met[0]
    (note,) = report.notes
    assert note == (
        "a worker lost its GPU and was replaced; what was under way was tried again elsewhere "
        f"(first: {met[0]}: {POISON})"
    )


def test_one_that_loses_every_card_ends_as_a_row_that_says_so(tmp_path):
    """Its own doing, an index out of range say: so many workers, and no more."""
    farm = Farm(2)
    failure = torch.AcceleratorError(POISON)
    report, rows = launch(tmp_path, toy(lambda s: failure if s == 5 else None), farm)
    assert dict(report.statuses) == {"ok": 11, "failed": 1}
    assert [r["attempt"] for r in rows] == [3 if i == 5 else 1 for i in range(12)]
    assert rows[5]["error"].startswith(f"AcceleratorError: {POISON}; its GPU failed in each of 3 ")
    assert {c in rows[5]["error"] for c in ("GPU 0", "GPU 1")} == {True}
    (note,) = report.notes
    assert note.startswith("3 workers lost their GPU and were replaced")


def test_a_card_that_fails_whatever_runs_there_is_set_aside(tmp_path):
    """Free again at once, it would draw in one run after the other."""
    bad = "GPU 1"
    failure = torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")
    farm = Farm(3)
    broken = toy(lambda s: failure if card_name("cuda") == bad else None)
    report, rows = launch(tmp_path, broken, farm, n=200, max_attempts=4)
    assert dict(report.statuses) == {"ok": 200}
    assert sum(r["attempt"] - 1 for r in rows) == LOST_IN_A_ROW
    aside = (
        f"{bad} failed {LOST_IN_A_ROW} workers in a row while others did well, and was set aside"
    )
    assert report.notes[1].startswith(aside)
    # Where every card fails it is no card's fault, and a slot is always left to show it.
    report, rows = launch(tmp_path / "all", toy(lambda s: failure), Farm(2), n=4)
    assert dict(report.statuses) == {"failed": 4}
    assert len(report.notes) == 1


def test_memory_that_others_hold_is_no_measure_of_a_run(tmp_path):
    """It is tried elsewhere with all it may plan with, and only at last apart and with less."""
    farm, at = Farm(2), []

    def fails(seed):
        if seed == 5 and len(at) < 4:
            at.append(card_name("cuda"))
            return torch.cuda.OutOfMemoryError(FULL)
        return None

    report, rows = launch(tmp_path / "a", toy(fails), farm)
    assert dict(report.statuses) == {"ok": 11, "oom": 1}
    assert rows[5]["attempt"] == 4
    assert "its GPU was full in each of 4 attempts" in rows[5]["error"]
    assert "others held 70 GiB of the card's 80, this worker 9" in rows[5]["error"]
    tried = [t for t in farm.tasks if t.avoid]
    assert [t.memory_share for t in tried] == [1.0, 1.0, 0.5]
    assert [t.whole_node for t in tried] == [False, False, True]
    at[:] = [""] * 3
    report, rows = launch(tmp_path / "b", toy(fails), Farm(2))
    assert dict(report.statuses) == {"ok": 12}
    assert report.notes == (
        "a run lacked memory on a GPU that others held, and was tried again elsewhere",
    )


def test_a_group_that_lost_its_card_is_done_one_by_one_and_costs_no_attempt(tmp_path):
    met = []

    def fused(params, seeds, device):
        if not met:
            met.append(card_name("cuda"))
            raise torch.AcceleratorError(POISON)
        return [fusable.function(p, s) for p, s in zip(params, seeds, strict=True)]

    farm = Farm(2)
    farm.fuse, farm.max_fused = True, 4
    report, rows = launch(tmp_path, toy(lambda s: None, fused), farm)
    assert dict(report.statuses) == {"ok": 12}
    assert {r["attempt"] for r in rows} == {1}
    assert {c for t in farm.tasks for c in t.avoid} == set(met)
    assert any(met[0] in note for note in report.notes)


def test_in_this_process_the_row_is_there_and_the_rest_is_one_sentence(tmp_path):
    failure = torch.AcceleratorError(POISON)
    experiment = toy(lambda s: failure if s == 2 else None)
    plan = make_plan(experiment, axes={"n": [1]}, seeds=6)
    table = ParquetTable(tmp_path, experiment)

    def once():
        made = SerialExecutor(SerialExecutor.Options(device="cuda"))
        made.start(experiment)
        return Loop(plan, table, made, launch_id="L", on_failure=OnFailure()).run()

    with pytest.raises(ExecutorError, match=r"Nothing more can be computed on it here\. What had "):
        once()
    rows = table.read(plan.run_ids).to_pylist()
    assert [r["status"] for r in rows] == ["ok", "ok", "failed"]
    assert "its GPU failed, on GPU 0 of " in rows[2]["error"]
    assert dict(once().statuses) == {"ok": 3}  # the same command goes on


def test_the_ladder_of_cards():
    ladder = Ladder(max_attempts=2)
    card, crowd = Mishap("card", "GPU 0", POISON), Mishap("neighbour", "GPU 1", "others held it")
    assert [ladder.after_mishap(1, card) for _ in range(2)] == ["again", "failed"]
    assert [ladder.after_mishap(2, crowd) for _ in range(3)] == ["again", "apart", "oom"]
    assert ladder.avoided([0]) == ()
    assert ladder.avoided([1, 2]) == ("GPU 0", "GPU 1")
    ladder.group_lost([3, 4], Lost(Loss.CARD_GROUP, POISON, "GPU 2"))
    assert ladder.avoided([4]) == ("GPU 2",)
    assert Ladder(max_attempts=1).after_mishap(1, card) == "failed"


def task(i, *avoid):
    return Task(i, (RunSpec(i, str(i), {}, 0),), avoid=avoid)


def test_a_card_is_held_until_what_it_failed_has_begun_elsewhere():
    now = [0.0]
    cards = Cards(lambda: now[0])
    cards.lost("worker", "GPU 0")
    assert (cards.n_held, cards.due(4)) == (1, [])
    cards.begun(task(1, "GPU 3"), "GPU 1")
    assert cards.due(4) == []
    cards.begun(task(2, "GPU 0"), "GPU 1")
    assert (cards.due(4), cards.n_held) == (["worker"], 0)
    cards.lost("next", "GPU 0")  # or for a while, twice as long each time
    now[0] += 1.5 * HOLD_S
    assert cards.due(4) == []
    now[0] += 0.5 * HOLD_S
    assert cards.due(4) == ["next"]
    cards.lost("only", "GPU 0")
    assert cards.due(1) == ["only"]  # the last slot is always lent


def test_a_task_is_turned_away_where_there_is_another_card_and_not_for_ever():
    cards = Cards(lambda: 0.0)
    again = task(7, "GPU 0")
    assert cards.avoided(again, n_slots=4, per_card=4) == ()  # one card, shared by four
    assert cards.avoided(again, n_slots=8, per_card=4) == ("GPU 0",)
    cards.turned_away("worker", again, "GPU 0")
    assert cards.avoided(again, n_slots=8, per_card=4) == ("GPU 0",)
    assert cards.avoided(again, n_slots=2, per_card=1) == ()
    cards.begun(again, "GPU 1")
    assert cards.due(8) == ["worker"]
    assert cards.notes() == ()
