"""What the verbs share: arguments, ``--json``, and how a sweep and a results folder are asked for.

Exit codes of single verbs stand here; those of errors are in ``core/errors.py``.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from lawsweep.core.secrets import hide
from lawsweep.store.sweeps.skipping import OtherCodeWarning, SkippedFileWarning

if TYPE_CHECKING:
    from lawsweep.grid.sweep import Sweep

EXIT_FAILED_ROWS, EXIT_SAME_FAILURE, EXIT_INTERRUPTED = 3, 4, 130
EXIT_NOT_REPRODUCED, EXIT_PROBLEMS = 5, 6

_ANSWER: list[str] = []
_STDOUT: list[TextIO] = []
_TOLD: set[str] = set()
_NOTES = (SkippedFileWarning, OtherCodeWarning)


def sweep_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """``SWEEP [OVERRIDES]...``."""
    function = click.argument("overrides", nargs=-1)(function)
    return click.argument("sweep")(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: stdout has the answer alone; whatever else is printed goes to stderr."""

    @functools.wraps(function)
    def verb(**options: Any) -> Any:
        if not options["as_json"]:
            return function(**options)
        _ANSWER.clear()
        _STDOUT[:] = [sys.stdout]
        with contextlib.redirect_stdout(sys.stderr):
            code = function(**options)
        for text in _ANSWER:
            click.echo(text)
        return code

    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(verb)


def load(name: str, overrides: Iterable[str]) -> Sweep:
    """The sweep a person asked for; notes of what its overrides leave out."""
    from lawsweep.config.compose import load_sweep

    sweep = load_sweep(name, *overrides)
    warn(sweep.notes)
    return sweep


def say(value: Any) -> None:
    """Give ``value`` as the answer of ``--json``."""
    _ANSWER.append(to_json(value))


def say_line(value: Any) -> None:
    """Give ``value`` at once, on a line of its own: an answer of ``--json`` that is one of many."""
    click.echo(json.dumps(json.loads(hide(to_json(value)))), file=_STDOUT[-1])  # flushed


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
    import os

    from lawsweep.config.interpolations import resolve_text
    from lawsweep.config.overrides import parse_override
    from lawsweep.core.errors import unknown_name

    found = os.environ.get("LAWSWEEP_RESULTS_DIR") or "results"
    for text in overrides:
        override = parse_override(text)
        if override.path != ("results_dir",):
            raise unknown_name("key", ".".join(override.path), ["results_dir"], f"{text!r}")
        found = str(override.value or "results")
        found = str(resolve_text(found, {})) if "${" in found else found
    return found


def to_json(value: Any) -> str:
    """JSON for scripts: NaN and infinities become null, as JSON has none."""
    return json.dumps(_finite(value), indent=1, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
