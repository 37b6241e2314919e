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
from lawsweep.grid.sweep import Url
from lawsweep.study.progress import certificate
from lawsweep.study.questions import claim, open_own_folder
from lawsweep.study.reading import cell_names, cells_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lawsweep.study.study import Study


def plot(study: Study, frame: pd.DataFrame | None = None) -> list[Path | Url]:
    """See ``Study.plot``."""
    shelf = Shelf(study)  # before the rows are read: what comes of them goes where they are
    with drawn(study, study.frame() if frame is None else frame) as (paths, errors):
        kept = shelf.put(paths)
    if errors:
        raise FigureError(" ".join(errors), kept)
    return kept


def figure(
    study: Study, asked: str | Mapping[str, Any], frame: pd.DataFrame | None = None
) -> Figure:
    """See ``Study.figure``."""
    from lawsweep.analysis.figures.draw import make_figure
    from lawsweep.analysis.figures.kinds import find_kind, parse_figures

    frame = study.frame() if frame is None else frame
    cells = cells_of(study)
    entries = list(study.sweep.figures) if isinstance(asked, str) else [asked]
    specs = parse_figures(entries, list(frame.columns), cells=cell_names(cells))
    named = {spec.name: spec for spec in specs}
    if isinstance(asked, str) and asked not in named:
        raise unknown_name("figure", asked, named, f"sweep {study.sweep.name}")
    spec = named[asked] if isinstance(asked, str) else specs[0]
    rows = cells if cells is not None and find_kind(spec.kind).of_cells else frame
    return make_figure(rows, spec, _caption(frame), study.arrays)


def _caption(frame: pd.DataFrame) -> str:
    """How complete the sweep is."""
    return certificate(Counter(frame["status"].to_list()), len(frame))


@contextmanager
def drawn(study: Study, frame: pd.DataFrame) -> Iterator[tuple[list[Path], list[str]]]:
    """The figures as temporary files, on their way into the sweep's folder.

    And what is wrong with those that cannot be drawn: they cost the others nothing.
    """
    from lawsweep.analysis.figures.draw import draw
    from lawsweep.analysis.figures.kinds import find_kind, parse_figures

    cells = cells_of(study)
    specs = parse_figures(list(study.sweep.figures), list(frame.columns), cells=cell_names(cells))
    paths: list[Path] = []
    errors: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lawsweep-") as folder:
        for spec in specs:
            rows = cells if cells is not None and find_kind(spec.kind).of_cells else frame
            try:
                paths += draw(rows, spec, Path(folder) / spec.name, _caption(frame), study.arrays)
            except LawsweepError as error:
                named = str(error).startswith(f"Figure {spec.name} ")
                errors.append(str(error) if named else f"Figure {spec.name}: {error}")
            except Exception as error:  # noqa: BLE001  (whatever a library says: the others stand)
                said = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
                errors.append(f"Figure {spec.name} cannot be drawn ({said}). Change its entry.")
        yield paths, errors


class Shelf:
    """The sweep's folder, for what is made of its rows: each file whole or absent there."""

    def __init__(self, study: Study):
        sweep, plan = study.sweep, study.plan
        own = open_own_folder(sweep, plan)
        self.place, self.folder = sweep.folder, own.folder
        self.launches, self._claim = own.launch_records, functools.partial(claim, own, sweep, plan)

    def put(self, paths: list[Path]) -> list[Path | Url]:
        """Write figures under their names; where they are."""
        self._claim()
        for path in paths:
            (self.folder / "figures").write(path.name, path.read_bytes())
        return [self.place / "figures" / path.name for path in paths]
