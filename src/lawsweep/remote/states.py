"""Jobs of a sweep: where each is, and how it ends.

Each has a record, ``results/sweeps/<sweep>/jobs/<job>.json``, that says which head has it, so that
all this works from anywhere that sees the store.  A head that is gone is no obstacle: what the
driver left in the store is told instead.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import (
    ExecutorError,
    StoreError,
    UnknownNameError,
    unknown_name,
)
from lawsweep.grid.sweep import results_place
from lawsweep.remote.server import (
    ENDED,
    JobServer,
    Look,
    NoSuchJob,
    Unreachable,
    job_server_address,
)

if TYPE_CHECKING:
    from lawsweep.store.sweeps.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Job:
    """A job of a sweep, as its record and its head have it.

    ``state`` is Ray's word (PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED), or UNREACHABLE where
    its head does not answer, LOST where the head does not know it, UNKNOWN where the head cannot
    be asked, SENT where it was not; ``alive``: its driver gave a sign of life in the store a
    moment ago.
    """

    id: str
    sweep: str
    state: str
    address: str
    submitted_at: str
    by: str
    text: str = ""
    exit_code: int | None = None
    alive: bool = False
    command: str = ""
    digest: str = ""
    folder: str = ""

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED

    @property
    def under_way(self) -> bool:
        """Whether it waits or runs, as far as can be known."""
        return self.alive or self.state in ("PENDING", "RUNNING")


def jobs(
    results_dir: str, sweep: str, *, ask: bool = True, address: str | None = None
) -> list[Job]:
    """The jobs of a sweep, earliest first; with ``ask`` the heads of unfinished ones are asked.

    ``sweep``: the name of its folder (``Sweep.folder_name``).  ``address`` replaces the one in
    the records, where a head is reached by another from here.
    """
    return jobs_of(folder_of(results_dir, sweep), ask=ask, address=address)


def folder_of(results_dir: str, sweep: str) -> SweepFolder:
    """The folder of a sweep in a results folder."""
    from lawsweep.store.sweeps.sweep_folder import SweepFolder

    return SweepFolder(results_place(results_dir) / "sweeps" / sweep)


def jobs_of(folder: SweepFolder, *, ask: bool = True, address: str | None = None) -> list[Job]:
    """The jobs that have their records in a sweep's folder; see ``jobs``."""
    records = folder.job_records()
    if not records:
        return []
    if address is not None:
        address = job_server_address(address, {})
    alive = _alive(folder)
    servers: dict[str, JobServer | ExecutorError] = {}
    return [_job(folder, r, alive, servers, ask=ask, address=address) for r in records]


def _alive(folder: SweepFolder) -> dict[str, float]:
    """Jobs whose driver lives, and the seconds since its last sign of life."""
    return {str(s.state["job"]): s.age_s for s in folder.live() if s.state.get("job")}


def _job(
    folder: SweepFolder,
    record: Mapping[str, Any],
    alive: Mapping[str, float],
    servers: dict[str, JobServer | ExecutorError],
    *,
    ask: bool,
    address: str | None,
) -> Job:
    job, place = str(record["job"]), address or str(record.get("address"))
    if record.get("state") in ENDED:
        look: Look | ExecutorError | None = Look(
            str(record["state"]), record.get("exit_code"), str(record.get("message") or "")
        )
    elif not ask:
        look = None
    else:
        look = _ask(servers, place, job)
        if isinstance(look, Look) and look.ended:
            remember(folder, record, look)
    state, text = _told(folder, record, look, alive.get(job))
    return Job(
        id=job,
        sweep=str(record.get("sweep")),
        state=state,
        address=place,
        submitted_at=str(record.get("submitted_at") or "?"),
        by=str(record.get("by") or "?"),
        text=text,
        exit_code=look.exit_code if isinstance(look, Look) else None,
        alive=job in alive and not (isinstance(look, Look) and look.ended),
        command=str(record.get("command") or ""),
        digest=str(record.get("digest") or ""),
        folder=str(record.get("folder") or record.get("sweep")),
    )


def _ask(
    servers: dict[str, JobServer | ExecutorError], address: str, job: str
) -> Look | ExecutorError:
    """A head's answer; one that does not answer is asked once."""
    if address not in servers:
        try:
            servers[address] = JobServer(address)
        except ExecutorError as error:
            servers[address] = error
    server = servers[address]
    if isinstance(server, ExecutorError):
        return server
    try:
        return server.look(job)
    except ExecutorError as error:
        return error


