"""Explicit points from a file: CSV, TSV, Parquet or JSON lines, one column a param."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.schema import FieldSpec
from lawsweep.grid.points import MAX_POINTS
from lawsweep.store.exchange.foreign import open_source

MAX_COLUMNS = 1_000  # params, and axes that expressions read


def read_points(path: Path, specs: Mapping[str, FieldSpec], limit: int) -> dict[str, list[Any]]:
    """The columns of a points file as plain values; an empty CSV field is null.

    A cell is read as the type of its param asks, in ``specs``; in the column of an axis that is
    none, what looks like a number is one.  Raises StoreError when the file cannot be read,
    InvalidValueError when it holds no points, or more than ``limit``.
    """
    source = open_source(path, "points", "points file", "points", MAX_POINTS)
    if len(source.names) > MAX_COLUMNS:
        raise InvalidValueError(
            f"The points file {path} has {len(source.names):,} columns, and at most "
            f"{MAX_COLUMNS:,} are read. One column is one param: keep those."
        )
    if source.n_rows > limit:
        raise InvalidValueError(
            f"The points file {path} holds {source.n_rows:,} points, more than the limit of "
            f"{limit:,}. Give fewer, or raise max_points if you mean it."
        )
    return source.read({name: specs.get(name) for name in source.names})
