"""Read a sweep's rows: as a tidy frame, fitted, drawn, exported, one by one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.api.progress import certificate, status
from lawsweep.api.study import study
from lawsweep.core.errors import InvalidValueError, UnknownNameError
from lawsweep.core.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from lawsweep.analysis.results import FitResult


def load_arrow(sweep: Sweep) -> pa.Table:
    """The tidy table: one row a planned run in plan order; ``status`` is ``missing`` where none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.store.sweep_folder import plan_table

    opened = study(sweep)
    rows = opened.table.read(opened.plan.run_ids)
    where = {r: i for i, r in enumerate(rows["run_id"].to_pylist())}
    found = rows.take(pa.array([where.get(r) for r in opened.plan.run_ids], type=pa.int64()))
    tidy = plan_table(opened.plan)
    fields = {f.name: f for f in rows.schema}
    columns = {n: tidy[n] for n in tidy.column_names}
    for name in fields:
        if name not in columns:
            columns[name] = found[name]
    columns["status"] = pc.fill_null(columns["status"], "missing")
    schema = pa.schema(
        [fields.get(n, pa.field(n, c.type)).with_type(c.type) for n, c in columns.items()],
        metadata=rows.schema.metadata,
    )
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


def load(sweep: Sweep) -> pd.DataFrame:
    """The tidy table as pandas (Arrow-backed: a missing value is ``<NA>``, NaN stays NaN)."""
    import pandas as pd

    frame: pd.DataFrame = load_arrow(sweep).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def fit(sweep: Sweep, frame: pd.DataFrame | None = None) -> list[FitResult]:
    """The sweep's fits, one result a group.  Rows that did not converge are left out, counted."""
    from lawsweep.analysis.fits import fit as fit_one
    from lawsweep.analysis.specs import parse_fits

    frame = load(sweep) if frame is None else frame
    specs = parse_fits(list(sweep.fits), list(frame.columns))
    results = []
    for spec in specs:
        found = fit_one(frame, spec)
        if not found:
            raise InvalidValueError(
                f"The fit {spec.name} has no rows: its where ({spec.where}) leaves none. Loosen it."
            )
        results.extend(found)
    return results


def plot(sweep: Sweep, frame: pd.DataFrame | None = None) -> list[Path]:
    """Draw the sweep's figures, PNG and PDF, into its ``figures`` folder; returns the paths."""
    from lawsweep.analysis.figures import draw
    from lawsweep.analysis.specs import parse_figures

    frame = load(sweep) if frame is None else frame
    specs = parse_figures(list(sweep.figures), list(frame.columns))
    caption = certificate(Counter(frame["status"].to_list()), len(frame))
    return [
        path
        for spec in specs
        for path in draw(frame, spec, sweep.folder / "figures" / spec.name, caption)
    ]


def export(sweep: Sweep, path: str | Path) -> int:
    """Write the tidy table to ``path`` (``.parquet``, ``.csv`` or ``.json``); returns the rows."""
    from lawsweep.store.export import write_table

    table = load_arrow(sweep)
    write_table(table, Path(path))
    return int(table.num_rows)


def report(sweep: Sweep, typed: str | None = None) -> Path:
    """Write ``report.html`` into the sweep's folder: certificate, fits, figures, provenance.

    ``typed`` is the sweep as it was asked for, with its overrides; suggested commands end in it.
    """
    from lawsweep.analysis.report import render
    from lawsweep.store.files import write_atomic
    from lawsweep.store.sweep_folder import SweepFolder

    typed = typed or " ".join([sweep.name, *sweep.overrides])
    found, table = status(sweep), load_arrow(sweep)
    has_rows = found.statuses.get("ok", 0) > 0
    frame = load(sweep)
    page = render(
        name=sweep.name,
        certificate=certificate(found.statuses, found.planned),
        gaps=found.gaps(typed),
        fits=[f.summary() for f in fit(sweep, frame)] if has_rows else [],
        figures=[p for p in plot(sweep, frame) if p.suffix == ".png"] if has_rows else [],
        columns=[(f.name, *_unit_and_meaning(f.metadata or {})) for f in table.schema],
        launches=SweepFolder(sweep.folder).launch_records(),
        command=f"lawsweep run {typed}",
    )
    path = sweep.folder / "report.html"
    write_atomic(path, page.encode())
    return path


def _unit_and_meaning(metadata: Mapping[bytes, bytes]) -> tuple[str, str]:
    return metadata.get(b"unit", b"").decode(), metadata.get(b"meaning", b"").decode()


def show(run_id: str, results_dir: str | Path = "results") -> dict[str, Any]:
    """One row, whole, with its launch; ``run_id`` may be shortened to a unique beginning."""
    from lawsweep.store.lookup import find_rows
    from lawsweep.store.sweep_folder import find_launch

    text = run_id.strip().lower()
    if len(text) < 4 or not all(c in "0123456789abcdef" for c in text):
        raise InvalidValueError(
            f"A run id is at least 4 hexadecimal digits, got {run_id!r}. "
            "lawsweep export lists them."
        )
    rows = list(find_rows(Path(results_dir) / "tables", text))
    if not rows:
        raise UnknownNameError(
            f"No row in {results_dir} has a run id that begins with {run_id!r}. "
            "lawsweep export lists them; results_dir=... looks elsewhere."
        )
    if len(rows) > 1:
        some = ", ".join(r["run_id"] for r in rows[:3])
        raise InvalidValueError(
            f"{len(rows)} runs begin with {run_id!r} ({some}, ...). Give more digits."
        )
    launch = find_launch(Path(results_dir), rows[0]["launch_id"])
    return {**rows[0], "launch": launch}


def to_json(value: Any) -> str:
    """JSON for scripts: NaN and infinities become null, as JSON has none."""
    return json.dumps(_finite(value), indent=1, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
