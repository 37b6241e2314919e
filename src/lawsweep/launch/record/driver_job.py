"""Whether this process is the driver of a job that somebody sent, and of which."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING

from lawsweep.core.errors import StoreError

if TYPE_CHECKING:
    from lawsweep.store.sweeps.sweep_folder import SweepFolder

VARIABLE = "LAWSWEEP_JOB"  # in the driver's environment: <sweep>/<job>


def driver_job(folder: SweepFolder, sweep: str, patience_s: float = 5.0) -> str | None:
    """The job whose driver this process is, if it is one.

    Raises StoreError when the results folder here is not the one of who sent the job: the rows
    would go where nobody looks.
    """
    name, _, job = os.environ.get(VARIABLE, "").rpartition("/")
    if name != sweep or not job:
        return None
    end = time.monotonic() + patience_s  # a network share may show a new file late
    while f"{job}.json" not in folder.jobs.names():
        if time.monotonic() > end:
            raise StoreError(
                f"The results folder {folder.folder} on {platform.node()} is not the one that job "
                f"{job} was sent with: its record is not here. Give a results_dir that the head "
                "and you both see: a shared folder, or s3://bucket/prefix."
            )
        time.sleep(0.5)
    return job
