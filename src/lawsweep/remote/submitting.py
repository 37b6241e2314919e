"""Send a sweep to a cluster as a Ray job, with a record in the store by which it is found again."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import LawsweepError, StoreError
from lawsweep.core.secrets import hide_overrides
from lawsweep.grid.sweep import Sweep
from lawsweep.remote import request as job_request
from lawsweep.remote.server import JobServer, job_server_address
from lawsweep.remote.shipping import Shipment, job_results_dir, survey
from lawsweep.remote.states import Job, jobs_of
from lawsweep.sampling.samplers import Chosen
from lawsweep.study.questions import claim, open_own_folder
from lawsweep.study.study import Study, open_study
from lawsweep.worker.presence import who

if TYPE_CHECKING:
    from lawsweep.grid.plan import Plan
    from lawsweep.store.sweeps.sweep_folder import SweepFolder


class AlreadyRunsError(LawsweepError):
    """The same runs are under way in another job."""

    exit_code = 7


@dataclass(frozen=True)
class Submitted:
    """A job that was sent; ``job`` is None where nothing is left to run.

    Of a search, ``n_planned`` is about how many runs it takes in all, ``n_missing`` how many it
    wants now, and ``search`` says both in words.  ``called``: the sweep and its results folder as
    attach, logs, status and cancel take them.
    """

    job: str | None
    address: str
    command: str
    results_dir: str
    n_planned: int
    n_missing: int
    shipment: Shipment | None
    notes: tuple[str, ...] = ()
    search: str | None = None
    called: str = ""


def submit(
    sweep: Sweep | Study | str,
    target: str | None = None,
    *,
    address: str | None = None,
    ship: bool = True,
    exclude: Sequence[str] = (),
    again: bool = False,
) -> Submitted:
    """Send a sweep as a Ray job whose driver runs on the cluster's head.

    ``sweep`` was loaded with ``executor=ray_cluster``; ``target`` is how it is called there (its
    name, or a path from the working folder).  Plans and checks here, before anything is sent;
    freezes the plan in the store.  ``ship``: the working folder goes along (see ``survey``).
    Raises a LawsweepError; AlreadyRunsError when a job with the same runs is under way, unless
    ``again``.
    """
    study = open_study(sweep)  # what can be wrong here is said before the head is asked
    sweep = study.sweep
    job_request.check_sendable(sweep)
    place = job_server_address(address, os.environ)
    target = target or sweep.name
    shipment = None
    if ship:
        shipment = survey(Path.cwd(), sweep.results, exclude)
    notes = job_request.notes(sweep, target, shipment)
    server = JobServer(place)
    seen = not ship or "://" in sweep.results_dir or server.is_this_machine()
    results = job_results_dir(sweep.results_dir, Path.cwd(), seen=seen, head=place)
    called = job_request.called(target, sweep, results)
    sweep = dataclasses.replace(
        sweep, results_dir=results, config={**sweep.config, "results_dir": results}
    )
    words = job_request.words(sweep, target)
    shown = [*words[:3], *hide_overrides(words[3:])]
    n_planned, n_missing, search = _left(study)
    found = Submitted(
        None, place, " ".join(shown), results, n_planned, n_missing, shipment, notes, search, called
    )
    if not found.n_missing and not again:
        return found
    study.table.check_writable()
    folder = open_own_folder(sweep, study.plan)
    digest = digest_of(study.plan, study.chosen)
    if not again:
        _refuse_twice(called, jobs_of(folder), digest)
        _refuse_beside(folder)
    job = _new_id(sweep.name, digest, folder.jobs.names())
    request = job_request.make(job, sweep.name, words, Path.cwd(), shipment)
    claim(folder, sweep, study.plan, anew=True)
    folder.freeze(study.plan, sweep.record())
    told = job_request.make(job, sweep.name, shown, Path.cwd(), shipment)
    found = dataclasses.replace(found, job=job, command=told["entrypoint"])
    _send(folder, server, request, _record(found, sweep, digest), shipment)
    return found


def _left(study: Study) -> tuple[int, int, str | None]:
    """Runs in all, runs that are missing now, and of a search what it expects, in words."""
    sampler = study.sampler
    return sampler.n_planned, sampler.n_wanted, sampler.forecast()


def _send(
    folder: SweepFolder,
    server: JobServer,
    request: dict[str, Any],
    record: Mapping[str, Any],
    shipment: Shipment | None,
) -> None:
    # The record first: the driver looks for it, to know that it sees the same store.
    folder.write_job(record["job"], record)
    try:
        with tempfile.TemporaryDirectory(prefix="lawsweep-") as packed:
            if shipment is not None and shipment.files:
                shipment.pack(Path(packed))
                request["runtime_env"]["working_dir"] = packed
            server.submit(request)
    except BaseException:
        with contextlib.suppress(StoreError):
            folder.jobs.delete(f"{record['job']}.json")
        raise


def _record(sent: Submitted, sweep: Sweep, digest: str) -> dict[str, Any]:
    return {
        "job": sent.job,
        "sweep": sweep.name,
        "folder": sweep.folder_name,
        "address": sent.address,
        "command": sent.command,
        "overrides": hide_overrides(sweep.overrides),
        "digest": digest,
        "n_planned": sent.n_planned,
        "submitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": who(),
        "host": platform.node(),
        "shipped": None if sent.shipment is None else len(sent.shipment.files),
        "state": None,
    }


def digest_of(plan: Plan, chosen: Chosen) -> str:
    """Six hexadecimal digits of the planned runs and the search: alike for the same work.

    Two searches over one plan differ: one to a smaller tolerance runs more of it.
    """
    joined = "\n".join(sorted(plan.run_ids)).encode()
    if not chosen.whole:
        joined += b"\n" + json.dumps(chosen.describe(), sort_keys=True).encode()
    return hashlib.blake2b(joined, digest_size=3).hexdigest()


def _new_id(name: str, digest: str, taken: Sequence[str]) -> str:
    """``ntk_width-3fa91c-20261122T053128``: of a form that Ray, URLs and file names all bear."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "sweep"
    first = f"{plain}-{digest}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    job, n = first, 1
    while f"{job}.json" in taken:
        n += 1
        job = f"{first}-{n}"
    return job


def _refuse_beside(folder: SweepFolder) -> None:
    for sign in folder.live():
        if not sign.state.get("job"):
            raise AlreadyRunsError(
                f"The sweep is being run already: {sign}. Wait for it, or send a job all the same "
                "with --again: the two share the work."
            )


def _refuse_twice(called: str, jobs: Sequence[Job], digest: str) -> None:
    for job in jobs:
        if job.digest == digest and job.under_way:
            raise AlreadyRunsError(
                f"The same runs are under way as job {job.id} ({job.state}, sent "
                f"{job.submitted_at} by {job.by}). Follow it with lawsweep attach {called} --job "
                f"{job.id}, or send them once more with --again (the two share the work)."
            )
