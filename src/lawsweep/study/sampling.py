"""A sweep's sampler at where its rows have brought it, and the table of what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import FAILURES

if TYPE_CHECKING:
    import pyarrow as pa

    from lawsweep.sampling.sampler import BaseSampler
    from lawsweep.store.places.folder import Folder
    from lawsweep.study.known import Known
    from lawsweep.study.study import Study


def open_sampler(known: Known, *, retry: bool = False) -> BaseSampler:
    """The sampler of a sweep at where its rows have brought it.

    ``retry``: rows that failed count as not there, and are wanted, asked for or not.
    """
    place = {run_id: i for i, run_id in enumerate(known.plan.run_ids)}
    rows, again = known.keys, []
    metrics = [n for n in known.metrics if n in rows.column_names]
    there, columns = {}, [rows[n].to_pylist() for n in metrics]
    for k, (run_id, status) in enumerate(
        zip(rows["run_id"].to_pylist(), rows["status"].to_pylist(), strict=True)
    ):
        if retry and status in FAILURES:
            again.append(place[run_id])
        else:
            told = {n: c[k] for n, c in zip(metrics, columns, strict=True)} if metrics else None
            there[place[run_id]] = (status, told)
    return known.chosen.open(known.plan, there, again if retry else None)


def seen(known: Known) -> list[int] | None:
    """Runs that were asked for or that have a row; None where those are all runs of the plan.

    The other runs of its plan are candidates that nothing is missing without.
    """
    if known.chosen.whole:
        return None
    have = {i for i, r in enumerate(known.plan.run_ids) if r in known.done}
    return sorted(have | set(known.sampler.asked()))


def findings_table(study: Study, sampler: BaseSampler | None = None) -> pa.Table:
    """``Study.thresholds`` as Arrow, of a sampler of its own if one is given."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.sweep_folder import plan_table

    found = (sampler or study.sampler).findings()
    if found is None:
        raise InvalidValueError(
            f"Sweep {study.sweep.name} searches for no threshold; give it a search block with "
            "axis and event."
        )
    rows = plan_table(study.plan).take(pa.array(found.runs, type=pa.int64()))
    # By name: a table without columns would have no rows either.
    fields, values = [], []
    for name in found.settings:
        fields.append(rows.schema.field(name))
        differs = pa.array([name in hidden for hidden in found.hidden], type=pa.bool_())
        values.append(pc.if_else(differs, pa.scalar(None, rows[name].type), rows[name]))
    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    for name, column in found.columns.items():
        told = {"unit": column.unit, "meaning": column.meaning}
        fields.append(pa.field(name, types[column.kind], metadata=told))
        values.append(pa.array(column.values, type=types[column.kind]))
    return pa.table(values, schema=pa.schema(fields, metadata=rows.schema.metadata))


def write_findings(study: Study, sampler: BaseSampler, folder: Folder) -> None:
    """Write ``thresholds.parquet`` into the folder of the sweep, where there is such a table."""
    from lawsweep.store.table.parts import encode

    if study.cells:
        folder.write("thresholds.parquet", encode(findings_table(study, sampler)))


def found_lines(study: Study, limit: int = 20) -> list[str]:
    """What a sampler found so far, as lines: where it stands, then a line a setting."""
    said = None if study.chosen.whole else study.sampler.summary()
    return [] if said is None else [said, *study.sampler.lines(limit)]
