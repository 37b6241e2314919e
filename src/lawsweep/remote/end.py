"""How a job ends: cancelled, or by itself with an exit code."""

from __future__ import annotations

import dataclasses
import time

from lawsweep.core.errors import ExecutorError, InvalidValueError
from lawsweep.remote.server import STOP_WAIT_S, JobServer
from lawsweep.remote.states import Job, find_job, folder_of, jobs, remember
from lawsweep.worker.presence import who

POLL_S = 0.5
OWN_CODES = (*range(1, 126), 130)  # others are a shell's: not found, killed


def job_to_cancel(
    results_dir: str, sweep: str, job: str | None = None, *, address: str | None = None
) -> Job:
    """The job that ``cancel`` is about: the one named, else the one that has not ended.

    Where all have ended: the latest.  Raises InvalidValueError where several have not.
    """
    if job is None:
        going = [j.id for j in jobs(results_dir, sweep, address=address) if not j.ended]
        if len(going) > 1:
            raise InvalidValueError(
                f"{len(going)} jobs of {sweep} have not ended; say which with --job: "
                f"{', '.join(going)}."
            )
        job = going[0] if going else None
    return find_job(results_dir, sweep, job, address=address)


def cancel(
    results_dir: str, sweep: str, job: str | None = None, *, address: str | None = None
) -> Job:
    """Stop a job: its driver writes what has finished, and ends.  Returns it as it ended.

    A job that has ended stays as it is.  Without ``job``: the one that has not ended; raises
    InvalidValueError where there are several.  Raises ExecutorError when the head does not
    answer, or the job does not end.
    """
    found = job_to_cancel(results_dir, sweep, job, address=address)
    if found.ended:
        return found
    server, folder = JobServer(found.address), folder_of(results_dir, sweep)
    server.stop(found.id)
    end = time.monotonic() + STOP_WAIT_S + 15
    while not (look := server.look(found.id)).ended:
        if time.monotonic() > end:
            raise ExecutorError(
                f"The job {found.id} was told to stop and is still {look.state}. Look again with "
                "lawsweep status, or cancel it once more."
            )
        time.sleep(POLL_S)
    record = next(r for r in folder.job_records() if r["job"] == found.id)
    remember(folder, record, look, cancelled_by=who())
    return dataclasses.replace(found, state=look.state, text="", alive=False)


def exit_code(job: Job) -> int:
    """The command's exit code for a job that ended: its driver's own, 130 where it was stopped.

    Raises ExecutorError for a driver that did not end by itself.
    """
    if job.state == "SUCCEEDED":
        return 0
    if job.state == "STOPPED":
        return 130
    if job.exit_code == 127:
        raise ExecutorError(
            f"The head at {job.address} has no lawsweep command. Install lawsweep (this version) "
            "in the environment that `ray start` was called in, on every node."
        )
    if job.state == "FAILED" and job.exit_code is not None and job.exit_code in OWN_CODES:
        return job.exit_code
    raise ExecutorError(
        f"The driver of job {job.id} is gone ({job.state}: {job.text or 'no reason given'}). What "
        "had finished is in the table; submit again to go on."
    )
