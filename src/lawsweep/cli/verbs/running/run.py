"""``lawsweep run``."""

from __future__ import annotations

import click

from lawsweep.cli.answers import verb
from lawsweep.cli.launching import Launched, launch
from lawsweep.cli.options import sweep_arguments


@verb(10)
@sweep_arguments
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
@click.option("-x", "--exitfirst", is_flag=True, help="Stop at the first run that fails.")
def run(
    sweep: str, overrides: tuple[str, ...], no_analysis: bool, exitfirst: bool, as_json: bool
) -> Launched:
    """Run what the table lacks, then fit and draw."""
    if exitfirst:
        overrides = (*overrides, "on_failure.stop_at=1")
    return launch(sweep, overrides, analysis=not no_analysis, as_json=as_json)
