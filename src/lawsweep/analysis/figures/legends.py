"""Legends of charts: keys of groups, of two columns in blocks, and of lines that have labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.chart import Cells, Chart, Group, Line
from lawsweep.analysis.figures.look import colour, line_style
from lawsweep.analysis.figures.palette import MARKERS, REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND_INSIDE = 7  # entries; more stand beside the axes
LEGEND_GROUPS = 14  # entries that fit beside the axes; more groups are named here and there
LEGEND_KEY, LEGEND_CHARACTER = 0.5, 0.07  # inches that a legend beside the axes takes


def whole_figure(axes: Axes) -> Figure:
    """The figure that axes stand in."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def draw_legend(
    boxes: list[Axes],
    chart: Chart,
    marked: Mapping[int, Any],
    labelled: list[Any],
    notes: list[str],
) -> None:
    """What the groups and lines are; beside the axes or above a map where it would lie on data."""
    if _own_legends(chart):
        _legends_inside(boxes, chart, marked, labelled)
        return
    keys = shape_keys(chart) if chart.shape is not None else _keys(chart, marked, chart.groups)
    if len(keys) > LEGEND_GROUPS and chart.shape is None:
        chosen = np.linspace(0, len(keys) - 1, LEGEND_GROUPS // 2).round().astype(int)
        notes.append(f"legend names {len(chosen)} of {len(keys)} groups")
        keys = [keys[k] for k in chosen]
    once = {str(handle.get_label()): handle for handle in labelled}
    handles = [*keys, *once.values()]
    if not handles:
        return
    figure = whole_figure(boxes[0])
    if chart.kinds(Cells):
        figure.legend(
            handles=handles,
            loc="outside upper center",
            ncols=2 if len(handles) == 4 else 3,
            frameon=False,
            handlelength=2.2,
        )
        return
    title = (chart.by or None) if chart.shape is None else None
    look: dict[str, Any] = {"title": title, "alignment": "left", "handlelength": 2.2}
    inside = LEGEND_INSIDE if chart.beside is None else chart.beside
    if len(handles) > inside or len(boxes) > 1:
        longest = max(len(str(handle.get_label())) for handle in handles)
        figure.set_figwidth(figure.get_figwidth() + LEGEND_KEY + LEGEND_CHARACTER * longest)
        figure.legend(handles=handles, loc="outside right upper", frameon=False, **look)
    else:
        boxes[0].legend(handles=handles, loc="best", framealpha=0.85, edgecolor="0.85", **look)


def _own_legends(chart: Chart) -> bool:
    """Whether panels have groups of other names (of laws of their own) that fit within them."""
    n = len(chart.panels)
    names = [[g.label for g in chart.groups if g.panel == panel] for panel in range(n)]
    few = max(map(len, names), default=0) <= LEGEND_INSIDE
    return n > 1 and chart.shape is None and few and any(own != names[0] for own in names[1:])


def _legends_inside(
    boxes: list[Axes], chart: Chart, marked: Mapping[int, Any], labelled: list[Any]
) -> None:
    for panel, box in enumerate(boxes):
        own = [g if g.panel == panel else replace(g, label="") for g in chart.groups]
        once = {str(h.get_label()): h for h in labelled if panel == len(boxes) - 1}
        handles = [*_keys(chart, marked, own), *once.values()]
        look: dict[str, Any] = {"title": chart.by or None, "alignment": "left", "fontsize": 7.5}
        look |= {"title_fontsize": 7.5, "framealpha": 0.85, "edgecolor": "0.85"}
        box.legend(handles=handles, loc="best", handlelength=1.6, **look)


def _keys(chart: Chart, marked: Mapping[int, Any], groups: Sequence[Group]) -> list[Any]:
    """A key a group: as it is drawn; of groups in several panels one, of those that look alike."""
    from matplotlib.lines import Line2D

    found: dict[str, Any] = {}
    for k, group in enumerate(groups):
        if not group.label or group.label in found:
            continue
        look = {"linestyle": "none", **group.look}
        if k in marked:
            drawn = marked[k]
            look |= {"linestyle": drawn.get_linestyle(), "marker": drawn.get_marker()}
            look |= {"markeredgecolor": "white", "markeredgewidth": 0.5}
        elif chart.kinds(Line):
            look |= {"marker": "", "linestyle": "-"}
        found[group.label] = Line2D([], [], markersize=5, linewidth=1.5, label=group.label, **look)
    return list(found.values())


def shape_keys(chart: Chart) -> list[Any]:
    """A legend in two blocks: what the colours say, and what the marks and lines say."""
    from matplotlib.lines import Line2D

    assert chart.shape is not None
    (inked, inks), (marked, marks) = chart.shape

    def entry(label: str, **look: Any) -> Any:
        return Line2D([], [], label=label, **look)

    handles = [entry(labels.name(inked), linestyle="none")]
    for k, item in enumerate(inks):
        handles.append(entry(labels.value(item), color=colour(k, len(inks)), linewidth=3))
    handles.append(entry(labels.name(marked), linestyle="none"))
    for k, item in enumerate(marks):
        look = {"marker": MARKERS[k], "markersize": 4.5, "linestyle": line_style(k)}
        handles.append(entry(labels.value(item), color=REFERENCE, linewidth=1.2, **look))
    return handles
