"""Explicit points from a file: CSV or Parquet, one column a param."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lawsweep.core.errors import InvalidValueError, StoreError

SUFFIXES = (".csv", ".parquet")


def read_points(path: Path) -> dict[str, list[Any]]:
    """The columns of a points file as plain values; an empty CSV field is null.

    Raises StoreError when it cannot be read, InvalidValueError when it holds no points.
    """
    if path.suffix not in SUFFIXES:
        raise InvalidValueError(f"points takes a .csv or .parquet file, got {path}.")
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
    except FileNotFoundError:
        raise StoreError(f"There is no points file {path}. Check the path.") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StoreError(f"Cannot read the points file {path}: {reason}") from None
    if not table.num_rows:
        raise InvalidValueError(f"The points file {path} holds no points.")
    return {str(name): table[name].to_pylist() for name in table.column_names}
