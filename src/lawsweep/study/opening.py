"""Every check that comes before anything of a sweep is run or read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lawsweep.analysis.columns import columns_of, kinds_of
from lawsweep.analysis.values import check_values
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.sampling.samplers import read_search

if TYPE_CHECKING:
    from lawsweep.study.study import Study


def check_sweep(sweep: Sweep) -> Plan:
    """The plan of a sweep, once all that it says has been checked.  Writes nothing."""
    from lawsweep.analysis.figures.kinds import parse_figures
    from lawsweep.analysis.laws.laws import check_sources, parse_fits
    from lawsweep.executors.make import make_executor
    from lawsweep.launch.sinks.make import make_sinks
    from lawsweep.store.options import read_store

    make_executor(sweep.executor), make_sinks(sweep.sinks)
    read_store(sweep.store, sweep.results_dir)
    made = sweep.plan()
    chosen = read_search(sweep.search)
    chosen.check(made)
    columns, cells = columns_of(made), chosen.columns(made)
    kinds = kinds_of(made, cells)
    fits = parse_fits(list(sweep.fits), tuple(dict.fromkeys((*columns, *cells))), kinds)
    if fits and cells:
        check_sources(fits, columns, cells)
    arrays = [s.name for s in made.experiment.arrays]
    figures = parse_figures(list(sweep.figures), columns, arrays, cells, kinds)
    for fit in fits:
        check_values(made, fit)
    for figure in figures:
        check_values(made, figure)
    return made


def iterate_notes(study: Study) -> Iterator[str]:
    """What a person should be told about a plan and its table."""
    from lawsweep.grid.older import told_of_older

    yield from study.plan.notes
    yield from study.chosen.sampler.notes(study.plan, study.chosen.options)
    todo = [i for i, r in enumerate(study.plan.run_ids) if r not in study.done]
    yield from told_of_older(study.sweep, study.plan, study.older(todo))
    yield from study.table.notes()
