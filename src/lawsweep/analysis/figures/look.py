"""How groups look: colours, marks, lines; which axes are logarithmic; what a legend calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.figures import labels
from lawsweep.analysis.figures.chart import Axis, Group
from lawsweep.analysis.figures.palette import MARKERS, PALETTE, SEQUENCE
from lawsweep.analysis.figures.specs import FigureSpec
from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.laws import find_law

if TYPE_CHECKING:
    from lawsweep.analysis.laws.results import FitResult

LINE_STYLES: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)))

Grouped = Sequence[tuple[Mapping[str, Any], Array]]


def colour(k: int, n: int) -> Any:
    """The palette while it lasts; then a sequence from dark to light."""
    return PALETTE[k] if n <= len(PALETTE) else shade(k / (n - 1))


def shade(share: float) -> str:
    """The colour at a share (0 to 1) of the sequence, by straight lines between its stops."""
    at = share * (len(SEQUENCE) - 1)
    low = min(int(at), len(SEQUENCE) - 2)
    mix = [
        round(a + (b - a) * (at - low))
        for a, b in zip(SEQUENCE[low], SEQUENCE[low + 1], strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mix)


def group_look(k: int, n: int) -> dict[str, Any]:
    """Colour and marker of group k of n."""
    return {"color": colour(k, n), "marker": MARKERS[k % len(MARKERS)]}


def group_looks(groups: Grouped) -> list[dict[str, Any]]:
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
        ink = colour(inks.index(values[inked]), len(inks))
        looks.append({"color": ink, "marker": MARKERS[mark], "linestyle": line_style(mark)})
    return looks


def line_style(mark: int) -> Any:
    """Solid for the first value of a column that marks tell apart, dashes for the others."""
    return "-" if mark == 0 else LINE_STYLES[(mark - 1) % len(LINE_STYLES)]


def two_columns(
    groups: Grouped,
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


@dataclass(frozen=True)
class Grouping:
    """Rows by ``by`` and ``panel``: what each group is (its label is set by who fits it)."""

    groups: Grouped
    looks: Sequence[Mapping[str, Any]]
    panel_of: Sequence[int]
    panels: Sequence[str]
    shape: tuple[tuple[str, list[Any]], tuple[str, list[Any]]] | None

    def group(self, k: int, label: str) -> Group:
        """Group ``k`` under a label."""
        return Group(
            label=label, look=self.looks[k], values=self.groups[k][0], panel=self.panel_of[k]
        )


def group_rows(columns: Columns, spec: FigureSpec, rows: Array) -> Grouping:
    """``rows`` by the columns that a figure tells apart; one look for a group in all panels."""
    by = tuple(name for name in spec.by if name != spec.panel)
    whole = (*by, spec.panel) if spec.panel else by
    groups = columns.groups(whole, rows)
    if not spec.panel:
        return Grouping(groups, group_looks(groups), [0] * len(groups), ("",), two_columns(groups))
    inner = columns.groups(by, rows)
    at = {tuple(values.values()): k for k, (values, _) in enumerate(inner)}
    looks = group_looks(inner)
    values_of = list(dict.fromkeys(v[spec.panel] for v, _ in groups))
    order = [v for g, _ in columns.groups((spec.panel,), rows) for v in g.values()]
    values_of.sort(key=order.index)
    return Grouping(
        groups=groups,
        looks=[looks[at[tuple(v[name] for name in by)]] for v, _ in groups],
        panel_of=[values_of.index(v[spec.panel]) for v, _ in groups],
        panels=[f"{labels.name(spec.panel)} = {labels.value(v)}" for v in values_of],
        shape=two_columns(inner),
    )


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


def axes_of(spec: FigureSpec) -> tuple[Axis, Axis]:
    """The two axes with the labels that are asked for, else the expressions."""
    return (
        Axis(label=spec.xlabel or labels.pretty(spec.x), log=log_x(spec)),
        Axis(label=spec.ylabel or labels.pretty(spec.y), log=log_y(spec)),
    )


def by_label(spec: FigureSpec) -> str:
    """What stands above the groups of a legend."""
    return ", ".join(labels.name(name) for name in spec.by if name != spec.panel)


def group_label(
    values: Mapping[str, Any], found: FitResult | None, panel: str | None = None
) -> str:
    """A group's values, but its panel's, and its law where one was fitted; empty: neither."""
    name = ", ".join(labels.value(v) for key, v in values.items() if key != panel)
    if found is None or found.reason is not None:
        return name
    law = found.law.short(found)
    return f"{name}: {law}" if name else law


def spaced(low: float, high: float, n: int, *, log: bool) -> Array:
    """``n`` values from ``low`` to ``high``, both included, evenly in the logarithm if ``log``."""
    at = (np.geomspace if log else np.linspace)(low, high, n)
    at[[0, -1]] = low, high
    return np.asarray(at)
