"""Curves that runs kept beside their rows: a thin line a run, one colour a group.

The array has two rows, x and y: steps and losses, say.  Runs are not averaged: they end at
different steps, and a mean of losses over decades is that of the worst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import ChartKind, Known, check_array
from lawsweep.analysis.figures.chart import Axis, Chart, Layer, Line
from lawsweep.analysis.figures.look import by_label, group_label, group_rows
from lawsweep.analysis.figures.of_arrays.arrays_of import kept
from lawsweep.analysis.laws.fitted import count
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns


class ArrayCurves(ChartKind):
    """Curves that runs kept, a line each; one colour a group."""

    keys = ("array", "by", "panel", "logx", "logy")
    needs = ("array",)
    subject = "array"

    def check(self, entry: Entry, known: Known) -> None:
        """The array is one of the experiment's."""
        check_array(entry, known)

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """The curve of each ok run within ``where``, on logarithmic axes unless told not to.

        Points that such an axis has no place for (step 0) or that are not finite are left out; a
        run that ends in one is counted.  Raises InvalidValueError where no run has the array, or
        one is not of shape (2, K).
        """
        found, rows, n_planned = kept(arrays, columns, spec)
        logx, logy = spec.logx is not False, spec.logy is not False
        grouping = group_rows(columns, spec, rows)
        run_ids, n_lost, n_empty = columns["run_id"], 0, 0
        layers: list[Layer] = []
        for k, (_, members) in enumerate(grouping.groups):
            panel, pale = grouping.panel_of[k], alpha(len(members))
            for row in members.tolist():
                x, y, ends_well = _drawable(spec, np.asarray(found[run_ids[row]]), logx, logy)
                n_lost += not ends_well
                n_empty += not len(x)
                layers.append(Line(group=k, panel=panel, x=x, y=y, role="run", row=row, alpha=pale))
        return Chart(
            x=Axis(label=spec.xlabel or "x", log=logx),
            y=Axis(label=spec.ylabel or labels.name(spec.array or ""), log=logy),
            layers=layers,
            groups=[
                grouping.group(k, group_label(values, None, spec.panel))
                for k, (values, _) in enumerate(grouping.groups)
            ],
            by=by_label(spec),
            panels=grouping.panels,
            notes=_notes(len(rows), n_planned, n_lost, n_empty),
        )


def _drawable(spec: FigureSpec, values: Array, logx: bool, logy: bool) -> tuple[Array, Array, bool]:
    """The points that have a place, and whether the last one does."""
    if values.ndim != 2 or len(values) != 2:
        raise InvalidValueError(
            f"Figure {spec.name} needs arrays of shape (2, K), rows x and y, got {spec.array} of "
            f"shape {values.shape}."
        )
    x, y = values
    keep = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not logx)) & ((y > 0) | (not logy))
    return x[keep], y[keep], bool(len(keep)) and bool(keep[-1])


def alpha(n: int) -> float:
    """Paler the more lines there are."""
    return float(np.clip(6 / np.sqrt(n), 0.25, 0.9))


def _notes(n_drawn: int, n_planned: int, n_lost: int, n_empty: int) -> list[str]:
    notes = [f"{count(n_drawn, 'run')}, a line each"]
    if n_drawn < n_planned:
        notes.append(f"{count(n_planned - n_drawn, 'row')} without the array, not drawn")
    if n_lost:
        notes.append(f"{count(n_lost, 'line')} cut off where the value has no place on the axes")
    if n_empty:
        notes.append(f"{count(n_empty, 'run')} without any point to draw")
    return notes
