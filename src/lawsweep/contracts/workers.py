"""What an executor owes besides whose tasks run in workers, which can be ended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lawsweep.contracts.executors import (
    GIVE_UP_S,
    ExecutorContract,
    fused_plan,
    specs,
    until_over,
)
from lawsweep.contracts.toys import faulty, fusable
from lawsweep.core.outcome import Loss, Task
from lawsweep.core.protocols import Executor
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch import loop


class WorkerContract(ExecutorContract):
    """For an executor whose workers are processes: they die, hang and are ended, alone."""

    has_workers = True

    @pytest.mark.parametrize("fault", ["sleep", "swallow_all", "swallow_and_fail", "swallow_exit"])
    def test_a_timeout_is_one_row_and_costs_its_batch_nothing(
        self, tmp_path: Path, fault: str
    ) -> None:
        plan = make_plan(faulty, axes={"i": "range(40)"}, params={"fault": fault, "at": 20})
        rows, report = self.launch(tmp_path, plan, OnFailure(timeout_s=1.0, max_attempts=1))
        assert dict(report.statuses) == {"ok": 39, "timeout": 1}
        assert (rows[20]["status"], rows[20]["error"]) == (
            "timeout", "longer than on_failure.timeout_s=1.0",
        )  # fmt: skip
        assert {r["attempt"] for r in rows} == {1}

    @pytest.mark.parametrize("fault", ["exit", "kill", "abort", "segfault"])
    def test_a_worker_that_dies_becomes_a_row(self, tmp_path: Path, fault: str) -> None:
        plan = make_plan(faulty, axes={"i": "range(6)"}, params={"fault": fault})
        attempts = 2 if fault == "exit" else 1  # however it died, the next attempt is the same
        rows, report = self.launch(tmp_path, plan, OnFailure(max_attempts=attempts))
        assert dict(report.statuses) == {"ok": 5, "failed": 1}
        assert (rows[2]["status"], rows[2]["attempt"]) == ("failed", attempts)
        assert rows[2]["error"].startswith("worker lost: crashed: ")

    @pytest.mark.parametrize("fault", ["deaf", "swallow_for_ever"])
    def test_a_call_that_cannot_be_interrupted_is_killed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        monkeypatch.setattr(loop, "KILL_GRACE_S", 1.0)
        plan = make_plan(faulty, axes={"i": "range(4)"}, params={"fault": fault})
        _, report = self.launch(tmp_path, plan, OnFailure(timeout_s=1.0))
        assert dict(report.statuses) == {"ok": 3, "timeout": 1}

    def test_a_killer_in_a_batch_costs_its_neighbours_nothing(self, tmp_path: Path) -> None:
        """Many short runs in a batch: none but the killer is blamed, with one attempt each."""
        plan = make_plan(faulty, axes={"i": "range(100)"}, params={"fault": "exit", "at": 50})
        rows, report = self.launch(tmp_path, plan, OnFailure(max_attempts=1))
        assert dict(report.statuses) == {"ok": 99, "failed": 1}
        assert rows[50]["status"] == "failed"

    def test_a_gpu_that_fails_a_run_ends_its_worker_and_costs_the_others_nothing(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        """After such an error every later call of the process fails: ``Batch.spoiled`` says so."""
        executor.start(faulty)
        executor.submit(Task(0, specs([{"i": i, "fault": "card"} for i in range(4)])))
        events = until_over(executor, 1)
        assert [o.status for e in events for o in e.outcomes] == ["ok", "ok", "failed"]
        assert events[-1].lost is not None
        assert events[-1].lost.why is Loss.CARD
        plan = make_plan(faulty, axes={"i": "range(8)"}, params={"fault": "card"})
        rows, report = self.launch(tmp_path, plan, OnFailure(max_attempts=2))
        assert dict(report.statuses) == {"ok": 7, "failed": 1}
        assert [r["attempt"] for r in rows] == [1, 1, 2, 1, 1, 1, 1, 1]

    def test_outcomes_stream_while_a_batch_runs(self, executor: Executor) -> None:
        executor.start(faulty)
        executor.submit(Task(0, specs([{"i": 10 + i, "pause_s": 0.5} for i in range(6)])))
        arrivals: list[float] = []
        ended, end = False, time.monotonic() + GIVE_UP_S
        while not ended:
            assert time.monotonic() < end, "no answer"
            for event in executor.poll(1.0):
                arrivals += [time.monotonic()] * len(event.outcomes)
                ended = ended or event.done
        assert len(arrivals) == 6
        assert arrivals[0] < arrivals[-1] - 1.0, "all outcomes came at the end"

    def test_what_has_finished_is_told_while_the_next_run_of_its_batch_takes_long(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        runs = [{"i": i, "fault": "gate", "gate": str(gate)} for i in range(4)]
        executor.start(faulty)
        executor.submit(Task(0, specs(runs)))
        early, end = set[int](), time.monotonic() + GIVE_UP_S
        while early != {0, 1} and time.monotonic() < end:
            early |= {o.index for event in executor.poll(0.5) for o in event.outcomes}
        gate.touch()
        last = until_over(executor, 1)
        assert early == {0, 1}, "they were kept until the long run ended"
        assert {2, 3} <= {o.index for event in last for o in event.outcomes}

    def test_a_group_past_its_deadline_goes_alone_and_each_run_has_its_own_time(
        self, tmp_path: Path
    ) -> None:
        policy = OnFailure(timeout_s=0.5, stop_after=0)
        plan = fused_plan(n=(1,), rates=(0.1,), fault="group_slow", at=3)
        _, report = self.launch(tmp_path, plan, policy)
        assert dict(report.statuses) == {"ok": 6}
        if self.make().fuse:
            assert "timeout: longer than" in report.notes[0]
        slow = fused_plan(n=(1,), rates=(0.1,), fault="slow", at=3)
        rows, _ = self.launch(tmp_path, slow, policy)
        assert [r["status"] for r in rows] == ["ok", "ok", "ok", "timeout", "ok", "ok"]

    def test_a_group_that_loses_its_worker_goes_alone(self, tmp_path: Path) -> None:
        plan = fused_plan(n=(1,), fault="group_kill", at=3)
        rows, report = self.launch(tmp_path, plan, OnFailure(max_attempts=1))
        assert dict(report.statuses) == {"ok": 12}
        assert {r["attempt"] for r in rows} == {1}
        if self.make().fuse:
            assert "crashed: " in report.notes[0]

    def test_a_member_that_kills_its_worker_is_found_and_its_neighbours_live(
        self, tmp_path: Path
    ) -> None:
        plan = fused_plan(n=(1,), n_seeds=12, rates=(0.1,), fault="kill", at=7)
        rows, report = self.launch(tmp_path, plan, OnFailure(max_attempts=1, stop_after=0))
        assert [i for i, r in enumerate(rows) if r["status"] == "failed"] == [7]
        assert rows[7]["error"].startswith("worker lost: crashed: ")
        assert report.statuses["ok"] == 11

    def test_a_group_that_cannot_be_interrupted_is_killed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "KILL_GRACE_S", 1.0)
        params = {"fault": "group_deaf", "at": 1}
        plan = make_plan(fusable, axes={"n": [1]}, params=params, seeds=4)
        _, report = self.launch(tmp_path, plan, OnFailure(timeout_s=0.5, stop_after=0))
        assert dict(report.statuses) == {"ok": 4}
