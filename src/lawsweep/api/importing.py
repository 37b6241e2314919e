"""Somebody else's CSV or Parquet as rows of an experiment: all of it, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lawsweep.api.import_file import FileRows, read_file
from lawsweep.api.replay import IMPORTED
from lawsweep.core.experiment import Experiment
from lawsweep.core.sweep import Sweep
from lawsweep.runner.provenance import circumstances, new_launch_id

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import brought, or (``dry``) would bring.

    ``run_ids`` are the rows that are new or replace a failure, ``kept`` the runs that the table
    has as ok already and that stay as they are.  ``missing`` names the metrics the file has not.
    """

    experiment: str
    file: str
    sha256: str
    columns: Mapping[str, str]
    run_ids: tuple[str, ...]
    kept: tuple[str, ...]
    missing: tuple[str, ...]
    first: tuple[Mapping[str, Any], ...]
    dry: bool
    launch_id: str | None
    notes: tuple[str, ...]


def import_rows(
    file: str | Path,
    into: Sweep | Experiment,
    *,
    results_dir: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    seed: int | None = None,
    source: str = "",
    dry: bool = False,
    command: str = "",
) -> Imported:
    """Add the rows of ``file`` (``.csv`` or ``.parquet``) to an experiment's table.

    ``columns`` maps its names to ours; a column that is no param, metric, ``seed`` or ``wall_s``
    after that is an error unless it is in ``drop``.  Columns that every row of ours has (a file
    that ``export`` wrote) are made anew; where there is a ``status``, only rows that are ok come
    in.  Params the file has not are the sweep's fixed ones, else the defaults; they are checked
    and cast as a plan's are.  ``seed`` is for a file without seeds.  Raises a LawsweepError, with
    nothing written, when any row is bad.
    """
    path, sweep = Path(file), into if isinstance(into, Sweep) else None
    experiment = into.find_experiment() if isinstance(into, Sweep) else into
    fixed = dict(sweep.params) if sweep is not None else {}
    read = read_file(path, experiment, columns or {}, drop, seed, fixed)
    place = str(
        results_dir if results_dir is not None else sweep.results_dir if sweep else "results"
    )
    opened, new, kept = _against_table(experiment, place, read.rows)
    given = set(read.columns.values())
    launch_id = None
    if not dry and new:
        launch_id = new_launch_id()
        facts = {"launch_id": launch_id, "command": command, "file": path.name, "source": source}
        record = facts | _record(experiment, sweep, read, new)
        _write(opened, new, record, sweep, place)
    return Imported(
        experiment=experiment.name,
        file=path.name,
        sha256=read.sha256,
        columns=read.columns,
        run_ids=tuple(row["run_id"] for row in new),
        kept=tuple(kept),
        missing=tuple(s.name for s in experiment.metrics if s.name not in given),
        first=tuple(new[:SHOWN]),
        dry=dry,
        launch_id=launch_id,
        notes=tuple(_notes(sweep, [row["run_id"] for row in read.rows], read.n_in_file)),
    )


def _record(
    experiment: Experiment, sweep: Sweep | None, read: FileRows, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the launch record of an import says beside its id, command, file and source."""
    return {
        "kind": "import",
        "sweep": sweep.name if sweep is not None else None,
        "sha256": read.sha256,
        "columns": read.columns,
        "n_rows": len(rows),
        "run_ids": [row["run_id"] for row in rows],
        "config": {"experiment": _spell(experiment, sweep)},
        **circumstances(experiment),
        "ended_at": datetime.now(UTC).isoformat(),
    }


def _spell(experiment: Experiment, sweep: Sweep | None) -> str:
    """The experiment as ``find_experiment`` finds it again."""
    if sweep is not None and isinstance(sweep.experiment, str):
        return sweep.experiment
    from lawsweep.core.registry import experiment_names

    function = experiment.function
    own = f"{function.__module__}:{function.__qualname__}"
    return experiment.name if experiment_names().get(experiment.name) == own else own


def _against_table(
    experiment: Experiment, results_dir: str, rows: Sequence[dict[str, Any]]
) -> tuple[Any, list[dict[str, Any]], list[str]]:
    """The table, the rows to add (with their attempts), and the run ids it has as ok."""
    from lawsweep.core.sweep import results_place
    from lawsweep.store.parquet import ParquetTable

    table = ParquetTable(results_place(results_dir) / "tables", experiment)
    known = table.done([row["run_id"] for row in rows])
    new, kept = [], []
    for row in rows:
        before = known.get(row["run_id"])
        if before is not None and before.status == "ok":
            kept.append(row["run_id"])
        else:
            new.append({**row, "attempt": 1 if before is None else before.attempt + 1})
    return table, new, kept


def _write(
    table: Any,
    rows: Sequence[dict[str, Any]],
    record: Mapping[str, Any],
    sweep: Sweep | None,
    results_dir: str,
) -> None:
    """The launch record first, so that no row is ever without; then all rows as one part."""
    import pyarrow as pa

    from lawsweep.core.sweep import results_place
    from lawsweep.store.parts import encode
    from lawsweep.store.sweep_folder import SweepFolder

    table.check_writable()
    name = sweep.name if sweep is not None else f"imported-{table.experiment.name}"
    folder = SweepFolder(results_place(results_dir) / "sweeps" / name)
    ids = pa.table({"run_id": [row["run_id"] for row in rows], "seed": [r["seed"] for r in rows]})
    # A plan of its own, so that these rows are some sweep's, and no orphans.
    folder.launches.write(f"{record['launch_id']}.plan.parquet", encode(ids))
    folder.write_launch(record["launch_id"], record)
    common = {
        "experiment": table.experiment.name,
        "version": table.experiment.version,
        "status": "ok",
        "device": IMPORTED,
        "host": IMPORTED,
        "started_at": datetime.now(UTC),
        "launch_id": record["launch_id"],
    }
    table.append([{**row, **common} for row in rows])


def _notes(sweep: Sweep | None, run_ids: Sequence[str], n_in_file: int) -> Iterator[str]:
    if len(run_ids) < n_in_file:
        yield f"{n_in_file - len(run_ids):,} of {n_in_file:,} rows are not ok, and stay out"
    if sweep is not None:
        planned = set(sweep.plan().run_ids)
        outside = sum(r not in planned for r in run_ids)
        if outside:
            yield f"{outside:,} of {len(run_ids):,} rows are not in the plan of {sweep.name}"
