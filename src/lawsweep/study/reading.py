"""Read a sweep's rows: as a tidy frame, fitted, drawn, exported, one by one."""

from __future__ import annotations

import functools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import FigureError, InvalidValueError, LawsweepError, UnknownNameError
from lawsweep.core.registry import experiment_at_hand
from lawsweep.core.secrets import hide, hide_overrides
from lawsweep.grid.sweep import Sweep, Url, results_place
from lawsweep.study.code import other_rows, tell_other_rows
from lawsweep.study.progress import certificate, status
from lawsweep.study.questions import claim, open_own_folder
from lawsweep.study.searching import found as told
from lawsweep.study.searching import seen, thresholds
from lawsweep.study.study import study

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.results import FitResult


def load_arrow(sweep: Sweep) -> pa.Table:
    """The tidy table: one row a planned run in plan order; ``status`` is ``missing`` where none.

    Of a search: the runs that it has asked for, and others of its plan that have a row.  Warns of
    each file of the table that could not be read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from lawsweep.store.sweeps.skipping import tell_skipped
    from lawsweep.store.sweeps.sweep_folder import plan_table

    opened = study(sweep)
    rows = opened.table.read(opened.plan.run_ids)
    tell_skipped(opened.table.folder, opened.table.skipped)
    tell_other_rows(opened, rows)
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
    table = pa.Table.from_arrays(list(columns.values()), schema=schema)
    runs = seen(opened, where)
    return table if runs is None else table.take(pa.array(runs, type=pa.int64()))


def load(sweep: Sweep) -> pd.DataFrame:
    """The tidy table as pandas (Arrow-backed: a missing value is ``<NA>``, NaN stays NaN)."""
    import pandas as pd

    frame: pd.DataFrame = load_arrow(sweep).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def fit(sweep: Sweep, frame: pd.DataFrame | None = None) -> list[FitResult]:
    """The sweep's fits, one result a group.  Rows that did not converge are left out, counted.

    A fit of ``n_star`` is one of the thresholds that a search found.  One that cannot be made is a
    result without parameters, and with the reason.
    """
    from lawsweep.analysis.laws.fit_specs import parse_fits, reads_cells
    from lawsweep.analysis.laws.fits import fit as fit_one
    from lawsweep.analysis.laws.fits import fit_cells

    frame = load(sweep) if frame is None else frame
    cells = _cells(sweep)
    specs = parse_fits(list(sweep.fits), [*frame.columns, *cell_names(cells)])
    results = []
    for spec in specs:
        try:
            if cells is not None and reads_cells(spec, frame.columns):
                found = fit_cells(cells, spec)
            else:
                found = fit_one(frame, spec)
        except (LawsweepError, ArithmeticError, ValueError) as error:  # costs the others nothing
            found = [_no_fit(spec, str(error))]
        reason = f"its where ({spec.where}) leaves no row; loosen it"
        results.extend(found or [_no_fit(spec, reason)])
    return results


def _no_fit(spec: FitSpec, reason: str) -> FitResult:
    from lawsweep.analysis.laws.results import FitResult

    return FitResult(spec=spec, group={}, n_points=0, n_rows=0, left_out={}, reason=reason)


def plot(sweep: Sweep, frame: pd.DataFrame | None = None) -> list[Path | Url]:
    """Draw the sweep's figures, PNG and PDF, into its ``figures`` folder; where they are.

    Raises FigureError, which has the files of the others, where some cannot be drawn.
    """
    shelf = _Shelf(sweep)  # before the rows are read: what comes of them goes where they are
    with _drawn(sweep, load(sweep) if frame is None else frame) as (paths, errors):
        kept = shelf.put(paths)
    if errors:
        raise FigureError(" ".join(errors), kept)
    return kept


@contextmanager
def _drawn(sweep: Sweep, frame: pd.DataFrame) -> Iterator[tuple[list[Path], list[str]]]:
    """The figures as temporary files, on their way into the sweep's folder.

    And what is wrong with those that cannot be drawn: they cost the others nothing.
    """
    from lawsweep.analysis.figures.draw import draw
    from lawsweep.analysis.figures.kinds import parse_figures
    from lawsweep.study.arrays import load_arrays

    cells = _cells(sweep)
    specs = parse_figures(list(sweep.figures), list(frame.columns), cells=cell_names(cells))
    arrays = functools.partial(load_arrays, sweep)
    caption = certificate(Counter(frame["status"].to_list()), len(frame))
    paths: list[Path] = []
    errors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lawsweep-") as folder:
        for spec in specs:
            rows = cells if cells is not None and spec.of_cells else frame
            try:
                paths += draw(rows, spec, Path(folder) / spec.name, caption, arrays)
            except LawsweepError as error:
                named = str(error).startswith(f"Figure {spec.name} ")
                errors.append(str(error) if named else f"Figure {spec.name}: {error}")
            except Exception as error:  # noqa: BLE001  (whatever a library says: the others stand)
                said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
                errors.append(f"Figure {spec.name} cannot be drawn ({said}). Change its entry.")
        yield paths, errors


def _cells(sweep: Sweep) -> pd.DataFrame | None:
    """The thresholds of a search; None for an ordinary sweep."""
    return None if sweep.search_spec is None else thresholds(sweep)


def cell_names(cells: pd.DataFrame | None) -> list[str]:
    """Columns of the table of thresholds; none where there is none."""
    return [] if cells is None else [str(c) for c in cells.columns]


class _Shelf:
    """The sweep's folder, for what is made of its rows: each file whole or absent there."""

    def __init__(self, sweep: Sweep):
        plan = sweep.plan()
        own = open_own_folder(sweep, plan)
        self.place, self.folder = sweep.folder, own.folder
        self.launches, self._claim = own.launch_records, functools.partial(claim, own, sweep, plan)

    def put(self, paths: list[Path]) -> list[Path | Url]:
        """Write figures under their names; where they are."""
        self._claim()
        for path in paths:
            (self.folder / "figures").write(path.name, path.read_bytes())
        return [self.place / "figures" / path.name for path in paths]


