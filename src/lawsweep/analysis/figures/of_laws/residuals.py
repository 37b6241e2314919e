"""Figures of a law itself: what it leaves of its points, and its slopes between neighbours."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import FigureKind, Known
from lawsweep.analysis.figures.look import (
    REFERENCE,
    axis_labels,
    fitted_laws,
    group_label,
    group_looks,
    legend,
    log_x,
    scales,
)
from lawsweep.analysis.laws.laws import find_law
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Array, Columns
    from lawsweep.analysis.laws.results import FitResult

BAR_SE = 2.0  # standard errors of a point's mean that its bar reaches


class OfLaw(FigureKind):
    """A law is fitted to each group, a power law unless ``fit`` says otherwise."""

    keys = ("x", "y", "by", "fit", "logx", "logy")
    needs = ("x", "y")
    otherwise: ClassVar = {"fit": "power"}

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Draw each group that has a fit; why the others have none is a note."""
        from matplotlib.lines import Line2D

        asked = self.asked(spec)
        groups = columns.groups(spec.by, columns.where(spec.where, f"{spec.name}.where"))
        looks, fits = group_looks(groups), fitted_laws(columns, asked)
        scales(axes, logx=log_x(spec), logy=bool(spec.logy))
        notes: list[str] = []
        handles: list[Any] = []
        for look, (values, _) in zip(looks, groups, strict=True):
            found = fits[tuple(values.values())]
            place = f"{found.label()}: " if found.group else ""
            why = found.reason or self.draw(axes, found, {**look, "linestyle": "none"})
            if why is not None:
                notes.append(f"{place}not drawn: {why}")
                continue
            notes += [f"{place}{text}" for text in found.warnings]
            label = group_label(values, found)
            mark = {**look, "linestyle": "none", "markersize": 5}
            handles.append(Line2D([], [], label=label, **mark))
        if not handles:
            raise InvalidValueError(
                f"Figure {spec.name} needs a fit of {spec.y} against {spec.x}, got none: "
                f"{'; '.join(notes) or 'no row'}. Run more of the sweep or change its where."
            )
        legend(axes, spec, handles, inside=1)  # points scatter all over the axes
        axis_labels(axes, replace(spec, ylabel=spec.ylabel or self.label(spec)))
        return [*dict.fromkeys(notes), self.said(asked)]

    def asked(self, spec: FigureSpec) -> FigureSpec:
        """The figure with the fit that it needs."""
        return spec

    @abstractmethod
    def draw(self, axes: Axes, found: FitResult, look: Mapping[str, Any]) -> str | None:
        """Draw what one fit says; why it cannot be, where it cannot."""

    @abstractmethod
    def label(self, spec: FigureSpec) -> str:
        """What stands at the y axis."""

    @abstractmethod
    def said(self, spec: FigureSpec) -> str:
        """What marks and bars are, for the footer."""


class Residuals(OfLaw):
    """Points minus the law, in the law's own units, with two standard errors of their means."""

    def draw(self, axes: Axes, found: FitResult, look: Mapping[str, Any]) -> str | None:
        """A mark a point; a bar where it has replicates; a line at 0."""
        points, x_name = found.points, found.spec.x
        if points is None or x_name is None:
            return "its law keeps no points"
        x = points.inputs[x_name]
        law = found.predict({**points.inputs})
        if found.law.of_logs(found.spec):
            law = np.log(law)
        n = np.bincount(points.point_of, minlength=len(points))
        squares = np.bincount(
            points.point_of,
            weights=(points.replicates - points.y[points.point_of]) ** 2,
            minlength=len(points),
        )
        error = np.sqrt(squares / np.maximum(n - 1, 1) / n)
        half = np.where(n > 1, BAR_SE * error, np.nan)
        _marks(axes, x, points.y - law, half, look)
        axes.axhline(0.0, color=REFERENCE, linewidth=0.8, zorder=1)
        return None

    def label(self, spec: FigureSpec) -> str:
        """``ln lambda_min - law``."""
        logs = spec.fit is not None and find_law(spec.fit.law).of_logs(spec.fit)
        return f"{'ln ' if logs else ''}{labels.pretty(spec.y)} − law"

    def said(self, spec: FigureSpec) -> str:
        """What bars are."""
        return f"bars: {BAR_SE:g} standard errors of a point's mean over its rows"


class Slopes(OfLaw):
    """Slopes between neighbouring points beside the law's own, with its interval."""

    def check(self, entry: Entry, known: Known) -> None:
        """The law must be one that has slopes between neighbours."""
        fit = entry.values.get("fit")
        name = fit.get("law", "power") if isinstance(fit, Mapping) else fit
        if isinstance(name, str) and "local" not in find_law(name).takes:
            raise entry.wrong("fit", "a law with slopes (power, exponential, linear)", name)

    def asked(self, spec: FigureSpec) -> FigureSpec:
        """With slopes between neighbours."""
        assert spec.fit is not None
        return replace(spec, fit=replace(spec.fit, local=True))

    def draw(self, axes: Axes, found: FitResult, look: Mapping[str, Any]) -> str | None:
        """A mark between each two points, a line and a strip for the fitted slope."""
        if not found.local:
            return "one point has no slope"
        ends = np.array([(s.x_low, s.x_high) for s in found.local])
        log = axes.get_xscale() == "log"
        middle = np.sqrt(ends[:, 0] * ends[:, 1]) if log else ends.mean(axis=1)
        half = [np.nan if s.high is None else s.high - s.estimate for s in found.local]
        estimates = np.array([s.estimate for s in found.local])
        _marks(axes, middle, estimates, np.array(half), look)
        slope, ink = found.parameters[-1], look["color"]
        axes.plot([ends.min(), ends.max()], [slope.estimate] * 2, color=ink, linewidth=1.2)
        if np.isfinite(slope.high - slope.low):
            axes.fill_between(
                [ends.min(), ends.max()], slope.low, slope.high, color=ink, alpha=0.15, linewidth=0
            )
        return None

    def label(self, spec: FigureSpec) -> str:
        """``slope of lambda_min``."""
        return f"slope of {labels.pretty(spec.y)}"

    def said(self, spec: FigureSpec) -> str:
        """What marks, bars and strips are."""
        assert spec.fit is not None
        level = f"{100 * spec.fit.level:g} %"
        return f"marks: between neighbours, with {level} intervals; line and strip: the law"


def _marks(axes: Axes, x: Array, y: Array, half: Array, look: Mapping[str, Any]) -> None:
    """Marks, with bars where their half length is known."""
    axes.plot(x, y, **look, markersize=4.5, markeredgecolor="white", markeredgewidth=0.5)
    known = np.isfinite(half)
    if known.any():
        bars = {"fmt": "none", "ecolor": look["color"], "elinewidth": 1.0, "capsize": 2}
        axes.errorbar(x[known], y[known], yerr=half[known], **bars)
