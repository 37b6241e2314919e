"""Files of somebody else's, of results or of points, as columns of values of their fields.

CSV and TSV (UTF-8), Parquet, and JSON with one object a line.  Only the columns that are wanted
are read, and nothing is held of a file that is too large to be held.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lawsweep.core.errors import InvalidValueError, StoreError
from lawsweep.core.schema import FieldSpec
from lawsweep.store.exchange.cells import NULLS, read_cell, read_plain
from lawsweep.store.exchange.plain_text import unguarded

SUFFIXES = (".csv", ".tsv", ".parquet", ".json", ".jsonl")
MAX_BYTES = 2**31
MAX_ROWS = 2_000_000
_SHOWN = 200


@dataclass(frozen=True)
class Source:
    """A file that was opened: its column names, its hash, and how its columns are read.

    ``read`` gives the values of some columns by name; a column with a FieldSpec is read as that
    field's, one with None as it looks.
    """

    path: Path
    sha256: str
    names: tuple[str, ...]
    n_rows: int
    read: Callable[[Mapping[str, FieldSpec | None]], dict[str, list[Any]]]


def is_file_name(text: str) -> bool:
    """Whether a word of the command line names a file that could be read here."""
    return text.lower().endswith(SUFFIXES)


def open_source(
    path: Path,
    taker: str = "import",
    what: str = "file",
    rows: str = "rows",
    max_rows: int = MAX_ROWS,
) -> Source:
    """Open a file.  Raises StoreError or InvalidValueError, in one sentence, for a bad one.

    ``taker``, ``what`` and ``rows`` are its words for who asks, the file and what is in it.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidValueError(
            f"{taker} takes a file that ends in {', '.join(SUFFIXES)}, got {path}."
        )
    if not path.exists():
        raise StoreError(f"There is no {what} {path}. Check the path.")
    data = _bytes(path)
    opened = {".parquet": _parquet, ".csv": _text, ".tsv": _text}.get(suffix, _json_lines)
    try:
        source = opened(path, data)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not source.n_rows:
        raise InvalidValueError(f"The {what} {path} holds no {rows}. Give one that has some.")
    if source.n_rows > max_rows:
        raise InvalidValueError(
            f"{path} has {source.n_rows:,} {rows}, and {taker} takes {max_rows:,} at a time. "
            "Split it."
        )
    return source


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise StoreError(f"{path} is a folder, a pipe or a device. Give a file.")
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(
                f"{path} has {path.stat().st_size:,} bytes, and a file of at most {MAX_BYTES:,} is "
                "read. Split it, or convert it to Parquet."
            )
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}. Check the path.") from None


def _unreadable(path: Path, error: Exception) -> StoreError:
    reason = " ".join(str(error).split())[:_SHOWN].rstrip(".")
    return StoreError(f"Cannot read {path}: {reason}. Mend the file.")


def _parquet(path: Path, data: bytes) -> Source:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    names = tuple(_distinct_names(path, file.schema_arrow.names))

    def read(wanted: Mapping[str, FieldSpec | None]) -> dict[str, list[Any]]:
        try:
            table = file.read(columns=list(wanted))
            return {n: table[n].to_pylist() for n in wanted}
        except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
            raise _unreadable(path, error) from None
        except MemoryError:
            raise StoreError(
                f"{path} needs more memory than there is to be read. Split it."
            ) from None

    return Source(path, hashlib.sha256(data).hexdigest(), names, file.metadata.num_rows, read)


