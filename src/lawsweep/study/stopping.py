"""``stop_runs`` of a sweep: the rule, told what the table knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lawsweep.sampling.stopping import Stopping, make_stopping, read_stop_runs

if TYPE_CHECKING:
    from lawsweep.study.opening import Opened


def stopping_of(opened: Opened) -> Stopping | None:
    """The rule of a sweep, told the curves of the runs that have a row; None where it has none."""
    options = read_stop_runs(opened.sweep.stop_runs)
    if options is None:
        return None
    from lawsweep.store.curves.curves import standing

    found, plan = make_stopping(options), opened.plan
    rows = opened.table.rows(plan.run_ids, ["resumed"])
    status = dict(zip(rows["run_id"].to_pylist(), rows["status"].to_pylist(), strict=True))
    points = standing(opened.table.curve_table.read(plan.run_ids), rows)
    if options.metric not in points.column_names:
        return found
    curves: dict[str, list[tuple[int, dict[str, float]]]] = {}
    columns = (points[n].to_pylist() for n in ("run_id", "step", options.metric))
    for run_id, step, value in zip(*columns, strict=True):
        if value is not None:
            curves.setdefault(run_id, []).append((step, {options.metric: value}))
    for i, run_id in enumerate(plan.run_ids):
        if run_id in curves and run_id in status:
            found.ended(i, sorted(curves[run_id], key=lambda p: p[0]), well=status[run_id] == "ok")
    return found
