"""Run what the table lacks: the loop between backlog, executor and committer."""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lawsweep.core.outcome import FAILURES, Event, Outcome, RunSpec, Status, Task
from lawsweep.core.plan import Plan
from lawsweep.core.protocols import Done, Executor, Table
from lawsweep.core.sweep import OnFailure
from lawsweep.runner.backlog import Backlog
from lawsweep.runner.calibrate import core_flops_per_s
from lawsweep.runner.committer import Committer
from lawsweep.runner.costs import CostModel

TICK_S = 0.2
KILL_GRACE_S = 10.0  # after its own deadline a worker has this long before it is killed


@dataclass(frozen=True)
class Snapshot:
    """Where a launch is: for a progress display and for the sign of life in the store."""

    planned: int
    done_before: int
    statuses: Mapping[str, int]
    running: int
    elapsed_s: float
    rate: float
    eta_s: float | None
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    new_failures: tuple[Outcome, ...] = ()

    @property
    def finished(self) -> int:
        """Runs finished by this launch."""
        return sum(self.statuses.values())


@dataclass
class RunReport:
    """What a launch did.  ``stopped`` is None, ``interrupted`` or ``same_failure``."""

    planned: int
    done_before: int
    statuses: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None
    message: str = ""
    wall_s: float = 0.0


Watcher = Callable[[Snapshot], None]


def to_do(plan: Plan, done: Mapping[str, Done], *, retry: bool = False) -> list[int]:
    """Runs the table lacks; with ``retry`` only those it has as failed, oom or timeout."""
    if retry:
        return [i for i, r in enumerate(plan.run_ids) if r in done and done[r].status in FAILURES]
    return [i for i, r in enumerate(plan.run_ids) if r not in done]


