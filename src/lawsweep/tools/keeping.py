"""Keep the store well: compact its tables, check them, remove what dead writers left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lawsweep.core.errors import LawsweepError, unknown_name
from lawsweep.core.experiment import Experiment
from lawsweep.core.registry import experiment_names, find_experiment
from lawsweep.grid.sweep import Sweep, results_place
from lawsweep.study.code.lacking import code_notes
from lawsweep.study.code.rows import code_of_rows
from lawsweep.study.study import Study

if TYPE_CHECKING:
    from lawsweep.store.table.parquet import ParquetTable
    from lawsweep.store.upkeep.compact import Compacted
    from lawsweep.store.upkeep.gc import Rubbish
    from lawsweep.store.upkeep.verify import Finding

T = TypeVar("T")


def compact(
    experiment: str | None = None, results_dir: str | Path = "results"
) -> tuple[dict[str, list[Compacted]], dict[str, str]]:
    """Put the many small parts of one table (of all) into few: reports and what was left alone.

    Reports are one a folder, by the experiment's name: its rows', then each of its arrays'.
    """
    from lawsweep.store.upkeep.compact import compact as compact_one

    return _each(compact_one, experiment, results_dir)


def verify(
    target: Sweep | Study | str | None = None, results_dir: str | Path = "results"
) -> tuple[dict[str, list[Finding]], dict[str, str]]:
    """Check a sweep's table against its plan too, one experiment's table, or all tables.

    Findings by the experiment's name, problems first; and the tables that could not be checked.
    """
    from lawsweep.store.upkeep.verify import Finding, by_severity
    from lawsweep.store.upkeep.verify import verify as verify_one

    if isinstance(target, Sweep | Study):
        study = target if isinstance(target, Study) else Study(target)
        found = verify_one(study.table, plan=study.plan, asked=study.known.seen())
        told = [Finding("note", "code", note) for note in code_notes(study)]
        for other in code_of_rows(study).others:
            if other.accepted is not None:
                n, when = len(other.places), other.accepted.at
                text = f"{n} rows by code {other.digest[:8]} count as today's: accepted {when}"
                told.append(Finding("ok", "code", text, n))
        found = by_severity([*found, *told])
        return {study.plan.experiment.name: found}, {}
    return _each(verify_one, target, results_dir)


def gc(
    results_dir: str | Path = "results", *, delete: bool = False, orphans: bool = False
) -> list[Rubbish]:
    """List what dead writers left under the results folder; ``delete`` removes it.

    Never a row.  ``orphans`` also lists the rows of no known sweep.
    """
    from lawsweep.store.upkeep.gc import gc as collect

    return collect(str(results_dir), dry=not delete, orphans=orphans)


def _each(
    do: Callable[[ParquetTable], T], experiment: str | None, results_dir: str | Path
) -> tuple[dict[str, T], dict[str, str]]:
    """``do`` to one table or to all; a table whose experiment cannot be found is named, of all."""
    from lawsweep.store.table.parquet import ParquetTable

    done: dict[str, T] = {}
    left: dict[str, str] = {}
    tables = results_place(results_dir) / "tables"
    for name in _names(experiment, results_dir):
        try:
            found = find_for_table(name, results_dir)
        except LawsweepError as error:
            if experiment is not None:
                raise
            left[name] = str(error)
            continue
        done[found.name] = do(ParquetTable(tables, found))
    return done, left


def _names(experiment: str | None, results_dir: str | Path) -> Sequence[str]:
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.tables import table_names

    there = table_names(open_folder(results_dir))
    if experiment is None:
        return there
    if ":" not in experiment and experiment not in there:
        raise unknown_name("experiment", experiment, there, f"the tables of {results_dir}")
    return [experiment]


def find_for_table(name: str, results_dir: str | Path) -> Experiment:
    """The experiment of a table: an installed one, else as the table's own parts describe it.

    ``name`` may be ``module:function``, as a user names one.  What a record names is not imported.
    Raises UnknownNameError when it cannot be found.
    """
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.stored import stored_experiment

    if ":" in name or name in experiment_names():
        return find_experiment(name)
    return stored_experiment(open_folder(results_dir) / "tables", name)
