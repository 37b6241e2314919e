"""What a table knows of a plan's runs, read once and shared by the verbs of a study."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from lawsweep.core.outcome import FAILURES
from lawsweep.core.protocols import Done

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
        return self.open_sampler()

    def open_sampler(
        self, *, retry: bool = False, again: Collection[int] | None = None
    ) -> BaseSampler:
        """The sampler of a sweep at where its rows have brought it.

        ``retry``: rows that failed count as not there, and are wanted, asked for or not.  So do
        the runs ``again``, whatever row they have; of the whole grid, where it is given, these
        alone are wanted.
        """
        place = {run_id: i for i, run_id in enumerate(self.plan.run_ids)}
        rows, forced = self.keys, set(again or ())
        metrics = [n for n in self.metrics if n in rows.column_names]
        there, columns = {}, [rows[n].to_pylist() for n in metrics]
        for k, (run_id, status) in enumerate(
            zip(rows["run_id"].to_pylist(), rows["status"].to_pylist(), strict=True)
        ):
            if retry and status in FAILURES:
                forced.add(place[run_id])
            elif place[run_id] not in forced:
                told = {n: c[k] for n, c in zip(metrics, columns, strict=True)} if metrics else None
                there[place[run_id]] = (status, told)
        only = retry or again is not None
        return self.chosen.open(self.plan, there, sorted(forced) if only else None)

    def seen(self) -> list[int] | None:
        """Runs that were asked for or that have a row; None where those are all runs of the plan.

        Of a sampler with ``only_asked`` those that were asked for.

        The other runs of its plan are candidates that nothing is missing without.
        """
        if self.chosen.whole:
            return None
        if self.chosen.sampler.only_asked:
            return sorted(self.sampler.asked())
        have = {i for i, r in enumerate(self.plan.run_ids) if r in self.done}
        return sorted(have | set(self.sampler.asked()))

    @functools.cached_property
    def tidy(self) -> pa.Table:
        """Plan and table joined, in plan order; ``status`` is ``missing`` where there is no row."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from lawsweep.store.sweeps.sweep_folder import plan_table

        plan, rows = self.plan, self.whole
        where = {r: i for i, r in enumerate(rows["run_id"].to_pylist())}
        found = rows.take(pa.array([where.get(r) for r in plan.run_ids], type=pa.int64()))
        tidy = plan_table(plan)
        fields = {f.name: f for f in rows.schema}
        columns = {n: tidy[n] for n in tidy.column_names}
        for name in fields:
            if name not in columns:
                columns[name] = found[name]
        columns["status"] = pc.fill_null(columns["status"], "missing")
        schema = pa.schema(
            [fields.get(n, pa.field(n, c.type)).with_type(c.type) for n, c in columns.items()],
            metadata=rows.schema.metadata,
        )
        table = pa.Table.from_arrays(list(columns.values()), schema=schema)
        runs = self.seen()
        return table if runs is None else table.take(pa.array(runs, type=pa.int64()))

    def _read(self, columns: list[str] | None) -> pa.Table:
        _ = self.parts  # listed first: a part that comes meanwhile makes this older, not wrong
        return self.table.read(self.plan.run_ids, columns)

    def is_current(self) -> bool:
        """Whether the table still has the parts that were read, and no others."""
        return self.parts == frozenset(self.table.parts())
