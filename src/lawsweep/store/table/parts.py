"""One part of a table: an immutable Parquet file, named by when and what was written.

A part is read whole or passed over with a reason; nothing in it is ever unpickled or executed.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from lawsweep.core.circumstances import CIRCUMSTANCES
from lawsweep.core.errors import StoreError
from lawsweep.store.places.files import is_stale
from lawsweep.store.places.folder import Folder
from lawsweep.store.table.attempts import IDENTITY
from lawsweep.store.table.reader import Wanted, read_columns, said_nulls
from lawsweep.store.table.schema import FORMAT, conflicts, is_of, part_format

PART = re.compile(r"part-.*\.parquet\Z")
ROW_GROUP = 2**17  # rows; query engines share out row groups among threads
_UNREADABLE = (pa.ArrowException, OSError, ValueError, NotImplementedError, KeyError)
MANY_ROWS, LEAST_BYTES = 2**20, 8
_REPEATING = frozenset({"version", *(c.name for c in CIRCUMSTANCES if c.repeats)})
T = TypeVar("T")


class SkippedPart(Exception):  # noqa: N818  (a finding, which the reader names and goes on)
    """A file that holds no rows this reader can read; the message says why."""


class NewerPart(SkippedPart):
    """A part in a format that a later lawsweep writes."""


def part_name(data: bytes) -> str:
    """``part-<time>-<hash of the content>.parquet``: sorts by time, and no writer needs a lock."""
    return f"part-{time.time_ns():016x}-{digest(data)}.parquet"


def digest(data: bytes) -> str:
    """64 bits that name the content."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def encode(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file.

    Params and texts repeat, and are kept as dictionaries; ids and measured values do not, and
    are plain.  (Parquet would try a dictionary for each column, and give it up after a MiB.)
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=ROW_GROUP,
        use_dictionary=[f.name for f in table.schema if _repeats(f)],
        write_page_checksum=True,  # a flipped bit makes a torn part, not another number
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _repeats(field: pa.Field) -> bool:
    if field.name == "run_id" or pa.types.is_boolean(field.type):
        return False
    is_param = (field.metadata or {}).get(b"role") == b"param"
    return is_param or pa.types.is_string(field.type) or field.name in _REPEATING


def read_schema(folder: Folder, name: str) -> pa.Schema:
    """The schema of a part of rows in a format this lawsweep knows, else SkippedPart."""
    return use_part(folder, name, lambda file: _row_schema(file.schema_arrow))


def read_part(
    folder: Folder,
    name: str,
    schema: pa.Schema,
    fill: Mapping[str, Any],
    seen: dict[str, pa.Schema] | None = None,
    wanted: Wanted | None = None,
) -> pa.Table:
    """The columns of ``schema`` in a part (in the rows ``wanted``), in that order and those types.

    A column that an older part lacks is its value in ``fill``, or missing.  The part's own schema
    is put in ``seen``.  Raises SkippedPart
    with the reason for any other file, FileNotFoundError for one that has gone, and StoreError
    when an object store does not answer.
    """

    def columns(file: pq.ParquetFile) -> pa.Table:
        found = _row_schema(file.schema_arrow)
        check_experiment(found, schema.metadata.get(b"lawsweep.experiment", b"").decode())
        if wrong := conflicts(schema, found):
            raise SkippedPart("; ".join(wrong))
        if seen is not None:
            seen[name] = found
        names = [f.name for f in schema if is_of(f, found)]
        # By what the file says of itself, so that it is the same part to whoever asks for few rows.
        nobodys = wanted is not None and any(said_nulls(file, n) for n in IDENTITY)
        table = conform(read_columns(file, names, wanted), schema, fill)
        if nobodys or any(table[n].null_count for n in IDENTITY):
            raise SkippedPart("has rows that do not say which run they are of")
        return table

    return use_part(folder, name, columns)


def check_experiment(schema: pa.Schema, experiment: str) -> None:
    """Raise SkippedPart for a part of the table of another experiment."""
    theirs = (schema.metadata or {}).get(b"lawsweep.experiment", b"?").decode(errors="replace")
    if theirs != experiment:
        raise SkippedPart(
            f"a part of the table of {theirs if theirs.isidentifier() else repr(theirs)}"
        )


def _row_schema(schema: pa.Schema) -> pa.Schema:
    if not set(IDENTITY) <= set(schema.names):
        raise SkippedPart("not a part of this table")
    return schema