class Launch:
    """One launch of a plan.  ``run`` blocks until everything is done, or stops with a reason."""

    def __init__(
        self,
        plan: Plan,
        table: Table,
        executor: Executor,
        *,
        launch_id: str,
        on_failure: OnFailure,
        retry: bool = False,
        watcher: Watcher | None = None,
        commit_every_s: float = 2.0,
    ):
        self.plan, self.executor, self.policy = plan, executor, on_failure
        known = table.done(plan.run_ids)
        todo = to_do(plan, known, retry=retry)
        attempts = {i: known[plan.run_ids[i]].attempt + 1 for i in todo if plan.run_ids[i] in known}
        self.costs = CostModel(plan, core_flops_per_s() if plan.experiment.cost else 1.0)
        kind = executor.describe()
        self.costs.learn_table(
            plan, known, str(kind.get("device", "cpu")).partition(":")[0], kind.get("n_threads")
        )
        self.backlog = Backlog(plan, self.costs, todo, attempts)
        self.committer = Committer(table, plan, launch_id, every_s=commit_every_s)
        before = len(known) - (len(todo) if retry else 0)
        self.report = RunReport(planned=len(plan), done_before=before)
        self.watcher = watcher
        self._flights: dict[int, _Flight] = {}
        self._next_task = 0
        self._losses: Counter[int] = Counter()
        self._first_failures: Counter[str] = Counter()
        self._example: dict[str, str] = {}
        self._news: deque[Outcome] = deque()
        self._started = time.monotonic()

    def run(self) -> RunReport:
        """Run to the end, on an executor that is started.

        Ctrl-C flushes and returns.  A StoreError passes on after one more try to write.
        """
        try:
            self._started = time.monotonic()
            self._tell()
            while (self.backlog or self._flights) and self.report.stopped is None:
                self._submit()
                for event in self.executor.poll(TICK_S):
                    self._take(event)
                self._kill_late()
                if self.committer.due():
                    self.committer.flush()
                self._tell()
        except KeyboardInterrupt:
            for event in self.executor.poll(0):
                self._take(event)
            self.report.stopped = "interrupted"
            self.report.message = "interrupted; what had finished is in the table"
        finally:
            self.committer.flush()
        self.report.wall_s = time.monotonic() - self._started
        self._tell()
        return self.report

    def _submit(self) -> None:
        # One task more than slots waits at the executor, so that a free slot never waits for us.
        n_slots = self.executor.n_slots
        while self.backlog and len(self._flights) < n_slots + 1:
            runs = self.backlog.take(n_slots)
            memory = 0.0
            if self.costs.has_prior:
                memory = float(self.costs.memory_bytes_of(r.index for r in runs).max())
            task = Task(self._next_task, runs, self.policy.timeout_s, memory)
            self._next_task += 1
            self._flights[task.id] = _Flight(task)
            self.executor.submit(task)

    def _take(self, event: Event) -> None:
        flight = self._flights.get(event.task_id)
        if flight is None:
            return  # news of a task that was given up
        flight.last_news = time.monotonic()
        flight.heard = True
        for outcome in event.outcomes:
            if flight.waiting.pop(outcome.index, None) is not None:
                self._record(outcome)
        if event.lost is not None or event.done:
            del self._flights[event.task_id]
            self._lost(list(flight.waiting.values()), event.lost or "ended without an answer")

    def _lost(self, runs: list[RunSpec], reason: str) -> None:
        """A worker died.  Only a run that was alone in its batch is to blame for it.

        A batch reports now and then, so which of its unanswered runs was under way is not known:
        it is split in halves, each tried as it stands, until the culprit is alone.
        """
        if len(runs) > 1:
            middle = len(runs) // 2
            self.backlog.put_back(runs[:middle])
            self.backlog.put_back(runs[middle:])
            return
        for run in runs:
            self._losses[run.index] += 1
            status: Status = "failed"
            if reason.startswith(("timeout", "oom")):
                status = "timeout" if reason.startswith("timeout") else "oom"
            if status != "timeout" and self._losses[run.index] < self.policy.max_attempts:
                self.backlog.put_back([dataclasses.replace(run, attempt=run.attempt + 1)])
                continue
            self._record(
                Outcome(
                    index=run.index,
                    status=status,
                    error=f"worker lost: {reason}",
                    attempt=run.attempt,
                    started_at=time.time(),
                )
            )

    def _record(self, outcome: Outcome) -> None:
        self.committer.add(outcome)
        self.backlog.finished(outcome.index)
        self.report.statuses[outcome.status] += 1
        if outcome.status == "ok":
            self.costs.learn(outcome.index, outcome.wall_s, outcome.peak_memory_bytes)
        elif outcome.status in FAILURES:
            self._news.append(outcome)
        self._check_same_failure(outcome)

    def _check_same_failure(self, outcome: Outcome) -> None:
        k = self.policy.stop_after
        finished = sum(self.report.statuses.values())
        if k == 0 or finished > k:
            return
        if outcome.status in FAILURES:
            # Alike but for numbers: "n=12 is bad at 0x7f..." is one failure, not many.
            first_line = "".join((outcome.error or outcome.status).splitlines()[:1])
            alike = re.sub(r"0x[0-9a-f]+|\d+", "#", first_line)
            self._first_failures[alike] += 1
            self._example.setdefault(alike, first_line)
        if finished == k and max(self._first_failures.values(), default=0) == k:
            self.report.stopped = "same_failure"
            self.report.message = (
                f"the first {k} runs all failed alike: {next(iter(self._example.values()))}"
            )

    def _kill_late(self) -> None:
        """Kill tasks that are silent far past their deadline (a call that never returns)."""
        limit = self.policy.timeout_s
        if limit is None:
            return
        now = time.monotonic()
        for task_id, flight in list(self._flights.items()):
            # A task that has not said that it began waits for a slot: it is not late.
            if flight.heard and now - flight.last_news > limit + KILL_GRACE_S:
                flight.last_news = now
                self.executor.kill(task_id)

    def _tell(self) -> None:
        if self.watcher is None:
            return
        elapsed = max(time.monotonic() - self._started, 1e-9)
        finished = sum(self.report.statuses.values())
        news, self._news = tuple(self._news), deque()
        eta, low, high = self._eta(finished)
        self.watcher(
            Snapshot(
                planned=self.report.planned,
                done_before=self.report.done_before,
                statuses=dict(self.report.statuses),
                running=sum(1 for f in self._flights.values() if f.waiting),
                elapsed_s=elapsed,
                rate=finished / elapsed,
                eta_s=eta,
                eta_low_s=low,
                eta_high_s=high,
                new_failures=news,
            )
        )

    def _eta(self, finished: int) -> tuple[float | None, float | None, float | None]:
        """Expected seconds to the end and a 90 % interval; None while nothing is known."""
        if not finished and not self.costs.n_measured:
            return None, None, None
        left, slots = self.backlog.work_left(), max(1, self.executor.n_slots)
        return left.expected_s / slots, left.low_s / slots, left.high_s / slots


class _Flight:
    """A task at the executor: which of its runs have not answered, and when it last did."""

    def __init__(self, task: Task):
        self.waiting = {run.index: run for run in task.runs}
        self.last_news = time.monotonic()
        self.heard = False


def describe_report(report: RunReport) -> dict[str, Any]:
    """A report as plain values, for the provenance record and ``--json``."""
    return {
        "planned": report.planned,
        "done_before": report.done_before,
        "statuses": dict(report.statuses),
        "stopped": report.stopped,
        "message": report.message,
        "wall_s": report.wall_s,
    }
