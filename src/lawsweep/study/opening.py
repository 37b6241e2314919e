"""A sweep, checked and opened on its table: what every verb begins with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from lawsweep.analysis.columns import columns_of, kinds_of
from lawsweep.analysis.values import check_values
from lawsweep.core.definition import RESERVED
from lawsweep.core.experiment import Experiment
from lawsweep.core.expressions.functions import CONSTANTS
from lawsweep.core.plain.learning import supposing
from lawsweep.core.protocols import Done
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.sampling.samplers import choose
from lawsweep.sampling.stopping import check_stopping
from lawsweep.study.known import Known

if TYPE_CHECKING:
    from lawsweep.sampling.sampler import BaseSampler
    from lawsweep.store.table.parquet import ParquetTable


def known_metrics(sweep: Sweep, made: Plan, experiment: Experiment | None = None) -> Plan:
    """The plan of an experiment that learns its metrics, with those that its table has.

    Where there is no row yet, with those that the sweep's fits, figures and search name.
    """
    if not made.experiment.learns:
        return made
    from lawsweep.store.table.parquet import ParquetTable

    entries = (*sweep.fits, *sweep.figures, sweep.search, sweep.until)
    found = experiment or ParquetTable(sweep.tables, made.experiment).experiment
    found = supposing(found, entries, (*made.extra, *RESERVED, *CONSTANTS))
    return dataclasses.replace(made, experiment=found)


def check_sweep(sweep: Sweep) -> Plan:
    """The plan of a sweep, once all that it says has been checked.  Writes nothing."""
    from lawsweep.analysis.figures.kinds import parse_figures
    from lawsweep.analysis.laws.laws import check_sources, parse_fits
    from lawsweep.executors.make import make_executor
    from lawsweep.launch.sinks.make import make_sinks
    from lawsweep.store.options import read_store

    executor, _ = make_executor(sweep.executor), make_sinks(sweep.sinks)
    read_store(sweep.store, sweep.results_dir)
    made = known_metrics(sweep, sweep.plan())
    check_stopping(sweep, made.experiment, executor)
    chosen = choose(sweep)
    chosen.check(made)
    columns, cells = columns_of(made), chosen.columns(made)
    kinds = kinds_of(made, cells)
    fits = parse_fits(list(sweep.fits), tuple(dict.fromkeys((*columns, *cells))), kinds)
    if fits and cells:
        check_sources(fits, columns, cells)
    arrays = [s.name for s in made.experiment.arrays]
    figures = parse_figures(list(sweep.figures), columns, arrays, cells, kinds, fits)
    for fit in fits:
        check_values(made, fit)
    for figure in figures:
        check_values(made, figure)
    return made


class Opened:
    """A sweep with its plan and its table, and what the table knows of the plan's runs.

    The plan is made and checked once, and what the table knows is read once, when it is first
    asked for; ``refresh`` looks again.  Opening writes nothing, and raises a LawsweepError where
    anything that the sweep says is wrong.
    """

    def __init__(self, sweep: Sweep):
        from lawsweep.store.table.parquet import ParquetTable

        self.sweep = sweep
        self.plan = check_sweep(sweep)
        self.chosen = choose(sweep)
        table = ParquetTable(sweep.tables, self.plan.experiment)
        self.known = Known(self.plan, self.chosen, table)

    def refresh(self) -> Self:
        """Look at the table anew: the verbs then see what others have added.  Returns itself."""
        table = self.table.since(())
        if self.plan.experiment.learns:
            table.relearn()
            self.plan = known_metrics(self.sweep, self.plan, table.experiment)
        self.known = Known(self.plan, self.chosen, table)
        return self

    @property
    def table(self) -> ParquetTable:
        """The table of the sweep's experiment."""
        return self.known.table

    @property
    def done(self) -> Mapping[str, Done]:
        """What the table knows of each planned run that has a row, by run id."""
        return self.known.done

    @property
    def sampler(self) -> BaseSampler:
        """What decides which runs are wanted, as the rows have it."""
        return self.known.sampler

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the tidy frame."""
        return columns_of(self.plan)

    @property
    def cells(self) -> tuple[str, ...]:
        """Columns of the table of thresholds, of a sweep with a search; else none."""
        return self.chosen.columns(self.plan)

    def older(self, todo: Sequence[int]) -> dict[int, list[int]]:
        """Runs of ``todo`` that have a row of an older version: version to places in the plan."""
        from lawsweep.grid.older import older_rows

        if not todo or not self.table.older_versions():
            return {}
        return older_rows(self.plan, self.table.done(), todo)

    def notes(self) -> Iterator[str]:
        """What a person should be told about the plan and the table."""
        from lawsweep.grid.older import told_of_older

        yield from self.plan.notes
        yield from self.chosen.sampler.notes(self.plan, self.chosen.options)
        todo = [i for i, r in enumerate(self.plan.run_ids) if r not in self.done]
        yield from told_of_older(self.sweep, self.plan, self.older(todo))
        yield from self.table.notes()
