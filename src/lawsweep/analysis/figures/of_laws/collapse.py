"""A collapse: the curves as they are, and in the same figure laid on one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import FigureKind, Known
from lawsweep.analysis.figures.legends import whole_figure
from lawsweep.analysis.figures.look import shade
from lawsweep.analysis.figures.palette import MARKERS, REFERENCE
from lawsweep.analysis.laws.laws import find_law, read_fit
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns
    from lawsweep.analysis.laws.collapse.place import Drawn
    from lawsweep.analysis.laws.results import FitResult

LAW_KEYS = ("scale", "curves", "exponents", "critical", "logx", "logy", "level")
WIDTH = 9.4  # inches of the two panels


class CollapseFigure(FigureKind):
    """Curves of several sizes on the left, y L^b against x L^a on the right, colour by size.

    Where the law has logarithms of x or y the axes have them too.
    """

    keys: ClassVar = ("x", "y", "logx", "logy")
    needs: ClassVar = ("x", "y")
    own: ClassVar = ("scale", "curves", "exponents", "critical", "level")

    def read_own(self, entry: Entry, known: Known) -> Mapping[str, Any]:
        """The law that it draws, read as an entry of ``fits`` is."""
        given = {
            k: v for k, v in entry.values.items() if k in (*LAW_KEYS, "x", "y", "where")
        } | {"law": "collapse", "name": "collapse"}  # fmt: skip
        return {"law": read_fit(Entry(entry.place, given, entry.kinds), known.columns)}

    def expressions(self, spec: FigureSpec) -> Iterator[tuple[str, str]]:
        """Those of its law."""
        law = spec.own["law"]
        yield from find_law(law.law).expressions(law)

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Both panels; the exponents stand above the second, its quality in the footer."""
        from lawsweep.analysis.laws.collapse.law import quality_said
        from lawsweep.analysis.laws.collapse.place import collapsed, measured
        from lawsweep.analysis.laws.fits import fit_columns

        law = spec.own["law"]
        (found,) = fit_columns(columns, law) or (None,)
        if found is None or found.points is None or not len(found.points):
            raise InvalidValueError(
                f"Figure {spec.name} needs curves of {spec.y} against {spec.x}, got no row. "
                "Run more of the sweep or change its where."
            )
        raw = measured(found)
        logx, logy = bool(law.own["logx"]), bool(law.own["logy"])
        seen = (raw.x > 0 if logx else np.isfinite(raw.x)) & (raw.y > 0 if logy else True)
        if not seen.any():
            raise InvalidValueError(
                f"Figure {spec.name} has no point on its logarithmic axes: {spec.x} and {spec.y} "
                "must be > 0 there. Draw what is, such as abs(...), or give logx or logy: false."
            )
        _scales(axes, logx=logx, logy=logy)
        _curves(axes, raw, found, joined=True)
        axes.set_xlabel(spec.xlabel or labels.pretty(spec.x))
        axes.set_ylabel(spec.ylabel or labels.pretty(spec.y))
        if found.reason is not None:
            _legend(axes, found)
            return [f"not laid on one: {found.reason}"]
        figure = whole_figure(axes)
        figure.set_figwidth(WIDTH)
        panels = figure.add_gridspec(1, 2)
        axes.set_subplotspec(panels[0])
        beside = figure.add_subplot(panels[1])
        _scales(beside, logx=logx, logy=logy)
        scaled = collapsed(found)
        beside.plot(scaled.curve_x, scaled.curve_y, color=REFERENCE, linewidth=1.0, zorder=1)
        _curves(beside, scaled, found, joined=False)
        x, y = _scaled_names(found, spec)
        beside.set_xlabel(x)
        beside.set_ylabel(y)
        _legend(beside, found)
        texts = [f"{p.name} = {_value(p)}" for p in found.parameters]
        if (s := found.evidence["quality"]) is not None:
            texts.append(f"S = {s:.3g}")
        beside.set_title(", ".join(texts), loc="left", fontsize=9)
        notes = [quality_said(found), *found.warnings]
        return [*notes, "bars: standard errors of the means; line: the common curve"]