def _text(path: Path, data: bytes) -> Source:
    """CSV, or with tabs between the cells; every cell is text until its field is known."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    names = _header(path, data, delimiter)
    n_rows = len(_columns(path, data, delimiter, names[:1], {})[names[0]]) if names else 0

    def read(wanted: Mapping[str, FieldSpec | None]) -> dict[str, list[Any]]:
        found = _columns(path, data, delimiter, wanted, wanted)
        return {
            n: [read_plain(c) if s is None else read_cell(s, c) for c in map(unguarded, found[n])]
            for n, s in wanted.items()
        }

    return Source(path, hashlib.sha256(data).hexdigest(), tuple(names), n_rows, read)


def _header(path: Path, data: bytes, delimiter: str) -> list[str]:
    """The column names, after a look at whether the whole file is text as we read it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise StoreError(f"{path} is UTF-16; save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StoreError(f"{path} is not UTF-8 (line {line}); save it as UTF-8.") from None
    if "\0" in text:
        raise StoreError(f"{path} has NUL characters in it, and is no text. Mend the file.")
    if text.count('"') % 2:
        raise StoreError(f"{path} has a quotation mark that is never closed. Mend the file.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = next((row for row in reader if row), [])
    except csv.Error as error:
        raise _unreadable(path, error) from None
    for other in {";", "\t", ","} - {delimiter}:
        if len(names) == 1 and other in names[0]:
            shown = {"\t": "tabs", ";": "semicolons", ",": "commas"}
            raise InvalidValueError(
                f"The cells of {path} seem to be separated by {shown[other]}, and a "
                f"{path.suffix.lower()} file has {shown[delimiter]}. Save it with those."
            )
    if "" in names:
        raise InvalidValueError(f"Column {names.index('') + 1} of {path} has no name; give it one.")
    return _distinct_names(path, names)


def _distinct_names(path: Path, names: list[str]) -> list[str]:
    repeated = [n for n, k in Counter(names).items() if k > 1]
    if repeated:
        some = ", ".join(repeated[:5]) + (", ..." if repeated[5:] else "")
        raise InvalidValueError(
            f"{path} has several columns called {some}; give each its own name."
        )
    return names


def _columns(
    path: Path,
    data: bytes,
    delimiter: str,
    names: Collection[str],
    specs: Mapping[str, FieldSpec | None],
) -> dict[str, list[str | None]]:
    """Cells as text; None is an empty cell without quotation marks.

    A word such as NA is an empty cell too where the field is a text that may be null, unless it
    stands in quotation marks: then it is that text.
    """
    words = [n for n, s in specs.items() if s is not None and s.kind == "str" and s.optional]
    plain = [n for n in names if n not in set(words)]
    found = _cells(path, data, delimiter, plain, [""])
    if words:
        taken = {c for n in words if (s := specs[n]) for c in s.choices or ()}
        nulls = ["", *(w for w in NULLS if w not in taken)]
        found |= _cells(path, data, delimiter, words, nulls)
    return found


def _cells(
    path: Path, data: bytes, delimiter: str, names: Sequence[str], nulls: list[str]
) -> dict[str, list[str | None]]:
    import pyarrow.csv

    if not names:
        return {}
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            # One thread: its errors say which row they are of.
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            # A traceback spans lines, and the reader would cut one at the end of a block.
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                null_values=nulls,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                include_columns=list(names),
                column_types={n: pa.string() for n in names},
            ),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        uneven = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if uneven:
            row, expected, got = map(int, uneven.groups())
            raise StoreError(
                f"Cannot read {path}: row {row - 1} has {got} cells, and the header {expected}. "
                "Mend the file."
            ) from None
        raise _unreadable(path, error) from None
    return {n: table[n].to_pylist() for n in names}


def _json_lines(path: Path, data: bytes) -> Source:
    """One object a line, as ``export`` writes it."""
    rows: list[dict[str, Any]] = []
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise StoreError(f"{path} is not UTF-8; save it as UTF-8.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            reason = str(error).partition(":")[0]
            raise StoreError(
                f"Cannot read {path}: line {number} is no JSON object ({reason}). Write one "
                "object a line."
            ) from None
        if not isinstance(row, dict):
            raise StoreError(
                f"Cannot read {path}: line {number} is no JSON object. Write one object a line."
            )
        rows.append(row)
    names = tuple(dict.fromkeys(n for row in rows for n in row))

    def read(wanted: Mapping[str, FieldSpec | None]) -> dict[str, list[Any]]:
        return {n: [row.get(n) for row in rows] for n in wanted}

    return Source(path, hashlib.sha256(data).hexdigest(), names, len(rows), read)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in it")
    return found
