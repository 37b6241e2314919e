"""``lawsweep logs``."""

from __future__ import annotations

import click

from lawsweep.cli.answers import verb
from lawsweep.cli.jobs import follow_to_its_end, job_options, place
from lawsweep.cli.options import sweep_arguments


@verb(30, only_prints=True, has_json=False)
@sweep_arguments
@job_options("the latest")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends, with its exit code.")
def logs(
    sweep: str, overrides: tuple[str, ...], job: str | None, address: str | None, follow: bool
) -> int:
    """What a job of the sweep has printed."""
    from lawsweep.remote.follow import job_log
    from lawsweep.remote.states import find_job

    results, name = place(sweep, overrides)
    found = find_job(results, name, job, address=address)
    if follow:
        return follow_to_its_end(found, results)
    click.echo(job_log(found), nl=False)
    return 0
