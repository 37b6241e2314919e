"""What a sampler found and decided: as tables, and as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.study.opening import Opened

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from lawsweep.sampling.sampler import BaseSampler, Column
    from lawsweep.store.places.folder import Folder


def findings_table(opened: Opened, sampler: BaseSampler | None = None) -> pa.Table:
    """``Study.thresholds`` as Arrow, of a sampler of its own if one is given."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.sweep_folder import plan_table

    found = (sampler or opened.sampler).findings()
    if found is None:
        raise InvalidValueError(
            f"Sweep {opened.sweep.name} searches for no threshold; give it a search block with "
            "axis and event."
        )
    rows = plan_table(opened.plan).take(pa.array(found.runs, type=pa.int64()))
    # By name: a table without columns would have no rows either.
    fields, values = [], []
    for name in found.settings:
        fields.append(rows.schema.field(name))
        differs = pa.array([name in hidden for hidden in found.hidden], type=pa.bool_())
        values.append(pc.if_else(differs, pa.scalar(None, rows[name].type), rows[name]))
    for name, column in found.columns.items():
        fields.append(_field(name, column))
        values.append(pa.array(column.values, type=fields[-1].type))
    return pa.table(values, schema=pa.schema(fields, metadata=rows.schema.metadata))


def decisions_table(opened: Opened, sampler: BaseSampler | None = None) -> pa.Table | None:
    """Every decision of a sampler with its reason, as Arrow; None where it keeps no book."""
    import pyarrow as pa

    found = (sampler or opened.sampler).decisions()
    if found is None:
        return None
    fields, values = [], []
    for name, column in found.columns.items():
        fields.append(_field(name, column))
        values.append(pa.array(column.values, type=fields[-1].type))
    return pa.table(values, schema=pa.schema(fields))


def decided(opened: Opened) -> list[dict[str, Any]] | None:
    """``decisions_table`` as plain values; None where no book is kept."""
    table = None if opened.chosen.whole else decisions_table(opened)
    return None if table is None else table.to_pylist()


def _field(name: str, column: Column) -> pa.Field:
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    told = {"unit": column.unit, "meaning": column.meaning}
    return pa.field(name, types[column.kind], metadata=told)


def decisions(opened: Opened) -> pd.DataFrame:
    """See ``Study.decisions``."""
    import pandas as pd

    table = decisions_table(opened)
    if table is None:
        raise InvalidValueError(
            f"Sweep {opened.sweep.name} decides nothing as it goes; give it an until block, for "
            "example until: {mean: y, within: 0.05, relative: true}."
        )
    made: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return made


def thresholds(opened: Opened) -> pd.DataFrame:
    """See ``Study.thresholds``."""
    import pandas as pd

    made: pd.DataFrame = findings_table(opened).to_pandas(types_mapper=pd.ArrowDtype)
    return made


def cells_of(opened: Opened) -> pd.DataFrame | None:
    """The thresholds of a search; None for an ordinary sweep."""
    return thresholds(opened) if opened.cells else None


def cell_names(cells: pd.DataFrame | None) -> list[str]:
    """Columns of the table of thresholds; none where there is none."""
    return [] if cells is None else [str(c) for c in cells.columns]


def write_findings(opened: Opened, sampler: BaseSampler, folder: Folder) -> None:
    """Write ``thresholds.parquet``, ``decisions.parquet``: where there is such a table."""
    from lawsweep.store.table.parts import encode

    if opened.cells:
        folder.write("thresholds.parquet", encode(findings_table(opened, sampler)))
    if (book := decisions_table(opened, sampler)) is not None:
        folder.write("decisions.parquet", encode(book))


def found_lines(opened: Opened, limit: int = 20) -> list[str]:
    """What a sampler found so far, as lines: where it stands, then a line a setting."""
    said = None if opened.chosen.whole else opened.sampler.summary()
    return [] if said is None else [said, *opened.sampler.lines(limit)]
