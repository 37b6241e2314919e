"""The seam between figures and the large arrays that stand beside a sweep's rows.

Analysis knows no store: whoever draws gives a source, ``name -> {run_id: array}``
(``lawsweep.load_arrays`` with its sweep filled in).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lawsweep.analysis.frames import Columns

Arrays = Mapping[str, "NDArray[np.float64]"]
ArraySource = Callable[[str], Arrays]


def arrays_of(results: ArraySource | None, name: str) -> Arrays:
    """Run id to array ``name``, read when it is asked for.  Raises InvalidValueError for None."""
    if results is None:
        raise InvalidValueError(
            f"A figure of the array {name} needs the arrays beside the rows, got rows alone. "
            "Draw it with lawsweep plot, or give draw(..., arrays=...)."
        )
    return results(name)


def rows_with(found: Arrays, columns: Columns, rows: NDArray[Any]) -> NDArray[Any]:
    """Of ``rows`` (indices) those whose run came with the array."""
    held = set(found)
    there = np.array([i in held for i in columns["run_id"][rows].tolist()], dtype=bool)
    return np.asarray(rows[there])
