"""Run what the table lacks: the loop between backlog, executor and committer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from lawsweep.core.during.keeper import FROM_START
from lawsweep.core.errors import ExecutorError, refuse_deadline
from lawsweep.core.outcome import Event, Outcome, Place, Task
from lawsweep.core.protocols import Done, Executor, Sampler, Table
from lawsweep.core.secrets import hide
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.backlog import GROUP_S, Backlog, Cut
from lawsweep.launch.committer import Committer
from lawsweep.launch.costs.calibrate import core_flops_per_s
from lawsweep.launch.costs.costs import CostModel
from lawsweep.launch.flights import Flight, Flights
from lawsweep.launch.fusing import Most
from lawsweep.launch.interrupts import Interrupts
from lawsweep.launch.ladder import SHARE_AFTER_OOM
from lawsweep.launch.lanes import Lanes
from lawsweep.launch.recovery import Recovery
from lawsweep.launch.report import RunReport as RunReport
from lawsweep.launch.report import Snapshot as Snapshot
from lawsweep.launch.report import Watcher as Watcher
from lawsweep.launch.report import describe_report as describe_report
from lawsweep.launch.report import told_unseeded
from lawsweep.launch.sharing import LOOK_S, Sharing
from lawsweep.launch.telling import Teller
from lawsweep.launch.too_many import TooManyFailures
from lawsweep.sampling.grid import Grid
from lawsweep.sampling.stopping import Stopping

TICK_S = 0.2
# After a Ctrl-C runs under way have this long: about what a group of fused runs is cut to take.
FINISH_S = GROUP_S
KILL_GRACE_S = 10.0  # after its own deadline a worker has this long before it is killed


class Loop:
    """The loop of one launch: ``run`` blocks until all is done, or stops with a reason.

    ``sampler`` says which runs are wanted, and is told of each that ends; without one they are all
    that the table lacks (``retry``: all that failed).  ``known``: what the table has of the plan's
    runs, where that has been read.  ``hear`` is called with each outcome as it comes in.
    """

    def __init__(
        self,
        plan: Plan,
        table: Table,
        executor: Executor,
        *,
        launch_id: str,
        on_failure: OnFailure,
        known: Mapping[str, Done] | None = None,
        retry: bool = False,
        sampler: Sampler | None = None,
        watcher: Watcher | None = None,
        hear: Callable[[Outcome], Any] | None = None,
        commit_every_s: float = 2.0,
        look_every_s: float = LOOK_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        if executor.in_process and on_failure.timeout_s is not None:
            raise refuse_deadline(executor.name, on_failure.timeout_s)
        self._clock = clock
        self.plan, self.executor, self.policy = plan, executor, on_failure
        known = table.done(plan.run_ids) if known is None else known
        self.sampler = sampler or Grid.over(plan, known, retry=retry)
        reach = self.sampler.reach()
        attempts = {
            i: known[plan.run_ids[i]].attempt + 1 for i in reach if plan.run_ids[i] in known
        }
        self.costs = CostModel(plan, core_flops_per_s() if plan.experiment.cost else 1.0)
        # Only where runs need different amounts; it refuses a point that fits nowhere.
        kinds = executor.needs_of(plan, reach)
        self._lanes = Lanes(executor, kinds, len(plan.seeds))
        kind = executor.describe()
        told = kind.get("device", "cpu")  # None: some runs on one, some on another
        device = None if told is None else str(told).partition(":")[0]
        on_cpu = device == "cpu"
        self.costs.learn_table(plan, known, device, kind.get("n_threads"))
        fuses = plan.experiment.fused is not None and executor.fuse
        most = Most(self.costs, executor if fuses else None)
        self.costs.fusing = most.fuses
        self.backlog = Backlog(plan, self.costs, self.sampler.ask(), attempts, most, kinds)
        self.committer = Committer(table, plan, launch_id, every_s=commit_every_s, clock=clock)
        self.report = RunReport(self.sampler.n_planned, self.sampler.n_done)
        self._sharing = Sharing(
            plan, table, self.backlog, self.report, self.sampler, clock, look_every_s
        )
        self._flights = Flights()
        self._emptying: set[int] = set()  # those that wait for a node of their own
        self._next_task = 0
        self._recovery = Recovery(
            self.backlog, self.costs, executor, on_failure.max_attempts, clock, on_cpu=on_cpu
        )
        self._too_many = TooManyFailures(on_failure.stop_after, on_failure.stop_at)
        self._teller = Teller(
            watcher, self.report, self.backlog, self._flights, executor, self.sampler, clock
        )
        self.stopping: Stopping | None = None  # which runs end early
        self.place: Place | None = None  # where runs may keep checkpoints
        self._from_start: Counter[str] = Counter()  # though they had one, and why
        self._hear, self._interrupts = hear, Interrupts()
        self._started, self._begun = clock(), False
        if executor.in_process:
            executor.attend(self._hand, self._interrupts.came)

    def begin(self) -> None:
        """Hand out the first tasks ahead of ``run``, on an executor that is started."""
        self._started, self._begun = self._clock(), True
        self._teller.begin(self._started)
        self._submit()

    def stop(self) -> None:
        """End as at a Ctrl-C; from any thread, at any time."""
        self._interrupts.ask()

    def run(self) -> RunReport:
        """Run to the end, on an executor that is started.

        The first Ctrl-C takes what has finished, or does within FINISH_S where runs are executed
        elsewhere, writes it and returns; a second one, or whatever
        else the caller's handlers raise, is passed on when that is written.  A StoreError passes
        on after one more try to write.
        """
        keeping = self.committer.by_time() if self.executor.in_process else nullcontext()
        with self._interrupts as interrupts, keeping:
            try:
                if not self._begun:
                    self.begin()
                self._loop(interrupts)
                self.committer.flush()
                interrupts.deliver()
            except KeyboardInterrupt:
                interrupts.heard()
                self.report.stopped = "interrupted"
                self.report.message = "interrupted; what had finished is in the table"
                with interrupts.released():
                    self._finish()
            finally:
                self._count()
                self.committer.flush()
            self.report.wall_s = self._clock() - self._started
            again = (
                f"{n:,} run{'s' * (n > 1)} {FROM_START[why]}" for why, n in self._from_start.items()
            )
            drew = told_unseeded(self.report, self.plan.experiment.name)
            slips = () if self.stopping is None else self.stopping.notes()
            told = (*self._recovery.notes(), *again, *self.executor.notes(), *drew)
            self.report.notes = (*told, *slips)
            self._teller.tell(at_once=True)
        return self.report

    def _loop(self, interrupts: Interrupts) -> None:
        self._teller.tell()
        while (self.backlog or self._flights) and self.report.stopped is None:
            self._submit()
            for event in self._poll(interrupts):
                self._take(event)
                if self.committer.due():
                    self.committer.flush()
            interrupts.deliver()
            self._kill_late()
            self._sharing.look()
            self._count()
            if self.committer.due():
                self.committer.flush()
            # A poll in this process may take as long as a run: news is not to wait for it.
            self._teller.tell(at_once=self.executor.in_process)

    def _count(self) -> None:
        """A sampler may come to ask for more runs, some of which had a row before."""
        self.report.planned = self.sampler.n_planned
        self.report.done_before = self.sampler.n_done - sum(self.report.statuses.values())

    def _finish(self) -> None:
        """Take what has finished, and what is about to."""
        for event in self.executor.poll(0):
            self._take(event)
        end = self._clock() + FINISH_S
        begun = {i for i, flight in self._flights.items() if flight.heard and flight.waiting}
        if self.executor.in_process or not begun:
            return
        self._teller.tell(finishing_s=FINISH_S)
        self.committer.flush()  # first of all what is there
        while begun & self._flights.keys() and self._clock() < end:
            for event in self.executor.poll(TICK_S):
                self._take(event)

    def _poll(self, interrupts: Interrupts) -> list[Event]:
        if not self.executor.in_process:
            events = self.executor.poll(TICK_S)  # soon over: a signal can wait until it is
        else:
            with interrupts.released():
                events = self.executor.poll(TICK_S)
        if not isinstance(events, list) or not all(isinstance(e, Event) for e in events):
            raise ExecutorError(
                f"poll of executor {self.executor.name} must return a list of Events, got "
                f"{events!r}. Mend the package that offers it."
            )
        return events

    def _hand(self, event: Event) -> None:
        """Take what a poll in this process has before it goes on, with signals held back."""
        if event.told is not None:
            self._told(event)
            return
        with self._interrupts.held_again():
            self._take(event)
            if self.committer.due():
                self.committer.flush()

    def _submit(self) -> None:
        n_slots = self.executor.n_slots
        while self.backlog:
            full = self._lanes.full(len(self._flights), n_slots)
            if full is None:
                break
            # A node is emptied only if nothing new is sent to it.
            if self._emptying and not self.backlog.turn_of_alone():
                break
            cut = self.backlog.take(n_slots, self.executor.slot_memory_bytes, full)
            if cut is None:
                break
            task = self._task(cut)
            self._next_task += 1
            self._flights[task.id] = Flight(task, self._clock())
            self._lanes.sent(task)
            if task.whole_node:
                self._emptying.add(task.id)
            self.executor.submit(task)

    def _task(self, cut: Cut) -> Task:
        runs = cut.runs
        if self.place is not None:
            runs = tuple(r._replace(place=self.place) for r in runs)
        return Task(
            self._next_task,
            runs,
            self.policy.timeout_s,
            self.costs.to_reserve([r.index for r in cut.runs], cut.groups),
            cut.groups,
            whole_node=cut.whole_node,
            memory_share=SHARE_AFTER_OOM if cut.whole_node else 1.0,
            avoid=self._recovery.avoided(cut.runs),
        )

    def _told(self, event: Event) -> None:
        """A run reports: no sign that it will end, so deadlines and forecasts do not heed it."""
        flight = self._flights.get(event.task_id)
        if event.told is not None and flight is not None and event.told.index in flight.waiting:
            told = event.told
            self.committer.curves.take(told)
            why = None if self.stopping is None else self.stopping.tell(told.index, told.points)
            if why is not None:
                self.executor.stop_run(event.task_id, told.index, why)

    def _take(self, event: Event) -> None:
        if event.told is not None:
            self._told(event)
            return
        flight = self._flights.get(event.task_id)
        if flight is None:
            return  # news of a task that was given up
        flight.last_news = self._clock()
        flight.heard = True
        self._emptying.discard(event.task_id)
        for outcome in map(_without_secrets, event.outcomes):
            run = flight.waiting.pop(outcome.index, None)
            if run is None:
                continue
            last = self._recovery.answered(run, outcome, flight)
            if last is not None:
                self._record(last)
            else:
                self.committer.curves.again(outcome)
        if event.lost is not None or event.done:
            del self._flights[event.task_id]
            self._lanes.ended(event.task_id)
            for outcome in self._recovery.ended(event.lost, flight):
                self._record(outcome)
            self.committer.curves.lost(list(flight.waiting))

    def _record(self, outcome: Outcome) -> None:
        if self.stopping is not None:
            rest = () if outcome.curve is None else outcome.curve.points
            self.stopping.ended(outcome.index, rest, well=outcome.status == "ok")
        outcome = self.committer.add(outcome)
        if self._hear is not None:
            self._hear(outcome)
        self.backlog.finished(outcome.index)
        self._teller.took(outcome.wall_s)
        self.sampler.tell(outcome)
        self.backlog.add(self.sampler.ask())
        self.report.statuses[outcome.status] += 1
        if outcome.resumed in FROM_START:
            self._from_start[outcome.resumed] += 1
        if outcome.unseeded_draws:
            self.report.unseeded[outcome.unseeded_draws] += 1
        if outcome.status == "ok":
            on_cpu, held = outcome.device == "cpu", outcome.peak_device_bytes
            peak = outcome.peak_memory_bytes if on_cpu else None
            self.costs.learn(outcome.index, outcome.wall_s, peak, outcome.n_fused)
            if not on_cpu and held is not None:
                point = outcome.index // len(self.plan.seeds)
                self.costs.on_cards.learn(point, held, outcome.device_name)
        stop = self._too_many.after(outcome)
        if stop is not None:
            self.report.stopped, self.report.message = stop.why, stop.message

    def _kill_late(self) -> None:
        """Kill tasks that are silent far past their deadline (a call that never returns)."""
        limit = self.policy.timeout_s
        if limit is None:
            return
        now = self._clock()
        for task_id, flight in self._flights.late(now, limit, KILL_GRACE_S):
            flight.last_news = now
            self.executor.kill(task_id)


def _without_secrets(outcome: Outcome) -> Outcome:
    """What a failure says is shown, written and archived: a worker does not know every secret."""
    told = (outcome.error, outcome.traceback, outcome.fused_error)
    if not any(told):
        return outcome
    error, traceback, fused_error = (None if t is None else hide(t) for t in told)
    return outcome._replace(error=error, traceback=traceback, fused_error=fused_error)
