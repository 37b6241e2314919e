"""What a verb answers: lines for a person, plain values for a script, and an exit code.

A verb is a function in a file of its own under ``cli/verbs``, decorated with ``verb``; the file's
name is the verb's.  It returns an Answer, which is printed, or given as JSON with ``--json``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import click

from lawsweep.cli.options import warn
from lawsweep.core.errors import LawsweepError
from lawsweep.core.secrets import hide
from lawsweep.core.shown import to_json

EXIT_FAILED_ROWS, EXIT_SAME_FAILURE, EXIT_INTERRUPTED = 3, 4, 130
EXIT_NOT_REPRODUCED, EXIT_PROBLEMS = 5, 6

_STDOUT: list[TextIO] = []  # where the answer of --json goes, while all else goes to stderr


class Note(str):
    """A line that is a note: it goes to stderr."""

    __slots__ = ()


class Answer:
    """What a verb found.  ``error`` is raised when all of it has been said."""

    exit_code: int = 0
    error: LawsweepError | None = None

    def lines(self) -> Iterator[str]:
        """The lines for a person, as they come; a Note goes to stderr."""
        raise NotImplementedError

    def to_dict(self) -> Any:
        """The same as plain values: dicts, lists, texts, numbers."""
        raise NotImplementedError


class Verb(click.Command):
    """A command with its place in the list of verbs.

    ``only_prints``: it ends where nobody reads what it prints any more; others have more to do.
    """

    place: int
    only_prints: bool


def verb(
    place: int, *, short_help: str | None = None, only_prints: bool = False, has_json: bool = True
) -> Callable[[Callable[..., Any]], Verb]:
    """Make a function a verb, called as its file, at a place among the verbs of its folder.

    It returns an Answer, or an exit code where it has printed what there was to say; with a param
    ``as_json`` it is told whether ``--json`` was asked for.
    """

    def make(function: Callable[..., Any]) -> Verb:
        wants_to_know = "as_json" in inspect.signature(function).parameters

        @functools.wraps(function)
        def command(*, as_json: bool = False, **options: Any) -> int:
            if wants_to_know:
                options["as_json"] = as_json
            with _json_alone() if as_json else contextlib.nullcontext():
                found = function(**options)
                if isinstance(found, int):
                    return found
                text = to_json(found.to_dict()) if as_json else None
                if text is None:
                    show(found)
            if text is not None:
                click.echo(text)
            if found.error is not None:
                raise found.error
            return int(found.exit_code)

        if has_json:
            click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)
        name = function.__module__.rpartition(".")[2].rstrip("_")
        made = click.command(name, cls=Verb, short_help=short_help)(command)
        made.place, made.only_prints = place, only_prints
        return made

    return make


@contextlib.contextmanager
def _json_alone() -> Iterator[None]:
    """Whatever is printed on the way to an answer in JSON is none of it: it goes to stderr."""
    _STDOUT.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _STDOUT.pop()


def show(answer: Answer) -> None:
    """Print an answer for a person."""
    for line in answer.lines():
        if isinstance(line, Note):
            warn([line])
        else:
            click.echo(line)


def give_line(answer: Answer) -> None:
    """Give an answer at once on a line of JSON: one of many that a verb gives as they come."""
    click.echo(json.dumps(json.loads(hide(to_json(answer.to_dict())))), file=_STDOUT[-1])
