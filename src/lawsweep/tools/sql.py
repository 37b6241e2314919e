"""Questions in SQL over all tables, answered by DuckDB in memory: nothing can be written."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lawsweep.core.errors import IncompatibleTableError, InvalidValueError
from lawsweep.core.names import alike, folded
from lawsweep.core.registry import experiment_at_hand

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from lawsweep.store.places.folder import Folder

# No file, no network, no variable of this process is within reach of a query.
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    # Nor is anything fetched to answer one.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
CURVES = "curves"  # a table of this name is an experiment's, where there is one
_QUOTED = re.compile(r"\"([^\"\n]+)\"|with name (\S+) does not exist")


def sql(query: str, results_dir: str | Path = "results") -> pa.Table:
    """The answer to ``query`` as an Arrow table.

    Every experiment's table is a view of its name, one row a run (the latest successful attempt,
    else the latest); each of its arrays is ``<experiment>__<array>`` with columns ``run_id``,
    ``shape`` and ``values`` (row-major).  ``curves`` has what runs reported on their way: columns
    ``experiment``, ``run_id``, ``attempt``, ``step`` and every metric.  Raises InvalidValueError
    for a query that DuckDB refuses, with the nearest names.
    """
    import duckdb

    if not query.strip():
        raise InvalidValueError(
            "The query is empty; give SQL such as SELECT count(*) FROM ntk_min_eig."
        )
    views = _views(results_dir, query)
    with _connected() as connection:
        for name, table in views.items():
            connection.register(name, table)
        connection.execute("SET lock_configuration = true")
        try:
            answer = connection.sql(query)
            table = None if answer is None else answer.to_arrow_table()
        except duckdb.Error as error:
            raise InvalidValueError(_explain(str(error), query, views)) from None
        except RuntimeError as error:  # some errors in reading an answer come bare
            raise InvalidValueError(_first_line(str(error))) from None
    if table is None:
        raise InvalidValueError(
            f"The statement {query.strip()[:60]!r} asks for nothing; write a SELECT."
        )
    return table


@contextmanager
def _connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in memory; what is too large goes to a temporary folder, and not to ./.tmp."""
    import duckdb

    with (
        tempfile.TemporaryDirectory(prefix="lawsweep-sql-", ignore_cleanup_errors=True) as folder,
        duckdb.connect(":memory:", config={**_LOCKED, "temp_directory": folder}) as connection,
    ):
        yield connection


def _views(results_dir: str | Path, query: str) -> dict[str, pa.Table]:
    """Every view; those that the query does not name have their columns, and no rows."""
    from lawsweep.store.places.find import open_folder
    from lawsweep.store.table.tables import (
        ARRAYS,
        array_names,
        empty_rows,
        read_arrays,
        read_rows,
        table_names,
    )
    from lawsweep.store.table.words import in_words_of_today

    results, views = open_folder(results_dir), {}
    tables = table_names(results)
    _refuse_alike(query, tables, "tables")
    for name in tables:
        arrays = {f"{name}__{a}": a for a in array_names(results, name)}
        named = {v for v in (name, *arrays) if _names(query, v)}
        rows = read_rows(results, name) if named else empty_rows(results, name)
        if named and (experiment := experiment_at_hand(name)) is not None:
            rows = in_words_of_today(rows, experiment.aliases)
        views[name] = rows
        for view, array in arrays.items():
            values = ARRAYS.empty_table()
            if view in named:
                values = read_arrays(results, name, array, rows)
            views[view] = values.select(["run_id", "shape", "values"])
        if named:
            _refuse_alike("", rows.column_names, f"columns of {name}")
    if CURVES not in {n.lower() for n in views} and _names(query, CURVES):
        views[CURVES] = _curves(results)
        _refuse_alike("", views[CURVES].column_names, f"columns of {CURVES}")
    _refuse_alike(query, views, "tables and arrays")
    return views


def _curves(results: Folder) -> pa.Table:
    """The points of all experiments, each with the name of its own."""
    import pyarrow as pa

    from lawsweep.store.curves.curves import FOLDER, CurveTable, curve_names, standing, tidy
    from lawsweep.store.sweeps.skipping import tell_skipped
    from lawsweep.store.table.tables import read_rows

    names = curve_names(results)
    found = [tidy([], "").drop_columns(["started_at"])]
    for name in names:
        table = CurveTable(results / FOLDER, name)
        points = standing(table.read(), read_rows(results, name))
        tell_skipped(table.folder, table.skipped)
        found.append(points.drop_columns(["started_at"]))
    whole = [
        t.append_column("experiment", pa.repeat(n, t.num_rows))
        for n, t in zip(["", *names], found, strict=True)
    ]
    table = pa.concat_tables(whole, promote_options="default")
    return table.select(["experiment", *(n for n in table.column_names if n != "experiment")])


def _refuse_alike(query: str, names: Iterable[str], what: str) -> None:
    """Raise IncompatibleTableError for two names of which SQL would take one for the other.

    Names that the query does not have do it no harm; an empty query means all of them.
    """
    used = {folded(n) for n in names if not query or _names(query, n)}
    if pair := alike(n for n in names if folded(n) in used):
        raise IncompatibleTableError(
            f"The {what} {pair[0]} and {pair[1]} are one name to SQL, which would answer with "
            "either. Move one to another results_dir, or read the files with pyarrow or polars."
        )


def _names(query: str, view: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(view)}(?!\w)", query, re.IGNORECASE) is not None


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].rstrip(".!") + "." if text.strip() else "DuckDB failed."


def _explain(text: str, query: str, views: Mapping[str, pa.Table]) -> str:
    """DuckDB's first line; for a name it misses, the nearest names and the valid ones."""
    first = _first_line(text)
    if first.startswith("Permission"):
        return f"{first} A query reads the tables of the results folder and nothing else."
    if not first.startswith(("Catalog", "Binder")):
        return first
    if not views:
        return f"{first} There are no tables here; results_dir=... looks elsewhere."
    used = [v for v in views if _names(query, v)]
    columns = [c for v in used or views for c in views[v].column_names]
    names = [*views, *([] if first.startswith("Catalog Error: Table") else columns)]
    lowered, close = {n.lower(): n for n in names}, []
    for a, b in _QUOTED.findall(first):
        bare = (a or b).strip("\"'.!").rpartition(".")[2].lower()
        close += difflib.get_close_matches(bare, lowered, n=3, cutoff=0.5)
    words = [first]
    if close:
        words.append(f"Did you mean {' or '.join(lowered[c] for c in dict.fromkeys(close))}?")
    words.append(f"Tables: {', '.join(views)}.")
    words += [f"Columns of {v}: {', '.join(views[v].column_names)}." for v in used]
    return " ".join(words)
