"""``lawsweep compact``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.names import first_name
from lawsweep.cli.options import results_dir
from lawsweep.cli.text import size

if TYPE_CHECKING:
    from lawsweep.store.upkeep.compact import Compacted as Report


@dataclass
class Compacted(Answer):
    """What became of each table's folders, and the tables that were left alone, with reasons."""

    tables: Mapping[str, Sequence[Report]]
    left: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """A line a folder: parts and bytes before and after, and what was left alone."""
        for report in (r for found in self.tables.values() for r in found):
            dropped = report.n_duplicates_dropped
            yield (
                f"{report.folder}: {report.n_parts_before:,} -> {report.n_parts_after:,} parts, "
                f"{size(report.bytes_before)} -> {size(report.bytes_after)}"
                + (f", {dropped:,} repeated rows" if dropped else "")
            )
            for name, reason in {**report.apart, **report.skipped}.items():
                yield Note(f"left alone {report.folder}/{name}: {reason}")
        yield from (Note(f"left alone {n}: {reason}") for n, reason in self.left.items())
        if not self.tables and not self.left:
            yield "there are no tables here"

    def to_dict(self) -> dict[str, Any]:
        """``tables`` and ``left_alone``."""
        found = {n: [dataclasses.asdict(r) for r in each] for n, each in self.tables.items()}
        return {"tables": found, "left_alone": self.left}


@verb(50, short_help="Many small files of a table into few large ones.")
@click.argument("words", metavar="[EXPERIMENT] [OVERRIDES]...", nargs=-1)
def compact(words: tuple[str, ...]) -> Compacted:
    """Put the many small files of one table (or of all) into few large ones.

    What a reader makes of the table is the same before, during and after; drivers may run, and it
    may be killed at any moment.
    """
    from lawsweep.tools.keeping import compact as compact_tables

    name, overrides = first_name(words)
    return Compacted(*compact_tables(name, results_dir(overrides)))
