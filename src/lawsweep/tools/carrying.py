"""Rows of an older version of an experiment that mean the same today: carried over, and marked.

A version is raised when the meaning of some rows changes, and then no row of before counts any
more.  Where the experiment says which rows did not change (``carries``), they come along under
today's run ids as imported ones; the old rows stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.circumstances import CIRCUMSTANCES
from lawsweep.core.errors import LawsweepError
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import run_id
from lawsweep.grid.older import as_of, condition_of, ids_as_of
from lawsweep.grid.sweep import Sweep
from lawsweep.study.study import Study
from lawsweep.tools.importing import against_table, write_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from lawsweep.store.table.parquet import ParquetTable


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What was carried over, or (``dry``) would be.

    ``run_ids`` are today's ids of the rows that came, ``kept`` those that today's version has
    already.  ``n_affected`` rows do not fulfil ``condition``: what they mean has changed.
    """

    experiment: str
    from_version: int
    version: int
    condition: str
    run_ids: tuple[str, ...]
    kept: tuple[str, ...]
    n_affected: int
    dry: bool
    launch_id: str | None
    notes: tuple[str, ...]


def carry_rows(
    into: Sweep | Study | Experiment,
    from_version: int,
    *,
    results_dir: str | Path | None = None,
    dry: bool = False,
    command: str = "",
) -> Carried:
    """Carry the ok rows of ``from_version`` that today's version left as they were.

    Of a Sweep those of its plan, of an Experiment all.  Raises InvalidValueError where the
    experiment does not say which rows of that version mean the same.
    """
    given = into.sweep if isinstance(into, Study) else into
    sweep = given if isinstance(given, Sweep) else None
    experiment = given.find_experiment() if isinstance(given, Sweep) else given
    condition = condition_of(experiment, from_version)
    place = results_dir if results_dir is not None else sweep.results_dir if sweep else "results"
    table, rows = _rows_of(experiment, from_version, str(place))
    meant = _planned(sweep, from_version) if sweep is not None else None
    if meant is not None:
        rows = rows.filter(_mask([r in meant for r in rows["run_id"].to_pylist()]))
    good = condition.holds(_columns(rows, experiment), rows.num_rows, null_as_nan=True)
    old, came, n_odd = _renamed(experiment, from_version, rows.filter(_mask(good)), meant)
    opened, new, kept = against_table(experiment, str(place), came)
    launch_id = None
    if new and not dry:
        origins = {row["run_id"]: row for row in old}
        facts = {
            "command": command,
            "from_version": from_version,
            "condition": condition.text,
            "from_run_ids": [origins[row["run_id"]]["old_id"] for row in new],
            "from_launches": sorted({str(origins[r["run_id"]]["launch_id"]) for r in new}),
        }
        launch_id = write_rows(
            opened, new, facts, sweep, str(place), arrays=_ArraysOf(table, origins)
        )
    notes = [f"{n_odd:,} rows were left: they are not the run that their id names"] if n_odd else []
    return Carried(
        experiment=experiment.name,
        from_version=from_version,
        version=experiment.version,
        condition=condition.text,
        run_ids=tuple(row["run_id"] for row in new),
        kept=tuple(kept),
        n_affected=int((~good).sum()),
        dry=dry,
        launch_id=launch_id,
        notes=tuple(notes),
    )


def _rows_of(experiment: Experiment, version: int, place: str) -> tuple[ParquetTable, pa.Table]:
    """The table, and its ok rows of a version."""
    import pyarrow.compute as pc

    from lawsweep.grid.sweep import results_place
    from lawsweep.store.sweeps.skipping import tell_skipped
    from lawsweep.store.table.parquet import ParquetTable

    table = ParquetTable(results_place(place) / "tables", experiment)
    rows = table.read()
    tell_skipped(table.folder, table.skipped)
    of_version = pc.equal(rows["version"], version)
    return table, rows.filter(pc.and_(of_version, pc.equal(rows["status"], "ok")))


Meant = dict[str, tuple[str, dict[str, Any]]]


def _planned(sweep: Sweep, version: int) -> Meant:
    """Ids of the older version to today's id and params, for each run of the sweep's plan."""
    plan = sweep.plan()
    old = ids_as_of(plan, version)
    return {old[i]: (run, plan.params_of(i)) for i, run in enumerate(plan.run_ids)}


def _columns(rows: pa.Table, experiment: Experiment) -> dict[str, np.ndarray]:
    """What a condition may name, as an expression takes it: numbers, or objects with nulls."""
    import numpy as np

    def column(name: str) -> np.ndarray:
        values = rows[name].to_pylist()
        plain = all(isinstance(v, int | float) for v in values)
        if plain:
            return np.array(values)
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made

    fields = [s.name for s in (*experiment.params, *experiment.metrics) if not s.is_tuple]
    return {name: column(name) for name in (*fields, *(c.name for c in CIRCUMSTANCES))}


def _mask(good: Any) -> Any:
    import pyarrow as pa

    return pa.array(good, type=pa.bool_())


def _renamed(
    experiment: Experiment, version: int, rows: pa.Table, meant: Meant | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Each row as it was (with its ``old_id``), as it is today, and how many are neither."""
    then = as_of(experiment, version)
    old, came, n_odd = [], [], 0
    for row in rows.to_pylist():
        try:
            params = {s.name: s.cast(row[s.name]) for s in then.params}
            if run_id(then, params, row["seed"]) != row["run_id"]:
                n_odd += 1
                continue
            name, params = _today(experiment, then, params, row, meant)
            metrics = {s.name: s.cast_metric(row[s.name]) for s in experiment.metrics}
        except LawsweepError:
            n_odd += 1
            continue
        today = {"run_id": name, "seed": row["seed"], "status": "ok", "wall_s": row["wall_s"]}
        came.append({**experiment.with_defaults(params), **metrics, **today})
        old.append({**row, "old_id": row["run_id"], "run_id": name})
    return old, came, n_odd


def _today(
    experiment: Experiment,
    then: Experiment,
    params: dict[str, Any],
    row: Mapping[str, Any],
    meant: Meant | None,
) -> tuple[str, dict[str, Any]]:
    """Today's id and params of a row: those of the plan, else with defaults of then today's."""
    if meant is not None:
        return meant[row["run_id"]]
    for before, spec in zip(then.params, experiment.params, strict=True):
        if spec.has_default and before.default != spec.default:
            is_default = params[spec.name] == before.default
            params[spec.name] = spec.default if is_default else params[spec.name]
    experiment.bind(params)
    return run_id(experiment, params, row["seed"]), params


class _ArraysOf:
    """The large arrays that rows came with, looked up by today's run ids."""

    def __init__(self, table: ParquetTable, origins: Mapping[str, Mapping[str, Any]]):
        self._table, self._origins = table, origins

    def __call__(self, run_ids: Sequence[str]) -> list[dict[str, np.ndarray]]:
        import pyarrow as pa

        chosen = [self._origins[r] for r in run_ids]
        keys = pa.table(
            {
                "run_id": [r["old_id"] for r in chosen],
                "attempt": pa.array([r["attempt"] for r in chosen], type=pa.int64()),
                "started_at": pa.array(
                    [r["started_at"] for r in chosen], type=pa.timestamp("us", "UTC")
                ),
            }
        )
        found: list[dict[str, np.ndarray]] = [{} for _ in chosen]
        for spec in self._table.experiment.arrays:
            values = self._table.array_store.table(spec.name).values(keys)
            for row, arrays in zip(chosen, found, strict=True):
                if row["old_id"] in values:
                    arrays[spec.name] = values[row["old_id"]]
        return found
