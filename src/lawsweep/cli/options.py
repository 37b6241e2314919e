"""What the verbs share: arguments, notes, and how a sweep and a results folder are asked for."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from lawsweep.cli.shell.completion import overrides_like, sweeps_like
from lawsweep.core.secrets import hide
from lawsweep.store.sweeps.skipping import OtherCodeWarning, SkippedFileWarning

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep

_TOLD: set[str] = set()
_NOTES = (SkippedFileWarning, OtherCodeWarning)


def sweep_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """``SWEEP [OVERRIDES]...``."""
    function = click.argument("overrides", nargs=-1, shell_complete=overrides_like)(function)
    return click.argument("sweep", shell_complete=sweeps_like)(function)


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
