"""A sweep opened: its plan, its table, and every check that comes before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.experiment import RESERVED
from lawsweep.core.plan import Plan
from lawsweep.core.sweep import Sweep

if TYPE_CHECKING:
    from lawsweep.store.parquet import ParquetTable


@dataclass(frozen=True)
class Study:
    """A sweep with its plan and its table: what every verb works on."""

    sweep: Sweep
    plan: Plan
    table: ParquetTable

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the tidy frame."""
        experiment = self.plan.experiment
        fields = (s.name for s in (*experiment.params, *experiment.metrics))
        return tuple(dict.fromkeys((*fields, *self.plan.extra, *sorted(RESERVED))))


def study(sweep: Sweep) -> Study:
    """Plan a sweep and open its table.  Checks everything, writes nothing."""
    from lawsweep.analysis.specs import parse_figures, parse_fits
    from lawsweep.executors.make import make_executor
    from lawsweep.store.parquet import ParquetTable

    if not isinstance(sweep, Sweep):
        raise InvalidValueError(
            f"Expected a Sweep, got {sweep!r}; lawsweep.load_sweep(name) makes one."
        )
    make_executor(sweep.executor)
    commit_every_s(sweep)
    made = sweep.plan()
    opened = Study(sweep, made, ParquetTable(sweep.tables, made.experiment))
    parse_fits(list(sweep.fits), opened.columns)
    parse_figures(list(sweep.figures), opened.columns)
    return opened


def plan(sweep: Sweep) -> Plan:
    """All runs of a sweep, checked; nothing is written."""
    return study(sweep).plan


def commit_every_s(sweep: Sweep) -> float:
    """``store.commit_every_s``: the longest that finished work stays unwritten."""
    options = dict(sweep.store)
    value = options.pop("commit_every_s", 2.0)
    options.pop("kind", None)
    if options:
        raise unknown_name("option", next(iter(options)), ("kind", "commit_every_s"), "store")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 3600:
        raise InvalidValueError(
            f"store.commit_every_s must be seconds from 0 to 3600, got {value!r}."
        )
    return float(value)


def iterate_notes(opened: Study) -> Iterator[str]:
    """What a person should be told about a plan and its table."""
    yield from opened.plan.notes
    for name, reason in opened.table.skipped.items():
        yield f"skipped {opened.table.folder / name}: {reason}"
