"""Tables read without their experiments' code: from what the parts say of themselves.

``sql``, ``archive`` and ``replay`` read the rows of experiments that this machine may not have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lawsweep.store.arrays.arrays import PART_BYTES
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.folder import Folder
from lawsweep.store.sweeps.skipping import tell_skipped
from lawsweep.store.table.attempts import ATTEMPT, distinct, latest
from lawsweep.store.table.parts import (
    SkippedPart,
    check_experiment,
    conform,
    part_names,
    steady_look,
    use_part,
)
from lawsweep.store.table.reader import Wanted, read_columns
from lawsweep.store.table.schema import is_of

if TYPE_CHECKING:
    from pathlib import Path

ARRAYS = pa.schema(
    [
        ("run_id", pa.string()),
        ("attempt", pa.int64()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("shape", pa.list_(pa.int64())),
        ("values", pa.list_(pa.float64())),
    ]
)


def table_names(results: Folder) -> list[str]:
    """Names of the experiments that have rows."""
    tables = results / "tables"
    return [n for n in tables.folders() if part_names(tables / n)]


def array_names(results: Folder, experiment: str) -> list[str]:
    """Names of the arrays that an experiment's rows have."""
    arrays = results / "arrays" / experiment
    return [n for n in arrays.folders() if part_names(arrays / n)]


def read_rows(results: Folder, experiment: str, run_ids: Collection[str] | None = None) -> pa.Table:
    """The rows a reader is given, one a run: the latest successful attempt, else the latest."""
    return latest(read_attempts(results, experiment, run_ids))


def read_attempts(
    results: Folder, experiment: str, run_ids: Collection[str] | None = None
) -> pa.Table:
    """Every attempt of every run (or of some), the same attempt in two parts once.

    Columns are those of all parts, in the order of the newest; one that an older part lacks is
    there the param's default, or missing.  Torn, foreign and newer parts are passed over.
    """
    folder = results / "tables" / experiment
    found = _steady(folder, experiment, run_ids, _is_rows)
    if not found:
        return pa.table({"run_id": pa.array([], pa.string())})
    newest = found[-1].schema
    found = [t.drop_columns(_others(newest, t.schema)) for t in found]
    schema = _common([t.schema for t in reversed(found)])
    defaults = _defaults(newest)
    kept = [conform(t, schema, defaults) for t in found if _fits(t.schema, schema)]
    return distinct(pa.concat_tables(kept).replace_schema_metadata(newest.metadata))


def _others(newest: pa.Schema, part: pa.Schema) -> list[str]:
    """Columns of an older part that are other ones than the newest's of the same name."""
    return [f.name for f in newest if f.name in part.names and not is_of(f, part)]


def empty_rows(results: Folder, experiment: str) -> pa.Table:
    """The columns of an experiment's newest part, and no rows."""
    folder = results / "tables" / experiment
    for name in reversed(part_names(folder)):
        with suppress(SkippedPart, FileNotFoundError):
            schema = use_part(folder, name, _schema)
            check_experiment(schema, experiment)
            if _is_rows(schema):
                return _plain(schema.empty_table())
    return pa.table({"run_id": pa.array([], pa.string())})


def read_arrays(
    results: Folder, experiment: str, array: str, rows: pa.Table | None = None
) -> pa.Table:
    """One array's values (row-major) and shapes; those of the attempts in ``rows`` if given."""
    folder = results / "arrays" / experiment / array
    run_ids = None if rows is None else rows["run_id"].to_pylist()
    found = _steady(folder, experiment, run_ids, _is_array)
    if not found:
        return ARRAYS.empty_table()
    table = distinct(pa.concat_tables([t.select(ARRAYS.names).cast(ARRAYS) for t in found]))
    if rows is None:
        return table
    # The join carries places only: it takes no columns of lists.
    placed = table.select(ATTEMPT).append_column("place", pa.array(range(table.num_rows)))
    wanted = rows.select(ATTEMPT).cast(pa.schema([ARRAYS.field(n) for n in ATTEMPT]))
    places = placed.join(wanted, ATTEMPT, join_type="inner")["place"]
    return table.take(places.take(pc.sort_indices(places)))


