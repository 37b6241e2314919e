"""``lawsweep verify``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import EXIT_PROBLEMS, Answer, Note, verb
from lawsweep.cli.names import first_name, is_experiment, is_table
from lawsweep.cli.options import load, results_dir

if TYPE_CHECKING:
    from lawsweep.store.upkeep.verify_rows import Finding


@dataclass
class ArchiveChecked(Answer):
    """What is wrong with an archive: (file, reason) each."""

    name: str
    wrong: Sequence[tuple[str, str]]

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """6 where anything is wrong."""
        return EXIT_PROBLEMS if self.wrong else 0

    def lines(self) -> Iterator[str]:
        """A line a problem, and a verdict."""
        for file, reason in self.wrong:
            yield f"problem  {file}: {reason}"
        n = len(self.wrong)
        yield f"{self.name}: {n} problems" if n else f"{self.name}: every file is whole"

    def to_dict(self) -> dict[str, Any]:
        """``archive`` and its ``problems``."""
        found = [{"file": file, "reason": reason} for file, reason in self.wrong]
        return {"archive": self.name, "problems": found}


@dataclass
class TablesChecked(Answer):
    """What was found in each table, and the tables that could not be checked, with reasons."""

    tables: Mapping[str, Sequence[Finding]]
    left: Mapping[str, str]

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """6 where there is a problem; notes are none."""
        found = (f for findings in self.tables.values() for f in findings)
        return EXIT_PROBLEMS if any(f.severity == "problem" for f in found) else 0

    def lines(self) -> Iterator[str]:
        """Problems, notes, and what was looked at and is well; a verdict a table."""
        for table, findings in self.tables.items():
            for f in findings:
                some = ", ".join(i[:12] for i in f.run_ids)
                more = ", ..." if f.n > len(f.run_ids) else ""
                ids = f" ({some}{more})" if f.run_ids else ""
                yield f"{f.severity:<7}  {f.check:<9} {f.message}{ids}"
            n = {s: sum(f.severity == s for f in findings) for s in ("problem", "note")}
            verdict = f"{n['problem']} problems" if n["problem"] else "clean"
            notes = f", {n['note']} notes" if n["note"] else ""
            yield f"{table}: {verdict}{notes}"
        yield from (Note(f"not checked {n}: {reason}") for n, reason in self.left.items())
        if not self.tables and not self.left:
            yield "there are no tables here"

    def to_dict(self) -> dict[str, Any]:
        """``tables`` and ``not_checked``."""
        found = {n: [dataclasses.asdict(f) for f in each] for n, each in self.tables.items()}
        return {"tables": found, "not_checked": self.left}


@verb(40, short_help="Check a table, or an archive against its manifest.")
@click.argument("words", metavar="[SWEEP|EXPERIMENT|ARCHIVE] [OVERRIDES]...", nargs=-1)
def verify(words: tuple[str, ...]) -> Answer:
    """Check a table from end to end, or an archive against its manifest; all tables by default.

    Files against the digests in their names, run ids against params and seed, repeated runs,
    arrays, launch records, the sweep's plan.  Nothing is written.  Exit codes: 0 clean (there may
    be notes), 6 problems.
    """
    from lawsweep.tools.archive_check import is_archive, verify_archive
    from lawsweep.tools.keeping import verify as verify_tables

    name, overrides = first_name(words)
    if name is not None and is_archive(name):
        return ArchiveChecked(name, verify_archive(name))
    if name is None or is_experiment(name) or is_table(name, overrides):
        return TablesChecked(*verify_tables(name, results_dir(overrides)))
    return TablesChecked(*verify_tables(load(name, overrides)))
