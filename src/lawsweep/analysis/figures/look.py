"""How figures look: colours and marks of groups, scales, axis labels, legends, fitted laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.specs import FigureSpec
from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.laws import find_law

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lawsweep.analysis.laws.results import FitResult

# Okabe and Ito's palette (distinct under the common colour-vision deficiencies), its yellow left
# out: too pale for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)))
REFERENCE = "0.25"  # of a line that is no group's own
BAND_POINTS = 100  # of the edge of a law's interval
LEGEND_INSIDE = 7  # entries; more stand beside the axes
LEGEND_KEY, LEGEND_CHARACTER = 0.5, 0.07  # inches that a legend beside the axes takes


def colour(k: int, n: int) -> Any:
    """The palette while it lasts; then viridis, short of its palest end, from dark to light."""
    if n <= len(PALETTE):
        return PALETTE[k]
    import matplotlib

    return matplotlib.colormaps["viridis"](0.92 * k / (n - 1))


def group_look(k: int, n: int) -> dict[str, Any]:
    """Colour and marker of group k of n."""
    return {"color": colour(k, n), "marker": MARKERS[k % len(MARKERS)]}


def group_looks(groups: Sequence[tuple[Mapping[str, Any], Any]]) -> list[dict[str, Any]]:
    """Colour and marker of each group; of groups by two columns a line style too.

    Two columns read as two: the first one's values are told apart by colour, the second one's by
    marker and line, as far as marks and colours last (the other way round where they do so only
    then); else one look a group.
    """
    split = two_columns(groups)
    if split is None:
        return [group_look(k, len(groups)) for k in range(len(groups))]
    (inked, inks), (marked, marks) = split
    looks = []
    for values, _ in groups:
        mark = marks.index(values[marked])
        style = "-" if mark == 0 else LINE_STYLES[(mark - 1) % len(LINE_STYLES)]
        ink = colour(inks.index(values[inked]), len(inks))
        looks.append({"color": ink, "marker": MARKERS[mark], "linestyle": style})
    return looks


def two_columns(
    groups: Sequence[tuple[Mapping[str, Any], Any]],
) -> tuple[tuple[str, list[Any]], tuple[str, list[Any]]] | None:
    """The column that colours tell and the one that marks tell, with their values; None: one look.

    Each has two values or more, and the second no more than there are marks.
    """
    if not groups or len(groups[0][0]) != 2:
        return None
    found = [(name, list(dict.fromkeys(v[name] for v, _ in groups))) for name in groups[0][0]]
    first, second = found if len(found[1][1]) <= len(MARKERS) else found[::-1]
    if min(len(first[1]), len(second[1])) < 2 or len(second[1]) > len(MARKERS):
        return None
    return first, second


def two_column_handles(groups: Sequence[tuple[Mapping[str, Any], Any]]) -> list[Any]:
    """A legend in two blocks: what the colours say, and what the marks and lines say."""
    from matplotlib.lines import Line2D

    split = two_columns(groups)
    if split is None:
        return []
    (inked, inks), (marked, marks) = split

    def entry(label: str, **look: Any) -> Any:
        return Line2D([], [], label=label, **look)

    handles = [entry(labels.name(inked), linestyle="none")]
    for k, item in enumerate(inks):
        ink = colour(k, len(inks))
        handles.append(entry(labels.value(item), color=ink, linewidth=3))
    handles.append(entry(labels.name(marked), linestyle="none"))
    for k, item in enumerate(marks):
        style = "-" if k == 0 else LINE_STYLES[(k - 1) % len(LINE_STYLES)]
        look = {"marker": MARKERS[k], "markersize": 4.5, "linestyle": style, "linewidth": 1.2}
        handles.append(entry(labels.value(item), color=REFERENCE, **look))
    return handles


def whole_figure(axes: Axes) -> Figure:
    """The figure that axes stand in."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def log_x(spec: FigureSpec) -> bool:
    """Whether x is logarithmic: as asked, else where a law of log x is drawn."""
    return spec.logx if spec.logx is not None else bool(spec.fit and find_law(spec.fit.law).log_x)


def log_y(spec: FigureSpec) -> bool:
    """Whether y is logarithmic: as asked, else where a law of log y is drawn."""
    return spec.logy if spec.logy is not None else _fits_logs(spec)


def geometric_y(spec: FigureSpec) -> bool:
    """Whether means of y are geometric: on a logarithmic axis, and for a law of log y."""
    return log_y(spec) or _fits_logs(spec)


