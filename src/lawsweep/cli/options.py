"""What the verbs share: arguments, notes, and how a sweep and a results folder are asked for."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from lawsweep.cli.shell.completion import overrides_like, sweeps_like
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.secrets import hide
from lawsweep.launch.report import UnseededDrawsWarning
from lawsweep.store.sweeps.skipping import OtherCodeWarning, SkippedFileWarning

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep

_TOLD: set[str] = set()
_NOTES = (SkippedFileWarning, OtherCodeWarning, UnseededDrawsWarning)


def sweep_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """``SWEEP [OVERRIDES]...``."""
    function = click.argument("overrides", nargs=-1, shell_complete=overrides_like)(function)
    return click.argument("sweep", shell_complete=sweeps_like)(function)


def chosen_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--where``, ``--status`` and ``--run-id``: which rows of a sweep are meant."""
    for option in (
        click.option(
            "--run-id", "run_ids", multiple=True, help="This run; a unique beginning will do."
        ),
        click.option("--status", multiple=True, help="Rows that ended so: ok, failed, oom, ..."),
        click.option(
            "--where", multiple=True, help="Rows for which this holds, 'width > 64'; all of them."
        ),
    ):
        function = option(function)
    return function


def confirmed(question: str, *, yes: bool, needed: bool) -> bool:
    """Whether to go on: asked at a terminal, unless it was said with ``--yes``.

    Where nobody can be asked it goes on, or (``needed``) InvalidValueError is raised.
    """
    if yes:
        return True
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        return click.confirm(question, err=True)
    if needed:
        raise InvalidValueError(
            f"{question} Nobody can be asked here: add --yes to do it, or --dry-run to look only."
        )
    return True


def is_printed(output: str | None, kind: str | None, *, as_json: bool) -> bool:
    """Whether rows are to be printed as text.  Raises UsageError where JSON is asked for too."""
    printed = output == "-" or (kind is not None and output is None)
    if printed and as_json:
        raise click.UsageError(
            "--format and -o - print rows as text, --json answers in JSON: give one of them."
        )
    return printed


def load(name: str, overrides: Iterable[str]) -> Sweep:
    """The sweep a person asked for; notes of what its overrides leave out."""
    from lawsweep.config.compose import load_sweep

    sweep = load_sweep(name, *overrides)
    warn(sweep.notes)
    return sweep


def warn(lines: Iterable[Any]) -> None:
    """Notes, on stderr."""
    for line in (hide(str(line)) for line in lines):
        _TOLD.add(line)
        click.echo(f"note: {line}", err=True)


def is_told(line: str) -> bool:
    """Whether it was a note of this command already."""
    return hide(line) in _TOLD


@contextlib.contextmanager
def warnings_as_notes() -> Iterator[None]:
    """What readers warn of (files passed over, rows of other code) are notes, each once."""
    _TOLD.clear()
    with warnings.catch_warnings():
        for kind in _NOTES:
            warnings.simplefilter("always", kind)
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, _NOTES):
                others(message, category, filename, lineno, file, line)
            elif hide(str(message)) not in _TOLD:
                warn([message])

        warnings.showwarning = show
        yield


def results_dir(overrides: Iterable[str]) -> str:
    """The results folder, of a verb whose only override is ``results_dir=...``."""
    from lawsweep.config.project.defaults import results_folder

    found, notes = results_folder(overrides)
    warn(notes)
    return found
