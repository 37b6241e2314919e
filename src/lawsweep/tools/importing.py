"""Somebody else's results as rows of an experiment: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.experiment import Experiment
from lawsweep.grid.sweep import Sweep
from lawsweep.launch.record.provenance import circumstances, new_launch_id
from lawsweep.study.study import Study
from lawsweep.tools.elsewhere import IMPORTED
from lawsweep.tools.import_file import FileRows, ImportedFile, read_files

if TYPE_CHECKING:
    import numpy as np

SHOWN = 5
ARRAYS_AT_ONCE = 256  # rows whose arrays are in memory together


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import brought, or (``dry``) would bring.

    ``run_ids`` are the rows that are new or replace a failure, ``kept`` the runs that the table
    has already and that stay as they are.  ``missing`` names the metrics that no file has.
    """

    experiment: str
    files: tuple[ImportedFile, ...]
    run_ids: tuple[str, ...]
    kept: tuple[str, ...]
    missing: tuple[str, ...]
    first: tuple[Mapping[str, Any], ...]
    dry: bool
    launch_id: str | None
    notes: tuple[str, ...]


def import_rows(
    file: str | Path | Sequence[str | Path],
    into: Sweep | Study | Experiment,
    *,
    results_dir: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    seed: int | None = None,
    source: str = "",
    dry: bool = False,
    command: str = "",
) -> Imported:
    """Add the rows of a file, or of several, to an experiment's table: all of them, or none.

    A file is CSV, TSV, Parquet or JSON with one object a line.  ``columns`` maps its names to
    ours; a column that is no param, axis of the sweep, metric, ``seed`` or ``wall_s`` after that
    is an error unless it is in ``drop``.  Of a file that ``export`` wrote, what says who computed a
    row is made anew, ``status`` and ``error`` are kept, and planned runs without a row stay out.

    What a cell means is told by its field.  An empty one is null where the field may be null, and
    an error elsewhere.  Params without a column are what the sweep fixes or derives, else the
    defaults; an axis needs a column, and a derived param that has one must agree with it.
    ``seed`` is for a file without seeds.  Raises a LawsweepError, with nothing written, when any
    row is bad.
    """
    paths = [Path(file)] if isinstance(file, str | Path) else [Path(f) for f in file]
    given = into.sweep if isinstance(into, Study) else into
    sweep = given if isinstance(given, Sweep) else None
    experiment = given.find_experiment() if isinstance(given, Sweep) else given
    read = read_files(paths, experiment, sweep, columns or {}, drop, seed)
    place = str(
        results_dir if results_dir is not None else sweep.results_dir if sweep else "results"
    )
    table, new, kept = against_table(experiment, place, read.rows)
    n_worse = len(read.rows) - len(new) - len(kept)
    named = {to for f in read.files for to in f.columns.values()}
    launch_id = None
    if not dry and new:
        facts = {"command": command, "source": source, **_facts(read)}
        launch_id = write_rows(table, new, facts, sweep, place)
    return Imported(
        experiment=experiment.name,
        files=read.files,
        run_ids=tuple(row["run_id"] for row in new),
        kept=tuple(kept),
        missing=tuple(s.name for s in experiment.metrics if s.name not in named),
        first=tuple(new[:SHOWN]),
        dry=dry,
        launch_id=launch_id,
        notes=tuple(_notes(sweep, read, n_worse)),
    )


def _facts(read: FileRows) -> dict[str, Any]:
    """What the launch record says of the files: of one, at its top."""
    files = [{"file": f.file, "sha256": f.sha256, "columns": f.columns} for f in read.files]
    return files[0] if len(files) == 1 else {"files": files}


def _spell(experiment: Experiment, sweep: Sweep | None) -> str:
    """The experiment as ``find_experiment`` finds it again."""
    if sweep is not None and isinstance(sweep.experiment, str):
        return sweep.experiment
    from lawsweep.core.registry import experiment_names

    function = experiment.function
    own = f"{function.__module__}:{function.__qualname__}"
    return experiment.name if experiment_names().get(experiment.name) == own else own


