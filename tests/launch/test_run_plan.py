from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from pathlib import Path

import pytest
from toys import faulty, toy

from lawsweep.core.errors import StoreError
from lawsweep.core.outcome import Event, Loss, Lost, Outcome
from lawsweep.executors.serial import SerialExecutor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch import loop as run_plan
from lawsweep.launch.loop import Loop
from lawsweep.launch.too_many import TooManyFailures
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.worker.execute import execute_run


def launch(plan, table, executor=None, **options):
    executor = executor or SerialExecutor()
    executor.start(plan.experiment)
    policy = options.pop("on_failure", OnFailure())
    return Loop(plan, table, executor, launch_id="L", on_failure=policy, **options).run()


@pytest.fixture
def plan():
    return make_plan(toy, axes={"n": [1, 2, 3]}, seeds=2)


@pytest.fixture
def table(tmp_path):
    return ParquetTable(tmp_path / "tables", toy)


def test_every_planned_run_is_a_row_once(plan, table):
    report = launch(plan, table)
    rows = table.read(plan.run_ids).to_pylist()
    assert [r["run_id"] for r in rows] == plan.run_ids
    assert dict(report.statuses) == {"ok": 6}
    assert [r["y"] for r in rows] == [toy(n=n, seed=s).y for n in (1, 2, 3) for s in (0, 1)]
    assert all(r["scale"] == 1.0 and r["launch_id"] == "L" and r["wall_s"] > 0 for r in rows)


def test_a_second_launch_runs_nothing_and_an_extended_grid_only_what_is_new(plan, table):
    launch(plan, table)
    assert launch(plan, table).statuses == {}
    wider = make_plan(toy, axes={"n": [1, 2, 3, 4]}, seeds=3)
    report = launch(wider, table)
    assert (report.done_before, report.statuses["ok"]) == (6, 6)
    assert table.attempts().num_rows == 12


def test_failed_rows_stay_until_they_are_asked_for(tmp_path):
    table = ParquetTable(tmp_path, faulty)
    plan = make_plan(faulty, axes={"i": [0, 1, 2, 3]}, params={"fault": "raise"})
    assert dict(launch(plan, table).statuses) == {"ok": 3, "failed": 1}
    assert launch(plan, table).statuses == {}
    assert dict(launch(plan, table, retry=True).statuses) == {"failed": 1}
    row = table.read([plan.run_ids[2]]).to_pylist()[0]
    assert (row["attempt"], row["status"], row["error"]) == (2, "failed", "ValueError: a kernel "
                                                             "said no")  # fmt: skip
    assert "Traceback" in row["traceback"]


def test_the_same_failure_stops_early_and_another_start_does_not(tmp_path):
    table = ParquetTable(tmp_path, faulty)
    alike = make_plan(faulty, axes={"i": "range(10, 40)"}, params={"fault": "raise"})
    some = make_plan(faulty, axes={"i": [2], "pause_s": "linspace(0, 0.001, 30)"},
                     params={"fault": "raise"})  # fmt: skip
    assert launch(alike, table, on_failure=OnFailure(stop_after=4)).stopped is None
    report = launch(some, table, on_failure=OnFailure(stop_after=4))
    assert report.stopped == "same_failure"
    assert "the first 4 runs all failed alike: ValueError: a kernel said no" in report.message
    assert 4 <= report.statuses["failed"] < 30
    assert len(table.done(some.run_ids)) == report.statuses["failed"]
    rest = launch(some, table, on_failure=OnFailure(stop_after=0))
    assert rest.stopped is None
    assert len(table.done(some.run_ids)) == 30


def test_failures_alike_but_for_numbers_are_alike(tmp_path):
    numbered = dataclasses.replace(toy, function=_fails_with_a_number)
    table = ParquetTable(tmp_path, numbered)
    plan = make_plan(numbered, axes={"n": "range(1, 200)"})
    report = launch(plan, table, on_failure=OnFailure(stop_after=5))
    assert report.stopped == "same_failure"
    assert "ValueError: n=" in report.message


def _fails_with_a_number(params, seed):
    raise ValueError(f"n={params.n} at {hex(id(params))}")