def _fits_logs(spec: FigureSpec) -> bool:
    return bool(spec.fit and find_law(spec.fit.law).of_logs(spec.fit))


def scales(axes: Axes, *, logx: bool, logy: bool, grid: bool = True) -> None:
    """Linear or logarithmic axes, with a pale grid."""
    axes.set_xscale("log" if logx else "linear")
    axes.set_yscale("log" if logy else "linear")
    if grid:
        axes.grid(True, which="major", color="0.9", linewidth=0.6)


def axis_labels(axes: Axes, spec: FigureSpec) -> None:
    """The labels that are asked for, else the expressions."""
    axes.set_xlabel(spec.xlabel or labels.pretty(spec.x))
    axes.set_ylabel(spec.ylabel or labels.pretty(spec.y))


def legend(
    axes: Axes,
    spec: FigureSpec,
    handles: list[Any],
    *,
    titled: bool = True,
    inside: int = LEGEND_INSIDE,
) -> None:
    """What the groups and lines are; beside the axes where there are more than ``inside``."""
    if not handles:
        return
    title = (", ".join(labels.name(name) for name in spec.by) or None) if titled else None
    look: dict[str, Any] = {"title": title, "alignment": "left", "handlelength": 2.2}
    if len(handles) > inside:
        figure = whole_figure(axes)
        longest = max(len(str(handle.get_label())) for handle in handles)
        figure.set_figwidth(figure.get_figwidth() + LEGEND_KEY + LEGEND_CHARACTER * longest)
        figure.legend(handles=handles, loc="outside right upper", frameon=False, **look)
    else:
        axes.legend(handles=handles, loc="best", framealpha=0.85, edgecolor="0.85", **look)


def fitted_laws(
    columns: Columns, spec: FigureSpec, *, of_cells: bool = False
) -> dict[tuple[Any, ...], FitResult]:
    """The law of each group where the figure asks for one, by the group's values."""
    from lawsweep.analysis.laws.fits import fit_cell_columns, fit_columns

    if not spec.fit:
        return {}
    asked = replace(spec.fit, name=spec.name)
    fit = fit_cell_columns if of_cells else fit_columns
    return {tuple(found.group.values()): found for found in fit(columns, asked)}


def draw_law(axes: Axes, found: FitResult, x: Array, ink: Any, notes: list[str]) -> None:
    """Draw a law over the range of ``x``; what must be said of it is added to ``notes``."""
    place = f"{found.label()}: " if found.group else ""
    if found.reason is not None:
        notes.append(f"{place}no fit: {found.reason}")
        return
    notes += [f"{place}{text}" for text in found.warnings]
    scales_ = (axes.get_xscale() == "log", axes.get_yscale() == "log")
    n = 2 if found.law.straight and scales_ == (found.law.log_x, found.law.log_y) else 200
    if scales_[0] or found.law.log_x:
        at = np.geomspace(x[x > 0].min(), x.max(), n)
    else:
        at = np.linspace(x.min(), x.max(), n)
    axes.plot(at, found.predict(at), color=ink, linewidth=1.2, zorder=1.9)
    space = np.geomspace if scales_[0] or found.law.log_x else np.linspace
    _draw_band(axes, found, space(at[0], at[-1], BAND_POINTS), ink, notes)


def _draw_band(axes: Axes, found: FitResult, at: Array, ink: Any, notes: list[str]) -> None:
    """Shade the interval of the law; what is not finite is left out, and no scale follows it."""
    from matplotlib.collections import PolyCollection

    ends = found.band(at)
    if ends is None:
        return
    low, high = ends
    known = np.isfinite(low) & np.isfinite(high)
    if known.sum() < 2:
        return
    x = at[known]
    edge = np.concatenate([np.stack([x, low[known]], 1), np.stack([x, high[known]], 1)[::-1]])
    look: dict[str, Any] = {"facecolor": ink, "edgecolor": "none", "alpha": 0.25, "zorder": 1.7}
    axes.add_collection(PolyCollection([edge], **look), autolim=False)
    said = f"shaded along a law: its {100 * found.spec.level:g} % interval"
    if said not in notes:
        notes.append(said)


def group_label(values: Mapping[str, Any], found: FitResult | None) -> str:
    """A group's values, and its law where one was fitted; empty where there is neither."""
    name = ", ".join(labels.value(v) for v in values.values())
    if found is None or found.reason is not None:
        return name
    law = found.law.short(found)
    return f"{name}: {law}" if name else law
