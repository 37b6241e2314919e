"""``lawsweep export``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, verb
from lawsweep.cli.options import is_printed, load, sweep_arguments, warn
from lawsweep.cli.text import TEXTS, print_table, typed

if TYPE_CHECKING:
    from lawsweep.study.progress import Status


@dataclass
class Exported(Answer):
    """The files that were written, and how complete the table is."""

    path: str
    n_rows: int
    dictionary: str | None
    thresholds: str | None
    status: Status
    typed: str

    def lines(self) -> Iterator[str]:
        """A line a file, and what closes each gap."""
        from lawsweep.study.progress import certificate

        said = certificate(self.status.statuses, self.status.planned)
        yield f"{self.path}: {self.n_rows:,} rows ({said})"
        if self.thresholds is not None:
            yield f"{self.thresholds}: the thresholds"
        if self.dictionary is not None:
            yield f"{self.dictionary}: what each column is"
        for gap in self.status.gaps(self.typed):
            yield f"  {gap}"

    def to_dict(self) -> dict[str, Any]:
        """The files, the number of rows, and counts by status."""
        return {
            "path": self.path,
            **({} if self.thresholds is None else {"thresholds": self.thresholds}),
            "dictionary": self.dictionary,
            "n_rows": self.n_rows,
            "statuses": dict(self.status.statuses),
            "missing": self.status.missing,
        }


@verb(20, short_help="The tidy table as Parquet, CSV or JSON lines.")
@sweep_arguments
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=str, allow_dash=True),
    help="File: .parquet, .csv, .tsv, .json, .md; - prints it.",
)
@click.option("--format", "kind", type=click.Choice(TEXTS), help="Print it as such text.")
@click.option("--no-dictionary", is_flag=True, help="Do not write the data dictionary beside it.")
def export(
    sweep: str,
    overrides: tuple[str, ...],
    output: str | None,
    kind: str | None,
    no_dictionary: bool,
    as_json: bool,
) -> Exported | int:
    """Write the sweep's tidy table, one row a planned run: Parquet, CSV or JSON lines.

    Beside it goes NAME.dictionary.csv: type, unit, meaning and range of every column.
    """
    from lawsweep.study.reading.exporting import export_dictionary, export_thresholds
    from lawsweep.study.study import Study

    printed = is_printed(output, kind, as_json=as_json)
    loaded = load(sweep, overrides)
    study = Study(loaded)
    if printed:
        print_table(study.rows(), kind or "csv")
        warn(study.status().gaps(typed(sweep, overrides)))
        return 0
    path = output or str(loaded.folder / f"{loaded.name}.parquet")
    n_rows = study.export(path)
    dictionary = None if no_dictionary else export_dictionary(study, path)
    thresholds = export_thresholds(study, path)
    return Exported(path, n_rows, dictionary, thresholds, study.status(), typed(sweep, overrides))
