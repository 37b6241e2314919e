"""What runs reported on their way, for the page: a thin line a run, one colour a group of params.

Failed runs and those under way are drawn as well: that is what a curve is looked at for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.chart import Axis, Chart, Line
from lawsweep.analysis.figures.look import by_label, group_label, group_rows
from lawsweep.analysis.figures.of_arrays.array_curves import alpha
from lawsweep.analysis.figures.specs import FigureSpec
from lawsweep.analysis.laws.fitted import count

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array, Columns

MOST_GROUPS = 12  # colours that can be told apart
DECADES = 2.0  # that a positive metric spans before its axis is logarithmic


def reported_figure(metric: str, levels: Mapping[str, int]) -> FigureSpec:
    """The figure of a metric; ``levels``: how many values each param that varies has.

    Runs are told apart by those of the params, the coarsest first, that make few groups.
    """
    by: list[str] = []
    n = 1
    for name, k in sorted(levels.items(), key=lambda item: item[1]):
        if n * k <= MOST_GROUPS:
            by, n = [*by, name], n * k
    return FigureSpec(name=f"reported_{metric}", kind="reported", array=metric, by=tuple(by))


def reported_chart(columns: Columns, spec: FigureSpec, curves: Mapping[str, Array]) -> Chart:
    """The chart; ``curves`` are steps and values, (2, K), by run id.  ``columns``: all rows."""
    run_ids = columns["run_id"]
    rows = np.flatnonzero([i in curves for i in run_ids.tolist()])
    log = _spans_decades(list(curves.values()))
    grouping = group_rows(columns, spec, rows)
    layers, n_cut = [], 0
    for k, (_, members) in enumerate(grouping.groups):
        for row in members.tolist():
            x, y = curves[run_ids[row]]
            keep = np.isfinite(y)
            n_cut += not keep.all()
            layers.append(
                Line(group=k, x=x[keep], y=y[keep], role="run", row=row, alpha=alpha(len(members)))
            )
    notes = [f"{count(len(rows), 'run')} reported {spec.array}, a line each"]
    if n_cut:
        notes.append(f"{count(n_cut, 'run')} reported values that are not finite, not drawn")
    return Chart(
        x=Axis(label="step"),
        y=Axis(label=labels.name(spec.array or ""), log=log),
        layers=layers,
        groups=[
            grouping.group(k, group_label(values, None, spec.panel))
            for k, (values, _) in enumerate(grouping.groups)
        ],
        by=by_label(spec),
        notes=notes,
    )


def _spans_decades(curves: Sequence[Array]) -> bool:
    values = np.concatenate([c[1] for c in curves]) if curves else np.zeros(0)
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() > 0 and values.max() > 10**DECADES * values.min())
