"""What a sweep's ``figures`` ask for.  A kind of figure is one class here.

Checking an entry needs the names of the columns only, and neither pandas nor matplotlib: what
draws is imported when a figure is drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lawsweep.analysis.entries import Entry, distinct_names, entries
from lawsweep.analysis.figures.specs import GUIDE_VARIABLE, FigureSpec, LineSpec
from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lawsweep.analysis.figures.arrays_of import ArraySource
    from lawsweep.analysis.frames import Columns

BANDS = ("sd", "sem", "minmax", "none")


class Known(NamedTuple):
    """The names an entry may use.

    ``arrays``: of the experiment's arrays; None: not known here, so not checked.  ``cells``: of
    the columns of the thresholds that a search finds; none of an ordinary sweep.
    """

    columns: Sequence[str]
    arrays: Sequence[str] | None = None
    cells: Sequence[str] = ()


class FigureKind(ABC):
    """One kind of figure: the keys its entry takes, what it checks of them, how it is drawn.

    A new kind is a subclass, and its instance in ``KINDS``.
    """

    name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]  # beside COMMON
    needs: ClassVar[tuple[str, ...]]
    subject: ClassVar[str] = "y"  # the key that the figure's name speaks of
    otherwise: ClassVar[dict[str, str]] = {}  # what stands for a key that is left out
    of_cells: ClassVar[bool] = False  # drawn from a search's thresholds in place of rows
    guides: ClassVar[bool] = False  # whether its lines are functions of x, not of the columns

    def check(self, entry: Entry, known: Known) -> None:  # noqa: B027  (most have none)
        """Refuse what is wrong beyond keys and the names of columns."""

    @abstractmethod
    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Draw on ``axes`` and label them; notes for the footer."""

    def read(self, entry: Entry, known: Known) -> FigureSpec:
        """The figure that an entry of this kind asks for."""
        taken = (*self.keys, *COMMON)
        for key in entry.values:
            if key not in ("name", "kind", *taken):
                entry.refuse(key, f"kind {self.name}")
        entry.require(*self.needs)
        self.check(entry, known)
        left_out = {k: v for k, v in self.otherwise.items() if entry.values.get(k) is None}
        entry = replace(entry, values={**entry.values, **left_out})
        names = known.cells if self.of_cells else known.columns
        over = {"lines": (GUIDE_VARIABLE,)} if self.guides else {}
        values = {key: _value(entry, key, over.get(key, names)) for key in taken}
        return FigureSpec(
            name=entry.stem(self.name, values[self.subject]), kind=self.name, **values
        )


class Curve(FigureKind):
    """Means over the rows at each x, joined, with a band; one colour a group."""

    name = "curve"
    keys = ("x", "y", "by", "band", "lines", "fit", "logx", "logy")
    needs = ("x", "y")

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """See ``curves.paint``."""
        from lawsweep.analysis.figures import curves

        return curves.paint(axes, columns, spec, averaged=True)


class Scatter(FigureKind):
    """A mark a row; one colour a group."""

    name = "scatter"
    keys = ("x", "y", "by", "lines", "fit", "logx", "logy")
    needs = ("x", "y")

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """See ``curves.paint``."""
        from lawsweep.analysis.figures import curves

        return curves.paint(axes, columns, spec, averaged=False)


class Heatmap(FigureKind):
    """Means of z over a grid of x and y, and the edge of an event above them."""

    name = "heatmap"
    keys = ("x", "y", "z", "lines", "threshold", "logx", "logy", "logz", "zlabel")
    needs = ("x", "y", "z")
    subject = "z"
    guides = True

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """See ``heatmaps.paint``."""
        from lawsweep.analysis.figures import heatmaps

        return heatmaps.paint(axes, columns, spec)


