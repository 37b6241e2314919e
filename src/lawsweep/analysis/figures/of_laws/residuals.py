"""Figures of a law itself: what it leaves of its points, and its slopes between neighbours."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import ChartKind, Known
from lawsweep.analysis.figures.chart import Band, Chart, Layer, Line, Marks
from lawsweep.analysis.figures.law_layers import Laws
from lawsweep.analysis.figures.look import axes_of, by_label, group_label, group_rows, log_x
from lawsweep.analysis.laws.laws import find_law
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Columns
    from lawsweep.analysis.laws.results import FitResult

BAR_SE = 2.0  # standard errors of a point's mean that its bar reaches


class OfLaw(ChartKind):
    """A law is fitted to each group, a power law unless ``fit`` says otherwise."""

    keys = ("x", "y", "by", "panel", "fit", "logx", "logy")
    needs = ("x", "y")
    otherwise: ClassVar = {"fit": "power"}

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """Each group that has a fit; why the others have none is a note."""
        asked = self.asked(spec)
        grouping = group_rows(columns, spec, columns.where(spec.where, f"{spec.name}.where"))
        laws = Laws(columns, asked)
        notes: list[str] = []
        layers: list[Layer] = []
        groups = []
        for k, (values, _) in enumerate(grouping.groups):
            found = laws.of(values)
            assert found is not None
            place = f"{found.label()}: " if found.group else ""
            made = found.why_not or self.layers(found, log_x(spec), k, grouping.panel_of[k])
            drawn = not isinstance(made, str)
            groups.append(
                grouping.group(k, group_label(values, found, spec.panel) if drawn else "")
            )
            if isinstance(made, str):
                notes.append(f"{place}not drawn: {made}")
                continue
            layers += made
            notes += [f"{place}{text}" for text in found.warnings]
        if not layers:
            raise InvalidValueError(
                f"Figure {spec.name} needs a fit of {spec.y} against {spec.x}, got none: "
                f"{'; '.join(notes) or 'no row'}. Run more of the sweep or change its where."
            )
        x, y = axes_of(replace(spec, ylabel=spec.ylabel or self.label(spec)))
        return Chart(
            x=x,
            y=replace(y, log=bool(spec.logy)),
            layers=layers,
            groups=groups,
            by=by_label(spec),
            panels=grouping.panels,
            notes=[*dict.fromkeys(notes), self.said(asked)],
            beside=1,  # points scatter all over the axes
        )

    def asked(self, spec: FigureSpec) -> FigureSpec:
        """The figure with the fit that it needs."""
        return spec

    @abstractmethod
    def layers(self, found: FitResult, logx: bool, k: int, panel: int) -> list[Layer] | str:
        """What one fit says, as group ``k``; why it cannot be drawn, where it cannot."""

    @abstractmethod
    def label(self, spec: FigureSpec) -> str:
        """What stands at the y axis."""

    @abstractmethod
    def said(self, spec: FigureSpec) -> str:
        """What marks and bars are, for the footer."""


class Residuals(OfLaw):
    """Points minus the law, in the law's own units, with two standard errors of their means."""

    def layers(self, found: FitResult, logx: bool, k: int, panel: int) -> list[Layer] | str:
        """A mark a point; a bar where it has replicates; a line at 0."""
        points, x_name = found.points, found.spec.x
        if points is None or x_name is None:
            return "its law keeps no points"
        points = points.at(np.sum(points.bounds, axis=0) == 0)  # a bound has no residual
        if not len(points):
            return "every point has bounds"
        x = points.inputs[x_name]
        law = found.predict({**points.inputs})
        if found.law.of_logs(found.spec):
            law = np.log(law)
        y = points.y - law
        half = BAR_SE * points.sd / np.sqrt(points.n)
        ends = np.array([x.min(), x.max()])
        return [
            Line(panel=panel, x=ends, y=np.zeros(2), role="zero"),
            Marks(group=k, panel=panel, x=x, y=y, low=y - half, high=y + half),
        ]

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
        named = next((f.law for f in known.fits if f.name == name), name)
        if isinstance(named, str) and "local" not in find_law(named).takes:
            raise entry.wrong("fit", "a law with slopes (power, exponential, linear)", name)

    def asked(self, spec: FigureSpec) -> FigureSpec:
        """With slopes between neighbours."""
        assert spec.fit is not None
        return replace(spec, fit=replace(spec.fit, local=True))

    def layers(self, found: FitResult, logx: bool, k: int, panel: int) -> list[Layer] | str:
        """A mark between each two points, a line and a strip for the fitted slope."""
        if not found.local:
            return "one point has no slope"
        ends = np.array([(s.x_low, s.x_high) for s in found.local])
        middle = np.sqrt(ends[:, 0] * ends[:, 1]) if logx else ends.mean(axis=1)
        half = np.array([np.nan if s.high is None else s.high - s.estimate for s in found.local])
        y = np.array([s.estimate for s in found.local])
        slope = found.parameters[-1]
        x = np.array([ends.min(), ends.max()])
        layers: list[Layer] = [
            Marks(group=k, panel=panel, x=middle, y=y, low=y - half, high=y + half),
            Line(group=k, panel=panel, x=x, y=np.full(2, slope.estimate)),
        ]
        if np.isfinite(slope.high - slope.low):
            low, high = np.full(2, slope.low), np.full(2, slope.high)
            layers.append(Band(group=k, panel=panel, x=x, low=low, high=high, alpha=0.15))
        return layers

    def label(self, spec: FigureSpec) -> str:
        """``slope of lambda_min``."""
        return f"slope of {labels.pretty(spec.y)}"

    def said(self, spec: FigureSpec) -> str:
        """What marks, bars and strips are."""
        assert spec.fit is not None
        level = f"{100 * spec.fit.level:g} %"
        return f"marks: between neighbours, with {level} intervals; line and strip: the law"
