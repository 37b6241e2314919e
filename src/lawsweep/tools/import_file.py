"""Files of results somebody else computed, as rows of an experiment: read, renamed, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.experiment import Experiment
from lawsweep.grid.sweep import Sweep
from lawsweep.store.exchange.foreign import MAX_ROWS, Source, open_source
from lawsweep.tools.row_reader import RowReader, map_columns, read_rows


@dataclass(frozen=True, kw_only=True)
class ImportedFile:
    """A file that was read: its name and hash, its columns to ours, and how many rows it has."""

    file: str
    sha256: str
    columns: Mapping[str, str]
    n_rows: int


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """The rows of one or several files in our terms; ``n_missing`` of theirs are of no run done."""

    rows: list[dict[str, Any]]
    files: tuple[ImportedFile, ...]
    n_missing: int


def read_files(
    paths: Sequence[Path],
    experiment: Experiment,
    sweep: Sweep | None,
    columns: Mapping[str, str],
    drop: Sequence[str],
    seed: int | None,
) -> FileRows:
    """Read and check every row of every file, as ``import_rows`` says.  Raises a LawsweepError."""
    sources = [open_source(path) for path in paths]
    total = sum(s.n_rows for s in sources)
    if total > MAX_ROWS:
        raise InvalidValueError(
            f"The files have {total:,} rows, and import takes {MAX_ROWS:,} at a time. "
            "Import them one after the other."
        )
    rows: list[dict[str, Any]] = []
    files, n_missing = [], 0
    seen: dict[str, Path] = {}
    for source in sources:
        mapped, found = _read(source, experiment, sweep, columns, drop, seed)
        own = {row["run_id"]: source.path for row in found}
        if again := own.keys() & seen.keys():
            run_id = min(again)
            raise InvalidValueError(
                f"{len(again):,} runs are in {seen[run_id]} and in {source.path} (the first is "
                f"{run_id}). Leave them out of one of the files."
            )
        seen |= own
        rows += found
        n_missing += source.n_rows - len(found)
        files.append(
            ImportedFile(
                file=source.path.name, sha256=source.sha256, columns=mapped, n_rows=source.n_rows
            )
        )
    if not rows:
        raise InvalidValueError(
            f"{', '.join(map(str, paths))} has no row of a run that was done; name files that "
            "have some."
        )
    return FileRows(rows=rows, files=tuple(files), n_missing=n_missing)


def _read(
    source: Source,
    experiment: Experiment,
    sweep: Sweep | None,
    columns: Mapping[str, str],
    drop: Sequence[str],
    seed: int | None,
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The columns of one file to ours, and its rows."""
    path = source.path
    is_export = _check_meant(source, experiment, drop)
    reader = RowReader(experiment, sweep, is_export)
    mapped = map_columns(reader, source.names, columns, drop)
    ours = set(mapped.values())
    _check_seed("seed" in ours, seed, path)
    if lacking := reader.filler.missing_axes(ours):
        name = lacking[0]
        raise InvalidValueError(
            f"{path} has no column for {', '.join(lacking)}, which the sweep spans. Map one with "
            f"--map theirs={name}, or pin it: params.{name}=VALUE."
        )
    found = source.read({n: reader.columns[to] for n, to in mapped.items()})
    values = {to: found[n] for n, to in mapped.items()}
    if seed is not None:
        values["seed"] = [seed] * source.n_rows
    rows = (dict(zip(values, cells, strict=True)) for cells in zip(*values.values(), strict=True))
    return mapped, read_rows(reader, rows, str(path))


def _check_meant(source: Source, experiment: Experiment, drop: Sequence[str]) -> bool:
    """Whether the file is an export of ours, of this version of this experiment.

    Raises InvalidValueError for an export of ours of another one: its rows would come in under run
    ids of this version, and mean something else.
    """
    if "run_id" not in source.names:
        return False
    named = [("experiment", experiment.name), ("version", experiment.version)]
    there = [(n, meant) for n, meant in named if n in source.names and n not in drop]
    found = source.read({n: None for n, _ in there})
    for name, meant in there:
        others = {str(v) for v in found[name] if v is not None} - {str(meant)}
        if others:
            raise InvalidValueError(
                f"{source.path} has rows of {name} {min(others)}, and {experiment.name} "
                f"here is {name} {meant}; if they mean the same, --drop {name} lets them in."
            )
    return len(there) == len(named) and "run_id" not in drop


def _check_seed(has_column: bool, seed: int | None, path: Path) -> None:
    if has_column and seed is not None:
        raise InvalidValueError(f"{path} has seeds, and --seed gives another; drop one of them.")
    if not has_column and seed is None:
        raise InvalidValueError(
            f"{path} has no column for the seed. Map one with --map theirs=seed, or give --seed."
        )
