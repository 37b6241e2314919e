"""Write a tidy table for people: Parquet, CSV, TSV or JSON lines."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lawsweep.core.errors import unknown_name
from lawsweep.core.shown import finite, plain
from lawsweep.store.exchange.plain_text import guarded
from lawsweep.store.places.find import write_file

FORMATS = ("parquet", "csv", "tsv", "json", "jsonl", "md")


def write_table(table: pa.Table, path: Path | str) -> None:
    """Write ``table`` to a path or URL, whole or not at all; the format is its ending.

    See ``encode`` for what is written.  Raises UnknownNameError for another ending.
    """
    kind = PurePath(str(path).partition("?")[0]).suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise unknown_name("export format", kind, FORMATS, f"path {path}")
    write_file(path, encode(table, kind))


def encode(table: pa.Table, kind: str, *, strict: bool = False) -> bytes:
    """A table as the bytes of a file of one of FORMATS.

    CSV and TSV write a missing value as an empty field, NaN as ``nan``, and a text that a
    spreadsheet would compute behind an apostrophe, which ``import`` takes away; JSON is one object
    a line, with ``null`` for missing, and ``NaN`` and ``Infinity`` for what JSON has no numbers
    for, as Python and ``import`` read them; ``strict``: these are ``null`` too in ``json`` (not in
    ``jsonl``).  Markdown is a table of its own grammar.
    """
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, sink, compression="zstd")
    elif kind in ("csv", "tsv"):
        options = pyarrow.csv.WriteOptions(delimiter="," if kind == "csv" else "\t")
        pyarrow.csv.write_csv(_flat(table), sink, options)
    elif kind == "md":
        columns = [[_in_markdown(v) for v in column.to_pylist()] for column in table.columns]
        numeric = [
            pa.types.is_integer(f.type) or pa.types.is_floating(f.type) for f in table.schema
        ]
        rows = [table.column_names, [("---:" if n else "---") for n in numeric]]
        for row in (*rows, *zip(*columns, strict=True)):
            sink.write(f"| {' | '.join(row)} |\n".encode())
    else:
        for row in table.to_pylist():
            given = finite(row) if strict and kind == "json" else row
            sink.write(json.dumps(given, default=_in_json).encode() + b"\n")
    return sink.getvalue()


def _in_markdown(value: object) -> str:
    """A cell: a bar would end it, and a line break the table."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _spell(value)
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _in_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else plain(value)


def _spell(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _flat(table: pa.Table) -> pa.Table:
    """CSV has no lists, they are written as JSON text; and no text that is a formula."""
    for i, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_list(kind):
            text = [None if v is None else json.dumps(v) for v in table.column(i).to_pylist()]
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            text = [v if v is None else guarded(str(v)) for v in table.column(i).to_pylist()]
        else:
            continue
        table = table.set_column(i, field.name, pa.array(text, type=pa.string()))
    return table
