"""The page of a sweep: how complete it is, its fits and figures, and where its rows came from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import FigureError, LawsweepError
from lawsweep.core.secrets import hide, hide_overrides
from lawsweep.grid.sweep import Sweep, Url
from lawsweep.study.code import other_rows
from lawsweep.study.opening import Opened
from lawsweep.study.progress import certificate, status
from lawsweep.study.reading.drawing import Shelf, drawn
from lawsweep.study.reading.findings import found_lines
from lawsweep.study.reading.fitting import fit
from lawsweep.study.reading.rows import frame, rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def report(opened: Opened, typed: str | None = None) -> Path | Url:
    """See ``Study.report``."""
    from lawsweep.analysis.report.page import render

    sweep = opened.sweep
    typed = typed or " ".join([sweep.name, *hide_overrides(sweep.overrides)])
    shelf = Shelf(opened)
    found, table = status(opened), rows(opened)
    has_rows = found.statuses.get("ok", 0) > 0
    made = frame(opened)
    with ExitStack() as stack:
        figures, errors = stack.enter_context(drawn(opened, made)) if has_rows else ([], [])
        page = render(
            name=sweep.name,
            certificate=certificate(found.statuses, found.planned),
            gaps=found.gaps(typed),
            notes=[str(other)] if (other := other_rows(opened)) is not None else [],
            fits=[*found_lines(opened), *_summaries(opened, made)] if has_rows else [],
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


def _launches(sweep: Sweep, table: pa.Table, shelf: Shelf) -> list[dict[str, Any]]:
    """Records of the sweep's launches, and of those of others that its rows are from."""
    from lawsweep.store.sweeps.sweep_folder import find_launches

    found = {str(r.get("launch_id")): r for r in shelf.launches()}
    others = {i for i in table["launch_id"].to_pylist() if i} - set(found)
    found |= find_launches(sweep.results, others)
    return [found[i] for i in sorted(found, reverse=True)]


def _summaries(opened: Opened, rows: pd.DataFrame) -> list[str]:
    try:
        return [f.summary() for f in fit(opened, rows)]
    except LawsweepError as error:
        return [f"no fits: {error}"]


def _unit_and_meaning(metadata: Mapping[bytes, bytes]) -> tuple[str, str]:
    return metadata.get(b"unit", b"").decode(), metadata.get(b"meaning", b"").decode()
