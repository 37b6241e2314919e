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

    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Columns

Arrays = Mapping[str, "NDArray[np.float64]"]
ArraySource = Callable[[str], Arrays]


def kept(
    results: ArraySource | None, columns: Columns, spec: FigureSpec
) -> tuple[Arrays, NDArray[Any], int]:
    """The array of a figure by run id, the ok rows within ``where`` that have it, rows planned.

    It is read when it is asked for.  Raises InvalidValueError where there is nothing to read it
    from, or no such row.
    """
    assert spec.array is not None
    if results is None:
        raise InvalidValueError(
            f"A figure of the array {spec.array} needs the arrays beside the rows, got rows alone. "
            "Draw it with lawsweep plot, or give draw(..., arrays=...)."
        )
    found = results(spec.array)
    planned = columns.where(spec.where, f"{spec.name}.where")
    ok = planned[columns.statuses(planned) == "ok"]
    held = set(found)
    rows = ok[np.array([i in held for i in columns["run_id"][ok].tolist()], dtype=bool)]
    if not len(rows):
        raise InvalidValueError(
            f"Figure {spec.name} needs a run that kept the array {spec.array}, got none of "
            f"{len(planned)} rows. Set the param that keeps it, or change the figure's where."
        )
    return found, rows, len(planned)
