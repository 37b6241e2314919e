"""Figures as data for the page: the points with their runs, the laws and bands, the lines.

The page's script draws them.  What a figure has more of than a screen shows is drawn as means, or
as a share of the rows that their run ids choose, and the chart's notes say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.kinds import find_kind
from lawsweep.analysis.figures.look import (
    LINE_STYLES,
    MARKERS,
    fitted_laws,
    geometric_y,
    group_label,
    group_looks,
    log_x,
    log_y,
)
from lawsweep.analysis.figures.of_rows.curves import Curve, band_edges
from lawsweep.analysis.figures.of_rows.points import read_points
from lawsweep.analysis.figures.of_rows.scatter import Scatter
from lawsweep.analysis.frames import centres, distinct

if TYPE_CHECKING:
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns
    from lawsweep.analysis.laws.results import FitResult

MAX_MARKS = 1000  # a chart: an SVG of more is slow to move
MAX_GROUPS = 200
LAW_STEPS = 60
IDS_SHOWN = 3
_GREEK = dict(zip(labels._LETTERS.split(), "αβγδεζηθκλμνξπρστφχψω", strict=True))
_BANDS = {"sd": "±1 sd", "sem": "±1 standard error", "minmax": "smallest to largest"}


def chart(columns: Columns, spec: FigureSpec) -> dict[str, Any] | None:
    """A curve or scatter as plain values for the page's script; None for other kinds.

    Raises InvalidValueError where no row can be drawn.
    """
    kind = type(find_kind(spec.kind))
    if kind not in (Curve, Scatter):
        return None
    averaged = kind is Curve
    points = read_points(columns, spec, averaged=averaged)
    notes = list(points.notes)
    groups = _some(columns.groups(spec.by, points.rows), notes)
    laws = fitted_laws(columns, spec)
    ids, seeds = columns.get("run_id"), columns.get("seed")
    share = max(1, MAX_MARKS // len(groups))
    marks: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    names, n_binned, n_chosen, n_rows = [], 0, 0, 0
    for k, (values, rows) in enumerate(groups):
        at = np.searchsorted(points.rows, rows)
        x, y = points.x[at], points.y[at]
        n_rows += len(rows)
        found = laws.get(tuple(values.values()))
        names.append(plain(group_label(values, found)) or "data")
        if averaged:
            made, binned = _means(x, y, spec, share)
            n_binned += binned
        else:
            made, chosen = _rows(x, y, ids, rows, share)
            n_chosen += chosen
        for mark in made:
            own = rows[mark.pop("rows")]
            marks.append({**mark, "g": k, "n": len(own), **_runs(own, ids, seeds)})
        if found is not None and (law := _law(found, x, k)) is not None:
            drawn.append(law)
        notes += _said(found)
        lines += _reference(columns, spec, rows, x, k)
    if n_binned:
        notes.append(f"{n_rows:,} rows: drawn as means of {len(marks):,} ranges of x")
    elif averaged and n_rows > len(marks):
        notes.append(f"{n_rows:,} rows: drawn as means of {len(marks):,} points")
    if n_chosen:
        notes.append(f"{n_rows:,} rows: {len(marks):,} of them drawn, which ones their ids say")
    band = _BANDS.get(spec.band, "") if averaged else ""
    return {
        "name": spec.name,
        "title": plain(spec.title or ""),
        "x": plain(spec.xlabel or labels.pretty(spec.x)),
        "y": plain(spec.ylabel or labels.pretty(spec.y)),
        "by": plain(", ".join(spec.by)),
        "logx": log_x(spec),
        "logy": log_y(spec),
        "joined": averaged and not spec.fit,
        "band": band
        + (" of log y" if band and band != _BANDS["minmax"] and geometric_y(spec) else ""),
        "groups": names,
        **_looks(groups),
        "marks": _table(marks),
        "laws": drawn,
        "lines": _merged(lines),
        "notes": list(dict.fromkeys(notes)),
    }


# Vega's shapes in place of matplotlib's markers, and a dash in place of its line styles.
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
_DASHES = ((1, 0), (7, 3), (2, 2), (8, 2, 2, 2), (12, 4))


def _looks(groups: list[Any]) -> dict[str, Any]:
    """Colour, shape and dash of each group, as its figure has them."""
    looks = group_looks(groups)
    styles = ["-", *map(str, LINE_STYLES)]
    return {
        "colours": [_hex(look["color"]) for look in looks],
        "shapes": [_SHAPES[MARKERS.index(look["marker"])] for look in looks],
        "dashes": [_DASHES[styles.index(str(look.get("linestyle", "-")))] for look in looks],
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


def _some(groups: list[Any], notes: list[str]) -> list[Any]:
    if len(groups) <= MAX_GROUPS:
        return groups
    at = np.unique(np.linspace(0, len(groups) - 1, MAX_GROUPS).round().astype(int))
    notes.append(f"{len(at)} of {len(groups):,} groups drawn, evenly chosen")
    return [groups[k] for k in at]


def _means(x: Array, y: Array, spec: FigureSpec, share: int) -> tuple[list[dict[str, Any]], bool]:
    """A mark a distinct x, or a range of them where there are more than ``share``."""
    levels, inverse = distinct(x)
    binned = len(levels) > share
    if binned:
        inverse = np.unique(inverse * share // len(levels), return_inverse=True)[1].reshape(-1)
        levels = centres(x, inverse, geometric=log_x(spec))
    geometric = geometric_y(spec)
    centre = centres(y, inverse, geometric=geometric)
    low, high = band_edges(y, inverse, spec.band, geometric=geometric)
    order = np.argsort(inverse, kind="stable")
    own = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    band = spec.band != "none"
    return [
        {
            "x": levels[i],
            "y": centre[i],
            "lo": low[i] if band and len(own[i]) > 1 else None,
            "hi": high[i] if band and len(own[i]) > 1 else None,
            "rows": own[i],
        }
        for i in range(len(levels))
    ], binned


def _rows(
    x: Array, y: Array, ids: Array | None, rows: Array, share: int
) -> tuple[list[dict[str, Any]], bool]:
    """A mark a row; of many the first ``share`` by run id, which is as good as at random."""
    at = np.arange(len(x))
    chosen = len(at) > share
    if chosen and ids is not None:
        order = np.argsort(ids[rows].astype("U16"), kind="stable")
        ends = [v for z in (x, y) for v in (z.argmin(), z.argmax())]
        at = np.unique(np.concatenate([order[: max(share - 4, 1)], ends]))
    elif chosen:
        at = np.unique(np.linspace(0, len(x) - 1, share).round().astype(int))
    return [
        {"x": x[i], "y": y[i], "lo": None, "hi": None, "rows": np.array([i])} for i in at
    ], chosen


def _runs(rows: Array, ids: Array | None, seeds: Array | None) -> dict[str, Any]:
    """Of the rows behind a mark: their first run ids, and how many seeds."""
    few = [] if ids is None else [str(i)[:12] for i in ids[rows[:IDS_SHOWN]]]
    return {"runs": few, "seeds": len(np.unique(seeds[rows])) if seeds is not None else None}


def _law(found: FitResult, x: Array, k: int) -> dict[str, Any] | None:
    """The law over the range of its group's points, with its band where it has one."""
    if found.reason is not None:
        return None
    low, high = float(x.min()), float(x.max())
    at = np.geomspace(low, high, LAW_STEPS) if low > 0 else np.linspace(low, high, LAW_STEPS)
    at[[0, -1]] = low, high
    made: dict[str, Any] = {"g": k, "x": _numbers(at), "y": _numbers(found.predict(at))}
    ends = found.band(at)
    if ends is not None:
        made |= {"lo": _numbers(ends[0]), "hi": _numbers(ends[1])}
    return made


