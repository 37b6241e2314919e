"""What every executor owes the launch."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from lawsweep.contracts.toys import faulty, fusable, messy, spectrum
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.outcome import Event, Loss, Outcome, RunSpec, Task
from lawsweep.core.protocols import Executor
from lawsweep.executors.make import make_executor
from lawsweep.grid.plan import Plan, make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch import loop
from lawsweep.store.table.parquet import ParquetTable

Rows = list[dict[str, Any]]
GIVE_UP_S = 300.0  # without any news for so long a test fails; a slow machine is no failure


class ExecutorContract:
    """Inherit it, and say in ``config`` what ``executor`` is in a sweep: a name, or a block.

    An executor that runs tasks in workers which can be ended inherits ``WorkerContract`` instead.
    """

    config: ClassVar[str | Mapping[str, Any]]
    has_workers: ClassVar[bool] = False

    def make(self, **options: Any) -> Executor:
        """The executor, not started, with ``options`` on top of ``config``."""
        given = {"kind": self.config} if isinstance(self.config, str) else self.config
        return make_executor({**given, **options})

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        """One that is closed after the test."""
        with contextlib.closing(self.make()) as made:
            yield made

    def launch(
        self, folder: Path, plan: Plan, policy: OnFailure | None = None, **options: Any
    ) -> tuple[Rows, Any]:
        """The rows of a launch in plan order, and its report."""
        table = ParquetTable(folder, plan.experiment)
        with contextlib.closing(self.make(**options)) as made:
            made.start(plan.experiment)
            policy = policy or OnFailure(stop_after=0)
            report = loop.Loop(plan, table, made, launch_id="L", on_failure=policy).run()
        rows = table.read(plan.run_ids).to_pylist()
        assert [r["run_id"] for r in rows] == plan.run_ids
        return rows, report

    def test_it_says_what_it_is(self, executor: Executor) -> None:
        named = self.config if isinstance(self.config, str) else self.config["kind"]
        assert executor.name == named
        assert dataclasses.is_dataclass(executor.options)
        assert executor.in_process != self.has_workers, "inherit the other contract"
        assert executor.cpus_here(4) >= 1
        executor.start(faulty)
        assert executor.n_slots >= 1
        assert executor.slot_memory_bytes > 0
        facts = dict(executor.describe())
        assert facts["kind"] == executor.name
        assert json.loads(json.dumps(facts)) == facts
        plan = make_plan(faulty, axes={"i": "range(3)"}, seeds=2)
        kinds = executor.needs_of(plan, range(len(plan)))
        assert kinds is None or kinds.shape == (3,)

    def test_an_option_that_it_does_not_take_is_refused(self) -> None:
        with pytest.raises(UnknownNameError, match=r"Unknown option 'no_such_option' in executor"):
            self.make(no_such_option=1)
        with pytest.raises(InvalidValueError, match=r"executor\.max_fused must be a whole number"):
            self.make(max_fused=0)

    def test_outcomes_of_a_batch_come_in_order_and_equal_a_plain_call(
        self, executor: Executor
    ) -> None:
        executor.start(fusable)
        executor.submit(Task(0, specs([{"n": n} for n in (1, 2, 3)], seed=4)))
        outcomes = collect(executor, 1)
        assert [o.index for o in outcomes] == [0, 1, 2]
        assert [metrics(o)["y"] for o in outcomes] == [fusable(n=n, seed=4).y for n in (1, 2, 3)]
        for outcome in outcomes:
            assert outcome.host
            assert outcome.device
            assert outcome.wall_s is not None
            assert outcome.wall_s > 0

    def test_polling_with_no_time_starts_no_work(self, executor: Executor) -> None:
        executor.start(fusable)
        assert executor.poll(0) == []
        executor.submit(Task(0, specs([{"n": 1}])))
        early = [o for event in executor.poll(0) for o in event.outcomes]
        assert not (executor.in_process and early)  # in this process, poll is where work is done
        late = [] if early else collect(executor, 1)
        assert [o.status for o in early + late] == ["ok"]

    @pytest.mark.parametrize(
        ("fault", "status"),
        [("raise", "failed"), ("infeasible", "infeasible"), ("memory", "oom")],
    )
    def test_a_failure_is_a_row_and_the_batch_goes_on(
        self, executor: Executor, fault: str, status: str
    ) -> None:
        executor.start(faulty)
        executor.submit(Task(0, specs([{"i": i, "fault": fault} for i in range(4)])))
        assert [o.status for o in collect(executor, 1)] == ["ok", "ok", status, "ok"]

    def test_a_deadline_ends_a_worker_or_is_refused(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        """What is cut off may be an import or hold a lock: nothing else is executed beside that."""
        executor.start(faulty)
        fault = "none" if executor.in_process else "sleep"  # what is not refused must not hang
        task = Task(0, specs([{"i": i, "fault": fault} for i in range(4)]), timeout_s=0.5)
        if executor.in_process:
            told = "timeout_s=0.5 needs workers that can be ended"
            with pytest.raises(InvalidValueError, match=told):
                executor.submit(task)
            plan = make_plan(faulty, axes={"i": "range(4)"})
            with pytest.raises(InvalidValueError, match=told):
                self.launch(tmp_path, plan, OnFailure(timeout_s=0.5))
            return
        executor.submit(task)
        events = until_over(executor, 1)
        assert [o.status for e in events for o in e.outcomes] == ["ok", "ok", "timeout"]
        assert events[-1].lost is not None
        assert events[-1].lost.why is Loss.RETIRED

    def test_a_sweep_gives_the_rows_of_its_plan(self, tmp_path: Path) -> None:
        plan = make_plan(faulty, axes={"i": "range(20)"}, params={"fault": "raise"}, seeds=2)
        rows, report = self.launch(tmp_path, plan)
        assert dict(report.statuses) == {"ok": 38, "failed": 2}
        assert [(r["i"], r["seed"], r["status"], r["y"]) for r in rows] == [
            (i, s, "failed" if i == 2 else "ok", None if i == 2 else i + s / 10)
            for i in range(20)
            for s in (0, 1)
        ]

    def test_large_arrays_arrive_beside_their_rows(self, tmp_path: Path) -> None:
        plan = make_plan(spectrum, axes={"n": [3, 200_000, 1_000_000]}, seeds=2)
        _, report = self.launch(tmp_path, plan)
        assert dict(report.statuses) == {"ok": 6}
        found = ParquetTable(tmp_path, spectrum).array_store.table("eigenvalues").values()
        assert set(found) == set(plan.run_ids)
        for i, run_id in enumerate(plan.run_ids):
            expected = spectrum(**plan.params_of(i), seed=plan.seed_of(i)).eigenvalues
            np.testing.assert_array_equal(found[run_id], np.asarray(expected, np.float64))

    def test_an_interrupt_that_a_run_raises_is_its_own_failure(self, tmp_path: Path) -> None:
        plan = make_plan(faulty, axes={"i": "range(4)"}, params={"fault": "raise_interrupt"})
        rows, report = self.launch(tmp_path, plan, OnFailure(max_attempts=1, stop_after=0))
        assert dict(report.statuses) == {"ok": 3, "failed": 1}
        assert rows[2]["error"] == "KeyboardInterrupt: not a person's"
        assert report.stopped is None

    def test_an_experiment_that_calls_exit_is_a_row(self, tmp_path: Path) -> None:
        plan = make_plan(faulty, axes={"i": "range(4)"}, params={"fault": "sys_exit"})
        _, report = self.launch(tmp_path, plan, OnFailure(max_attempts=2))
        assert dict(report.statuses) == {"ok": 3, "failed": 1}
        assert report.stopped is None

    def test_closing_twice_is_fine_and_drops_what_was_queued(self, executor: Executor) -> None:
        executor.start(fusable)
        executor.submit(Task(0, specs([{"n": 1}])))
        executor.close()
        executor.close()
        assert executor.poll(0) == []

    def test_a_run_leaves_nothing_behind_for_the_next(self, tmp_path: Path) -> None:
        before = Path.cwd(), dict(os.environ), random.getstate()
        rows, _ = self.launch(tmp_path, make_plan(messy, axes={"i": "range(8)"}))
        assert len({(r["folder"], r["variable"], r["draw"]) for r in rows}) == 1
        assert (Path.cwd(), dict(os.environ), random.getstate()) == before

    def test_fused_runs_are_those_of_alone(self, tmp_path: Path) -> None:
        log = tmp_path / "sizes"
        plan = fused_plan(log=log)
        rows, report = self.launch(tmp_path / "fused", plan)
        assert dict(report.statuses) == {"ok": 24}
        assert report.notes == ()
        if self.make().fuse:
            # Every run was in a group, groups run over rates, and never over n.
            assert sum(sizes(log)) == 24
            assert max(sizes(log)) > 1
            assert sum(1 / r["n_fused"] for r in rows) == pytest.approx(len(sizes(log)))
        expected, _ = self.launch(tmp_path / "alone", plan, fuse=False)
        assert answers(rows) == answers(expected)
        kept = ("run_id", "seed", "n", "rate", "attempt", "device", "host", "n_threads")
        assert [[r[k] for k in kept] for r in rows] == [[r[k] for k in kept] for r in expected]
        assert all(r["wall_s"] > 0 for r in rows)
        assert {r["n_fused"] for r in expected} == {1}

    def test_fusing_can_be_switched_off_and_capped(self, tmp_path: Path) -> None:
        cases: tuple[tuple[dict[str, Any], int], ...] = (
            ({"fuse": False}, 0),
            ({"max_fused": 2}, 2),
        )
        for options, most in cases:
            log = tmp_path / f"{most}_sizes"
            _, report = self.launch(tmp_path / str(most), fused_plan(log=log), **options)
            assert dict(report.statuses) == {"ok": 24}
            assert max(sizes(log), default=0) == (most if self.make().fuse else 0)

    @pytest.mark.parametrize(
        ("fault", "status", "error"),
        [
            ("nan", "ok", None),
            ("infeasible", "infeasible", "this seed has no answer"),
            ("raise", "failed", "ValueError: this seed cannot"),
        ],
    )
    def test_a_members_failure_is_its_own(
        self, tmp_path: Path, fault: str, status: str, error: str | None
    ) -> None:
        rows, report = self.launch(tmp_path, fused_plan(fault=fault, at=3))
        assert report.notes == ()  # the group itself worked
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
    def test_a_group_that_fails_costs_no_run(
        self, tmp_path: Path, fault: str, message: str
    ) -> None:
        rows, report = self.launch(tmp_path, fused_plan(n_seeds=12, fault=fault, at=3))
        assert dict(report.statuses) == {"ok": 48}
        assert {r["attempt"] for r in rows} == {1}
        if self.make().fuse:
            (note,) = report.notes
            assert "the fused form of fusable failed for" in note
            assert message in note


def specs(params: Sequence[Mapping[str, Any]], seed: int = 0) -> tuple[RunSpec, ...]:
    """Runs of these params, in order."""
    return tuple(RunSpec(i, str(i), p, seed) for i, p in enumerate(params))


def until_over(executor: Executor, n_tasks: int) -> list[Event]:
    """All news until so many tasks are done or lost."""
    events: list[Event] = []
    end = time.monotonic() + GIVE_UP_S
    while sum(e.done or e.lost is not None for e in events) < n_tasks:
        assert time.monotonic() < end, "no answer"
        events += executor.poll(0.5)
    return events


def collect(executor: Executor, n_tasks: int) -> list[Outcome]:
    """What so many tasks answer."""
    return [o for event in until_over(executor, n_tasks) for o in event.outcomes]


def metrics(outcome: Outcome) -> Mapping[str, Any]:
    """Of one that went well."""
    assert outcome.metrics is not None, outcome.error
    return outcome.metrics


def fused_plan(
    n_seeds: int = 6,
    rates: Sequence[float] = (0.1, 0.2),
    log: Path | str = "",
    n: Sequence[int] = (1, 2),
    **params: Any,
) -> Plan:
    """Points that fuse over ``rate`` and not over ``n``; groups write their sizes to ``log``."""
    axes = {"n": list(n), "rate": list(rates)}
    return make_plan(fusable, axes=axes, params={**params, "log": str(log)}, seeds=n_seeds)


def sizes(log: Path) -> list[int]:
    """Of the groups that were fused."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def answers(rows: Rows) -> list[tuple[Any, ...]]:
    """What of rows must agree, with one word for a NaN."""
    return [(r["status"], r["error"], None if r["y"] != r["y"] else r["y"]) for r in rows]
