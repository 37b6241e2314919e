"""Sweeps with a ``search`` block: what they ask for, and the thresholds they found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.laws.threshold import STATES
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.outcome import FAILURES
from lawsweep.sampling.threshold.findings import COLUMNS, cell_columns
from lawsweep.sampling.threshold.sampler import ThresholdSearch

if TYPE_CHECKING:
    import pyarrow as pa

    from lawsweep.store.places.folder import Folder
    from lawsweep.study.known import Known
    from lawsweep.study.study import Study


def make_search(known: Known, *, retry: bool = False) -> ThresholdSearch | None:
    """The search of a sweep at where its rows have brought it; None for an ordinary sweep.

    ``retry``: rows that failed count as not there, and are wanted, asked for or not.
    """
    if known.spec is None:
        return None
    plan, rows = known.plan, known.keys
    metrics = [m.name for m in plan.experiment.metrics]
    rows = rows.select([n for n in ("run_id", "status", *metrics) if n in rows.column_names])
    place = {run_id: i for i, run_id in enumerate(plan.run_ids)}
    there, again = {}, []
    for row in rows.to_pylist():
        status = row.pop("status")
        run = place[row.pop("run_id")]
        if retry and status in FAILURES:
            again.append(run)
        else:
            there[run] = (status, row)
    return ThresholdSearch(plan, known.spec, there, again)


def seen(known: Known) -> list[int] | None:
    """Runs that a search has asked for or that have a row; None for an ordinary sweep.

    The other runs of its plan are candidates that nothing is missing without.
    """
    if known.search is None:
        return None
    have = {i for i, r in enumerate(known.plan.run_ids) if r in known.done}
    return sorted(have | set(known.search.asked()))


def threshold_table(study: Study, search: ThresholdSearch | None = None) -> pa.Table:
    """``Study.thresholds`` as Arrow, of a search under way if one is given."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.sweep_folder import plan_table

    search = search or study.search
    if search is None:
        raise InvalidValueError(
            f"Sweep {study.sweep.name} searches for no threshold; give it a search block with "
            "axis and event."
        )
    firsts = [cell.points[0] * len(study.plan.seeds) for cell in search.cells]
    rows = plan_table(study.plan).take(pa.array(firsts, type=pa.int64()))
    # By name: a table without columns would have no rows either.
    fields, values = [], []
    for name in cell_columns(study.plan, search.options.axis):
        fields.append(rows.schema.field(name))
        moves = pa.array([name in cell.moving for cell in search.cells])
        values.append(pc.if_else(moves, pa.scalar(None, rows[name].type), rows[name]))
    found = search.results()
    columns: dict[str, list[Any]] = {
        "n_star": [t.n_star for t in found],
        "low": [t.low for t in found],
        "high": [t.high for t in found],
        "transition_width": [t.width for t in found],
        "state": [t.state for t in found],
        "reason": [t.reason for t in found],
        "n_runs": [t.n_runs for t in found],
        "n_unanswered": [t.n_unanswered for t in found],
        "n_visited": [t.n_visited for t in found],
        "n_candidates": [len(c.values) for c in search.cells],
        "confidence": [search.options.confidence for _ in found],
    }
    for name, column in columns.items():
        kind = {"state": pa.string(), "reason": pa.string()}.get(
            name, pa.int64() if name.startswith("n_") and name != "n_star" else pa.float64()
        )
        unit, meaning = COLUMNS[name]
        fields.append(pa.field(name, kind, metadata={"unit": unit, "meaning": meaning}))
        values.append(pa.array(column, type=kind))
    return pa.table(values, schema=pa.schema(fields, metadata=rows.schema.metadata))


def write_thresholds(study: Study, search: ThresholdSearch, folder: Folder) -> None:
    """Write ``thresholds.parquet`` into the folder of the sweep."""
    from lawsweep.store.table.parts import encode

    folder.write("thresholds.parquet", encode(threshold_table(study, search)))


def summary(search: ThresholdSearch) -> str:
    """``12 cells: 9 resolved, 1 above_grid, 2 open; 214 runs asked for``."""
    n = Counter(s.state for s in search.searches)
    parts = ", ".join(f"{n[state]:,} {state}" for state in STATES if n[state])
    return f"{len(search.cells):,} cells: {parts}; {search.n_asked:,} runs asked for"


def lines(study: Study, search: ThresholdSearch, limit: int = 20) -> list[str]:
    """A line a cell, the first few of many."""
    plan, axis = study.plan, search.options.axis
    columns = {**plan.params, **plan.extra}
    derived = set.intersection(*(set(derive) for derive in plan.derives))
    told = [
        n
        for n in cell_columns(study.plan, search.options.axis)
        if n in columns and n not in derived and len(set(columns[n].tolist())) > 1
    ]
    found = []
    for cell, t in list(zip(search.cells, search.results(), strict=True))[:limit]:
        at = ", ".join(
            f"{n}={_text(columns[n][cell.points[0]])}" for n in told if n not in cell.moving
        )
        runs = f"{t.n_runs} runs at {t.n_visited} of {len(cell.values)} candidates"
        if t.n_unanswered:
            runs += f", {t.n_unanswered} without an answer"
        if t.state in ("below_grid", "above_grid"):
            side = "below" if t.state == "below_grid" else "above"
            end = cell.values[0] if t.state == "below_grid" else cell.values[-1]
            what = f"{axis}* is {side} {end:g}"
        elif t.low is None and t.high is None and t.n_star is None:
            what = f"{axis}* is not known"
        else:
            low = "below the grid" if t.low is None else f"{t.low:.4g}"
            high = "above the grid" if t.high is None else f"{t.high:.4g}"
            what = f"{axis}* is in [{low}, {high}]"
        if t.n_star is not None:
            wide = f"{100 * (t.width or 0):.2g} %" if cell.values[0] > 0 else f"{t.width:.2g}"
            what = f"{axis}* = {t.n_star:.4g} [{low}, {high}]"
            runs += f", transition {wide} wide"
        why = f"; {t.state}" if t.state in ("open", "unresolved") else ""
        why += f": {t.reason}" if t.reason else ""
        found.append(f"{at + ': ' if at else ''}{what}  ({runs}{why})")
    if len(search.cells) > limit:
        found.append(f"... and {len(search.cells) - limit:,} more cells")
    return found


def found_lines(study: Study, limit: int = 20) -> list[str]:
    """What a search found so far, as lines: a count, then a cell each; none of another sweep."""
    search = study.search
    return [] if search is None else [summary(search), *lines(study, search, limit)]


def forecast(search: ThresholdSearch) -> str:
    """How many runs a search has asked for, may need, and asks for at most."""
    more = search.n_expected - search.n_asked + len(search.wanted())
    n_candidates = sum(len(cell.values) for cell in search.cells)
    return (
        f"search for {search.options.axis}* of {search.options.event}: {summary(search)}; about "
        f"{more:,} more expected, at most {search.n_most - search.n_asked + len(search.wanted()):,}"
        f" ({n_candidates:,} candidates)"
    )


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
