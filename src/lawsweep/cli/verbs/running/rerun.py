"""``lawsweep rerun``."""

from __future__ import annotations

import click

from lawsweep.cli.answers import verb
from lawsweep.cli.launching import Launched, launch
from lawsweep.cli.options import chosen_rows, sweep_arguments
from lawsweep.core.outcome import FAILURES


@verb(40, short_help="Run rows again: those that failed, or that you name.")
@sweep_arguments
@click.option("--failed", is_flag=True, help="Rows that failed, oom or timeout.")
@chosen_rows
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
def rerun(
    sweep: str,
    overrides: tuple[str, ...],
    failed: bool,
    where: tuple[str, ...],
    status: tuple[str, ...],
    run_ids: tuple[str, ...],
    yes: bool,
    no_analysis: bool,
    as_json: bool,
) -> Launched:
    """Run rows again that the table has: --failed, or --where 'width > 64 and status == "ok"'.

    How many rows that are, and how long they took, is said first. The older attempts stay in the
    table; the newest successful one counts. After a kill the same command goes on.
    """
    from lawsweep.study.amending.chosen import asked

    if failed and not (where or status or run_ids):
        return launch(sweep, overrides, analysis=not no_analysis, as_json=as_json, retry=True)
    again = asked(where, run_ids, (*status, *(FAILURES if failed else ())))
    return launch(sweep, overrides, analysis=not no_analysis, as_json=as_json, again=again, yes=yes)