def _said(found: FitResult | None) -> list[str]:
    if found is None:
        return []
    place = f"{found.label()}: " if found.group else ""
    if found.reason is not None:
        return [f"{place}no fit: {found.reason}"]
    return [f"{place}{text}" for text in found.warnings]


def _reference(
    columns: Columns, spec: FigureSpec, rows: Array, x: Array, k: int
) -> list[dict[str, Any]]:
    made = []
    for j, line in enumerate(spec.lines):
        y = columns.numbers(line.y, rows, f"{spec.name}.lines[{j}]")
        known = np.isfinite(y) & ((y > 0) | (not log_y(spec)))
        levels, inverse = distinct(x[known])
        value = centres(y[known], inverse, geometric=log_y(spec))
        at = np.unique(np.linspace(0, len(levels) - 1, LAW_STEPS).round().astype(int))
        at = at if len(levels) else np.zeros(0, dtype=int)
        label = plain(line.label or labels.pretty(line.y))
        made.append({"label": label, "g": k, "x": _numbers(levels[at]), "y": _numbers(value[at])})
    return made


def _merged(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines that several groups have alike, once."""
    return list({(str(e["x"]), str(e["y"]), e["label"]): e for e in lines}.values())


def _table(marks: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Marks by column: shorter than a mapping a mark."""
    keys = ("x", "y", "lo", "hi", "g", "n", "seeds", "runs")
    made: dict[str, list[Any]] = {k: [m[k] for m in marks] for k in keys}
    for k in ("x", "y", "lo", "hi"):
        made[k] = _numbers(made[k])
    return made


def _numbers(values: Any) -> list[float | None]:
    """Seven digits, which is more than a screen shows; what is no finite number is None."""
    return [None if v is None or not np.isfinite(v) else float(f"{float(v):.7g}") for v in values]


def _hex(ink: Any) -> str:
    if isinstance(ink, str):
        return ink
    return "#" + "".join(f"{round(255 * c):02x}" for c in ink[:3])
