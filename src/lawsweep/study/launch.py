"""One launch of a study: a handle that can be watched, waited for and cancelled."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lawsweep.core.code.source import source_of
from lawsweep.core.errors import InvalidValueError, LawsweepError
from lawsweep.core.outcome import Outcome
from lawsweep.core.secrets import hide
from lawsweep.core.shown import Shown
from lawsweep.launch.interrupts import wait_at_exit
from lawsweep.launch.loop import Loop, RunReport, Watcher, describe_report
from lawsweep.launch.record.heart import Heart
from lawsweep.launch.record.hosts import Hosts
from lawsweep.launch.record.provenance import launch_record, new_launch_id
from lawsweep.launch.report import Snapshot, UnseededDrawsWarning, told_unseeded
from lawsweep.launch.sharing import LOOK_S, own_order
from lawsweep.launch.sinks.delivery import Delivery
from lawsweep.launch.sinks.make import make_sinks
from lawsweep.store.table.collection import set_aside
from lawsweep.study.code.lacking import tell_lacking
from lawsweep.study.code.recomputing import again_and_missing, failed_again
from lawsweep.study.code.rows import tell_other_rows
from lawsweep.study.kept_outcomes import Kept
from lawsweep.study.notebook import awaited, choose_executor, redraw, say
from lawsweep.study.opening import Opened
from lawsweep.study.questions import claim, open_own_folder
from lawsweep.study.reading.findings import write_findings
from lawsweep.study.stopping import stopping_of

if TYPE_CHECKING:
    from lawsweep.store.sweeps.signs import Sign
    from lawsweep.store.sweeps.sweep_folder import SweepFolder


class Launch(Shown):
    """A launch: made by ``Study.start``, which is under way when it is returned.

    Iterating gives every Outcome as it comes in, without its large arrays, and ends with the
    launch; each iterator begins with the first (of more than KEPT, with the earliest still kept).
    """

    def __init__(
        self,
        study: Opened,
        *,
        executor: str | Mapping[str, Any] | None = None,
        sinks: Sequence[Any] = (),
        watcher: Watcher | None = None,
        command: str = "",
        retry: bool = False,
        again: Collection[int] | None = None,
        recompute: bool = False,
        keep: bool = True,
    ):
        """Check and build all that a launch needs; nothing is started or written yet.

        ``again``: places in the plan whose row is made again, whatever it is; ``recompute``: those
        of other code, and what is missing.
        """
        from lawsweep.executors.make import make_executor
        from lawsweep.launch.record.driver_job import driver_job
        from lawsweep.store.options import read_store
        from lawsweep.store.sweeps.skipping import tell_skipped
        from lawsweep.store.table.patient import PatientTable

        sweep = study.sweep
        if why := getattr(study.plan.experiment.function, "cannot_run", None):
            raise InvalidValueError(why)
        self.study, self.id, self._command = study, new_launch_id(), command
        self._executor = make_executor(choose_executor(sweep, executor))
        self._delivery = Delivery([*make_sinks(sweep.sinks), *make_sinks(sinks)])
        self._store = store = read_store(sweep.store, sweep.results_dir)
        if not study.known.is_current():
            study.refresh()
        # A hand of its own: whoever looks at the table meanwhile takes no news from the launch.
        table = study.table.since(study.known.parts)
        self._table = PatientTable(table, store.patience_s, say=say)
        self._table.check_writable()
        self._folder = open_own_folder(sweep, study.plan)
        self._job = driver_job(self._folder, sweep.name)
        self._recomputes = recompute and (again := again_and_missing(study)) is not None
        self._sampler = study.known.open_sampler(retry=retry, again=again)
        ids = [study.plan.run_ids[i] for i in again or ()]
        self._from_start = [r for r in ids if r in study.done and study.done[r].status == "ok"]
        self._watcher = watcher
        facts = {"job": self._job, "experiment": study.plan.experiment.name,
                 "patience_s": self._table.patience_s}  # fmt: skip
        self._heart = Heart(self._folder, self.id, facts, self._watch)
        is_local = self._folder.folder.is_local  # in an object store each look is a request
        self._fresh: list[Outcome] = []
        # Built before anything is started or written: a cost function that fails says so here.
        self._loop = Loop(
            study.plan,
            self._table,
            self._executor,
            launch_id=self.id,
            on_failure=sweep.on_failure,
            known=study.done,
            retry=retry,
            sampler=self._sampler,
            watcher=self._heart,
            hear=self._fresh.append,
            commit_every_s=store.commit_every_s,
            look_every_s=LOOK_S if is_local else 10 * LOOK_S,
        )
        self._heart.curves = self._loop.committer.curves
        # Only now: a part may be whole at its end, which the first look reads, and torn before it.
        tell_skipped(study.table.folder, study.table.skipped)
        if not recompute:
            tell_other_rows(study)
            tell_lacking(study)
        report = self._loop.report
        self._state = Snapshot(report.planned, report.done_before, {}, 0, 0.0, 0.0, None)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._ended, self._outcomes = threading.Event(), Kept() if keep else None

    def __repr__(self) -> str:
        where = "ended" if self._ended.is_set() else "under way"
        done = self._state.done_before + self._state.finished
        return f"Launch({self.id} of {self.study.sweep.name!r}, {where}: {done:,} runs done)"

    def _shown(self) -> tuple[str, Mapping[str, Any]]:
        state, ended = self._state, self._ended.is_set()
        return f"Launch {self.id} of {self.study.sweep.name}", {
            "state": self._loop.report.stopped or ("ended" if ended else "under way"),
            "done": f"{state.done_before + state.finished:,} of {state.planned:,} runs",
            "ended here": ", ".join(f"{n:,} {s}" for s, n in state.statuses.items()),
            "rate": f"{state.rate:.3g} runs/s" if state.finished else "",
            "left": "" if ended or state.eta_s is None else f"about {state.eta_s:.3g} s",
        }

    def _ipython_display_(self) -> None:
        redraw(self)

    def ended(self, timeout_s: float = 0.0) -> bool:
        """Whether it has ended, waited for so long at most."""
        return self._ended.wait(timeout_s)

    def status(self) -> Snapshot:
        """Where the launch is, as of a moment ago."""
        return self._state

    def cancel(self) -> None:
        """End it as Ctrl-C does: what has finished, or does within seconds, is in the table.

        Returns at once; ``wait`` for the end.
        """
        self._loop.stop()
        self._table.hurry()

    def wait(self, timeout_s: float | None = None) -> RunReport:
        """The report, when the launch has ended; raises what ended it, if that was an error.

        Raises TimeoutError after ``timeout_s``, and the launch goes on.  A Ctrl-C while it
        waits is one for the launch too.
        """
        try:
            if not self._ended.wait(timeout_s):
                raise TimeoutError(
                    f"The launch {self.id} had not ended after {timeout_s:g} s, and goes on: wait "
                    "again, look at status(), or cancel() it."
                )
        except KeyboardInterrupt:
            self.cancel()
            self._ended.wait()
            raise
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._loop.report

    def __await__(self) -> Generator[Any, None, RunReport]:
        """``wait`` in a coroutine, whose loop goes on; cancelled, it cancels the launch."""
        return awaited(self).__await__()

    def __iter__(self) -> Iterator[Outcome]:
        if self._outcomes is None:
            raise LawsweepError(
                "Study.run keeps no outcomes: iterate over what Study.start returns, or give a "
                "sink."
            )
        return iter(self._outcomes)

    def begin(self) -> None:
        """Run in a thread of its own.  The program waits for it before it ends."""
        self._thread = threading.Thread(target=self._run_apart, name=f"lawsweep-{self.id}")
        wait_at_exit(self)
        self._thread.start()

    def _run_apart(self) -> None:
        try:
            self.run()
        except BaseException as end:  # noqa: BLE001  (wait raises it)
            self._error = self._error or end

    def run(self) -> RunReport:
        """Run to the end in this thread."""
        report = self._loop.report
        try:
            self._delivery.started(self)
            if self._loop.backlog:
                self._run()
            else:
                self._claim()
                write_findings(self.study, self._sampler, self._folder.folder)
        except BaseException as end:
            kind = "interrupted" if isinstance(end, KeyboardInterrupt) else "error"
            report.stopped, report.message = kind, hide(f"{end}") or type(end).__name__
            self._error = end
            raise
        finally:
            try:
                self._pass_on(None)
                again = failed_again(report) if self._recomputes else ()
                report.notes = (*report.notes, *again, *self._delivery.ended(report))
                self.study.refresh()
            finally:  # whoever waits is never left waiting
                self._state = self._state.at_end(report)
                if self._outcomes is not None:
                    self._outcomes.end()
                self._ended.set()
        for text in told_unseeded(report, self.study.plan.experiment.name):
            warnings.warn(text, UnseededDrawsWarning, stacklevel=2)
        return report

    def _run(self) -> None:
        loop, folder, study = self._loop, self._folder, self.study
        from lawsweep.store.curves.checkpoints import Checkpoints

        folder.drop_dead()
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(self._executor))
            self._executor.start(study.plan.experiment)
            stack.enter_context(self._heart)
            # Only now: of two that start at the same time one at least sees the other.
            if others := [s for s in folder.live() if s.launch_id != self.id]:
                say(beside(others))
                loop.backlog.shuffle(own_order(self.id))
            stack.enter_context(set_aside())
            source = source_of(study.plan.experiment, study.plan.own_modules())
            kept = Checkpoints(study.table.results, study.plan.experiment.name)
            loop.place = kept.place(source.digest, keep=self._store.keep_checkpoints)
            loop.committer.drop_checkpoints = kept.drop
            kept.drop(self._from_start)
            loop.stopping = stopping_of(study)
            loop.begin()  # workers take half a second to start: the records are written meanwhile
            self._claim(self.id)
            folder.write_source(source)
            record = launch_record(
                self.id, study.sweep, study.plan, self._command, self._executor.describe(), source
            )
            record |= {"job": self._job} if self._job else {}
            folder.write_launch(self.id, record)
            loop.committer.tell_machines = Hosts(folder, record)
            try:
                loop.run()
            except BaseException as end:
                kind = "interrupted" if isinstance(end, KeyboardInterrupt) else "error"
                loop.report.stopped = kind
                loop.report.message = hide(f"{end}") or type(end).__name__
                with contextlib.suppress(LawsweepError):  # it may be the store that ended it
                    _close(folder, record, loop.report)
                raise
        _close(folder, record, loop.report)
        write_findings(study, self._sampler, folder.folder)

    def _claim(self, launch_id: str | None = None) -> None:
        """Say whose the folder is, and freeze the plan."""
        sweep, plan = self.study.sweep, self.study.plan
        # A job's folder is claimed by who sent it, whose file goes on changing.
        claim(self._folder, sweep, plan, anew=self._job is None)
        self._folder.freeze(plan, sweep.record(), launch_id)

    def _watch(self, snapshot: Snapshot) -> None:
        """Told by the loop, in its thread, a few times a second."""
        self._state = snapshot
        if self._watcher is not None:
            self._watcher(snapshot)
        self._pass_on(snapshot)

    def _pass_on(self, snapshot: Snapshot | None) -> None:
        """Hand the outcomes that came in to sinks and iterators."""
        fresh = [o if o.arrays is None else o._replace(arrays=None) for o in self._fresh]
        self._fresh.clear()
        self._delivery.tell(fresh, snapshot)
        if self._outcomes is not None:
            self._outcomes.add(fresh)


def beside(others: Sequence[Sign]) -> str:
    """Whom a launch shares its work with."""
    who = "; ".join(map(str, others))
    return (
        f"this sweep is being run already: {who}. The work is shared: each launch leaves to the "
        "others what they have done."
    )


def _close(folder: SweepFolder, record: dict[str, Any], report: RunReport) -> None:
    """Say in the launch's record that it ended, and how."""
    record |= {"ended_at": datetime.now(UTC).isoformat(), "result": describe_report(report)}
    folder.write_launch(record["launch_id"], record)
