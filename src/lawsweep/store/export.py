"""Write a tidy table for people: Parquet, CSV or JSON lines."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lawsweep.core.errors import unknown_name
from lawsweep.store.places import write_file

FORMATS = ("parquet", "csv", "json")


def write_table(table: pa.Table, path: Path | str) -> None:
    """Write ``table`` to a path or URL, whole or not at all; the format is its ending.

    CSV writes a missing value as an empty field and NaN as ``nan``; JSON is one object a line,
    with ``null`` for missing and ``NaN`` for NaN.
    """
    kind = PurePath(str(path).partition("?")[0]).suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise unknown_name("export format", kind, FORMATS, f"path {path}")
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, sink, compression="zstd")
    elif kind == "csv":
        pyarrow.csv.write_csv(_flat(table), sink)
    else:
        for row in table.to_pylist():
            sink.write(json.dumps(row, default=_spell).encode() + b"\n")
    write_file(path, sink.getvalue())


def _spell(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _flat(table: pa.Table) -> pa.Table:
    """CSV has no lists: they are written as JSON text."""
    for i, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            text = [None if v is None else json.dumps(v) for v in table.column(i).to_pylist()]
            table = table.set_column(i, field.name, pa.array(text, type=pa.string()))
    return table
