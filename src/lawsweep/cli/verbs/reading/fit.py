"""``lawsweep fit``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.analysis.laws.results import FitResult


@dataclass
class Fitted(Answer):
    """The sweep's fits."""

    fits: list[FitResult]
    format: str | None = None
    output: str | None = None

    def lines(self) -> Iterator[str]:
        """The table, or lines: of a fit of several groups a table, of another its line."""
        from lawsweep.analysis.laws.table import fit_table

        if self.output is not None:
            yield f"fits: {self.output}"
        elif self.format in ("table", "latex", "csv"):
            text = fit_table(self.fits, self.format, width=_width())
            yield from text.splitlines()
        else:
            for name in dict.fromkeys(f.spec.name for f in self.fits):
                ours = [f for f in self.fits if f.spec.name == name]
                if self.format == "lines" or len(ours) == 1:
                    yield from (f"fit:    {found.summary()}" for found in ours)
                else:
                    yield from fit_table(ours, width=_width()).splitlines()

    def to_dict(self) -> list[dict[str, Any]]:
        """All that each fit says of itself."""
        return [found.to_dict() for found in self.fits]


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


@verb(30, only_prints=True)
@sweep_arguments
@click.option(
    "--format",
    type=click.Choice(["lines", "table", "latex", "csv"]),
    help="All that is known a line, or a table.",
)
@click.option("-o", "--output", type=click.Path(path_type=str), help="Write the table to a file.")
def fit(sweep: str, overrides: tuple[str, ...], format: str | None, output: str | None) -> Fitted:
    """Fit the laws the sweep names: exponents with intervals.

    A fit of several groups is a table, another a line; --format lines says of every group what is
    known of it.  With -o, a file of .csv, .tex or text.
    """
    from lawsweep.study.study import Study

    loaded = load(sweep, overrides)
    if not loaded.fits:
        raise InvalidValueError(f"Sweep {loaded.name} names no fits; add some under fits.")
    fits = Study(loaded).fit()
    if output is not None:
        from lawsweep.analysis.laws.table import fit_table
        from lawsweep.store.places.find import write_file

        ending = {".csv": "csv", ".tex": "latex"}.get(PurePath(output).suffix.lower(), "table")
        format = ending if format is None else format
        text = (
            "\n".join(f.summary() for f in fits) if format == "lines" else fit_table(fits, format)
        )
        write_file(output, f"{text.rstrip()}\n".encode() if format != "csv" else text.encode())
    return Fitted(fits, format, output)
