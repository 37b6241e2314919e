"""Fewer marks, cells and points of lines than a chart has, where a screen shows no more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures.chart import Cells, Chart, Marks

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array
    from lawsweep.analysis.report.behind import Behind

MAX_GROUPS = 200
MAX_ACROSS = 64  # cells of a map along x, and along y


def some_groups(shown: Chart, notes: list[str]) -> Chart:
    """At most MAX_GROUPS of the groups, evenly chosen, with their layers."""
    n = len(shown.groups)
    if n <= MAX_GROUPS:
        return shown
    at = np.unique(np.linspace(0, n - 1, MAX_GROUPS).round().astype(int)).tolist()
    notes.append(f"{len(at)} of {n:,} groups drawn, evenly chosen")
    new = {old: k for k, old in enumerate(at)}
    layers = [
        layer if layer.group is None else replace(layer, group=new[layer.group])
        for layer in shown.layers
        if layer.group is None or layer.group in new
    ]
    return replace(shown, groups=[shown.groups[k] for k in at], layers=layers)


def thinner(layer: Marks, share: int, behind: Behind, *, log: bool) -> tuple[Marks, str]:
    """At most ``share`` marks, and how they came about; ``log``: x is logarithmic."""
    n = len(layer.x)
    if n <= share:
        return layer, ""
    if layer.means and layer.of is not None and layer.rows is not None:
        return _ranges(layer, layer.of, share, log=log), "drawn as means of {drawn:,} ranges of x"
    order = behind.order(layer.rows) if layer.rows is not None else np.arange(n)
    ends = [v for z in (layer.x, layer.y) for v in (z.argmin(), z.argmax())]
    at = np.unique(np.concatenate([order[: max(share - 4, 1)], ends]))

    def some(values: Array | None) -> Any:
        return None if values is None else values[at]

    rows = some(layer.rows)
    made = replace(
        layer, x=layer.x[at], y=layer.y[at], low=some(layer.low), high=some(layer.high),
        rows=rows, of=None if rows is None else np.arange(len(at)),
    )  # fmt: skip
    return made, "{drawn:,} of them drawn, which ones their ids say"


def _ranges(layer: Marks, of: Array, share: int, *, log: bool) -> Marks:
    """Means of neighbours, weighed by their rows; how they scatter is not told."""
    n = np.bincount(of, minlength=len(layer.x))
    into = np.unique(np.arange(len(n)) * share // len(n), return_inverse=True)[1].reshape(-1)
    total = np.bincount(into, weights=n)

    def mean(values: Array, *, geometric: bool) -> Array:
        taken = np.log(values) if geometric else values
        found = np.bincount(into, weights=n * taken) / total
        return np.asarray(np.exp(found) if geometric else found)

    return replace(
        layer,
        x=mean(layer.x, geometric=log),
        y=mean(layer.y, geometric=layer.geometric),
        low=None,
        high=None,
        of=into[of],
    )


def some_points(x: Array, n: int, log: bool) -> Array:
    """Indices of about ``n`` points along x, evenly placed on its axis, the ends among them."""
    if len(x) <= n:
        return np.arange(len(x))
    along = np.log(x) if log and x.min() > 0 else x
    if np.any(np.diff(along) < 0):  # no function of x
        return np.unique(np.linspace(0, len(x) - 1, n).round().astype(int))
    at = np.searchsorted(along, np.linspace(along[0], along[-1], n))
    return np.unique(np.clip(np.append(at, [0, len(x) - 1]), 0, len(x) - 1))


def coarser(cells: Cells) -> tuple[Cells, str]:
    """At most MAX_ACROSS cells either way: means of neighbours, and a sentence that says so."""
    ny, nx = cells.values.shape
    if max(nx, ny) <= MAX_ACROSS:
        return cells, ""
    into_x, into_y = (np.arange(k) * min(k, MAX_ACROSS) // k for k in (nx, ny))
    mx, my = into_x[-1] + 1, into_y[-1] + 1
    cell = (into_y[:, None] * mx + into_x[None, :]).ravel()
    values = np.log(cells.values) if cells.log else cells.values
    known = np.isfinite(values.ravel())
    n = np.bincount(cell[known], minlength=mx * my)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(cell[known], weights=values.ravel()[known], minlength=mx * my) / n
    grid = (np.exp(mean) if cells.log else mean).reshape(my, mx)
    edges = (
        np.append(e[:-1][np.searchsorted(into, np.arange(into[-1] + 1))], e[-1])
        for e, into in ((cells.x, into_x), (cells.y, into_y))
    )
    x, y = edges
    made = replace(
        cells, x=x, y=y, values=grid, texts=None, of=None if cells.of is None else cell[cells.of]
    )
    return made, f"{nx:,} × {ny:,} cells: drawn as means of {mx} × {my}"
