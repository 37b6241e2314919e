"""The page's charts of what runs reported on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.study.opening import Opened
from lawsweep.study.reading.rows import curves

if TYPE_CHECKING:
    import pandas as pd

    from lawsweep.analysis.report.facts import Drawing

MOST_METRICS = 6  # charts of a page


def curve_drawings(opened: Opened, made: pd.DataFrame) -> list[Drawing]:
    """A chart for each metric that runs reported, the first MOST_METRICS; none where none did."""
    from lawsweep.analysis.figures.of_arrays.reported import reported_chart, reported_figure
    from lawsweep.analysis.frames import Columns
    from lawsweep.analysis.report.charts import page_chart
    from lawsweep.analysis.report.facts import Drawing

    points = curves(opened)
    if not len(points):
        return []
    params = [s.name for s in opened.plan.experiment.params if s.name in made.columns]
    n_levels = {n: int(made[n].nunique(dropna=False)) for n in params}
    varying = {n: k for n, k in n_levels.items() if k > 1}
    columns = Columns(made)
    drawings: list[Drawing] = []
    for metric in [n for n in points.columns if n not in ("run_id", "attempt", "step")]:
        if len(drawings) == MOST_METRICS:
            break
        spec = reported_figure(metric, varying)
        shown = page_chart(reported_chart(columns, spec, _by_run(points, metric)), columns, spec)
        drawings.append(Drawing(spec.name, shown, None, caption=_caption(points, metric)))
    return drawings


def _by_run(points: pd.DataFrame, metric: str) -> dict[str, Any]:
    """Steps and values of each run that reported a metric, (2, K)."""
    known = points[_has(points, metric)]
    return {
        str(run_id): np.stack([part["step"].to_numpy(float), part[metric].to_numpy(float)])
        for run_id, part in known.groupby("run_id", sort=False)
    }


def _caption(points: pd.DataFrame, metric: str) -> str:
    n = int(_has(points, metric).sum())
    return f"What runs reported of {metric} on their way, {n:,} points"


def _has(points: pd.DataFrame, metric: str) -> Any:
    """Where a point has the metric; NaN is a value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    valid = pc.is_valid(pa.array(points[metric].array))
    return valid.to_numpy(zero_copy_only=False)
