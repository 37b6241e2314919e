"""Run what the table lacks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lawsweep.core.code.source import source_of
from lawsweep.core.errors import LawsweepError
from lawsweep.core.secrets import hide
from lawsweep.launch.loop import Loop, RunReport, Watcher, describe_report
from lawsweep.launch.record.heart import Heart
from lawsweep.launch.record.provenance import launch_record, new_launch_id
from lawsweep.launch.sharing import LOOK_S, own_order
from lawsweep.store.table.collection import set_aside
from lawsweep.study.code import tell_other_rows
from lawsweep.study.questions import claim, open_own_folder
from lawsweep.study.sampling import open_sampler, write_findings

if TYPE_CHECKING:
    from lawsweep.store.sweeps.signs import Sign
    from lawsweep.store.sweeps.sweep_folder import SweepFolder
    from lawsweep.study.study import Study


def run(
    study: Study,
    *,
    executor: str | Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    command: str = "",
    retry: bool = False,
) -> RunReport:
    """See ``Study.run``."""
    from lawsweep.executors.make import make_executor
    from lawsweep.launch.record.driver_job import driver_job
    from lawsweep.store.options import read_store
    from lawsweep.store.sweeps.skipping import tell_skipped
    from lawsweep.store.table.patient import PatientTable

    sweep, made = study.sweep, study.plan
    worker = make_executor(executor if executor is not None else sweep.executor)
    store = read_store(sweep.store, sweep.results_dir)
    if not study.known.is_current():
        study.refresh()
    # A hand of its own: whoever looks at the table meanwhile takes no news from the launch.
    table = PatientTable(study.table.since(study.known.parts), store.patience_s, say=_say)
    table.check_writable()
    folder = open_own_folder(sweep, made)
    job = driver_job(folder, sweep.name)
    launch_id = new_launch_id()
    sampler = open_sampler(study.known, retry=retry)
    facts = {"job": job, "experiment": made.experiment.name, "patience_s": table.patience_s}
    heart = Heart(folder, launch_id, facts, watcher)
    is_local = folder.folder.is_local  # in an object store each look is a request
    # Built before anything is started or written: a cost function that fails says so here.
    loop = Loop(
        made,
        table,
        worker,
        known=study.done,
        launch_id=launch_id,
        on_failure=sweep.on_failure,
        retry=retry,
        sampler=sampler,
        watcher=heart,
        commit_every_s=store.commit_every_s,
        look_every_s=LOOK_S if is_local else 10 * LOOK_S,
    )
    # Only now: a part may be whole at its end, which the first look reads, and torn before it.
    tell_skipped(study.table.folder, study.table.skipped)
    tell_other_rows(study)
    if not loop.backlog:
        claim(folder, sweep, made, anew=job is None)
        folder.freeze(made, sweep.record())
        write_findings(study, sampler, folder.folder)
        return loop.report
    folder.drop_dead()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(worker))
        worker.start(made.experiment)
        stack.enter_context(heart)
        # Only now: of two that start at the same time one at least sees the other.
        if others := [s for s in folder.live() if s.launch_id != launch_id]:
            _say(beside(others))
            loop.backlog.shuffle(own_order(launch_id))
        stack.enter_context(set_aside())
        loop.begin()  # workers take half a second to start: the records are written meanwhile
        # A job's folder is claimed by who sent it, whose file goes on changing.
        claim(folder, sweep, made, anew=job is None)
        folder.freeze(made, sweep.record(), launch_id)
        source = source_of(made.experiment, made.own_modules())
        folder.write_source(source)
        record = launch_record(launch_id, sweep, made, command, worker.describe(), source)
        record |= {"job": job} if job else {}
        folder.write_launch(launch_id, record)
        loop.committer.tell_machines = _Hosts(folder, record)
        try:
            report = loop.run()
        except BaseException as end:
            kind = "interrupted" if isinstance(end, KeyboardInterrupt) else "error"
            loop.report.stopped, loop.report.message = (
                kind,
                hide(f"{end}") or type(end).__name__,
            )
            with contextlib.suppress(LawsweepError):  # it may be the store that ended it
                _close(folder, record, loop.report)
            raise
    _close(folder, record, report)
    write_findings(study, sampler, folder.folder)
    return report


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


def _say(text: str) -> None:
    print(f"lawsweep: {text}", file=sys.stderr, flush=True)


class _Hosts:
    """Adds a host to the record of the launch before the first of its rows is written."""

    def __init__(self, folder: SweepFolder, record: dict[str, Any]):
        self._folder, self._record, self._n = folder, record, 0

    def __call__(self, machines: Mapping[str, Any]) -> None:
        self._record["hosts"] = machines
        if len(machines) > self._n:
            with contextlib.suppress(LawsweepError):  # tried again with the rows that follow
                self._folder.write_launch(self._record["launch_id"], self._record)
                self._n = len(machines)
