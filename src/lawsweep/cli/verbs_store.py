"""The verbs that keep results: bring rows in, hand them on, check and tidy the store."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lawsweep.cli import printing, printing_store
from lawsweep.cli.options import (
    EXIT_PROBLEMS,
    json_option,
    load,
    results_dir,
    say,
    sweep_arguments,
    warn,
)
from lawsweep.core.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from lawsweep.core.experiment import Experiment
    from lawsweep.grid.sweep import Sweep


@click.command(short_help="All that a sweep's results rest on, in one folder or zip.")
@sweep_arguments
@click.option("-o", "--output", help="A new folder, or a .zip; default: SWEEP.zip here.")
@json_option
def archive(sweep: str, overrides: tuple[str, ...], output: str | None, as_json: bool) -> int:
    """Put all that the sweep's results rest on into one folder or zip, with a manifest.

    Plan, rows with every attempt, arrays, launch records, figures, report, the resolved sweep, the
    experiment's own files, package versions.  Its results folder is a results_dir as it stands.
    """
    from lawsweep.tools.archive import archive as write

    done = write(load(sweep, overrides), output)
    if as_json:
        say({**dataclasses.asdict(done), "path": str(done.path)})
        return 0
    warn(done.notes)
    click.echo(f"{done.path}: {done.n_files:,} files, {done.n_rows:,} rows ({done.certificate})")
    click.echo(f"check it with: lawsweep verify {printing.typed(str(done.path), ())}")
    return 0


@click.command("import", short_help="Somebody else's CSV, TSV, JSON or Parquet as rows.")
@click.argument("words", nargs=-1, metavar="FILE... SWEEP|EXPERIMENT [OVERRIDES]...")
@click.option("--map", "columns", multiple=True, metavar="THEIRS=OURS", help="Rename a column.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave a column out.")
@click.option("--seed", type=int, help="The seed of every row, where the file has none.")
@click.option("--source", default="", help="Who computed it and how: kept with the rows.")
@click.option("--from-version", type=int, help="No FILE: rows of that version that mean the same.")
@click.option("--dry", is_flag=True, help="Show what would come; write nothing.")
@json_option
def import_(
    words: tuple[str, ...],
    columns: tuple[str, ...],
    drop: tuple[str, ...],
    seed: int | None,
    source: str,
    from_version: int | None,
    dry: bool,
    as_json: bool,
) -> int:
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
        return _carry(words, from_version, dry, as_json)
    from lawsweep.tools.importing import import_rows

    files, target, overrides = _files_and_target(words)
    mapped = {}
    for text in columns:
        theirs, equals, ours = text.partition("=")
        if not equals or not theirs or not ours:
            raise InvalidValueError(f"--map is written THEIRS=OURS, got {text!r}.")
        mapped[theirs] = ours
    into, place = _sweep_or_experiment(target, overrides)
    done = import_rows(
        files,
        into,
        results_dir=place,
        columns=mapped,
        drop=drop,
        seed=seed,
        source=source,
        dry=dry,
        command=_import_command(words, columns, drop, seed, source),
    )
    if as_json:
        say(dataclasses.asdict(done))
    else:
        printing_store.print_import(done)
    return 0


def _carry(words: tuple[str, ...], version: int, dry: bool, as_json: bool) -> int:
    from lawsweep.tools.carrying import carry_rows

    if not words:
        raise click.UsageError(
            "import --from-version takes a sweep or an experiment, such as: "
            f"lawsweep import ntk_width --from-version {version}"
        )
    into, place = _sweep_or_experiment(words[0], words[1:])
    command = f"lawsweep import {printing.typed(words[0], words[1:])} --from-version {version}"
    done = carry_rows(into, version, results_dir=place, dry=dry, command=command)
    if as_json:
        say(dataclasses.asdict(done))
    else:
        printing_store.print_carried(done)
    return 0


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


def _import_command(
    words: tuple[str, ...],
    columns: tuple[str, ...],
    drop: tuple[str, ...],
    seed: int | None,
    source: str,
) -> str:
    """The command as one types it, for the launch record."""
    typed = [*words]
    typed += [w for c in columns for w in ("--map", c)] + [w for d in drop for w in ("--drop", d)]
    typed += [] if seed is None else ["--seed", str(seed)]
    typed += ["--source", source] if source else []
    return f"lawsweep import {printing.typed(typed[0], tuple(typed[1:]))}"


def _is_experiment(name: str) -> bool:
    """Whether a name is an experiment's and no sweep's: sweeps go first."""
    from lawsweep.config.files import sweep_names
    from lawsweep.core.registry import experiment_names

    if name.endswith((".yaml", ".yml")) or name in sweep_names():
        return False
    return ":" in name or name in experiment_names()


def _is_table(name: str, overrides: tuple[str, ...]) -> bool:
    """Whether a name that is no sweep's is that of a table in the results folder."""
    from lawsweep.config.files import sweep_names
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.tables import table_names

    if (
        name in sweep_names()
        or "/" in name
        or not all(o.startswith("results_dir=") for o in overrides)
    ):
        return False
    return name in table_names(open_folder(results_dir(overrides)))


