"""Paints a chart on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures.chart import Band, Cells, Chart, Line, Marks
from lawsweep.analysis.figures.legends import draw_legend, whole_figure
from lawsweep.analysis.figures.look import LINE_STYLES
from lawsweep.analysis.figures.palette import REFERENCE
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_WIDTH, PANEL_HEIGHT, PANELS_ACROSS = 3.4, 3.1, 3  # inches of a panel
MISSING: Any = {"facecolor": "0.93", "edgecolor": "0.72", "hatch": "////", "linewidth": 0.0}
WIDTHS = {"law": 1.2, "reference": 1.2, "frontier": 1.8, "run": 1.0, "zero": 0.8}
ORDERS = {"law": 1.9, "reference": 1.8, "frontier": 2.3, "run": 2.0, "zero": 1.0}


def paint_chart(axes: Axes, chart: Chart) -> list[str]:
    """Draw ``chart`` in the place of ``axes``, which several panels share; notes for the footer."""
    boxes = _boxes(axes, chart)
    handles: list[Any] = []
    for k, box in enumerate(boxes):
        _scales(box, chart)
        _labels(box, chart, k, len(boxes))
    marked: dict[int, Any] = {}
    for layer in chart.layers:
        look = {} if layer.group is None else dict(chart.groups[layer.group].look)
        made = None
        match layer:
            case Marks():
                made = _marks(boxes[layer.panel], layer, look)
                if layer.group is not None and layer.marker is None:
                    marked.setdefault(layer.group, made)
            case Line():
                made = _line(boxes[layer.panel], layer, look)
            case Band():
                _band(boxes[layer.panel], layer, look)
            case Cells():
                made = _cells(boxes[layer.panel], chart, layer)
        if layer.label and made is not None:
            handles.append(made)
    notes = list(chart.notes)
    for box in boxes:
        _ends(box, chart)
    draw_legend(boxes, chart, marked, handles, notes)
    return notes


def _boxes(axes: Axes, chart: Chart) -> list[Axes]:
    """Axes for each panel, in the place of ``axes``, all of one scale."""
    n = len(chart.panels)
    if n == 1:
        axes.margins(x=0.03)
        return [axes]
    figure, place = whole_figure(axes), axes.get_subplotspec()
    across = min(n, PANELS_ACROSS)
    down = -(-n // across)
    figure.set_size_inches(0.9 + PANEL_WIDTH * across, 0.9 + PANEL_HEIGHT * down)
    axes.remove()
    grid = (place or figure.add_gridspec()[0]).subgridspec(down, across)
    boxes: list[Axes] = []
    for k in range(n):
        share: Any = {} if not boxes else {"sharex": boxes[0], "sharey": boxes[0]}
        boxes.append(figure.add_subplot(grid[k // across, k % across], **share))
        boxes[-1].margins(x=0.03)
    return boxes


def _scales(box: Axes, chart: Chart) -> None:
    box.set_xscale("log" if chart.x.log else "linear")
    box.set_yscale("log" if chart.y.log else "linear")
    if chart.kinds(Cells):
        for side in ("top", "right"):
            box.spines[side].set_visible(True)
    else:
        box.grid(True, which="major", color="0.9", linewidth=0.6)


def _labels(box: Axes, chart: Chart, k: int, n: int) -> None:
    across = min(n, PANELS_ACROSS)
    if n > 1:
        box.set_title(chart.panels[k], loc="left", fontsize=9.5)
    if k + across >= n:  # none below it
        box.set_xlabel(chart.x.label)
    if k % across == 0:
        box.set_ylabel(chart.y.label)


def _ends(box: Axes, chart: Chart) -> None:
    if chart.square:
        box.set_aspect("equal")
    if chart.x.ends is not None:
        box.set_xlim(chart.x.ends)
    if chart.y.ends is not None:
        box.set_ylim(chart.y.ends)
    if chart.y.down and not box.yaxis_inverted():
        box.invert_yaxis()
    if chart.x.ticks is not None:
        box.set_xticks(chart.x.ticks)
    if chart.y.ticks is not None:
        box.set_yticks(chart.y.ticks)


def _marks(box: Axes, layer: Marks, look: dict[str, Any]) -> Any:
    if layer.over:
        return _over(box, layer)
    ink = look.get("color", REFERENCE)
    known = np.zeros(len(layer.x), dtype=bool)
    if layer.low is not None and layer.high is not None:
        known = np.isfinite(layer.low) & np.isfinite(layer.high)
        if layer.strip and known.any():
            edges = (layer.low[known], layer.high[known])
            box.fill_between(layer.x[known], *edges, color=ink, alpha=0.18, linewidth=0)
    marker = layer.marker or look.get("marker", "o")
    edge: Any = {"markeredgecolor": "white", "markeredgewidth": 0.5} if layer.edge else {}
    if not layer.edge:
        edge = {"markeredgewidth": 0}
    if layer.marker is not None:
        edge = {"fillstyle": "none", "markeredgewidth": 1.2}
    (line,) = box.plot(
        layer.x,
        layer.y,
        color=ink,
        marker=marker,
        linestyle=look.get("linestyle", "-") if layer.joined else "none",
        linewidth=1.4,
        markersize=4.5,
        alpha=layer.alpha,
        label=layer.label or "_",
        **edge,
    )
    if not layer.strip and known.any():
        _bars(box, layer, known, {"ecolor": ink, "elinewidth": 1.0, "capsize": 2, "fmt": "none"})
    return line


def _bars(box: Axes, layer: Marks, known: np.ndarray[Any, Any], look: dict[str, Any]) -> Any:
    assert layer.low is not None
    assert layer.high is not None
    x, y = layer.x[known], layer.y[known]
    # The mark lies within its bar, but for rounding.
    below, above = np.maximum(0, y - layer.low[known]), np.maximum(0, layer.high[known] - y)
    return box.errorbar(x, y, yerr=[below, above], **look)


def _over(box: Axes, layer: Marks) -> Any:
    """Marks on a map, seen on dark and light alike."""
    look = {"fmt": "o", "color": "white", "markeredgecolor": "black", "ecolor": "white"}
    more = {"markersize": 5, "capsize": 2.5, "elinewidth": 1.4, "zorder": 3.1}
    known = np.ones(len(layer.x), dtype=bool)
    made = _bars(box, layer, known, {**look, **more, "label": layer.label})
    from matplotlib import patheffects

    halo = [patheffects.Stroke(linewidth=3.0, foreground="black"), patheffects.Normal()]
    for part in (*made[1], *made[2]):  # caps and bars
        part.set_path_effects(halo)
    return made


def _line(box: Axes, layer: Line, look: dict[str, Any]) -> Any:
    from matplotlib import patheffects
    from matplotlib.lines import Line2D

    style: Any = "-"
    if layer.role == "reference":
        style = LINE_STYLES[layer.style % len(LINE_STYLES)]
        if layer.over:
            style = "-" if layer.style == 0 else LINE_STYLES[(layer.style - 1) % len(LINE_STYLES)]
    more: Any = {}
    if layer.over:
        halo = [patheffects.Stroke(linewidth=3.2, foreground="white"), patheffects.Normal()]
        more = {"path_effects": halo, "color": "black", "zorder": 3, "linewidth": 1.5}
    (line,) = box.plot(
        layer.x,
        np.where(np.isfinite(layer.y), layer.y, np.nan),
        **{
            "color": look.get("color", "black" if layer.role == "frontier" else REFERENCE),
            "linestyle": style,
            "linewidth": WIDTHS[layer.role],
            "zorder": ORDERS[layer.role],
            "alpha": layer.alpha,
            "label": layer.label or "_",
            **more,
        },
    )
    if layer.role == "reference" and layer.group is not None:
        return Line2D([], [], color=REFERENCE, linestyle=style, linewidth=1.2, label=layer.label)
    return line


def _band(box: Axes, layer: Band, look: dict[str, Any]) -> None:
    """Shade what lies between; no scale follows it."""
    from matplotlib.collections import PolyCollection

    ends = (np.stack([layer.x, edge], 1) for edge in (layer.low, layer.high))
    low, high = ends
    made: dict[str, Any] = {"facecolor": look.get("color", REFERENCE), "edgecolor": "none"}
    made |= {"alpha": layer.alpha, "zorder": 1.7}
    box.add_collection(PolyCollection([np.concatenate([low, high[::-1]])], **made), autolim=False)


def _cells(box: Axes, chart: Chart, layer: Cells) -> Any:
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Patch, Rectangle

    handle = None
    if layer.missing and np.isnan(layer.values).any():
        box.add_patch(Rectangle((0, 0), 1, 1, transform=box.transAxes, zorder=0, **MISSING))
        handle = Patch(label=layer.missing, **MISSING)
    elif not layer.missing:
        box.set_facecolor("0.85")
    low, high = layer.ends or (None, None)
    colours: Any = {"norm": LogNorm(low, high)} if layer.log else {"vmin": low, "vmax": high}
    mesh = box.pcolormesh(
        layer.x,
        layer.y,
        np.ma.masked_invalid(layer.values),
        cmap="viridis",
        # Edges in the cell's own colour: PDF viewers show hairlines between cells without.
        edgecolors="face",
        linewidth=0.2,
        zorder=1,
        **colours,
    )
    if layer.texts is not None:
        _write(box, layer, layer.texts, mesh)
    figure = whole_figure(box)
    if layer.panel == len(chart.panels) - 1:
        try:
            bar = figure.colorbar(mesh, ax=figure.axes[: len(chart.panels)], pad=0.02, aspect=25)
        except ValueError:  # a range that is no range in floats: of values of 1e-300, say
            low, high = np.nanmin(layer.values), np.nanmax(layer.values)
            raise InvalidValueError(
                f"There are no colours for {layer.title} from {low:.3g} to {high:.3g}. Give it in "
                "other units, or as a logarithm."
            ) from None
        bar.set_label(layer.title)
        bar.outline.set_visible(False)
    return handle


def _write(box: Axes, layer: Cells, texts: Sequence[Sequence[str]], mesh: Any) -> None:
    """Each text into its cell, dark on light and light on dark."""
    size = 9 if len(layer.values) <= 6 else 5.5
    x, y = (((e[1:] + e[:-1]) / 2).tolist() for e in (layer.x, layer.y))
    for i, j in np.ndindex(layer.values.shape):
        red, green, blue, _ = mesh.to_rgba(layer.values[i, j])
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 and np.isfinite(layer.values[i, j])
        look: Any = {"ha": "center", "va": "center", "fontsize": size}
        box.text(x[j], y[i], texts[i][j], color="white" if dark else "black", **look)
