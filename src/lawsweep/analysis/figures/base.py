"""A kind of figure is one class: the keys its entry takes, what it checks, what it shows.

A new one is a subclass of ``ChartKind``, which makes a chart (``chart.py``) that files and the page
are drawn from, or of ``FigureKind``, which paints on matplotlib's axes and is a picture on the
page; and its line in ``kinds.KINDS``, in another package an entry point of the group
``lawsweep.figures`` that names the class.

Checking an entry needs the names of the columns only, and neither pandas nor matplotlib: what
draws is imported when a figure is drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lawsweep.analysis.entries import Entry, entries
from lawsweep.analysis.figures.fit_of import named_fit, of_x_alone, own_law, with_fit
from lawsweep.analysis.figures.specs import FORMATS, GUIDE_VARIABLE, FigureSpec, LineSpec
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.core.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lawsweep.analysis.figures.chart import Chart
    from lawsweep.analysis.figures.of_arrays.arrays_of import ArraySource
    from lawsweep.analysis.frames import Columns

BANDS = ("sd", "sem", "minmax", "none")
COMMON = (
    "where",
    "title",
    "xlabel",
    "ylabel",
    "formats",
)  # what every kind takes, beside name and kind


class Known(NamedTuple):
    """The names an entry may use.

    ``arrays``: of the experiment's arrays; None: not known here, so not checked.  ``cells``: of
    the columns of the thresholds that a search finds; none of an ordinary sweep.  ``fits``: those
    of the sweep, which a figure may draw by their names.
    """

    columns: Sequence[str]
    arrays: Sequence[str] | None = None
    cells: Sequence[str] = ()
    fits: Sequence[FitSpec] = ()


class FigureKind(ABC):
    """One kind of figure."""

    keys: ClassVar[tuple[str, ...]]  # beside COMMON
    needs: ClassVar[tuple[str, ...]] = ()
    own: ClassVar[tuple[str, ...]] = ()  # keys that it alone has
    subject: ClassVar[str] = "y"  # the key that the figure's name speaks of
    otherwise: ClassVar[dict[str, str]] = {}  # what stands for a key that is left out
    of_cells: ClassVar[bool] = False  # drawn from a search's thresholds in place of rows
    guides: ClassVar[bool] = False  # whether its lines are functions of x, not of the columns

    def check(self, entry: Entry, known: Known) -> None:  # noqa: B027  (most have none)
        """Refuse what is wrong beyond keys and the names of columns."""

    def read_own(self, entry: Entry, known: Known) -> Mapping[str, Any]:
        """The checked values of its own keys, plain ones."""
        return {key: entry.values[key] for key in self.own if key in entry.values}

    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart | None:
        """What it shows, as data; None: it can be painted only.  Raises InvalidValueError."""
        return None

    @abstractmethod
    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Draw on ``axes`` and label them; notes for the footer."""

    def read(self, entry: Entry, name: str, known: Known) -> FigureSpec:
        """The figure that an entry of this kind, called ``name``, asks for."""
        taken = (*self.keys, *COMMON)
        for key in entry.values:
            if key not in ("name", "kind", *taken, *self.own):
                entry.refuse(key, f"kind {name}")
        names = known.cells if self.of_cells else known.columns
        named = named_fit(entry, known.fits) if "fit" in taken else None
        if named is not None:
            self.check_fit(entry, named)
            entry = with_fit(entry, named, taken, names)
        entry.require(*self.needs)
        self.check(entry, known)
        left_out = {k: v for k, v in self.otherwise.items() if entry.values.get(k) is None}
        entry = replace(entry, values={**entry.values, **left_out})
        over = {"lines": (GUIDE_VARIABLE,)} if self.guides else {}
        values = {key: _value(entry, key, over.get(key, names)) for key in taken if key != "fit"}
        if "fit" in taken:
            fit = named or own_law(entry, names)
            if fit is not None and named is None:
                self.check_fit(entry, fit)
            values |= {"fit": fit, "fit_named": named is not None}
        about = values.get(self.subject)
        about = about.name if isinstance(about, FitSpec) else about
        stem = entry.stem(name, str(about or name))
        return FigureSpec(name=stem, kind=name, own=self.read_own(entry, known), **values)

    def check_fit(self, entry: Entry, spec: FitSpec) -> None:
        """Refuse a law that it cannot draw: one of more than x."""
        of_x_alone(entry, spec)

    def expressions(self, spec: FigureSpec) -> Iterator[tuple[str, str]]:
        """The expressions over the columns that a figure reads, each with its key."""
        yield from ((key, text) for key in ("x", "y", "z") if (text := getattr(spec, key)))
        if not self.guides:
            yield from ((f"lines[{j}].y", line.y) for j, line in enumerate(spec.lines))


class ChartKind(FigureKind):
    """One that makes a chart; what draws it is the same for all."""

    @abstractmethod
    def chart(self, columns: Columns, spec: FigureSpec, arrays: ArraySource | None) -> Chart:
        """What it shows, as data.  Raises InvalidValueError where there is nothing."""

    def paint(
        self, axes: Axes, columns: Columns, spec: FigureSpec, arrays: ArraySource | None
    ) -> list[str]:
        """Paint its chart."""
        from lawsweep.analysis.figures.painter import paint_chart

        return paint_chart(axes, self.chart(columns, spec, arrays))


def check_array(entry: Entry, known: Known) -> None:
    """Refuse an array that the experiment has not."""
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
        case "panel":
            return _panel(entry, names)
        case "formats":
            return _formats(entry)
        case "logx" | "logy" | "logz":
            return entry.flag(key)
    return entry.text(key)


def _lines(entry: Entry, names: Sequence[str]) -> tuple[LineSpec, ...]:
    found = []
    place = f"{entry.place}.lines"
    for line in entries(entry.values.get("lines"), place, ("y", "label"), entry.kinds):
        line.check_keys(("y", "label"))
        line.require("y")
        found.append(LineSpec(y=line.expression("y", names), label=line.text("label")))
    return tuple(found)


def _panel(entry: Entry, names: Sequence[str]) -> str | None:
    """The column that panels tell apart."""
    name = entry.text("panel")
    if name is not None and name not in names:
        raise unknown_name("column", name, names, f"{entry.place}.panel")
    return name


def _formats(entry: Entry) -> tuple[str, ...]:
    """The kinds of file that are written, each once; all of them unless it says."""
    value = entry.values.get("formats")
    if value is None:
        return FORMATS
    listed = (value,) if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or not listed:
        raise entry.wrong("formats", f"a list of {', '.join(FORMATS)}", value)
    for name in listed:
        if name not in FORMATS:
            raise unknown_name("format", str(name), FORMATS, f"{entry.place}.formats")
    return tuple(dict.fromkeys(listed))
