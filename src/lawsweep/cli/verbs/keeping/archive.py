"""``lawsweep archive``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.options import load, sweep_arguments
from lawsweep.cli.text import typed

if TYPE_CHECKING:
    from lawsweep.tools.archive import Archive


@dataclass
class Archived(Answer):
    """The archive that was written."""

    found: Archive

    def lines(self) -> Iterator[str]:
        """Where it is, what is in it, and how to check it."""
        done = self.found
        yield from map(Note, done.notes)
        yield f"{done.path}: {done.n_files:,} files, {done.n_rows:,} rows ({done.certificate})"
        yield f"check it with: lawsweep verify {typed(str(done.path), ())}"

    def to_dict(self) -> dict[str, Any]:
        """Every field."""
        return {**dataclasses.asdict(self.found), "path": str(self.found.path)}


@verb(20, short_help="All that a sweep's results rest on, in one folder or zip.")
@sweep_arguments
@click.option("-o", "--output", help="A new folder, or a .zip; default: SWEEP.zip here.")
def archive(sweep: str, overrides: tuple[str, ...], output: str | None) -> Archived:
    """Put all that the sweep's results rest on into one folder or zip, with a manifest.

    Plan, rows with every attempt, arrays, launch records, figures, report, the resolved sweep, the
    experiment's own files, package versions.  Its results folder is a results_dir as it stands.
    """
    from lawsweep.tools.archive import archive as write

    return Archived(write(load(sweep, overrides), output))
