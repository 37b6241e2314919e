"""``lawsweep plot``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.core.errors import FigureError, InvalidValueError


class Drawn(Answer):
    """The figures that were drawn; its error names those that could not be."""

    def __init__(self, paths: Sequence[Any], error: FigureError | None):
        self.paths, self.error = paths, error

    def lines(self) -> Iterator[str]:
        """A line a file."""
        return (f"figure: {path}" for path in self.paths)

    def to_dict(self) -> list[str]:
        """Where the files are."""
        return [str(path) for path in self.paths]


@verb(40)
@sweep_arguments
def plot(sweep: str, overrides: tuple[str, ...]) -> Drawn:
    """Draw the sweep's figures: PNG and PDF."""
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    if not loaded.figures:
        raise InvalidValueError(f"Sweep {loaded.name} names no figures; add some under figures.")
    try:
        return Drawn(Study(loaded).plot(), None)
    except FigureError as error:
        return Drawn(error.drawn, error)
