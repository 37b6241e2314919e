"""One square array of one run as a map: the cosines between the rows of an optimum, say.

Averages over runs are not drawn: the rows of an optimum have no order of their own, so entry
(1, 2) of one run has nothing to do with entry (1, 2) of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures.base import FigureKind, Known, check_array
from lawsweep.analysis.figures.look import whole_figure
from lawsweep.analysis.figures.of_arrays.arrays_of import kept
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

WRITTEN = 12  # up to so many rows the entries are written into the cells
LEAST_SPAN = 1e-3  # of the colours: entries that agree to rounding are drawn alike


class GramMap(FigureKind):
    """A square array of one run."""

    keys = ("array", "zlabel")
    needs = ("array",)
    subject = "array"

    def check(self, entry: Entry, known: Known) -> None:
        """The array is one of the experiment's."""
        check_array(entry, known)

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Draw the run of the least seed within ``where``; converged ones go first.

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
        _map(axes, spec, values)
        return _notes(columns, row, len(rows), values)


def _chosen(columns: Columns, rows: Array) -> int:
    """Of the converged runs (of all, where none is) that of the least seed."""
    seeds = columns["seed"][rows] if "seed" in columns else np.arange(len(rows))
    return int(rows[np.lexsort((seeds, columns.not_converged(rows)))[0]])


def _map(axes: Axes, spec: FigureSpec, values: Array) -> None:
    n = len(values)
    off = np.ma.masked_array(values, mask=np.eye(n, dtype=bool) | ~np.isfinite(values))
    axes.set_facecolor("0.85")  # the diagonal, and entries that are no number
    low, high = (float(off.min()), float(off.max())) if off.count() else (0.0, 0.0)
    spare = max(0.0, LEAST_SPAN - (high - low)) / 2
    mesh = axes.pcolormesh(
        np.arange(n + 1) + 0.5, np.arange(n + 1) + 0.5, off, cmap="viridis", edgecolors="face",
        linewidth=0.2, vmin=low - spare, vmax=high + spare,
    )  # fmt: skip
    axes.set_aspect("equal")
    axes.invert_yaxis()
    ticks = np.arange(1, n + 1, max(1, n // 10))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_xlabel(spec.xlabel or "row")
    axes.set_ylabel(spec.ylabel or "row")
    if n <= WRITTEN:
        _write(axes, values, mesh)
    bar = whole_figure(axes).colorbar(mesh, ax=axes, pad=0.02, aspect=25)
    bar.set_label(spec.zlabel or str(spec.array))
    bar.outline.set_visible(False)


def _write(axes: Axes, values: Array, mesh: Any) -> None:
    """Each entry into its cell, dark on light and light on dark."""
    size = 9 if len(values) <= 6 else 5.5
    for i, j in np.ndindex(values.shape):
        red, green, blue, _ = mesh.to_rgba(values[i, j])
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 and i != j
        look: Any = {"ha": "center", "va": "center", "fontsize": size}
        text = f"{values[i, j]:.3f}".replace("1.000", "1").replace("-", "\N{MINUS SIGN}")
        axes.text(j + 1, i + 1, text, color="white" if dark else "black", **look)


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
