"""``lawsweep run``."""

from __future__ import annotations

import click

from lawsweep.cli.answers import verb
from lawsweep.cli.launching import Launched, launch
from lawsweep.cli.options import sweep_arguments


@verb(10, short_help="Run what the table lacks, then fit and draw.")
@sweep_arguments
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first run that fails.")
@click.option("--accept", is_flag=True, help="Rows of other code count as made by today's.")
@click.option("--recompute", is_flag=True, help="Also rows of other code that was not accepted.")
def run(
    sweep: str,
    overrides: tuple[str, ...],
    no_analysis: bool,
    exitfirst: bool,
    accept: bool,
    recompute: bool,
    as_json: bool,
) -> Launched:
    """Run what the table lacks, then fit and draw.

    Where the code was edited since rows were made (`lawsweep diff SWEEP` shows how): --accept
    declares it the same, in the sweep's folder and for good; --recompute also runs these rows
    again, and says first how many and what that takes.
    """
    if exitfirst:
        overrides = (*overrides, "on_failure.stop_at=1")
    return launch(
        sweep,
        overrides,
        analysis=not no_analysis,
        as_json=as_json,
        accept=accept,
        recompute=recompute,
    )
