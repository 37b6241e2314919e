"""Draw a sweep's figures into its folder."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import FigureError, LawsweepError, unknown_name
from lawsweep.core.plugins import place_of
from lawsweep.grid.sweep import Url
from lawsweep.study.opening import Opened
from lawsweep.study.progress import certificate
from lawsweep.study.questions import claim, open_own_folder
from lawsweep.study.reading.findings import cell_names, cells_of
from lawsweep.study.reading.rows import arrays, frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lawsweep.analysis.figures.chart import Chart
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Columns


def plot(opened: Opened, given: pd.DataFrame | None = None) -> list[Path | Url]:
    """See ``Study.plot``."""
    shelf = Shelf(opened)  # before the rows are read: what comes of them goes where they are
    with drawn(opened, frame(opened, given)) as (paths, errors):
        kept = shelf.put(paths)
    if errors:
        raise FigureError(" ".join(errors), kept)
    return kept


def figure(
    opened: Opened, asked: str | Mapping[str, Any], given: pd.DataFrame | None = None
) -> Figure:
    """See ``Study.figure``."""
    from lawsweep.analysis.figures.draw import make_figure

    rows = frame(opened, given)
    entries = list(opened.sweep.figures) if isinstance(asked, str) else [asked]
    specs = read_figures(opened, list(rows.columns), entries)
    named = {spec.name: spec for spec in specs}
    if isinstance(asked, str) and asked not in named:
        raise unknown_name("figure", asked, named, f"sweep {opened.sweep.name}")
    spec = named[asked] if isinstance(asked, str) else specs[0]
    data = _data_of(opened, spec, rows)
    return make_figure(data, spec, _caption(rows), functools.partial(arrays, opened))


def read_figures(
    opened: Opened, columns: Sequence[str], entries: Sequence[Mapping[str, Any]] | None = None
) -> tuple[FigureSpec, ...]:
    """The figures that entries (those of the sweep) ask for, over a frame with these columns."""
    from lawsweep.analysis.figures.kinds import parse_figures
    from lawsweep.analysis.laws.laws import parse_fits

    cells = cell_names(cells_of(opened))
    fits = parse_fits(list(opened.sweep.fits), [*columns, *cells])
    given = list(opened.sweep.figures if entries is None else entries)
    return parse_figures(given, columns, cells=cells, fits=fits)


def _caption(rows: pd.DataFrame) -> str:
    """How complete the sweep is."""
    return certificate(Counter(rows["status"].to_list()), len(rows))


def _data_of(opened: Opened, spec: FigureSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """What a figure is of: the rows, or the thresholds that a search found."""
    from lawsweep.analysis.figures.kinds import find_kind

    cells = cells_of(opened) if find_kind(spec.kind).of_cells else None
    return rows if cells is None else cells


@dataclass
class Shown:
    """A figure of the sweep: its chart (None: its kind paints only), or why there is none."""

    spec: FigureSpec
    data: pd.DataFrame
    columns: Columns
    chart: Chart | None = None
    error: str | None = None


def shown(opened: Opened, rows: pd.DataFrame) -> list[Shown]:
    """Every figure of the sweep as data; what cannot be made costs the others nothing."""
    from lawsweep.analysis.figures.kinds import find_kind
    from lawsweep.analysis.frames import Columns

    found = []
    of_rows = Columns(rows)
    for spec in read_figures(opened, list(rows.columns)):
        data = _data_of(opened, spec, rows)
        made = Shown(spec, data, of_rows if data is rows else Columns(data))
        with told(made):
            values = functools.partial(arrays, opened)
            made.chart = find_kind(spec.kind).chart(made.columns, spec, values)
        found.append(made)
    return found


@contextmanager
def told(made: Shown) -> Iterator[None]:
    """What goes wrong within is that figure's error."""
    name = made.spec.name
    try:
        yield
    except LawsweepError as error:
        named = str(error).startswith((f"Figure {name} ", f"Figure {name}:"))
        made.error = str(error) if named else f"Figure {name}: {error}"
    except Exception as error:  # noqa: BLE001  (whatever a library says: the others stand)
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
        place = place_of(error)
        do = f"Look at {place}" if place else "Change its entry"
        made.error = f"Figure {name} cannot be drawn ({said}). {do}."


@contextmanager
def drawn(
    opened: Opened, rows: pd.DataFrame, figures: Sequence[Shown] | None = None
) -> Iterator[tuple[list[Path], list[str]]]:
    """The figures as temporary files, on their way into the sweep's folder.

    And what is wrong with those that cannot be drawn: they cost the others nothing.
    """
    from lawsweep.analysis.figures.draw import draw

    values, caption = functools.partial(arrays, opened), _caption(rows)
    paths: list[Path] = []
    errors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lawsweep-") as folder:
        for made in shown(opened, rows) if figures is None else figures:
            if made.error is None:
                stem = Path(folder) / made.spec.name
                with told(made):
                    paths += draw(made.data, made.spec, stem, caption, values, made.chart)
            errors += [] if made.error is None else [made.error]
        yield paths, errors


class Shelf:
    """The sweep's folder, for what is made of its rows: each file whole or absent there."""

    def __init__(self, opened: Opened):
        sweep, plan = opened.sweep, opened.plan
        own = open_own_folder(sweep, plan)
        self.place, self.folder = sweep.folder, own.folder
        self.launches, self._claim = own.launch_records, functools.partial(claim, own, sweep, plan)

    def put(self, paths: list[Path]) -> list[Path | Url]:
        """Write figures under their names; where they are."""
        self._claim()
        for path in paths:
            (self.folder / "figures").write(path.name, path.read_bytes())
        return [self.place / "figures" / path.name for path in paths]
