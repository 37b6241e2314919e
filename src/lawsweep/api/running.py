"""Run what the table lacks."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lawsweep.api.searching import open_search, write_thresholds
from lawsweep.api.study import commit_every_s, patience_s, study
from lawsweep.core.collection import set_aside
from lawsweep.core.errors import LawsweepError
from lawsweep.core.sweep import Sweep
from lawsweep.runner.provenance import launch_record, new_launch_id
from lawsweep.runner.report import describe_snapshot
from lawsweep.runner.run_plan import Launch, RunReport, Snapshot, Watcher, describe_report

if TYPE_CHECKING:
    from lawsweep.store.sweep_folder import SweepFolder

LIVE_S = 2.0  # how often a launch writes what it is at


def run(
    sweep: Sweep,
    *,
    executor: str | Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    command: str = "",
    retry: bool = False,
) -> RunReport:
    """Run what the table lacks (``retry``: what it has as failed, oom or timeout).

    ``executor`` overrides the sweep's (``"serial"``, ``"ray_local"``, ``"ray_cluster"`` or a
    mapping with ``kind``).  ``watcher`` is called with a Snapshot a few times a second.  Returns
    a RunReport; raises a LawsweepError before anything is written when the input is bad.
    """
    from lawsweep.api.job_request import driver_job
    from lawsweep.executors.make import make_executor
    from lawsweep.store.patient import PatientTable
    from lawsweep.store.skipping import tell_skipped
    from lawsweep.store.sweep_folder import SweepFolder

    opened = study(sweep)
    made, table = opened.plan, PatientTable(opened.table, patience_s(sweep), say=_say)
    worker = make_executor(executor if executor is not None else sweep.executor)
    every_s = commit_every_s(sweep)
    table.check_writable()
    folder = SweepFolder(sweep.folder)
    job = driver_job(folder, sweep.name)
    launch_id = new_launch_id()
    search = open_search(opened, retry=retry)
    # Built before anything is started or written: a cost function that fails says so here.
    launch = Launch(
        made,
        table,
        worker,
        launch_id=launch_id,
        on_failure=sweep.on_failure,
        retry=retry,
        search=search,
        watcher=_Watch(folder, launch_id, job, watcher),
        commit_every_s=every_s,
    )
    # Only now: a part may be whole at its end, which the first look reads, and torn before it.
    tell_skipped(opened.table.folder, opened.table.skipped)
    if not launch.backlog:
        folder.freeze(made, sweep.record())
        if search is not None:
            write_thresholds(opened, search, folder.folder)
        return launch.report
    folder.drop_dead(before=time.time() - 100 * LIVE_S)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(worker))
        worker.start(made.experiment)
        stack.enter_context(set_aside())
        launch.begin()  # workers take half a second to start: the records are written meanwhile
        folder.freeze(made, sweep.record(), launch_id)
        record = launch_record(launch_id, sweep, made, command, worker.describe())
        record |= {"job": job} if job else {}
        folder.write_launch(launch_id, record)
        launch.committer.tell_machines = _Hosts(folder, record)
        try:
            report = launch.run()
        finally:
            folder.end_beat(launch_id)
    record |= {"ended_at": datetime.now(UTC).isoformat(), "result": describe_report(report)}
    folder.write_launch(launch_id, record)
    if search is not None:
        write_thresholds(opened, search, folder.folder)
    return report


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


class _Watch:
    """Passes snapshots on, and leaves a sign of life in the store every few seconds."""

    def __init__(self, folder: Any, launch_id: str, job: str | None, watcher: Watcher | None):
        self._folder, self._launch_id, self._job = folder, launch_id, job
        self._watcher, self._due = watcher, float("-inf")
        # In an object store each sign is a request that is paid for; `status` looks 10 back.
        self._every_s = LIVE_S if folder.folder.is_local else 4 * LIVE_S

    def __call__(self, snapshot: Snapshot) -> None:
        if self._watcher is not None:
            self._watcher(snapshot)
        now = time.monotonic()
        if now >= self._due:
            # After a failure later: a store that does not answer must not hold up the launch.
            self._due = now + 30 * self._every_s
            state = {
                "launch_id": self._launch_id,
                "job": self._job,
                "host": platform.node(),
                "at": time.time(),
                **describe_snapshot(snapshot),
            }
            with contextlib.suppress(LawsweepError):  # a missing sign of life ends no launch
                self._folder.beat(self._launch_id, state)
                self._due = now + self._every_s