def _sweep_or_experiment(
    name: str, overrides: tuple[str, ...]
) -> tuple[Sweep | Experiment, str | None]:
    """A sweep of that name, else an experiment and its results folder."""
    from lawsweep.config.files import sweep_names
    from lawsweep.core.registry import experiment_names, find_experiment

    if _is_experiment(name):
        return find_experiment(name), results_dir(overrides)
    try:
        return load(name, overrides), None
    except UnknownNameError as error:
        if name in sweep_names() or "/" in name:
            raise
        raise UnknownNameError(
            f"{error} Experiments: {', '.join(sorted(experiment_names()))}, or module:function."
        ) from None


def _target(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """``[NAME] [OVERRIDES]...``: the name, if the first word is one."""
    named = bool(words) and ("=" not in words[0] or Path(words[0]).exists())
    return (words[0], words[1:]) if named else (None, words)


@click.command(short_help="Many small files of a table into few large ones.")
@click.argument("words", metavar="[EXPERIMENT] [OVERRIDES]...", nargs=-1)
@json_option
def compact(words: tuple[str, ...], as_json: bool) -> int:
    """Put the many small files of one table (or of all) into few large ones.

    What a reader makes of the table is the same before, during and after; drivers may run, and it
    may be killed at any moment.
    """
    from lawsweep.tools.keeping import compact as compact_tables

    name, overrides = _target(words)
    done, left = compact_tables(name, results_dir(overrides))
    if as_json:
        reports = {n: [dataclasses.asdict(r) for r in found] for n, found in done.items()}
        say({"tables": reports, "left_alone": left})
        return 0
    for found in done.values():
        for report in found:
            printing_store.print_compacted(report)
    warn(f"left alone {n}: {reason}" for n, reason in left.items())
    if not done and not left:
        click.echo("there are no tables here")
    return 0


@click.command(short_help="Check a table, or an archive against its manifest.")
@click.argument("words", metavar="[SWEEP|EXPERIMENT|ARCHIVE] [OVERRIDES]...", nargs=-1)
@json_option
def verify(words: tuple[str, ...], as_json: bool) -> int:
    """Check a table from end to end, or an archive against its manifest; all tables by default.

    Files against the digests in their names, run ids against params and seed, repeated runs,
    arrays, launch records, the sweep's plan.  Nothing is written.  Exit codes: 0 clean (there may
    be notes), 6 problems.
    """
    from lawsweep.tools.archive_check import is_archive, verify_archive

    name, overrides = _target(words)
    if name is not None and is_archive(name):
        wrong = verify_archive(name)
        if as_json:
            say({"archive": name, "problems": [{"file": f, "reason": r} for f, r in wrong]})
        else:
            for file, reason in wrong:
                click.echo(f"problem  {file}: {reason}")
            click.echo(
                f"{name}: {len(wrong)} problems" if wrong else f"{name}: every file is whole"
            )
        return EXIT_PROBLEMS if wrong else 0
    return _verify_tables(name, overrides, as_json)


def _verify_tables(name: str | None, overrides: tuple[str, ...], as_json: bool) -> int:
    from lawsweep.tools.keeping import verify as verify_tables

    if name is None:
        done, left = verify_tables(None, results_dir(overrides))
    elif _is_experiment(name) or _is_table(name, overrides):
        done, left = verify_tables(name, results_dir(overrides))
    else:
        done, left = verify_tables(load(name, overrides))
    if as_json:
        found = {n: [dataclasses.asdict(f) for f in findings] for n, findings in done.items()}
        say({"tables": found, "not_checked": left})
    else:
        for table, findings in done.items():
            printing_store.print_findings(table, findings)
        warn(f"not checked {n}: {reason}" for n, reason in left.items())
        if not done and not left:
            click.echo("there are no tables here")
    bad = any(f.severity == "problem" for findings in done.values() for f in findings)
    return EXIT_PROBLEMS if bad else 0


@click.command(short_help="What dead writers left: list it, or remove it.")
@click.argument("overrides", nargs=-1)
@click.option("--delete", is_flag=True, help="Remove what is listed; without it nothing is.")
@click.option("--orphans", is_flag=True, help="List rows of no known sweep too (never removed).")
@json_option
def gc(overrides: tuple[str, ...], delete: bool, orphans: bool, as_json: bool) -> int:
    """List what writers that died have left behind; --delete removes it.  Never a row."""
    from lawsweep.tools.keeping import gc as collect

    found = collect(results_dir(overrides), delete=delete, orphans=orphans)
    if as_json:
        say([dataclasses.asdict(f) for f in found])
    else:
        printing_store.print_rubbish(found, overrides)
    return 0
