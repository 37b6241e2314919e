"""``lawsweep import``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lawsweep.cli.answers import Answer, Note, verb
from lawsweep.cli.names import sweep_or_experiment
from lawsweep.cli.text import at, typed
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.tools.carrying import Carried
    from lawsweep.tools.importing import Imported


@dataclass
class Brought(Answer):
    """What an import brought, or would bring."""

    found: Imported

    def lines(self) -> Iterator[str]:
        """Rows and files, what is missing in them, and what the table had already."""
        done = self.found
        yield from map(Note, done.notes)
        for row in done.first if done.dry else ():
            yield "  " + at({k: v for k, v in row.items() if k not in ("run_id", "attempt")})
        if done.missing:
            who = "the file has" if len(done.files) == 1 else "the files have"
            yield f"{who} no {', '.join(done.missing)}: missing in these rows"
        if done.kept:
            some = ", ".join(r[:12] for r in done.kept[:5]) + (", ..." if done.kept[5:] else "")
            yield f"{len(done.kept):,} runs are in the table as ok, and stay as they are: {some}"
        files = ", ".join(f.file for f in done.files)
        what = f"{len(done.run_ids):,} rows of {done.experiment}"
        yield f"{what} {_came(done)} from {files}{_launch(done)}"

    def to_dict(self) -> dict[str, Any]:
        """Every field."""
        return dataclasses.asdict(self.found)


@dataclass
class CarriedOver(Answer):
    """What was carried over from an older version, or would be."""

    found: Carried

    def lines(self) -> Iterator[str]:
        """Rows that came, that were there, and that mean something else."""
        done = self.found
        yield from map(Note, done.notes)
        if done.kept:
            yield (
                f"{len(done.kept):,} are in the table under version {done.version} already, and "
                "stay"
            )
        if done.n_affected:
            yield (
                f"{done.n_affected:,} rows mean something else in version {done.version}, and are "
                f"left to be computed again (the others fulfil: {done.condition})"
            )
        what = f"{len(done.run_ids):,} rows of {done.experiment} version {done.from_version}"
        yield f"{what} {_came(done, 'carried over')}{_launch(done)}"

    def to_dict(self) -> dict[str, Any]:
        """Every field."""
        return dataclasses.asdict(self.found)


def _came(done: Imported | Carried, how: str = "imported") -> str:
    return "would come" if done.dry else how


def _launch(done: Imported | Carried) -> str:
    return "" if done.launch_id is None else f" (launch {done.launch_id})"


@verb(30, short_help="Somebody else's CSV, TSV, JSON or Parquet as rows.")
@click.argument("words", nargs=-1, metavar="FILE... SWEEP|EXPERIMENT [OVERRIDES]...")
@click.option("--map", "columns", multiple=True, metavar="THEIRS=OURS", help="Rename a column.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave a column out.")
@click.option("--seed", type=int, help="The seed of every row, where the file has none.")
@click.option("--source", default="", help="Who computed it and how: kept with the rows.")
@click.option("--from-version", type=int, help="No FILE: rows of that version that mean the same.")
@click.option("--dry", is_flag=True, help="Show what would come; write nothing.")
def import_(
    words: tuple[str, ...],
    columns: tuple[str, ...],
    drop: tuple[str, ...],
    seed: int | None,
    source: str,
    from_version: int | None,
    dry: bool,
) -> Answer:
    """Add somebody else's results to a table, as rows of SWEEP's experiment (or EXPERIMENT).

    A FILE ends in .csv, .tsv, .parquet, .json or .jsonl (one object a line).  What a cell means is
    told by its field; params are checked as a plan's are, with what SWEEP fixes and derives, and
    give the run ids; any bad row stops all.  A run that the table has as ok stays as it is.  The
    rows say device "imported" and name a launch record with the file's hash and the --source.

    With --from-version N no file is read: rows of that older version that mean the same today, as
    the experiment says, come along under today's run ids.
    """
    if from_version is not None:
        if columns or drop or seed is not None or source:
            raise click.UsageError(
                "--from-version carries over rows of this table, so --map, --drop, --seed and "
                "--source, which are for files, say nothing here; leave them out."
            )
        return _carry(words, from_version, dry)
    from lawsweep.tools.importing import import_rows

    files, target, overrides = _files_and_target(words)
    mapped = {}
    for text in columns:
        theirs, equals, ours = text.partition("=")
        if not equals or not theirs or not ours:
            raise InvalidValueError(f"--map is written THEIRS=OURS, got {text!r}.")
        mapped[theirs] = ours
    into, place = sweep_or_experiment(target, overrides)
    done = import_rows(
        files,
        into,
        results_dir=place,
        columns=mapped,
        drop=drop,
        seed=seed,
        source=source,
        dry=dry,
        command=_command(words, columns, drop, seed, source),
    )
    return Brought(done)


def _carry(words: Sequence[str], version: int, dry: bool) -> CarriedOver:
    from lawsweep.tools.carrying import carry_rows

    if not words:
        raise click.UsageError(
            "import --from-version takes a sweep or an experiment, such as: "
            f"lawsweep import ntk_width --from-version {version}"
        )
    into, place = sweep_or_experiment(words[0], words[1:])
    command = f"lawsweep import {typed(words[0], words[1:])} --from-version {version}"
    return CarriedOver(carry_rows(into, version, results_dir=place, dry=dry, command=command))


def _files_and_target(words: tuple[str, ...]) -> tuple[list[str], str, tuple[str, ...]]:
    """The files, which come first, then the sweep or experiment, and its overrides."""
    from lawsweep.store.exchange.foreign import is_file_name

    n = next((i for i, word in enumerate(words) if i and not is_file_name(word)), len(words))
    if len(words) <= n:
        raise click.UsageError(
            "import takes a file (or several) and then a sweep or an experiment, such as: "
            "lawsweep import theirs.csv ntk_width"
        )
    return list(words[:n]), words[n], words[n + 1 :]


def _command(
    words: tuple[str, ...],
    columns: tuple[str, ...],
    drop: tuple[str, ...],
    seed: int | None,
    source: str,
) -> str:
    """The command as one types it, for the launch record."""
    said = [*words]
    said += [w for c in columns for w in ("--map", c)] + [w for d in drop for w in ("--drop", d)]
    said += [] if seed is None else ["--seed", str(seed)]
    said += ["--source", source] if source else []
    return f"lawsweep import {typed(said[0], said[1:])}"
