"""Tables, arrays and columns whose names differ only in case are refused where they would meet."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from lawsweep.core.errors import IncompatibleTableError, StoreError
from lawsweep.core.experiment import Experiment
from lawsweep.core.names import alike
from lawsweep.store.places.folder import Folder


def check_folders(table: Folder, arrays: Folder, experiment: Experiment) -> None:
    """Raise IncompatibleTableError where another folder has the name of this table, or an array's.

    In SQL one would answer for the other, and some file systems keep both in one folder.
    """
    root = table.parent
    if pair := alike([experiment.name], _folders(root)):
        raise IncompatibleTableError(
            f"{root} has the table {pair[0]}, and {pair[0]} and {pair[1]} are one name to SQL and "
            "to some file systems. Call the experiment otherwise (@experiment(name=...)), or set "
            "results_dir to another folder."
        )
    if pair := alike([s.name for s in experiment.arrays], _folders(arrays)):
        raise IncompatibleTableError(
            f"{arrays} has the array {pair[0]}, and {pair[0]} and {pair[1]} are one name to SQL "
            "and to some file systems. Rename the field, or set results_dir to another folder."
        )


def _folders(folder: Folder) -> list[str]:
    """Those that are there; where they cannot be listed, nothing can be written either."""
    try:
        return folder.folders()
    except StoreError:
        return []


def check_columns(table: Folder, schema: pa.Schema, parts: Iterable[pa.Schema]) -> None:
    """Raise IncompatibleTableError where an older part has a column that is one name with ours."""
    for part in parts:
        if pair := alike(schema.names, part.names):
            raise IncompatibleTableError(
                f"Older rows of the table {table} have the column {pair[0]}, and {pair[0]} and "
                f"{pair[1]} are one name to SQL. Rename the field, or set results_dir to another "
                "folder."
            )