def array_parts(
    results: Folder, experiment: str, array: str, run_ids: Collection[str]
) -> Iterator[pa.Table]:
    """One array's values of some runs, every attempt, in tables of some PART_BYTES at the most.

    For what memory cannot hold.  A value that stands in two parts comes twice, which no reader
    minds.
    """
    folder = results / "arrays" / experiment / array
    read = _reader(folder, experiment, run_ids, _is_array)
    held: list[pa.Table] = []
    size = 0
    for name in part_names(folder):
        for table in read(name):
            size += table.nbytes
            if held and (size > PART_BYTES or not table.schema.equals(held[0].schema)):
                yield pa.concat_tables(held)
                held, size = [], table.nbytes
            held.append(table)
    if held:
        yield pa.concat_tables(held)


def arrays_of_row(
    results_dir: str | Path, experiment: str, row: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The arrays that one row came with."""
    results, found = open_folder(results_dir), {}
    keys = pa.Table.from_pylist([{n: row[n] for n in ATTEMPT}])
    for name in array_names(results, experiment):
        for value in read_arrays(results, experiment, name, keys).to_pylist():
            found[name] = np.array(value["values"], dtype=np.float64).reshape(value["shape"])
    return found


def meanings(results_dir: str | Path, experiment: str) -> dict[str, tuple[str, str]]:
    """(unit, meaning) of every column and array, as the newest parts tell them."""
    results = open_folder(results_dir)
    told = {f.name: f.metadata or {} for f in empty_rows(results, experiment).schema}
    for name in array_names(results, experiment):
        folder = results / "arrays" / experiment / name
        for part in reversed(part_names(folder)):
            with suppress(SkippedPart, FileNotFoundError):
                told[name] = use_part(folder, part, _schema).field("values").metadata or {}
                break
    return {
        name: tuple(said.get(key, b"").decode(errors="replace") for key in (b"unit", b"meaning"))
        for name, said in told.items()
    }


def _steady(
    folder: Folder,
    experiment: str,
    run_ids: Collection[str] | None,
    is_ours: Callable[[pa.Schema], bool],
) -> list[pa.Table]:
    """What all readable parts hold of the runs asked for, though parts are merged meanwhile."""
    read = _reader(folder, experiment, run_ids, is_ours)
    return [table for tables in steady_look(folder, read).values() for table in tables]


def _reader(
    folder: Folder,
    experiment: str,
    run_ids: Collection[str] | None,
    is_ours: Callable[[pa.Schema], bool],
) -> Callable[[str], list[pa.Table]]:
    """Reads a part, or the rows of it that are asked for; empty, with a warning, for no part.

    It raises FileNotFoundError for a part that has gone since it was listed.
    """
    wanted = None if run_ids is None else Wanted(run_ids)

    def rows(file: pq.ParquetFile) -> pa.Table | None:
        check_experiment(file.schema_arrow, experiment)
        if not is_ours(file.schema_arrow):
            raise SkippedPart("not a part of this table")
        table = read_columns(file, wanted=wanted)
        return _plain(table) if wanted is None or table.num_rows else None

    def read(name: str) -> list[pa.Table]:
        try:
            table = use_part(folder, name, rows)
        except SkippedPart as reason:
            tell_skipped(folder, {name: str(reason)})
            return []
        return [] if table is None else [table]

    return read


def _schema(file: pq.ParquetFile) -> pa.Schema:
    return file.schema_arrow


def _is_rows(schema: pa.Schema) -> bool:
    return "status" in schema.names


def _is_array(schema: pa.Schema) -> bool:
    return set(ARRAYS.names) <= set(schema.names)


def _plain(table: pa.Table) -> pa.Table:
    """Dictionary columns as what they stand for; how a part stores them is its own affair."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = field.with_type(field.type.value_type)
            table = table.set_column(i, plain, table.column(i).cast(plain.type))
    return table


def _common(schemas: list[pa.Schema]) -> pa.Schema:
    """Columns of all schemas, the newest first; a type that changed is widened if it can be."""
    common = schemas[0]
    for schema in schemas[1:]:
        if _fits(schema, common):
            common = pa.unify_schemas([common, schema], promote_options="permissive")
    return common


def _fits(schema: pa.Schema, common: pa.Schema) -> bool:
    try:
        pa.unify_schemas([common, schema], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def _defaults(schema: pa.Schema) -> dict[str, Any]:
    try:
        found = json.loads((schema.metadata or {}).get(b"lawsweep.defaults", b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