def test_ctrl_c_keeps_what_had_finished(tmp_path):
    table = ParquetTable(tmp_path, faulty)
    plan = make_plan(faulty, axes={"i": [0, 1, 2, 3]}, params={"fault": "interrupt"})
    report = launch(plan, table)
    assert report.stopped == "interrupted"
    assert set(table.done(plan.run_ids)) == set(plan.run_ids[:2])  # all that came before
    again = make_plan(faulty, axes={"i": [0, 1, 3]}, params={"fault": "interrupt"})
    launch(again, table)
    assert len(table.done(again.run_ids)) == 3


def test_rows_of_a_serial_launch_do_not_wait_for_the_run_after_them(tmp_path):
    params = {"fault": "gate", "gate": str(tmp_path / "gate"), "at": 3}
    plan = make_plan(faulty, axes={"i": "range(5)"}, params=params)
    table, seen = ParquetTable(tmp_path / "rows", faulty), []

    def open_gate():
        end = time.monotonic() + 60
        while not seen and time.monotonic() < end:
            there = table.done(plan.run_ids)
            if set(plan.run_ids[:3]) <= set(there):
                seen.append(set(there))
            time.sleep(0.02)
        Path(params["gate"]).touch()

    watcher = threading.Thread(target=open_gate)
    watcher.start()
    report = launch(plan, ParquetTable(tmp_path / "rows", faulty), commit_every_s=0.1)
    watcher.join()
    assert dict(report.statuses) == {"ok": 5}
    assert seen == [set(plan.run_ids[:3])]


class FlakyTable(ParquetTable):
    """Fails to write the first ``n_failures`` times, as a disk that is full for a while."""

    n_failures = 1

    def append(self, rows):
        if self.n_failures:
            self.n_failures -= 1
            raise StoreError("Cannot write: No space left on device.")
        super().append(rows)


def test_a_full_disk_ends_the_launch_and_the_last_try_saves_the_rows(plan, tmp_path):
    table = FlakyTable(tmp_path, toy)
    with pytest.raises(StoreError, match="No space left"):
        launch(plan, table, commit_every_s=0.0)
    saved = len(table.done(plan.run_ids))
    assert saved >= 1
    report = launch(plan, table)
    assert report.done_before == saved
    assert len(table.done(plan.run_ids)) == 6


DIED = Lost(Loss.CRASHED, "it died")


class CrashingExecutor(SerialExecutor):
    """Loses its worker whenever it meets a run in ``killers``, as a cluster would."""

    name = "crashing"

    def __init__(self, killers, lost=DIED, answers=False):
        super().__init__()
        self.killers, self.lost, self.answers = killers, lost, answers
        self.attempts: dict[int, list[int]] = {}
        self.tasks = deque()

    def submit(self, task):
        self.tasks.append(task)

    def poll(self, timeout_s):
        if not self.tasks:
            return []
        task = self.tasks.popleft()
        outcomes: list[Outcome] = []
        for run in task.runs:
            self.attempts.setdefault(run.index, []).append(run.attempt)
            if run.index in self.killers:
                heard = tuple(outcomes) if self.answers else ()
                return [Event(task.id, heard, lost=self.lost)]
            outcomes.append(execute_run(self._experiment, run))
        return [Event(task.id, tuple(outcomes), done=True)]


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_run_that_kills_its_worker_becomes_a_row_and_costs_nobody_theirs(
    tmp_path, answers, max_attempts
):
    table = ParquetTable(tmp_path, toy)
    plan = make_plan(toy, axes={"n": "range(1, 301)"})
    executor = CrashingExecutor({4, 170}, answers=answers)
    policy = OnFailure(max_attempts=max_attempts)
    report = launch(plan, table, executor, on_failure=policy)
    rows = table.read(plan.run_ids).to_pylist()
    assert len(rows) == 300
    assert [i for i, r in enumerate(rows) if r["status"] == "failed"] == [4, 170]
    assert rows[4]["error"] == "worker lost: crashed: it died"
    assert (rows[4]["attempt"], rows[4]["wall_s"]) == (max_attempts, None)
    assert dict(report.statuses) == {"ok": 298, "failed": 2}
    assert {r["attempt"] for i, r in enumerate(rows) if i not in (4, 170)} == {1}
    # Found by halving: some ten losses each, and not a run of the whole grid for each.
    assert len(executor.attempts[4]) + len(executor.attempts[170]) <= 2 * (10 + max_attempts)
    assert sum(map(len, executor.attempts.values())) < 300 * 4