def export(sweep: Sweep, path: str | Path) -> int:
    """Write the tidy table to ``path`` (``.parquet``, ``.csv``, ``.tsv``, ``.json``).

    Returns the number of rows.  ``path`` may be a URL of an object store.
    """
    from lawsweep.store.exchange.export import write_table

    table = load_arrow(sweep)
    write_table(table, path)
    return int(table.num_rows)


def report(sweep: Sweep, typed: str | None = None) -> Path | Url:
    """Write ``report.html`` into the sweep's folder: certificate, fits, figures, provenance.

    ``typed`` is the sweep as it was asked for, with its overrides; suggested commands end in it.
    What cannot be fitted is said there.  Raises FigureError, when all else is written, where some
    figures cannot be drawn.
    """
    from lawsweep.analysis.report.page import render

    typed = typed or " ".join([sweep.name, *hide_overrides(sweep.overrides)])
    shelf = _Shelf(sweep)
    found, table = status(sweep), load_arrow(sweep)
    has_rows = found.statuses.get("ok", 0) > 0
    frame = load(sweep)
    with ExitStack() as stack:
        figures, errors = stack.enter_context(_drawn(sweep, frame)) if has_rows else ([], [])
        page = render(
            name=sweep.name,
            certificate=certificate(found.statuses, found.planned),
            gaps=found.gaps(typed),
            notes=[str(other)] if (other := other_rows(study(sweep))) is not None else [],
            fits=[*told(sweep), *_summaries(sweep, frame)] if has_rows else [],
            figures=[p for p in figures if p.suffix == ".png"],
            columns=[(f.name, *_unit_and_meaning(f.metadata or {})) for f in table.schema],
            launches=_launches(sweep, table, shelf),
            command=f"lawsweep run {typed}",
        )
        kept = shelf.put(figures)
        shelf.folder.write("report.html", hide(page).encode())
    if errors:
        raise FigureError(" ".join(errors), kept)
    return sweep.folder / "report.html"


def _launches(sweep: Sweep, table: pa.Table, shelf: _Shelf) -> list[dict[str, Any]]:
    """Records of the sweep's launches, and of those of others that its rows are from."""
    from lawsweep.store.sweeps.sweep_folder import find_launches

    found = {str(r.get("launch_id")): r for r in shelf.launches()}
    others = {i for i in table["launch_id"].to_pylist() if i} - set(found)
    found |= find_launches(sweep.results, others)
    return [found[i] for i in sorted(found, reverse=True)]


def _summaries(sweep: Sweep, frame: pd.DataFrame) -> list[str]:
    try:
        return [f.summary() for f in fit(sweep, frame)]
    except LawsweepError as error:
        return [f"no fits: {error}"]


def _unit_and_meaning(metadata: Mapping[bytes, bytes]) -> tuple[str, str]:
    return metadata.get(b"unit", b"").decode(), metadata.get(b"meaning", b"").decode()


def show(run_id: str, results_dir: str | Path = "results") -> dict[str, Any]:
    """One row, whole, with its launch; ``run_id`` may be shortened to a unique beginning."""
    from lawsweep.store.sweeps.sweep_folder import find_launch
    from lawsweep.store.table.lookup import find_rows

    text = run_id.strip().lower()
    if len(text) < 4 or not all(c in "0123456789abcdef" for c in text):
        raise InvalidValueError(
            f"A run id is at least 4 hexadecimal digits, got {run_id!r}. "
            "lawsweep export lists them."
        )
    results = results_place(results_dir)
    rows = list(find_rows(results / "tables", text))
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
    (row,) = rows
    if (experiment := experiment_at_hand(row["experiment"])) is not None:
        row = experiment.in_words_of_today(row)
    return {**row, "launch": find_launch(results, row["launch_id"])}


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
