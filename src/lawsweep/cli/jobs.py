"""What the verbs about jobs on a cluster share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import EXIT_INTERRUPTED
from lawsweep.cli.options import load, results_dir
from lawsweep.core.errors import UnknownNameError

if TYPE_CHECKING:
    from lawsweep.remote.states import Job


def job_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--job`` and ``--address`` of a job that was sent."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        which = f"Which one, or the beginning of its id; default: {default}."
        where = "Its head, where it is reached otherwise from here."
        function = click.option("--job", metavar="ID", help=which)(function)
        return click.option("--address", metavar="URL", help=where)(function)

    return add


def place(text: str, overrides: tuple[str, ...]) -> tuple[str, str]:
    """Where the results of a sweep are, and its name: also where its file is not."""
    is_path = text.endswith((".yaml", ".yml")) or "/" in text
    name = Path(text).stem if is_path else text
    where = tuple(o for o in overrides if o.partition("=")[0] == "results_dir")
    try:
        loaded = load(text, overrides)
        if len(where) < len(overrides):
            loaded.plan()  # which checks the names and values that load takes as they come
    except UnknownNameError:
        if len(where) < len(overrides):
            raise  # it is this sweep that its overrides are about
        return results_dir(where), name
    return loaded.results_dir, loaded.folder_name


def follow_to_its_end(job: Job, results: str) -> int:
    """Show a job's log, and on a terminal how far it is; its exit code at the end."""
    from lawsweep.cli.following import follow

    try:
        return follow(job, results)
    except KeyboardInterrupt:
        click.echo(
            f"\ndetached: the job {job.id} goes on (lawsweep attach or cancel, with the same "
            "words, finds it again)",
            err=True,
        )
        return EXIT_INTERRUPTED
