"""A job's log as it comes, with a live line of how far it is where there is a terminal."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lawsweep.cli.progress import Display
    from lawsweep.remote.states import Job

# The driver's own lines of progress, of which the display shows the latest.
_PROGRESS = re.compile(r"[\d,]+/[\d,]+ done, |slowest under way: ")


def follow(job: Job, results: str) -> int:
    """Show the log until the job ends; the exit code of its driver."""
    from lawsweep.cli.progress import display
    from lawsweep.remote.end import exit_code
    from lawsweep.remote.follow import follow as news_of

    click.echo(f"job {job.id} at {job.address}; Ctrl-C detaches", err=True)
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(display()) if sys.stderr.isatty() else None
        ended, begun = job, ""
        for news in news_of(job, results, signs=live is not None):
            if isinstance(news, str):
                begun = _print(begun + news, live)
            elif isinstance(news, dict):
                if live is not None:
                    live.show(news)
            else:
                ended = news
        _print(begun + "\n" if begun else "", live)
    click.echo(f"job {ended.id}: {ended.state}", err=True)
    return exit_code(ended)


def _print(text: str, live: Display | None) -> str:
    """Print what is whole lines; the beginning of a line that is left."""
    *whole, begun = text.split("\n")
    for each in whole:
        if live is None:
            click.echo(each)
        elif not _PROGRESS.match(each):
            live.say(each)
    return begun