class Threshold(FigureKind):
    """What a search found against x; ``y`` may make something else of ``n_star``."""

    name = "threshold"
    keys = ("x", "y", "by", "lines", "fit", "logx", "logy")
    needs = ("x",)
    otherwise: ClassVar = {"y": "n_star"}
    of_cells = True
    guides = True

    def check(self, entry: Entry, known: Known) -> None:
        """A search there must be, and y is about its threshold."""
        if not known.cells:
            raise InvalidValueError(
                f"{entry.place}: kind threshold draws what a search found, and this sweep has no "
                "search block. Add one with axis and event, or choose another kind."
            )
        y = None if entry.values.get("y") is None else entry.expression("y", known.cells)
        if y is not None and "n_star" not in Expression(y).names:
            raise entry.wrong("y", "an expression of n_star", y)

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """See ``thresholds.paint``."""
        from lawsweep.analysis.figures import thresholds

        return thresholds.paint(axes, columns, spec)


class Gram(FigureKind):
    """A square array of one run."""

    name = "gram"
    keys = ("array", "zlabel")
    needs = ("array",)
    subject = "array"

    def check(self, entry: Entry, known: Known) -> None:
        """The array is one of the experiment's."""
        _check_array(entry, known)

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """See ``gram_map.paint``."""
        from lawsweep.analysis.figures import gram_map

        return gram_map.paint(axes, columns, spec, arrays)


class LossCurves(FigureKind):
    """Curves that runs kept, a line each; one colour a group."""

    name = "loss_curves"
    keys = ("array", "by", "logx", "logy")
    needs = ("array",)
    subject = "array"

    def check(self, entry: Entry, known: Known) -> None:
        """The array is one of the experiment's."""
        _check_array(entry, known)

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """See ``array_curves.paint``."""
        from lawsweep.analysis.figures import array_curves

        return array_curves.paint(axes, columns, spec, arrays)


KINDS: dict[str, FigureKind] = {
    kind.name: kind for kind in (Curve(), Scatter(), Heatmap(), Threshold(), Gram(), LossCurves())
}
COMMON = ("where", "title", "xlabel", "ylabel")  # what every kind takes, beside name and kind


def parse_figures(
    given: Any,
    columns: Sequence[str],
    arrays: Sequence[str] | None = None,
    cells: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
) -> tuple[FigureSpec, ...]:
    """The ``figures`` of a sweep file; ``columns``, ``arrays`` and ``cells`` as in ``Known``.

    ``kinds``: what columns hold, where it is known: bool, int, float, str, or another word.

    Raises UnknownNameError (key, kind, column, function) or InvalidValueError, naming the entry.
    """
    known = Known(columns, arrays, cells)
    specs = [
        KINDS[entry.choice("kind", KINDS, None)].read(entry, known)
        for entry in entries(given, "figures", FigureSpec, kinds)
    ]
    names = distinct_names([s.name for s in specs])
    return tuple(replace(s, name=n) for s, n in zip(specs, names, strict=True))


def _check_array(entry: Entry, known: Known) -> None:
    name = entry.text("array")
    if name is not None and known.arrays is not None and name not in known.arrays:
        raise unknown_name("array", name, known.arrays, entry.place)


def _value(entry: Entry, key: str, names: Sequence[str]) -> Any:
    """The checked value of a key; ``names`` are those its expressions may use."""
    match key:
        case "x" | "y" | "z":
            return entry.expression(key, names)
        case "where" | "threshold":
            return entry.condition(key, names)
        case "by":
            return entry.columns(key, names)
        case "lines":
            return _lines(entry, names)
        case "band":
            return entry.choice(key, BANDS, "sd")
        case "fit":
            return entry.flag(key) or False
        case "logx" | "logy" | "logz":
            return entry.flag(key)
    return entry.text(key)


def _lines(entry: Entry, names: Sequence[str]) -> tuple[LineSpec, ...]:
    found = []
    for line in entries(entry.values.get("lines"), f"{entry.place}.lines", LineSpec, entry.kinds):
        line.require("y")
        found.append(LineSpec(y=line.expression("y", names), label=line.text("label")))
    return tuple(found)
