"""A sweep opened: its plan, its table, and every check that comes before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lawsweep.analysis.columns import columns_of, kinds_of
from lawsweep.analysis.values import check_values
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.sampling.threshold.findings import cells_of

if TYPE_CHECKING:
    from lawsweep.store.table.parquet import ParquetTable


@dataclass(frozen=True)
class Study:
    """A sweep with its plan and its table: what every verb works on."""

    sweep: Sweep
    plan: Plan
    table: ParquetTable

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the tidy frame."""
        return columns_of(self.plan)

    @property
    def cells(self) -> tuple[str, ...]:
        """Columns of the table of thresholds, of a sweep with a search; else none."""
        return cells_of(self.plan, self.sweep.search_spec)


def study(sweep: Sweep) -> Study:
    """Plan a sweep and open its table.  Checks everything, writes nothing."""
    from lawsweep.analysis.figures.kinds import parse_figures
    from lawsweep.analysis.laws.fit_specs import check_sources, parse_fits
    from lawsweep.executors.make import make_executor
    from lawsweep.store.table.parquet import ParquetTable

    if not isinstance(sweep, Sweep):
        raise InvalidValueError(
            f"Expected a Sweep, got {sweep!r}; lawsweep.load_sweep(name) makes one."
        )
    make_executor(sweep.executor)
    commit_every_s(sweep), patience_s(sweep)
    made = sweep.plan()
    opened = Study(sweep, made, ParquetTable(sweep.tables, made.experiment))
    if sweep.search_spec is not None:
        from lawsweep.sampling.threshold.findings import check

        check(made, sweep.search_spec)
    columns, kinds = (
        tuple(dict.fromkeys((*opened.columns, *opened.cells))),
        kinds_of(made, opened.cells),
    )
    fits = parse_fits(list(sweep.fits), columns, kinds)
    if fits and opened.cells:
        check_sources(fits, opened.columns, opened.cells)
    arrays = [s.name for s in made.experiment.arrays]
    figures = parse_figures(list(sweep.figures), opened.columns, arrays, opened.cells, kinds)
    for fit in fits:
        check_values(made, fit)
    for figure in figures:
        check_values(made, figure)
    return opened


def plan(sweep: Sweep) -> Plan:
    """All runs of a sweep, checked; nothing is written."""
    return study(sweep).plan


def commit_every_s(sweep: Sweep) -> float:
    """``store.commit_every_s``: the longest that finished work stays unwritten."""
    return _store_seconds(sweep, "commit_every_s")


def patience_s(sweep: Sweep) -> float:
    """``store.patience_s``: how long a launch waits for a store that cannot be written."""
    return _store_seconds(sweep, "patience_s")


# Defaults and largest values of the options of ``store``, in seconds.
_STORE = {"commit_every_s": (2.0, 3600.0), "patience_s": (60.0, 86_400.0)}


def _store_seconds(sweep: Sweep, name: str) -> float:
    for key in sweep.store:
        if key not in ("kind", *_STORE):
            raise unknown_name("option", key, ("kind", *_STORE), "store")
    default, most = _STORE[name]
    value = sweep.store.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < most:
        raise InvalidValueError(f"store.{name} must be seconds from 0 to {most:g}, got {value!r}.")
    return float(value)


def iterate_notes(opened: Study) -> Iterator[str]:
    """What a person should be told about a plan and its table."""
    yield from opened.plan.notes
    spec = opened.sweep.search_spec
    if spec is not None and len(opened.plan.seeds) < spec.max_runs:
        yield (
            f"a cell of the search may take {spec.max_runs} runs, and there are "
            f"{len(opened.plan.seeds)} seeds: runs that share a seed share their draws, so an "
            f"interval may be too narrow. Give seeds={spec.max_runs} or more."
        )
    if opened.table.older_versions():
        from lawsweep.grid.older import older_rows, told_of_older

        known = opened.table.done()
        todo = [i for i, r in enumerate(opened.plan.run_ids) if r not in known]
        older = older_rows(opened.plan, known, todo)
        yield from told_of_older(opened.sweep, opened.plan, older)
    yield from opened.table.notes()
