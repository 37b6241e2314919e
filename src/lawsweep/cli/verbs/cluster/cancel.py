"""``lawsweep cancel``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.jobs import job_options, place
from lawsweep.cli.options import sweep_arguments

if TYPE_CHECKING:
    from lawsweep.remote.states import Job


@dataclass
class Cancelled(Answer):
    """A job, and whether it was under way when it was told to stop."""

    job: Job
    was_running: bool

    def lines(self) -> Iterator[str]:
        """One line: how it ended."""
        if self.job.state == "STOPPED" and self.was_running:
            yield f"job {self.job.id}: STOPPED; what had finished is in the table"
        else:
            yield f"job {self.job.id} had ended already: {self.job.state}"

    def to_dict(self) -> dict[str, Any]:
        """The job."""
        return dataclasses.asdict(self.job)


@verb(40)
@sweep_arguments
@job_options("the one that has not ended, needed where several have not")
def cancel(
    sweep: str, overrides: tuple[str, ...], job: str | None, address: str | None
) -> Cancelled:
    """Stop a job of the sweep; what had finished is in the table."""
    from lawsweep.remote.end import cancel as end_job
    from lawsweep.remote.end import job_to_cancel

    results, name = place(sweep, overrides)
    before = job_to_cancel(results, name, job, address=address)
    after = before if before.ended else end_job(results, name, before.id, address=address)
    return Cancelled(after, not before.ended)