def _told(
    folder: SweepFolder,
    record: Mapping[str, Any],
    look: Look | ExecutorError | None,
    age_s: float | None,
) -> tuple[str, str]:
    """State and words; what the head cannot say the store may."""
    if isinstance(look, Look):
        said = {
            "STOPPED": "cancelled; what had finished is in the table",
            "FAILED": _how_it_failed(look),
            "PENDING": look.message,
        }
        return look.state, said.get(look.state, "")
    seen = _evidence(folder, str(record["job"]), age_s)
    if look is None:
        return ("RUNNING" if age_s is not None else "SENT"), seen
    if isinstance(look, NoSuchJob):
        return "LOST", f"the head at {record.get('address')} does not know it; {seen}"
    if isinstance(look, Unreachable):
        elsewhere = record.get("host") != platform.node() and "//127." in str(record["address"])
        hint = f" (as seen from {record.get('host')}; give --address)" if elsewhere else ""
        return "UNREACHABLE", f"head at {record.get('address')} does not answer{hint}; {seen}"
    return "UNKNOWN", f"{look} {seen}"


def _how_it_failed(look: Look) -> str:
    if not look.exit_code:
        return look.message
    if look.exit_code < 0:
        return f"its driver was killed by signal {-look.exit_code}"
    return f"exit code {look.exit_code}"


def _evidence(folder: SweepFolder, job: str, age_s: float | None) -> str:
    """What the store knows of a job's driver."""
    if age_s is not None:
        return f"its driver gave a sign of life {max(0.0, age_s):.0f} s ago"
    for launch in folder.launch_records():
        if launch.get("job") == job:
            result = launch.get("result")
            if not isinstance(result, dict):
                return "its driver started, and gives no sign of life"
            counts = result.get("statuses") or {}
            what = ", ".join(f"{n:,} {status}" for status, n in counts.items()) or "nothing to do"
            how = f", {result['stopped']}" if result.get("stopped") else ""
            return f"its driver ended ({what}{how})"
    return "its driver has left no sign of life"


def remember(folder: SweepFolder, record: Mapping[str, Any], look: Look, **more: Any) -> None:
    """Keep a job's end in its record: the head will forget it, or go."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    end = {"state": look.state, "exit_code": look.exit_code, "message": look.message}
    with contextlib.suppress(StoreError):  # who looks may have no right to write
        folder.write_job(str(record["job"]), {**record, **end, "known_at": now, **more})


def find_job(
    results_dir: str, sweep: str, job: str | None = None, *, address: str | None = None
) -> Job:
    """One job of a sweep: the one whose id is or begins with ``job``, else the latest sent.

    Raises UnknownNameError with the nearest sweep or job, or the several that begin so.
    """
    folder = folder_of(results_dir, sweep)
    records = {str(r["job"]): r for r in folder.job_records()}
    if not records:
        raise _no_jobs(results_dir, sweep)
    if job is None:
        chosen = list(records)[-1]
    else:
        fits = [j for j in records if j == job] or [j for j in records if j.startswith(job)]
        if len(fits) > 1:
            raise UnknownNameError(
                f"{len(fits)} jobs of {sweep} begin with {job!r}: {', '.join(fits)}. Give more of "
                "the one that is meant."
            )
        if not fits:
            raise unknown_name("job", job, records, f"sweep {sweep}")
        chosen = fits[0]
    if address is not None:
        address = job_server_address(address, {})
    return _job(folder, records[chosen], _alive(folder), {}, ask=True, address=address)


def _no_jobs(results_dir: str, sweep: str) -> UnknownNameError:
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.sweeps.sweep_folder import SweepFolder

    sweeps = open_folder(results_place(results_dir)) / "sweeps"
    names = [n for n in sweeps.folders() if (sweeps / n / "jobs").names()]
    asked = [(SweepFolder(sweeps / n).question() or {}) for n in names if n != sweep]
    told = [" ".join(map(str, a["overrides"])) for a in asked
            if a.get("sweep") == sweep and isinstance(a.get("overrides"), list)]  # fmt: skip
    if told:
        return UnknownNameError(
            f"No job of {sweep} as its file stands was sent; there are some under other "
            f"overrides: {'; '.join(told)}. Say the same after the sweep."
        )
    if names and sweep not in sweeps.folders():
        return unknown_name("sweep", sweep, names, f"the jobs of {results_dir}")
    return UnknownNameError(
        f"No job of {sweep} was sent with results in {results_dir}. Send one with lawsweep submit "
        f"{sweep}, or name the results folder: results_dir=..."
    )
