"""What a figure shows, as data: axes, groups, layers, and what must be said of them.

A kind of figure makes a chart once; files are painted from it (``painter``), and the page draws
its own from the same numbers (``report.charts``).  Texts are as matplotlib sets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawsweep.analysis.frames import Array


@dataclass(frozen=True, kw_only=True)
class Axis:
    """``ends``: its limits where the layers do not choose them; ``down``: it grows downwards.

    ``ticks`` are where they stand on an axis of whole numbers.
    """

    label: str
    log: bool = False
    ends: tuple[float, float] | None = None
    down: bool = False
    ticks: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """What is told apart by a look (color, marker, linestyle); without a ``label`` no key of it.

    ``values`` are its columns with their values, ``panel`` the one of the chart's that it is in.
    """

    label: str
    look: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)
    panel: int = 0


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Something drawn: of a group (its index) in the group's look, or of none.

    ``label``: what the legend calls it beside the groups.
    """

    group: int | None = None
    panel: int = 0
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Marks(Layer):
    """A mark at each x, y (n,), with bars or a strip from ``low`` to ``high`` where both are known.

    ``rows`` (m,) are the rows of the frame behind them and ``of`` (m,) the mark of each row; None:
    they have none.  ``joined``: a line joins them.  ``marker``: in place of the group's, open.
    ``geometric``: they are geometric means.  ``over``: they lie on a map, white with a black edge.
    """

    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    strip: bool = False
    rows: Array | None = None
    of: Array | None = None
    joined: bool = False
    marker: str | None = None
    alpha: float = 1.0
    edge: bool = True
    geometric: bool = False
    means: bool = False
    over: bool = False


@dataclass(frozen=True, kw_only=True)
class Line(Layer):
    """A line through x, y (n,), broken where y is not finite.

    ``role``: law (the group's own), frontier, reference (in grey, dashed by ``style``, or in the
    group's colour), run (one of many), zero.  ``row`` is the frame's row that it is of.
    """

    x: Array
    y: Array
    role: str = "law"
    style: int = 0  # of a reference line, the how manieth
    alpha: float = 1.0
    row: int | None = None
    over: bool = False  # on a map: black with a white edge


@dataclass(frozen=True, kw_only=True)
class Band(Layer):
    """What lies between ``low`` and ``high`` (n,) along x."""

    x: Array
    low: Array
    high: Array
    alpha: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Cells(Layer):
    """A map: ``values`` (ny, nx), NaN where there is none, between ``x`` (nx + 1,) and ``y``.

    ``title`` is what is coloured, ``ends`` the colours' where the values do not choose them;
    ``missing`` says why a cell may have no value.  ``texts`` (ny, nx) are written into the cells.
    ``rows``, ``of`` as of Marks, of the cells in reading order.
    """

    x: Array
    y: Array
    values: Array
    title: str
    log: bool = False
    ends: tuple[float, float] | None = None
    missing: str = ""
    texts: Sequence[Sequence[str]] | None = None
    rows: Array | None = None
    of: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure as data.

    ``by``: what the groups are told apart by, for the legend.  ``shape``: two columns read as two,
    that of colours and that of marks, each with its values.  ``panels``: a title each, one where
    there is one alone.  ``notes`` are sentences for the footer; ``band`` says what bars and strips
    of marks are.
    """

    x: Axis
    y: Axis
    layers: Sequence[Layer]
    groups: Sequence[Group] = ()
    by: str = ""
    shape: tuple[tuple[str, list[Any]], tuple[str, list[Any]]] | None = None
    panels: Sequence[str] = ("",)
    notes: Sequence[str] = ()
    band: str = ""
    square: bool = False  # x and y on one scale
    beside: int | None = None  # entries of a legend from which it stands beside the axes

    def kinds(self, kind: type[Layer]) -> list[Any]:
        """The layers of one kind."""
        return [layer for layer in self.layers if isinstance(layer, kind)]


def finite_range(parts: Sequence[Array]) -> tuple[float, float] | None:
    """Least and largest finite value of all parts; None where there is none."""
    values = np.concatenate([np.ravel(p) for p in parts]) if parts else np.zeros(0)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else None
