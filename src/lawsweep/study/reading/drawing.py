"""Draw a sweep's figures into its folder."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    from lawsweep.analysis.figures.kinds import find_kind, parse_figures

    rows = frame(opened, given)
    cells = cells_of(opened)
    entries = list(opened.sweep.figures) if isinstance(asked, str) else [asked]
    specs = parse_figures(entries, list(rows.columns), cells=cell_names(cells))
    named = {spec.name: spec for spec in specs}
    if isinstance(asked, str) and asked not in named:
        raise unknown_name("figure", asked, named, f"sweep {opened.sweep.name}")
    spec = named[asked] if isinstance(asked, str) else specs[0]
    data = cells if cells is not None and find_kind(spec.kind).of_cells else rows
    return make_figure(data, spec, _caption(rows), functools.partial(arrays, opened))


def _caption(rows: pd.DataFrame) -> str:
    """How complete the sweep is."""
    return certificate(Counter(rows["status"].to_list()), len(rows))


@contextmanager
def drawn(opened: Opened, rows: pd.DataFrame) -> Iterator[tuple[list[Path], list[str]]]:
    """The figures as temporary files, on their way into the sweep's folder.

    And what is wrong with those that cannot be drawn: they cost the others nothing.
    """
    from lawsweep.analysis.figures.draw import draw
    from lawsweep.analysis.figures.kinds import find_kind, parse_figures

    cells = cells_of(opened)
    specs = parse_figures(list(opened.sweep.figures), list(rows.columns), cells=cell_names(cells))
    values = functools.partial(arrays, opened)
    paths: list[Path] = []
    errors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lawsweep-") as folder:
        for spec in specs:
            data = cells if cells is not None and find_kind(spec.kind).of_cells else rows
            try:
                paths += draw(data, spec, Path(folder) / spec.name, _caption(rows), values)
            except LawsweepError as error:
                named = str(error).startswith(f"Figure {spec.name} ")
                errors.append(str(error) if named else f"Figure {spec.name}: {error}")
            except Exception as error:  # noqa: BLE001  (whatever a library says: the others stand)
                said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
                place = place_of(error)
                do = f"Look at {place}" if place else "Change its entry"
                errors.append(f"Figure {spec.name} cannot be drawn ({said}). {do}.")
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
