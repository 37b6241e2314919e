"""One square array of one run as a map: the cosines between the rows of an optimum, say.

Averages over runs are not drawn: the rows of an optimum have no order of their own, so entry
(1, 2) of one run has nothing to do with entry (1, 2) of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures.base import ChartKind, Known, check_array
from lawsweep.analysis.figures.chart import Axis, Cells, Chart
from lawsweep.analysis.figures.of_arrays.arrays_of import kept
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

WRITTEN = 12  # up to so many rows the entries are written into the cells
LEAST_SPAN = 1e-3  # of the colours: entries that agree to rounding are drawn alike


class GramMap(ChartKind):
    """A square array of one run."""

    keys = ("array", "zlabel")
    needs = ("array",)
    subject = "array"

    def check(self, entry: Entry, known: Known) -> None:
        """The array is one of the experiment's."""
        check_array(entry, known)

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """The run of the least seed within ``where``; converged ones go first.

        Colours span the entries off the diagonal (by LEAST_SPAN at least), which would drown beside
        its ones; the diagonal is grey.

        Raises InvalidValueError where no run has the array, runs of several settings do, or the
        array is no square matrix.
        """
        found, rows, _ = kept(arrays, columns, spec)
        if columns.mixes_settings(rows, np.zeros(len(rows))):
            raise InvalidValueError(
                f"Figure {spec.name} is of one run, got {len(rows)} of several settings. Pin all "
                "params but the seed in its where."
            )
        row = _chosen(columns, rows)
        values = np.asarray(found[columns["run_id"][row]])
        if values.ndim != 2 or values.shape[0] != values.shape[1]:
            raise InvalidValueError(
                f"Figure {spec.name} needs a square matrix, got {spec.array} of shape "
                f"{values.shape}."
            )
        n = len(values)
        ticks = np.arange(1, n + 1, max(1, n // 10))
        ends = (0.5, n + 0.5)
        return Chart(
            x=Axis(label=spec.xlabel or "row", ends=ends, ticks=ticks),
            y=Axis(label=spec.ylabel or "row", ends=ends, ticks=ticks, down=True),
            layers=[_map(spec, values, row)],
            notes=_notes(columns, row, len(rows), values),
            square=True,
        )


def _chosen(columns: Columns, rows: Array) -> int:
    """Of the converged runs (of all, where none is) that of the least seed."""
    seeds = columns["seed"][rows] if "seed" in columns else np.arange(len(rows))
    return int(rows[np.lexsort((seeds, columns.not_converged(rows)))[0]])


def _map(spec: FigureSpec, values: Array, row: int) -> Cells:
    n = len(values)
    off = np.where(np.eye(n, dtype=bool) | ~np.isfinite(values), np.nan, values)
    known = off[np.isfinite(off)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    spare = max(0.0, LEAST_SPAN - (high - low)) / 2
    edges = np.arange(n + 1) + 0.5
    return Cells(
        x=edges,
        y=edges,
        values=off,  # the diagonal, and entries that are no number, are left grey
        title=spec.zlabel or str(spec.array),
        ends=(low - spare, high + spare),
        texts=[[_written(v) for v in line] for line in values] if n <= WRITTEN else None,
        rows=np.array([row]),
    )


def _written(value: float) -> str:
    return f"{value:.3f}".replace("1.000", "1").replace("-", "\N{MINUS SIGN}")


def _notes(columns: Columns, row: int, n_rows: int, values: Array) -> list[str]:
    seed = f", seed {columns['seed'][row]}" if "seed" in columns else ""
    notes = [f"one run of {n_rows}{seed}; its rows have no order, so runs are not averaged"]
    off = values[~np.eye(len(values), dtype=bool)]
    off = off[np.isfinite(off)]
    if len(off):
        notes.append(f"off the diagonal {off.min():.6g} to {off.max():.6g}")
    if columns.not_converged(np.array([row]))[0]:
        notes.append("it did not converge")
    return notes
