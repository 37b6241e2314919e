"""A law of two inputs: its curves at equal compute, or at equal second input, and the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.base import ChartKind, Known
from lawsweep.analysis.figures.chart import Axis, Chart, Group, Layer, Line, Marks
from lawsweep.analysis.figures.law_layers import Laws, band_layer
from lawsweep.analysis.figures.look import group_label, group_rows, shade, spaced
from lawsweep.analysis.figures.palette import MARKERS
from lawsweep.analysis.frames import Array, distinct
from lawsweep.analysis.laws.laws import find_law
from lawsweep.core.errors import InvalidValueError

if TYPE_CHECKING:
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.figures.specs import FigureSpec
    from lawsweep.analysis.frames import Columns
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.points import Points
    from lawsweep.analysis.laws.results import FitResult

MOST_LEVELS = 12  # curves; more values of what they are of are met by the nearest
CURVE_POINTS = 120


class JointCurves(ChartKind):
    """y against the first input N of a law of two, N and D.

    With ``compute: k*N*D`` in the fit a curve has one compute, and the line through their least
    points is where compute is best spent (Hoffmann et al. 2022, arXiv 2203.15556, section 3.3);
    without it a curve has one D.
    """

    keys = ("fit", "logx", "logy")
    needs = ("fit",)
    subject = "fit"

    def check(self, entry: Entry, known: Known) -> None:
        """The law is one of the sweep's fits: it has more keys than a figure."""
        name = entry.values.get("fit")
        if name not in [spec.name for spec in known.fits]:
            said = "the name of one of the sweep's fits of law joint"
            raise entry.wrong("fit", said, name)

    def check_fit(self, entry: Entry, spec: FitSpec) -> None:
        """It is a function of two inputs."""
        if not find_law(spec.law).of_two:
            raise InvalidValueError(
                f"{entry.place}.fit must name a law of two inputs, such as joint, got "
                f"{spec.name}, a law {spec.law}. Draw that one with kind: curve."
            )

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """The curves of each group of the fit, a panel a group."""
        assert spec.fit is not None
        fit = spec.fit
        found = _found(columns, spec)
        x_name, other = dict.fromkeys(text for _, text in find_law(fit.law).inputs(fit))
        k = fit.own.get("per_compute")
        layers: list[Layer] = []
        groups: list[Group] = []
        notes: list[str] = []
        drawn = [f for f in found if f.reason is None and f.points is not None]
        for panel, one in enumerate(drawn):
            assert one.points is not None
            level = _levels(one.points, x_name, other, k)
            made = _Panel(one, one.points, (x_name, other), k, level, panel, len(groups))
            groups += made.groups
            layers += made.layers(*_behind(columns, one))
            notes += made.notes
        for one in found:
            place = f"{one.label()}: " if one.group else ""
            notes += [f"{place}no fit: {one.why_not}"] if one.reason else []
            notes += [f"{place}{text}" for text in one.warnings]
        if not drawn:
            raise InvalidValueError(
                f"Figure {spec.name} needs the fit {fit.name}, got none: "
                f"{'; '.join(notes) or 'no row'}. Run more of the sweep or change the fit's where."
            )
        law = find_law(fit.law)
        what = "C" if k is not None else labels.pretty(other)
        return Chart(
            x=Axis(
                label=spec.xlabel or labels.pretty(x_name),
                log=law.log_x if spec.logx is None else spec.logx,
            ),
            y=Axis(
                label=spec.ylabel or labels.pretty(fit.y),
                log=law.of_logs(fit) if spec.logy is None else spec.logy,
            ),
            layers=layers,
            groups=groups,
            by=what,
            panels=[group_label(f.group, None) for f in drawn] if len(drawn) > 1 else ("",),
            notes=list(dict.fromkeys(notes)),
            beside=3,
        )


def _found(columns: Columns, spec: FigureSpec) -> Sequence[FitResult]:
    """The fit of each group, in their order."""
    assert spec.fit is not None
    rows = columns.where(spec.fit.where, f"{spec.name}.fit.where")
    laws = Laws(columns, spec)
    by = replace(spec, by=spec.fit.by, panel=None)
    found = (laws.of(values) for values, _ in group_rows(columns, by, rows).groups)
    return [f for f in found if f is not None]


def _behind(columns: Columns, law: FitResult) -> tuple[Array, Array]:
    """The rows that a fit used, and the point of each."""
    spec, points = law.spec, law.points
    assert points is not None
    rows = columns.where(spec.where, f"{spec.name}.where")
    rows = next(r for values, r in columns.groups(spec.by, rows) if values == law.group)
    rows = rows[(columns.statuses(rows) == "ok") & ~columns.not_converged(rows)]
    y = columns.numbers(spec.y, rows, f"{spec.name}.y")
    label = np.zeros(len(rows), dtype=np.int64)
    own = np.zeros(len(points), dtype=np.int64)
    known = np.isfinite(y)
    for text, values in points.inputs.items():
        here = columns.numbers(text, rows, f"{spec.name}.{text}")
        known &= np.isfinite(here)
        both = distinct(np.where(np.isfinite(v := np.concatenate([values, here])), v, 0.0))[1]
        label = label * (both.max() + 1) + both[len(values) :]
        own = own * (both.max() + 1) + both[: len(values)]
    order = np.argsort(own)
    at = np.minimum(np.searchsorted(own[order], label), len(own) - 1)
    known &= own[order][at] == label
    return rows[known], order[at[known]]


