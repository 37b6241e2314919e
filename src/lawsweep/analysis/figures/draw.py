"""Figures of a sweep's table: read the rows, draw, write PNG, PDF and SVG.

Only matplotlib's objects are used, never pyplot: nothing global is left behind, and figures can be
drawn from several threads' tables one after the other.  The same table gives the same bytes.
"""

from __future__ import annotations

import secrets
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine, PlaceHolderLayoutEngine
from matplotlib.ticker import LogLocator, StrMethodFormatter

from lawsweep.analysis.figures.chart import Chart
from lawsweep.analysis.figures.kinds import find_kind
from lawsweep.analysis.figures.mathtext import shared_labels
from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
from lawsweep.analysis.figures.painter import paint_chart
from lawsweep.analysis.figures.specs import FigureSpec
from lawsweep.analysis.frames import Columns
from lawsweep.core.errors import FigureError, InvalidValueError

if TYPE_CHECKING:
    import pandas as pd

DPI = 150
FOOTER_CHARACTERS = 19  # an inch, at 7 points
# Metadata that would date the file, or tie its bytes to the library's version.
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "lawsweep"},
    "svg": {"Date": None, "Creator": "lawsweep"},
}
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs everywhere
    "mathtext.fontset": "dejavusans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "axes.linewidth": 0.8,
    "axes.formatter.limits": (-4, 5),  # 250000 is read as 2.5 ×10⁵, 12000 as it stands
    "axes.formatter.use_mathtext": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.fonttype": "path",  # the same letters wherever it is shown
    "svg.hashsalt": "lawsweep",  # ids of its parts, which would be drawn at random
    "path.simplify": True,
    "text.usetex": False,
}


def draw(
    frame: pd.DataFrame,
    spec: FigureSpec,
    path_stem: Path,
    caption: str | None = None,
    arrays: ArraySource | None = None,
    chart: Chart | None = None,
) -> list[Path]:
    """Draw ``spec`` and write ``<path_stem>.png`` (150 dpi), ``.pdf``, ``.svg``; their paths.

    Rows that are not ``ok`` are not drawn; ok rows without a finite number are left out and
    counted in the footer, after ``caption`` (how complete the sweep is).  Rows that did not
    converge ARE drawn, since whether they did may be the finding, and the footer counts them.
    Each file is written under a temporary name and renamed, so it is never half there.
    ``arrays`` is what kinds of arrays read from (``arrays_of.kept``), ``chart`` what the kind
    shows, where it was made before.

    Raises InvalidValueError where no row can be drawn or the kind of figure does not fit.
    """
    figure = make_figure(frame, spec, caption, arrays, chart)
    with matplotlib.rc_context(STYLE), shared_labels():
        try:
            _lay_out(figure)
            return [_save(figure, path_stem, kind) for kind in spec.formats]
        except ValueError as error:  # the text of a label is parsed when it is drawn
            raise InvalidValueError(
                f"Figure {spec.name} cannot be drawn: {error}. Check the TeX in its labels."
            ) from None


def make_figure(
    frame: pd.DataFrame,
    spec: FigureSpec,
    caption: str | None = None,
    arrays: ArraySource | None = None,
    chart: Chart | None = None,
) -> Figure:
    """``spec`` drawn on a figure of its own, of no window and no file.

    Raises InvalidValueError where no row can be drawn or the kind of figure does not fit.
    """
    with matplotlib.rc_context(STYLE):
        figure = _Page(figsize=(5.6, 4.1), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        kind, columns = find_kind(spec.kind), Columns(frame)
        shown = chart or kind.chart(columns, spec, arrays)
        if shown is not None:
            try:
                notes = paint_chart(axes, shown)
            except InvalidValueError as error:
                raise InvalidValueError(f"Figure {spec.name}: {error}") from None
        else:
            notes = kind.paint(axes, columns, spec, arrays)
        if not isinstance(notes, list):
            raise FigureError(
                f"paint of figure kind {spec.kind} must return a list, got {notes!r}."
            )
        for box in figure.axes:
            plain_log_ticks(box)
        if spec.title and shown is not None and len(shown.panels) > 1:
            figure.suptitle(spec.title, x=0.01, ha="left", fontsize=11)
        elif spec.title:
            figure.axes[0].set_title(spec.title, loc="left")
        _footer(figure, [text for text in (caption, *notes) if text])
    return figure


def _footer(figure: Figure, notes: list[str]) -> None:
    """Small grey lines below the axes, as wide as the figure."""
    if notes:
        characters = round(FOOTER_CHARACTERS * figure.get_figwidth())
        lines = [line for text in notes for line in textwrap.wrap(text, characters)]
        look: Any = {"fontsize": 7, "color": "0.4", "linespacing": 1.3}
        figure.supxlabel("\n".join(lines), x=0.99, ha="right", **look)


def plain_log_ticks(axes: Axes) -> None:
    """Label a logarithmic axis of less than two decades with 20, 40, 100 in place of 2 × 10¹.

    Only between 0.001 and 100,000, where plain numbers are the shorter ones.  Elsewhere fewer ticks
    have a number: side by side they would overlap.
    """
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if axis.get_scale() != "log" or not 0 < low < high < 100 * low:
            continue
        if low < 1e-3 or high >= 1e5:
            if high >= 10 * low:
                axis.set_minor_locator(LogLocator(subs=(2, 5)))
        else:
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            few = high >= 10 * low
            axis.set_minor_locator(LogLocator(subs=(2, 5) if few else (2, 3, 4, 5, 6, 8)))
            axis.set_minor_formatter(StrMethodFormatter("{x:g}"))


def _lay_out(figure: Figure) -> None:
    """Give everything its place, once: the same in all formats, and a third of what each takes."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


class _Page(Figure):
    """A figure that has no layout engine any more once it has been told to have none.

    Where there is one, if it does nothing, matplotlib draws all twice for each file.
    """

    def get_layout_engine(self) -> LayoutEngine | None:
        engine = super().get_layout_engine()
        return None if isinstance(engine, PlaceHolderLayoutEngine) else engine


def _save(figure: Figure, stem: Path, kind: str) -> Path:
    # Not with_suffix: a stem such as "ratio_0.5" has a dot of its own.
    target = stem.parent / f"{stem.name}.{kind}"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, in the same folder (a rename is atomic within one file system), unlike any other's.
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    try:
        with temporary.open("xb") as file:
            figure.savefig(file, format=kind, dpi=DPI, metadata=METADATA[kind])
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target