def test_a_rerun_has_all_its_attempts_again(tmp_path):
    table = ParquetTable(tmp_path, toy)
    plan = make_plan(toy, axes={"n": [1, 2, 3]})
    for first, last in ((1, 3), (4, 6)):
        executor = CrashingExecutor({1})
        launch(plan, table, executor, on_failure=OnFailure(max_attempts=3), retry=first > 1)
        alone = [a for a in executor.attempts[1] if a >= first]
        assert (min(alone), max(alone)) == (first, last)


def test_hanging_workers_cost_only_their_own_run(tmp_path):
    table = ParquetTable(tmp_path, toy)
    plan = make_plan(toy, axes={"n": "range(1, 101)"})
    executor = CrashingExecutor({30}, lost=Lost(Loss.TIMEOUT, "killed"))
    launch(plan, table, executor)
    rows = table.read(plan.run_ids).to_pylist()
    assert [i for i, r in enumerate(rows) if r["status"] != "ok"] == [30]
    assert rows[30]["status"] == "timeout"


@pytest.mark.parametrize(
    ("why", "status", "tries"),
    [(Loss.OUT_OF_MEMORY, "oom", 2), (Loss.TIMEOUT, "timeout", 1)],
)
def test_the_reason_of_a_loss_becomes_the_status(tmp_path, why, status, tries):
    table = ParquetTable(tmp_path, toy)
    plan = make_plan(toy, axes={"n": [1, 2, 3]})
    executor = CrashingExecutor({1}, lost=Lost(why), answers=True)
    launch(plan, table, executor, on_failure=OnFailure(max_attempts=2))
    row = table.read([plan.run_ids[1]]).to_pylist()[0]
    assert (row["status"], row["attempt"]) == (status, tries)
    assert len(table.done(plan.run_ids)) == 3


class SilentExecutor(SerialExecutor):
    """Says that it began, and then nothing, until it is killed."""

    in_process = False

    def __init__(self):
        super().__init__()
        self.events, self.killed = deque(), []

    def submit(self, task):
        self.events.append(Event(task.id))

    def poll(self, timeout_s):
        time.sleep(0.01)
        return [self.events.popleft()] if self.events else []

    def kill(self, task_id):
        self.killed.append(task_id)
        self.events.append(Event(task_id, lost=Lost(Loss.TIMEOUT, "it was killed")))


def test_a_worker_that_never_answers_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(run_plan, "KILL_GRACE_S", 0.1)
    table = ParquetTable(tmp_path, toy)
    plan = make_plan(toy, axes={"n": [1, 2]})
    executor = SilentExecutor()
    report = launch(plan, table, executor, on_failure=OnFailure(timeout_s=0.05, stop_after=0))
    assert dict(report.statuses) == {"timeout": 2}
    assert len(executor.killed) == 2


def test_snapshots_tell_the_story(plan, table):
    seen = []
    launch(plan, table, watcher=seen.append)
    last = seen[-1]
    assert (last.planned, last.done_before, last.finished, last.running) == (6, 0, 6, 0)
    assert last.rate > 0
    assert last.eta_s == pytest.approx(0.0)


def test_tasks_may_be_handed_out_before_the_launch_is_written_down(tmp_path):
    """``begin`` is where its time starts, and hands out nothing twice."""
    now = [0.0]
    table, executor = ParquetTable(tmp_path, toy), SerialExecutor()
    plan = make_plan(toy, axes={"n": [1, 2, 3]}, seeds=2)
    executor.start(toy)
    launch = Loop(
        plan, table, executor, launch_id="L", on_failure=OnFailure(), clock=lambda: now[0]
    )
    launch.begin()
    assert table.attempts().num_rows == 0
    now[0] = 5.0
    report = launch.run()
    assert (dict(report.statuses), report.wall_s) == ({"ok": 6}, 5.0)
    assert table.attempts().num_rows == 6


def test_a_sweep_stops_at_as_many_failures_as_may_be(tmp_path):
    kinds = ["ok", "raise", "ok", "ok", "raise", "ok", "ok"]
    stops = TooManyFailures(0, 2)
    found = [
        stops.after(Outcome(i, "failed" if kind == "raise" else "ok", error=f"E{i}: no"))
        for i, kind in enumerate(kinds)
    ]
    assert [f is not None for f in found] == [i == 4 for i in range(7)]
    assert found[4] == ("failures", "2 runs failed: E4: no")
    assert all(TooManyFailures(0).after(Outcome(i, "failed")) is None for i in range(50))
