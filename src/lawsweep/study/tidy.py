"""The tidy table of a plan: one row a planned run, in plan order, its row's values or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.study.sampling import seen

if TYPE_CHECKING:
    import pyarrow as pa

    from lawsweep.study.known import Known


def tidy_rows(known: Known) -> pa.Table:
    """Plan and table joined; ``status`` is ``missing`` where there is no row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.sweep_folder import plan_table

    plan, rows = known.plan, known.whole
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
    runs = seen(known)
    return table if runs is None else table.take(pa.array(runs, type=pa.int64()))
