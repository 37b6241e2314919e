"""``lawsweep watch``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import click

from lawsweep.cli.answers import Answer, give_line, show, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.cli.text import typed
from lawsweep.cli.verbs.running.status import status


@dataclass
class Served(Answer):
    """Where the page of a sweep is served."""

    sweep: str
    url: str

    def lines(self) -> Iterator[str]:
        """One line."""
        yield f"watching {self.sweep} at {self.url}  (Ctrl-C ends it)"

    def to_dict(self) -> dict[str, str]:
        """``url``."""
        return {"url": self.url}


@verb(35)
@sweep_arguments
@click.option("--web", is_flag=True, help="As a page in the browser, on this machine alone.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Its port; else a free one.")
def watch(sweep: str, overrides: tuple[str, ...], web: bool, port: int, as_json: bool) -> int:
    """How a sweep gets on, again and again: as lines, or with --web as its page."""
    if not web:
        again = inspect.unwrap(status.callback or status)
        return int(again(sweep=sweep, overrides=overrides, watch=True, as_json=as_json))
    from lawsweep.study.reading.watching import Server, Watched
    from lawsweep.study.study import Study

    words = typed(sweep, overrides)
    server = Server(Watched(Study(load(sweep, overrides)), words), port)
    (give_line if as_json else show)(Served(words, server.url))
    try:
        server.serve()
    except KeyboardInterrupt:
        click.echo("watch ended; the sweep goes on", err=True)
    return 0