def _scales(axes: Axes, *, logx: bool, logy: bool) -> None:
    axes.set_xscale("log" if logx else "linear")
    axes.set_yscale("log" if logy else "linear")
    axes.grid(True, which="major", color="0.9", linewidth=0.6)


def _curves(axes: Axes, points: Drawn, found: FitResult, *, joined: bool) -> None:
    """A mark a point with its standard error: colour by size, mark by what else tells curves."""
    inks, marks = _looks(found)
    for size, ink in inks.items():
        for label, mark in marks.items():
            at = np.flatnonzero((points.size == size) & (points.label == label))
            at = at[np.argsort(points.x[at], kind="stable")]
            look: Any = {"color": ink, "marker": mark, "markersize": 4.5, "markeredgewidth": 0.4}
            line: Any = {"linestyle": "-" if joined else "none", "linewidth": 0.9}
            axes.plot(points.x[at], points.y[at], **look, **line, markeredgecolor="white")
            known = at[np.isfinite(points.low[at]) & np.isfinite(points.high[at])]
            if len(known):
                ends = np.stack([points.y[known] - points.low[known],
                                 points.high[known] - points.y[known]])  # fmt: skip
                bars: Any = {"fmt": "none", "ecolor": ink, "elinewidth": 0.9}
                axes.errorbar(points.x[known], points.y[known], yerr=np.maximum(ends, 0), **bars)


def _looks(found: FitResult) -> tuple[dict[float, Any], dict[Any, str]]:
    """Colour of each size, from dark to light, and mark of each value of ``curves``."""
    sizes, others = _told(found)
    inks = {size: shade(k / max(len(sizes) - 1, 1)) for k, size in enumerate(sizes)}
    return inks, {label: MARKERS[k % len(MARKERS)] for k, label in enumerate(others)}


def _told(found: FitResult) -> tuple[list[float], list[Any]]:
    assert found.points is not None
    own = found.spec.own

    def values(text: str) -> Array:
        assert found.points is not None
        return np.unique(found.points.inputs[text])

    others = values(own["curves"]).tolist() if "curves" in own else [0]
    return values(own["scale"]).tolist(), others


def _legend(axes: Axes, found: FitResult) -> None:
    from matplotlib.lines import Line2D

    inks, marks = _looks(found)
    own = found.spec.own
    handles = [
        Line2D([], [], color=ink, marker="o", linestyle="none", label=labels.value(size))
        for size, ink in inks.items()
    ]
    if "curves" in own:
        handles.append(Line2D([], [], linestyle="none", label=labels.name(own["curves"])))
        handles += [
            Line2D([], [], color=REFERENCE, marker=mark, linestyle="none", label=labels.value(k))
            for k, mark in marks.items()
        ]
    look: Any = {"loc": "best", "framealpha": 0.85, "edgecolor": "0.85", "alignment": "left"}
    axes.legend(handles=handles, title=labels.name(own["scale"]), **look)


def _scaled_names(found: FitResult, spec: FigureSpec) -> tuple[str, str]:
    """What stands at the scaled axes: the expressions, each with its power of the size."""
    size = labels.pretty(found.spec.own["scale"])
    at = {p.name: p.estimate for p in found.parameters}
    x, y = spec.xlabel or labels.pretty(spec.x), spec.ylabel or labels.pretty(spec.y)
    if "x_c" in at:
        x = f"({x} − {at['x_c']:.4g})"
    powers = [f"{size}$^{{{at[n]:.3g}}}$" if at[n] else "" for n in ("a", "b")]
    scaled = [
        f"{name} × {power}" if power else name for name, power in zip((x, y), powers, strict=True)
    ]
    return scaled[0], scaled[1]


def _value(parameter: Any) -> str:
    given = parameter.low == parameter.high
    return f"{parameter.estimate:g} (given)" if given else parameter.interval()
