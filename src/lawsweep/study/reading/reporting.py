"""The page of a sweep: its result, how complete it is, and where its rows came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import FigureError, LawsweepError
from lawsweep.core.secrets import hide_overrides
from lawsweep.grid.sweep import Url
from lawsweep.study.code import other_rows
from lawsweep.study.opening import Opened
from lawsweep.study.progress import certificate, status
from lawsweep.study.reading import gathering
from lawsweep.study.reading.drawing import Shelf, drawn
from lawsweep.study.reading.findings import cell_names, cells_of, decided, found_lines
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
    with ExitStack() as stack:
        paths, errors = stack.enter_context(drawn(opened, made)) if _has_rows(opened) else ([], [])
        page = render(gather(opened, typed, made, shelf.launches(), paths, errors))
        kept = shelf.put(paths)
        shelf.folder.write("report.html", page.encode())
    if errors:
        raise FigureError(" ".join(errors), kept)
    return opened.sweep.folder / "report.html"


def gather(
    opened: Opened,
    typed: str | None,
    made: pd.DataFrame,
    launches: Sequence[Mapping[str, Any]],
    paths: Sequence[Path] | None = None,
    errors: Sequence[str] = (),
) -> Facts:
    """What the page says; ``paths`` are its figures as files, ``errors`` why others are none.

    Without ``paths`` pictures are made of those alone that have no interactive form.
    """
    from lawsweep.analysis.report.facts import Facts

    sweep, table = opened.sweep, rows(opened)
    typed = typed or " ".join([sweep.name, *hide_overrides(sweep.overrides)])
    found = status(opened)
    fits, no_fits = _fits(opened, made)
    charts, not_charted = _charts(opened, made)
    other = other_rows(opened)
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
        notes=[] if other is None else [str(other)],
        gaps=found.gaps(typed),
        following=list(gathering.following(opened, typed, found, fits)),
        found=found_lines(opened) if _has_rows(opened) else [],
        fits=fits,
        no_fits=no_fits,
        figures=_drawings(opened, made, charts, paths, not_charted),
        not_drawn=errors or not_charted,
        failures=gathering.failures(table),
        costs=gathering.costs(table),
        rest_s=gathering.rest_s(opened, found),
        columns=[(f.name, *_unit_and_meaning(f.metadata or {})) for f in table.schema],
        launches=gathering.launches(opened, table, launches),
        results="" if str(sweep.results_dir) == "results" else f"results_dir={sweep.results_dir}",
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


def _charts(
    opened: Opened, made: pd.DataFrame
) -> tuple[dict[str, Mapping[str, Any] | None], list[str]]:
    """The figures of the sweep by name, each with its chart where it has one; and what failed."""
    from lawsweep.analysis.figures.kinds import parse_figures
    from lawsweep.analysis.frames import Columns
    from lawsweep.analysis.report.charts import chart

    if not _has_rows(opened):
        return {}, []
    cells = cells_of(opened)
    specs = parse_figures(list(opened.sweep.figures), list(made.columns), cells=cell_names(cells))
    found: dict[str, Mapping[str, Any] | None] = {}
    errors = []
    columns = Columns(made)
    for spec in specs:
        try:
            found[spec.name] = chart(columns, spec)
        except LawsweepError as error:
            errors.append(str(error))
        except Exception as error:  # noqa: BLE001  (an expression may do anything: the others stand)
            found[spec.name] = None
            errors.append(f"Figure {spec.name}: {type(error).__name__}: {error}")
    return found, errors


def _drawings(
    opened: Opened,
    made: pd.DataFrame,
    charts: Mapping[str, Mapping[str, Any] | None],
    paths: Sequence[Path] | None,
    errors: list[str],
) -> list[Drawing]:
    """Charts and files of one name together, in the sweep's order; what fails joins ``errors``."""
    from lawsweep.analysis.report.facts import Drawing

    found = []
    for name, chart in charts.items():
        own = [p for p in paths or () if p.name.rpartition(".")[0] == name]
        picture = next((p.read_bytes() for p in own if p.suffix == ".png"), None)
        if paths is None and chart is None:
            picture = _picture(opened, name, made, errors)
        if chart is not None or picture is not None:
            files = tuple(f"figures/{p.name}" for p in own)
            found.append(Drawing(name, chart, picture, files))
    return found


def _picture(opened: Opened, name: str, made: pd.DataFrame, errors: list[str]) -> bytes | None:
    import io

    from lawsweep.study.reading.drawing import figure

    file = io.BytesIO()
    try:
        figure(opened, name, made).savefig(file, format="png", dpi=150)
    except Exception as error:  # noqa: BLE001  (whatever a library says: the others stand)
        errors.append(str(error) if isinstance(error, LawsweepError) else f"Figure {name}: {error}")
        return None
    return file.getvalue()


def _unit_and_meaning(metadata: Mapping[bytes, bytes]) -> tuple[str, str]:
    return metadata.get(b"unit", b"").decode(), metadata.get(b"meaning", b"").decode()
