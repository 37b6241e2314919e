"""A law is one class: the keys its entry takes, how it is fitted, what it says and predicts.

A new one is a subclass of ``Law`` and its line in ``laws.LAWS``; in another package an entry
point of the group ``lawsweep.laws`` that names the class.  Nothing else asks which law it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.laws.fit_specs import BOUNDS, FitSpec
from lawsweep.analysis.laws.fitted import Fitted, Found
from lawsweep.analysis.laws.points import Points as Points

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array, Columns

SOME = ("x", "terms", "local", *BOUNDS)  # keys that some laws take; all take the others of FitSpec


class Law(ABC):
    """A model of a metric over the design."""

    takes: ClassVar[tuple[str, ...]] = ("x",)  # of SOME
    needs: ClassVar[tuple[str, ...]] = ("x",)  # beside y
    own: ClassVar[tuple[str, ...]] = ()  # keys that it alone has
    log_x: ClassVar[bool] = False  # it takes log x: rows with x ≤ 0 are left out
    log_y: ClassVar[bool] = False  # it is about the means of log y: rows with y ≤ 0 are left out
    rivals: ClassVar[tuple[str, ...]] = ()  # laws that are compared with it on the same points
    contains: ClassVar[tuple[str, ...]] = ()  # laws that are a case of it: an F test can tell
    of_two: ClassVar[bool] = False  # of two inputs that vary apart: figures draw it by curves
    leading: ClassVar[tuple[str, ...]] = ()  # parameters that a report leads with; none: the last
    straight: ClassVar[bool] = False  # a straight line where the axes have the logarithms it takes

    def read(self, entry: Entry, name: str, columns: Sequence[str]) -> FitSpec:
        """The fit that an entry of this law, called ``name``, asks for."""
        entry.require("y", *self.needs)
        for key in SOME:
            if key not in self.takes:
                entry.refuse(key, f"law {name}")
        y = entry.expression("y", columns)
        has = {key for key in self.takes if entry.values.get(key) is not None}
        return FitSpec(
            name=entry.stem(name, y),
            law=name,
            y=y,
            x=entry.expression("x", columns) if "x" in has else None,
            by=entry.columns("by", columns),
            terms=entry.expressions("terms", columns) if "terms" in has else (),
            where=entry.condition("where", columns),
            level=entry.share("level", 0.95),
            local=entry.flag("local") or False,
            own=self.read_own(entry, columns),
            **self._bounds(entry, columns),
        )

    def _bounds(self, entry: Entry, columns: Sequence[str]) -> dict[str, str | None]:
        """``floor``, an expression, and the two conditions, where the law takes them."""
        found = {}
        for key in BOUNDS:
            if key in self.takes and entry.values.get(key) is not None:
                read = entry.expression if key == "floor" else entry.condition
                found[key] = read(key, columns)
        floor = entry.values.get("floor")
        if self.log_y and isinstance(floor, int | float) and not floor > 0:
            raise entry.wrong("floor", "above 0, as the law takes log y", floor)
        return found

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """The checked values of its own keys, plain ones."""
        return {key: entry.values[key] for key in self.own if key in entry.values}

    def of_logs(self, spec: FitSpec) -> bool:
        """Whether this fit is about the means of log y; where it may not be, ``log_y`` is True."""
        return self.log_y

    def offsets_of_seeds(self, spec: FitSpec, points: Points) -> Array | None:
        """How a seed's offset goes with the point, (n_points,); alike unless a law says other.

        Offsets are taken out of means where seeds lack points.  None: nothing is taken out.
        """
        return np.ones(len(points))

    def inputs(self, spec: FitSpec) -> Iterator[tuple[str, str]]:
        """The expressions that it is a function of, each with its key."""
        if spec.x is not None:
            yield "x", spec.x
        yield from ((f"terms[{j}]", term) for j, term in enumerate(spec.terms))

    def expressions(self, spec: FitSpec) -> Iterator[tuple[str, str]]:
        """The expressions over the columns that a fit reads, each with its key; not ``where``."""
        yield from self.inputs(spec)
        yield "y", spec.y
        yield from spec.bounds.items()

    @abstractmethod
    def solve(self, spec: FitSpec, points: Points) -> Found:
        """Fit it; a ``reason`` where these points do not determine it."""

    def parameters(self, spec: FitSpec, points: Points) -> Found:
        """What ``solve`` finds, as far as it is parameters: for who asks often, and for no more."""
        return self.solve(spec, points)

    @abstractmethod
    def formula(self, found: Fitted) -> str:
        """The law with its intervals, on a line."""

    @abstractmethod
    def predict(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        """y where the inputs have these values, by the text of each: (n,)."""

    def band(
        self, found: Fitted, inputs: Mapping[str, Array], *, new: bool = False
    ) -> tuple[Array, Array] | None:
        """Interval of the law at these inputs, (n,) each, at the fit's level; None: not known.

        With ``new`` the interval of the mean of a new point there, measured as those fitted.
        """
        return None

    def short(self, found: Fitted) -> str:
        """What a legend says of it: the last parameter."""
        last = found.parameters[-1]
        return f"{last.name} {last.interval()}"

    def said(self, found: Fitted) -> Sequence[str]:
        """What its line says beyond counts and warnings: its evidence."""
        return ()

    def fit_cells(self, columns: Columns, spec: FitSpec) -> list[Fitted] | None:
        """Its own fit of the thresholds that a search found, one a group; None: as of any rows."""
        return None

    def unusable(self, inputs: Sequence[Array], y: Array) -> Iterator[tuple[Array, str]]:
        """Where a row cannot count besides numbers that are not finite, and why."""
        if self.log_y:
            yield np.asarray(y <= 0), "with y ≤ 0"
        if self.log_x:
            for x in inputs:
                yield np.asarray(x <= 0), "with x ≤ 0"
