"""Charts of figures as plain values for the page's script, which draws them.

What a chart has more of than a screen shows is drawn as means, or as a share that run ids choose,
and its notes say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.chart import Band, Cells, Chart, Line, Marks, finite_range
from lawsweep.analysis.figures.look import LINE_STYLES
from lawsweep.analysis.figures.palette import MARKERS, PALETTE, night
from lawsweep.analysis.report.behind import Behind
from lawsweep.analysis.report.thinning import coarser, some_groups, some_points, thinner

if TYPE_CHECKING:
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns

MAX_MARKS = 1000  # a chart: an SVG of more is slow to move
MAX_RUNS = 100  # lines, a run each
LINE_STEPS = 60
_GREEK = dict(zip(labels._LETTERS.split(), "αβγδεζηθκλμνξπρστφχψω", strict=True))
# Vega's shapes in place of matplotlib's markers, and a dash in place of its line styles.
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
_DASHES = ((1, 0), (7, 3), (2, 2), (8, 2, 2, 2), (12, 4))
_OPEN = {"v": "triangle-down", "^": "triangle-up"}


def page_chart(shown: Chart, columns: Columns, spec: FigureSpec) -> dict[str, Any]:
    """A chart as plain values; ``columns`` are the rows (or thresholds) that it is of."""
    notes = [plain(note).replace("; band: ", "; bars: ") for note in shown.notes]  # drawn as such
    shown = some_groups(shown, notes)
    behind = Behind(columns)
    return {
        "name": spec.name,
        "title": plain(spec.title or ""),
        "x": plain(shown.x.label),
        "y": plain(shown.y.label),
        "by": plain(shown.by),
        "logx": shown.x.log,
        "logy": shown.y.log,
        "down": shown.y.down,
        "square": shown.square,
        "ends": [shown.x.ends, shown.y.ends],
        "ticks": [None if a.ticks is None else numbers(a.ticks) for a in (shown.x, shown.y)],
        "panels": [plain(title) for title in shown.panels],
        "joined": any(m.joined for m in shown.kinds(Marks)),
        "band": shown.band,
        "groups": [plain(g.label) or "data" for g in shown.groups] or ["data"],
        "of": [g.panel for g in shown.groups] or [0],
        **_looks(shown),
        "marks": _marks(shown, behind, notes),
        "lines": [_line(line, shown, behind) for line in _lines(shown, notes)],
        "bands": [_band(band, shown) for band in shown.kinds(Band)],
        "cells": [_cells(cells, behind, notes) for cells in shown.kinds(Cells)],
        "notes": list(dict.fromkeys(notes)),
    }


def plain(text: str) -> str:
    """A label as plain text: ``$\\lambda_{\\mathrm{min}}$`` reads λ_min.

    On one line: Vega's expressions, which texts become part of, know no line separator in a text.
    """
    text = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)
    text = re.sub(r"\\mathrm\{([^{}]*)\}", r"\1", text.replace(r"\,", "_"))
    text = re.sub(r"\\([a-z]+)", lambda m: _GREEK.get(m[1], m[1]), text)
    text = re.sub(r"_\{([^{}]*)\}", r"_\1", text)
    return re.sub(r"(?<!\\)\$", "", text).replace("\\$", "$")


def about(chart: Mapping[str, Any]) -> str:
    """What a chart shows, for who does not see it."""
    x, y, m = chart["x"], chart["y"], chart["marks"]
    n = len(set(chart["groups"]))
    by = f" in {n} groups by {chart['by']}" if chart["by"] else ""
    many = f", in {len(chart['panels'])} panels" if len(chart["panels"]) > 1 else ""
    said = []
    if chart["cells"]:
        values = [v for c in chart["cells"] for v in c["v"] if v is not None]
        z = chart["cells"][0]["z"]
        said.append(f"a map of {z} over {x} and {y}{many}: {_span(values, 'cells', z)}")
    if m["x"]:
        spans = f"{_span(m['x'], 'points', x)}, {_range(m['y'], y)}"
        said.append(f"{y} against {x}{by}{many}: {spans}")
    runs = [line for line in chart["lines"] if line["role"] == "run"]
    if runs:
        values = [v for line in runs for v in line["y"] if v is not None]
        said.append(f"{y} against {x}{by}{many}: {_span(values, 'points', y)} of {len(runs)} runs")
    text = ". ".join(s[0].upper() + s[1:] for s in said)
    return f"{text}. The numbers are in the table below it."


def _span(values: Sequence[float | None], what: str, name: str) -> str:
    return f"{len(values)} {what}, {_range(values, name)}"


def _range(values: Sequence[float | None], name: str) -> str:
    ends = finite_range([np.array([v for v in values if v is not None], dtype=float)])
    return f"{name} from {ends[0]:.4g} to {ends[1]:.4g}" if ends else f"no {name}"


def _looks(shown: Chart) -> dict[str, Any]:
    """Colour, shape and dash of each group, as its figure has them."""
    styles = ["-", *map(str, LINE_STYLES)]
    looks = [g.look for g in shown.groups] or [{"color": PALETTE[0], "marker": "o"}]
    return {
        "colours": [str(look["color"]) for look in looks],
        "night": [night(str(look["color"])) for look in looks],
        "shapes": [_SHAPES[MARKERS.index(look["marker"])] for look in looks],
        "dashes": [_DASHES[styles.index(str(look.get("linestyle", "-")))] for look in looks],
    }


def _marks(shown: Chart, behind: Behind, notes: list[str]) -> dict[str, list[Any]]:
    """All marks by column: shorter than a mapping a mark."""
    layers = shown.kinds(Marks)
    share = max(1, MAX_MARKS // max(1, len(layers)))
    found: dict[str, list[Any]] = {
        k: [] for k in ("x", "y", "lo", "hi", "g", "p", "open", "n", "seeds", "runs")
    }
    drawn, n_rows, how = 0, 0, set()
    for whole in layers:
        layer, said = thinner(whole, share, behind, log=shown.x.log)
        how |= {said} if said else set()
        n = len(layer.x)
        drawn += n
        n_rows += 0 if whole.rows is None else len(whole.rows)
        known = layer.low is not None and layer.high is not None
        told = behind.marks(layer.rows, layer.of, n)
        bars = known and (layer.low != layer.high if layer.strip else np.ones(n, dtype=bool))
        for key, values in (("lo", layer.low), ("hi", layer.high)):
            some = np.full(n, np.nan) if values is None else np.where(bars, values, np.nan)
            found[key] += numbers(some)
        found["x"] += numbers(layer.x)
        found["y"] += numbers(layer.y)
        found["g"] += [-1 if layer.group is None else layer.group] * n
        found["p"] += [layer.panel] * n
        found["open"] += [_OPEN.get(layer.marker or "", "")] * n
        for key, column in told.items():
            found[key] += column
    for words in sorted(how):
        notes.append(f"{n_rows:,} rows: " + words.format(drawn=drawn))
    if not how and any(m.means for m in layers) and n_rows > drawn:
        notes.append(f"{n_rows:,} rows: drawn as means of {drawn:,} points")
    return found


def _lines(shown: Chart, notes: list[str]) -> list[Line]:
    """All but those of too many runs."""
    lines: list[Line] = shown.kinds(Line)
    runs = [line for line in lines if line.role == "run" and len(line.x)]
    if len(runs) > MAX_RUNS:
        at = np.unique(np.linspace(0, len(runs) - 1, MAX_RUNS).round().astype(int))
        notes.append(f"{len(at)} of {len(runs):,} runs drawn, evenly chosen")
        runs = [runs[k] for k in at]
    return [*(line for line in lines if line.role != "run" and len(line.x)), *runs]


def _line(line: Line, shown: Chart, behind: Behind) -> dict[str, Any]:
    at = some_points(line.x, LINE_STEPS if line.role != "run" else 2 * LINE_STEPS, shown.x.log)
    made = {
        "g": -1 if line.group is None else line.group,
        "p": line.panel,
        "role": line.role,
        "label": plain(line.label),
        "dash": _DASHES[1 + line.style % (len(_DASHES) - 1)]
        if line.role == "reference"
        else [1, 0],
        "x": numbers(line.x[at]),
        "y": numbers(line.y[at]),
    }
    if line.row is not None:
        made["run"] = behind.id_of(line.row)
    return made


def _band(band: Band, shown: Chart) -> dict[str, Any]:
    at = some_points(band.x, LINE_STEPS, shown.x.log)
    return {
        "g": -1 if band.group is None else band.group,
        "p": band.panel,
        "x": numbers(band.x[at]),
        "lo": numbers(band.low[at]),
        "hi": numbers(band.high[at]),
    }


def _cells(cells: Cells, behind: Behind, notes: list[str]) -> dict[str, Any]:
    cells, said = coarser(cells)
    notes += [said] if said else []
    made: dict[str, Any] = {
        "p": cells.panel,
        "z": plain(cells.title),
        "log": cells.log,
        "ends": cells.ends,
        "missing": plain(cells.missing),
        "x": numbers(cells.x),
        "y": numbers(cells.y),
        "v": numbers(cells.values.ravel()),
        "texts": None if cells.texts is None else [t for row in cells.texts for t in row],
    }
    return made | behind.marks(cells.rows, cells.of, cells.values.size)


def numbers(values: Array) -> list[float | None]:
    """Seven digits, which is more than a screen shows; what is no finite number is None."""
    known = np.isfinite(values)
    return [
        float(f"{v:.7g}") if k else None
        for v, k in zip(values.tolist(), known.tolist(), strict=True)
    ]
