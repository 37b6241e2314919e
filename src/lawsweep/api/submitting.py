"""Send a sweep to a cluster as a Ray job, with a record in the store by which it is found again."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.api import job_request
from lawsweep.api.job_states import Job, jobs_of, who
from lawsweep.api.shipping import Shipment, job_results_dir, survey
from lawsweep.api.study import study
from lawsweep.core.errors import LawsweepError, StoreError
from lawsweep.core.sweep import Sweep
from lawsweep.executors.ray_jobs import JobServer, job_server_address

if TYPE_CHECKING:
    from lawsweep.core.plan import Plan
    from lawsweep.store.sweep_folder import SweepFolder


class AlreadyRunsError(LawsweepError):
    """The same runs are under way in another job."""

    exit_code = 7


@dataclass(frozen=True)
class Submitted:
    """A job that was sent; ``job`` is None where every planned run is in the table already."""

    job: str | None
    address: str
    command: str
    results_dir: str
    n_planned: int
    n_missing: int
    shipment: Shipment | None
    notes: tuple[str, ...] = ()


def submit(
    sweep: Sweep,
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
    from lawsweep.store.parquet import ParquetTable
    from lawsweep.store.sweep_folder import SweepFolder

    job_request.check_sendable(sweep)
    opened = study(sweep)  # what can be wrong here is said before the head is asked
    place = job_server_address(address, os.environ)
    shipment = None
    if ship:
        shipment = survey(Path.cwd(), sweep.results, exclude)
    notes = job_request.notes(sweep, target or sweep.name, shipment)
    server = JobServer(place)
    seen = not ship or "://" in sweep.results_dir or server.is_this_machine()
    results = job_results_dir(sweep.results_dir, Path.cwd(), seen=seen, head=place)
    sweep = dataclasses.replace(
        sweep, results_dir=results, config={**sweep.config, "results_dir": results}
    )
    table = ParquetTable(sweep.tables, opened.plan.experiment)
    missing = len(opened.plan) - len(table.done(opened.plan.run_ids))
    words = job_request.words(sweep, target or sweep.name)
    found = Submitted(
        None, place, " ".join(words), results, len(opened.plan), missing, shipment, notes
    )
    if not missing and not again:
        return found
    table.check_writable()
    folder, digest = SweepFolder(sweep.folder), digest_of(opened.plan)
    if not again:
        _refuse_twice(sweep.name, jobs_of(folder), digest)
    job = _new_id(sweep.name, digest, folder.jobs.names())
    request = job_request.make(job, sweep.name, words, Path.cwd(), shipment)
    folder.freeze(opened.plan, sweep.record())
    record = _record(job, sweep, place, request["entrypoint"], digest, opened.plan, shipment)
    _send(folder, server, request, record, shipment)
    return dataclasses.replace(found, job=job, command=request["entrypoint"])


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


def _record(
    job: str,
    sweep: Sweep,
    address: str,
    command: str,
    digest: str,
    plan: Plan,
    shipment: Shipment | None,
) -> dict[str, Any]:
    return {
        "job": job,
        "sweep": sweep.name,
        "address": address,
        "command": command,
        "overrides": list(sweep.overrides),
        "digest": digest,
        "n_planned": len(plan),
        "submitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": who(),
        "host": platform.node(),
        "shipped": None if shipment is None else len(shipment.files),
        "state": None,
    }


def digest_of(plan: Plan) -> str:
    """Six hexadecimal digits of the set of planned runs: alike for what is the same work."""
    joined = "\n".join(sorted(plan.run_ids)).encode()
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


def _refuse_twice(name: str, jobs: Sequence[Job], digest: str) -> None:
    for job in jobs:
        if job.digest == digest and job.under_way:
            raise AlreadyRunsError(
                f"The same runs are under way as job {job.id} ({job.state}, sent "
                f"{job.submitted_at} by {job.by}). Follow it with lawsweep attach {name}, or send "
                "them once more with --again (harmless, but most runs would be computed twice)."
            )