def conform(table: pa.Table, schema: pa.Schema, fill: Mapping[str, Any]) -> pa.Table:
    """The table with the columns and types of ``schema``; one it lacks is its value in ``fill``."""
    arrays = []
    for f in schema:
        if f.name in table.column_names:
            # An int column that became a float one is rounded above 2**53, as floats are.
            arrays.append(table[f.name].cast(f.type, safe=False))
        else:
            value = pa.scalar(fill.get(f.name), type=f.type)
            arrays.append(pa.chunked_array([pa.repeat(value, table.num_rows)], type=f.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def check_claims(file: pq.ParquetFile, size: int) -> None:
    """Raise SkippedPart for a file of ``size`` bytes that could not be what it says it is."""
    schema, n_rows = file.schema_arrow, file.metadata.num_rows
    if twice := sorted({n for n in schema.names if schema.names.count(n) > 1}):
        raise SkippedPart(f"has the column {twice[0]!r} twice")
    groups = [file.metadata.row_group(g) for g in range(file.metadata.num_row_groups)]
    if n_rows != sum(g.num_rows for g in groups):
        raise SkippedPart(f"claims {n_rows:,} rows, and its row groups have others")
    # A run id is a hash: no honest file packs a row into fewer bytes than its 16.
    if n_rows > MANY_ROWS and n_rows * LEAST_BYTES > size:
        raise SkippedPart(f"claims {n_rows:,} rows in {size:,} bytes")


def use_part(folder: Folder, name: str, use: Callable[[pq.ParquetFile], T]) -> T:
    """What ``use`` makes of a part of ours in a format this lawsweep knows.

    Errors as ``read_part``.
    """

    def checked(file: pq.ParquetFile, size: int) -> T:
        check_claims(file, size)
        written = part_format(file.schema_arrow)
        if written is None:
            raise SkippedPart("not a part of this table")
        if written > FORMAT:
            raise NewerPart(f"written by a newer lawsweep (format {written}); it may hold rows")
        return use(file)

    try:
        with folder.open(name) as source, _checked_file(source) as file:
            return checked(file, source.size())
    except FileNotFoundError:
        raise
    except StoreError as error:
        if folder.is_local:  # this file cannot be opened (permissions, a loop of links, a pipe)
            raise SkippedPart(str(error).partition(": ")[2] or str(error)) from None
        raise
    except _UNREADABLE as error:
        if folder.is_local:
            if isinstance(error, OSError) and is_stale(error):
                raise FileNotFoundError(name) from None
            raise _torn(error) from None
    # From a bucket, a torn object and a broken connection are the same OSError.  Which it was
    # tells the whole object: a torn one arrives, and is still torn.
    try:
        data = folder.read(name)
        with _checked_file(pa.BufferReader(data)) as file:
            return checked(file, len(data))
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise _torn(error) from None


def _checked_file(source: pa.NativeFile) -> pq.ParquetFile:
    return pq.ParquetFile(source, page_checksum_verification=True)


def _torn(error: Exception) -> SkippedPart:
    lines = str(error).splitlines()
    return SkippedPart(f"torn or not Parquet ({lines[0][:200] if lines else type(error).__name__})")


LOOKS = 100
REQUESTS = 16  # parts asked for at the same time, where each costs a round trip


def part_names(folder: Folder) -> list[str]:
    """Names of the files that may be parts, in order (roughly the order of writing)."""
    return [n for n in folder.names() if PART.match(n)]


def steady_look(folder: Folder, read: Callable[[str], T]) -> dict[str, T]:
    """What ``read`` makes of every part, for one listing of the folder.

    A part that is no longer there (``read`` raises FileNotFoundError) was merged since it was
    listed, and its rows are in a newer part.  Then the folder is listed again, but parts never
    change, so only new ones are read: however fast writers merge, each look is shorter than the
    last.  Raises StoreError if that never ends.
    """
    kept: dict[str, T] = {}
    for _ in range(LOOKS):
        listed = part_names(folder)
        kept |= _those_there(folder, read, [n for n in listed if n not in kept])
        if all(n in kept for n in listed):
            return {n: kept[n] for n in listed}
    raise StoreError(f"The parts in {folder} keep changing; try again.")


def _those_there(folder: Folder, read: Callable[[str], T], names: list[str]) -> dict[str, T]:
    def attempt(name: str) -> list[tuple[str, T]]:
        try:
            return [(name, read(name))]
        except FileNotFoundError:
            return []

    if folder.is_local or len(names) < 2:
        return dict(found for name in names for found in attempt(name))
    with ThreadPoolExecutor(REQUESTS) as pool:
        return dict(found for answer in pool.map(attempt, names) for found in answer)