def _levels(points: Points, x: str, other: str, k: float | None) -> Array:
    """What each point's curve is of: its compute, or its second input."""
    d = points.inputs[other]
    return d if k is None else k * points.inputs[x] * d


class _Panel:
    """The curves of one law."""

    def __init__(
        self,
        law: FitResult,
        points: Points,
        inputs: tuple[str, str],
        k: float | None,
        of_points: Array,
        panel: int,
        first: int,
    ):
        self._law, self._points, self._inputs, self._k = law, points, inputs, k
        self._panel, self._first = panel, first
        found = distinct(of_points)[0]
        self.notes: list[str] = []
        if len(found) > MOST_LEVELS:
            if k is None:
                at = np.linspace(0, len(found) - 1, MOST_LEVELS).round().astype(int)
                self.levels = found[at]
            else:
                self.levels = spaced(float(found[0]), float(found[-1]), MOST_LEVELS, log=True)
            self.notes.append(
                f"{len(found)} values of {self.what}, {MOST_LEVELS} curves: a point has the "
                "colour of the nearest"
            )
        else:
            self.levels = found
        gaps = abs(np.log(of_points)[:, None] - np.log(self.levels)[None, :])
        self._near = np.argmin(gaps, axis=1)
        n = max(1, len(self.levels) - 1)
        self.groups = [
            Group(
                label=labels.value(float(f"{level:.3g}")),
                look={"color": shade(j / n), "marker": MARKERS[j % len(MARKERS)]},
                values={self.what: level},
                panel=panel,
            )
            for j, level in enumerate(self.levels.tolist())
        ]

    @property
    def what(self) -> str:
        """What a curve has one value of."""
        return "compute C" if self._k is not None else self._inputs[1]

    def layers(self, rows: Array, of: Array) -> list[Layer]:
        """Curves and their points (of each row the one it is behind), then the frontier."""
        made: list[Layer] = []
        x = self._points.inputs[self._inputs[0]]
        log = self._law.law.of_logs(self._law.spec)
        y = np.exp(self._points.y) if log else self._points.y
        low, high = float(x.min()), float(x.max())
        at = spaced(low, high, CURVE_POINTS, log=True)
        for j, level in enumerate(self.levels.tolist()):
            group = self._first + j
            inputs = self._at(at, level)
            inside = self._inside(inputs[self._inputs[1]])
            if inside.sum() > 1:
                some = {name: values[inside] for name, values in inputs.items()}
                curve = self._law.predict(some)
                made.append(Line(group=group, panel=self._panel, x=at[inside], y=curve))
                band = band_layer(self._law.band(some), at[inside], group, self._panel, 0.15)
                made += [band] if band is not None else []
            near = self._near == j
            if near.any():
                mine, place = near[of], np.cumsum(near) - 1
                made.append(
                    Marks(
                        group=group,
                        panel=self._panel,
                        x=x[near],
                        y=y[near],
                        rows=rows[mine],
                        of=place[of[mine]],
                    )
                )
        return [*made, *self._frontier()]

    def _at(self, x: Array, level: float) -> dict[str, Array]:
        """The inputs along a curve."""
        other = np.full(len(x), level) if self._k is None else level / (self._k * x)
        return {self._inputs[0]: x, self._inputs[1]: other}

    def _inside(self, other: Array) -> Array:
        """Where a curve is within a factor of 2 of what was measured of the second input."""
        known = self._points.inputs[self._inputs[1]]
        return np.asarray((other >= known.min() / 2) & (other <= known.max() * 2))

    def _frontier(self) -> list[Layer]:
        """Where compute is best spent, with the interval of y there, over the computes drawn."""
        law, k = self._law, self._k
        if k is None or "N_exponent" not in {p.name for p in law.parameters}:
            return []
        a, b = (law[name].estimate for name in ("a", "b"))
        ratio = np.log(law["A"].estimate / law["B"].estimate * a / b)
        rest = np.log(spaced(self.levels[0], self.levels[-1], CURVE_POINTS, log=True) / k)
        n = np.exp((b * rest - ratio) / (a + b))
        inputs = {self._inputs[0]: n, self._inputs[1]: np.exp(rest) / n}
        best = Line(
            panel=self._panel, x=n, y=law.predict(inputs), role="frontier", label="best at its C"
        )
        self.notes.append(
            f"best at its C: where compute is best spent, {self._inputs[0]} ~ "
            f"C^{law['N_exponent'].interval()}"
        )
        band = band_layer(law.band(inputs), n, None, self._panel, 0.2)
        return [best] if band is None else [best, band]
