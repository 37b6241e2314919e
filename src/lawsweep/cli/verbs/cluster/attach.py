"""``lawsweep attach``."""

from __future__ import annotations

from lawsweep.cli.answers import verb
from lawsweep.cli.jobs import follow_to_its_end, job_options, place
from lawsweep.cli.options import sweep_arguments


@verb(
    20,
    short_help="Follow a job: its log, how far it is, and at its end its exit code.",
    only_prints=True,
    has_json=False,
)
@sweep_arguments
@job_options("the latest")
def attach(sweep: str, overrides: tuple[str, ...], job: str | None, address: str | None) -> int:
    """Follow a job until it ends; Ctrl-C detaches, and the job goes on."""
    from lawsweep.remote.states import find_job

    results, name = place(sweep, overrides)
    return follow_to_its_end(find_job(results, name, job, address=address), results)
