"""The page of a sweep: its result, how complete it is, and where its rows came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import FigureError, LawsweepError
from lawsweep.grid.sweep import Url
from lawsweep.study.code.lacking import code_notes
from lawsweep.study.opening import Opened
from lawsweep.study.progress import certificate, status
from lawsweep.study.reading import gathering
from lawsweep.study.reading.curving import curve_drawings
from lawsweep.study.reading.drawing import Shelf, Shown, drawn, shown, told
from lawsweep.study.reading.drawing import figure as draw_one
from lawsweep.study.reading.findings import decided, found_lines
from lawsweep.study.reading.fitting import fit
from lawsweep.study.reading.rows import frame, rows

if TYPE_CHECKING:
    import pandas as pd

    from lawsweep.analysis.laws.results import FitResult
    from lawsweep.analysis.report.facts import Drawing, Facts


def report(opened: Opened, typed: str | None = None) -> Path | Url:
    """See ``Study.report``."""
    from lawsweep.analysis.report.page import render

    shelf = Shelf(opened)
    made = frame(opened)
    figures = shown(opened, made) if _has_rows(opened) else []
    with drawn(opened, made, figures) as (paths, _):
        page = render(gather(opened, typed, made, shelf.launches(), figures, paths))
        kept = shelf.put(paths)
        shelf.folder.write("report.html", page.encode())
    if errors := [f.error for f in figures if f.error is not None]:
        raise FigureError(" ".join(errors), kept)
    return opened.sweep.folder / "report.html"


def gather(
    opened: Opened,
    typed: str | None,
    made: pd.DataFrame,
    launches: Sequence[Mapping[str, Any]],
    figures: Sequence[Shown] | None = None,
    paths: Sequence[Path] | None = None,
) -> Facts:
    """What the page says; ``figures`` are the sweep's, ``paths`` their files.

    Without ``paths`` pictures are made of those alone that have no interactive form.
    """
    from lawsweep.analysis.report.facts import Facts

    sweep, table = opened.sweep, rows(opened)
    typed = typed or sweep.typed
    found = status(opened)
    fits, no_fits = _fits(opened, made)
    if figures is None:
        figures = shown(opened, made) if _has_rows(opened) else []
    drawings = [*_drawings(opened, made, figures, paths), *curve_drawings(opened, made)]
    experiment = opened.plan.experiment
    return Facts(
        name=sweep.name,
        typed=typed,
        certificate=certificate(found.statuses, found.planned),
        planned=found.planned,
        statuses=found.statuses,
        running=found.running,
        experiment=f"Experiment {experiment.name}, version {experiment.version}: "
        f"{opened.plan.n_points:,} points × {len(opened.plan.seeds):,} seeds.",
        notes=list(code_notes(opened)),
        gaps=found.gaps(typed),
        following=list(gathering.following(opened, typed, found, fits)),
        found=found_lines(opened) if _has_rows(opened) else [],
        fits=fits,
        no_fits=no_fits,
        figures=drawings,
        not_drawn=[f.error for f in figures if f.error is not None],
        failures=gathering.failures(table),
        costs=gathering.costs(table),
        rest_s=gathering.rest_s(opened, found),
        columns=[(f.name, *_unit_and_meaning(f.metadata or {})) for f in table.schema],
        launches=gathering.launches(opened, table, launches),
        results=sweep.elsewhere,
        decisions=decided(opened) or (),
        tables=gathering.fit_tables(fits),
    )


def _has_rows(opened: Opened) -> bool:
    return any(done.status == "ok" for done in opened.done.values())


def _fits(opened: Opened, made: pd.DataFrame) -> tuple[list[FitResult], str | None]:
    """The fits, or why there are none."""
    if not _has_rows(opened):
        return [], "No run has a result yet."
    try:
        return fit(opened, made), None
    except LawsweepError as error:
        return [], f"no fits: {error}"


def _drawings(
    opened: Opened, made: pd.DataFrame, figures: Sequence[Shown], paths: Sequence[Path] | None
) -> list[Drawing]:
    """Charts and files of one name together, in the sweep's order."""
    from lawsweep.analysis.report.charts import page_chart
    from lawsweep.analysis.report.facts import Drawing

    found = []
    for figure in figures:
        name, chart = figure.spec.name, None
        own = [p for p in paths or () if p.name.rpartition(".")[0] == name]
        picture = next((p.read_bytes() for p in own if p.suffix == ".png"), None)
        with told(figure):
            if figure.chart is not None:
                chart = page_chart(figure.chart, figure.columns, figure.spec)
            elif paths is None and figure.error is None:
                picture = _picture(opened, name, made)
        if chart is not None or picture is not None:
            files = tuple(f"figures/{p.name}" for p in own)
            found.append(Drawing(name, chart, picture, files))
    return found


def _picture(opened: Opened, name: str, made: pd.DataFrame) -> bytes:
    import io

    file = io.BytesIO()
    draw_one(opened, name, made).savefig(file, format="png", dpi=150)
    return file.getvalue()


def _unit_and_meaning(metadata: Mapping[bytes, bytes]) -> tuple[str, str]:
    return metadata.get(b"unit", b"").decode(), metadata.get(b"meaning", b"").decode()