def against_table(
    experiment: Experiment, results_dir: str, rows: Sequence[dict[str, Any]]
) -> tuple[Any, list[dict[str, Any]], list[str]]:
    """The table, the rows to add (with their attempts), and the run ids that it has as ok.

    One that failed there is replaced by a row that is ok, and by no other.
    """
    from lawsweep.grid.sweep import results_place
    from lawsweep.store.table.parquet import ParquetTable

    table = ParquetTable(results_place(results_dir) / "tables", experiment)
    known = table.done([row["run_id"] for row in rows])
    new, kept = [], []
    for row in rows:
        before = known.get(row["run_id"])
        if before is not None and before.status == "ok":
            kept.append(row["run_id"])
        elif before is None or row["status"] == "ok":
            new.append({**row, "attempt": 1 if before is None else before.attempt + 1})
    return table, new, kept


def write_rows(
    table: Any,
    rows: Sequence[dict[str, Any]],
    facts: Mapping[str, Any],
    sweep: Sweep | None,
    results_dir: str,
    arrays: Callable[[Sequence[str]], Sequence[Mapping[str, np.ndarray]]] | None = None,
) -> str:
    """Write rows marked as imported, all as one part, and return their launch's id.

    Its record, with ``facts`` on where they are from, is written first, so that no row is ever
    without.  ``arrays`` finds the large arrays of runs by their ids, some rows at a time.
    """
    import pyarrow as pa

    from lawsweep.grid.sweep import results_place
    from lawsweep.store.sweeps.sweep_folder import SweepFolder
    from lawsweep.store.table.parts import encode

    table.check_writable()
    launch_id, experiment = new_launch_id(), table.experiment
    name = sweep.folder_name if sweep is not None else f"imported-{experiment.name}"
    folder = SweepFolder(results_place(results_dir) / "sweeps" / name)
    ids = pa.table({"run_id": [row["run_id"] for row in rows], "seed": [r["seed"] for r in rows]})
    # A plan of its own, so that these rows are some sweep's, and no orphans.
    folder.launches.write(f"{launch_id}.plan.parquet", encode(ids))
    folder.write_launch(launch_id, {"launch_id": launch_id, **facts, **_record(table, sweep, rows)})
    common = {
        "experiment": experiment.name,
        "version": experiment.version,
        "device": IMPORTED,
        "host": IMPORTED,
        "started_at": datetime.now(UTC),
        "launch_id": launch_id,
    }
    whole = [{**row, **common} for row in rows]
    if arrays is not None and experiment.arrays:
        for start in range(0, len(whole), ARRAYS_AT_ONCE):
            some = whole[start : start + ARRAYS_AT_ONCE]
            table.array_store.append(some, arrays([row["run_id"] for row in some]))
    table.append(whole)
    return launch_id


def _record(table: Any, sweep: Sweep | None, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the launch record of an import says beside where the rows are from."""
    return {
        "kind": "import",
        "sweep": sweep.name if sweep is not None else None,
        "n_rows": len(rows),
        "run_ids": [row["run_id"] for row in rows],
        "config": {"experiment": _spell(table.experiment, sweep)},
        **circumstances(table.experiment),
        "ended_at": datetime.now(UTC).isoformat(),
    }


def _notes(sweep: Sweep | None, read: FileRows, n_worse: int) -> Iterator[str]:
    run_ids, n = [row["run_id"] for row in read.rows], len(read.rows)
    if read.n_missing:
        total = n + read.n_missing
        yield f"{read.n_missing:,} of {total:,} rows are of runs not done (missing), and stay out"
    if n_worse:
        yield f"{n_worse:,} of {n:,} rows are not ok, and their runs have a row: they stay out"
    if sweep is not None:
        planned = set(sweep.plan().run_ids)
        outside = sum(r not in planned for r in run_ids)
        if outside:
            yield f"{outside:,} of {n:,} rows are not in the plan of {sweep.name}"
