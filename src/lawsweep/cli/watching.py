"""An answer again and again: in place on a terminal, a line a change elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import click

from lawsweep.cli.answers import Answer, Note, give_line, show
from lawsweep.cli.plain_output import own_stream, spelled


@runtime_checkable
class Seen(Protocol):
    """An answer that is looked at again and again."""

    def headline(self) -> str:
        """The answer in a line."""

    def state(self) -> object:
        """What makes a line worth saying where it differs from that of the last look."""


Tell = Callable[[Answer, bool], None]  # an answer, and whether it is the last


@contextlib.contextmanager
def telling(every_s: float, as_json: bool) -> Iterator[Tell]:
    """How looks are told: all as JSON, in place, or where they differ as lines with the time.

    A Ctrl-C within ends it, and is said by nobody: who watches changes nothing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        if as_json:
            yield lambda answer, last: give_line(answer)
        elif sys.stdout.isatty():
            yield stack.enter_context(_in_place(every_s))
        else:
            yield _Log().tell


@contextlib.contextmanager
def _in_place(every_s: float) -> Iterator[Tell]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(file=own_stream(sys.stdout), highlight=False)
    foot = f"every {every_s:g} s; Ctrl-C ends the watch and nothing else"
    with Live(console=console, auto_refresh=False) as live:

        def tell(answer: Answer, last: bool) -> None:
            said = [f"note: {x}" if isinstance(x, Note) else x for x in answer.lines()]
            lines = [Text(spelled(x), overflow="ellipsis", no_wrap=not last) for x in said]
            ended = [] if last else [Text(foot, style="dim")]
            live.update(Group(*lines, *ended), refresh=True)

        yield tell


class _Log:
    """A line where something changed, and all of it at the end."""

    def __init__(self) -> None:
        self._last: object = None

    def tell(self, answer: Answer, last: bool) -> None:
        if last:
            show(answer)
            return
        assert isinstance(answer, Seen)
        if (state := answer.state()) != self._last:
            click.echo(f"{time.strftime('%H:%M:%S')}  {answer.headline()}")
            self._last = state
