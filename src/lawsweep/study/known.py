"""What a table knows of a plan's runs, read once and shared by the verbs of a study."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lawsweep.core.protocols import Done
from lawsweep.study.sampling import open_sampler

if TYPE_CHECKING:
    import pyarrow as pa

    from lawsweep.grid.plan import Plan
    from lawsweep.sampling.sampler import BaseSampler
    from lawsweep.sampling.samplers import Chosen
    from lawsweep.store.table.parquet import ParquetTable


class Known:
    """The rows of a plan's runs, as the table was when they were first asked for.

    Keys are read once, and whole rows once: each when a verb first needs it.  Parts never change,
    so this holds for as long as the table has the same ones (``is_current``).
    """

    def __init__(self, plan: Plan, chosen: Chosen, table: ParquetTable):
        self.plan, self.chosen, self.table = plan, chosen, table
        self.metrics = chosen.sampler.metrics(plan, chosen.options)

    @functools.cached_property
    def parts(self) -> frozenset[str]:
        """The parts that were read, by name."""
        return frozenset(self.table.parts())

    @functools.cached_property
    def whole(self) -> pa.Table:
        """The row of each run that has one, with every column, in plan order."""
        return self._read(None)

    @functools.cached_property
    def keys(self) -> pa.Table:
        """What tells of each run that has a row: status, attempt, seconds, device, launch.

        Metrics that the sampler decides by come along.
        """
        if "whole" in self.__dict__:
            return self.whole
        return self._read([*Done._fields, "launch_id", *self.metrics])

    @functools.cached_property
    def done(self) -> Mapping[str, Done]:
        """What is known of each run that has a row, by run id."""
        from lawsweep.store.table.parquet import done_of

        return done_of(self.keys)

    @functools.cached_property
    def sampler(self) -> BaseSampler:
        """The sampler at where its rows have brought it, to be looked at."""
        return open_sampler(self)

    @functools.cached_property
    def tidy(self) -> pa.Table:
        """One row a planned run, those without a row too (see ``Study.rows``)."""
        from lawsweep.study.tidy import tidy_rows

        return tidy_rows(self)

    def _read(self, columns: list[str] | None) -> pa.Table:
        _ = self.parts  # listed first: a part that comes meanwhile makes this older, not wrong
        return self.table.read(self.plan.run_ids, columns)

    def is_current(self) -> bool:
        """Whether the table still has the parts that were read, and no others."""
        return self.parts == frozenset(self.table.parts())
