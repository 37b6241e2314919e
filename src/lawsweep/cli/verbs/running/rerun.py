"""``lawsweep rerun``."""

from __future__ import annotations

import click

from lawsweep.cli.answers import verb
from lawsweep.cli.launching import Launched, launch
from lawsweep.cli.options import sweep_arguments


@verb(40)
@sweep_arguments
@click.option("--failed", is_flag=True, required=True, help="Rows that failed, oom or timeout.")
@click.option("--no-analysis", is_flag=True, help="Do not fit and draw at the end.")
def rerun(
    sweep: str, overrides: tuple[str, ...], failed: bool, no_analysis: bool, as_json: bool
) -> Launched:
    """Try failed, oom and timeout rows again."""
    return launch(sweep, overrides, analysis=not no_analysis, as_json=as_json, retry=failed)
