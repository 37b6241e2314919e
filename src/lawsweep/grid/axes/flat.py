"""Kinds of axes that advance together: a zip, explicit points, a sample of a box."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.grid.axes.node import Flat, axis_kind
from lawsweep.grid.axes.space import Space
from lawsweep.grid.designs import design
from lawsweep.grid.grids import Grid
from lawsweep.grid.ranges import spread


@axis_kind("zip")
@dataclass(frozen=True)
class Zip(Flat):
    """Axes of one length that advance together, ``{a: [1, 2], b: [3, 4]}``."""

    columns: Mapping[str, Any]

    @classmethod
    def read(cls, value: Any, params: Collection[str]) -> Zip:
        """A mapping of axes."""
        if not isinstance(value, Mapping) or not value:
            raise InvalidValueError(f"zip must be a mapping of axes, got {value!r}.")
        return cls({str(n): v for n, v in value.items()})

    def written(self) -> Any:
        """The mapping."""
        return self.columns

    @property
    def names(self) -> tuple[str, ...]:
        """Its axes."""
        return tuple(self.columns)

    def without(self, name: str) -> Zip | None:
        """The other axes."""
        kept = _without(self.columns, name)
        return Zip(kept) if kept else None

    def grids(self, space: Space) -> list[Grid]:
        """One block of its columns."""
        return [Grid([_columns(self.columns, space, "zip")])]


@axis_kind("points")
@dataclass(frozen=True)
class Points(Flat):
    """Explicit points: a mapping of columns, or a list of mappings with the same names."""

    given: Any

    @classmethod
    def read(cls, value: Any, params: Collection[str]) -> Points:
        """A mapping of columns, or a list of points."""
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        if not value or not (is_list or isinstance(value, Mapping)):
            raise InvalidValueError(
                f"points must be a list of mappings, a mapping of lists, or a CSV or Parquet file; "
                f"got {value!r}."
            )
        for point in value if is_list else ():
            if not isinstance(point, Mapping) or not point:
                raise InvalidValueError(
                    f"Each point of points must map names to values, got {point!r}."
                )
            if set(point) != set(value[0]):
                raise InvalidValueError(
                    f"Every point of points must name {', '.join(map(str, value[0]))}; "
                    f"got {point!r}."
                )
        return cls(value)

    def written(self) -> Any:
        """The points as they were given."""
        return self.given

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return tuple(map(str, self.given if isinstance(self.given, Mapping) else self.given[0]))

    def without(self, name: str) -> Points | None:
        """The points without one of their columns."""
        if name not in self.names:
            return self
        if isinstance(self.given, Mapping):
            kept: Any = _without(self.given, name)
        else:
            kept = [rest for point in self.given if (rest := _without(point, name))]
        return Points(kept) if kept else None

    def grids(self, space: Space) -> list[Grid]:
        """One block of their columns."""
        columns = self.given
        if not isinstance(columns, Mapping):
            columns = {n: [point[n] for point in columns] for n in columns[0]}
        return [Grid([_columns({str(n): v for n, v in columns.items()}, space, "points")])]


@axis_kind("sample")
@dataclass(frozen=True)
class Sample(Flat):
    """A space-filling sample of a box, ``{n: 9, method: sobol, seed: 0, box: {d: [10, 500]}}``."""

    given: Mapping[str, Any]

    @classmethod
    def read(cls, value: Any, params: Collection[str]) -> Sample:
        """A mapping of ``n``, ``method``, ``seed`` and ``box``."""
        if not isinstance(value, Mapping):
            raise InvalidValueError(f"sample must be a mapping with n and box, got {value!r}.")
        for key in value:
            if key not in ("n", "method", "seed", "box"):
                raise unknown_name("key", str(key), ("n", "method", "seed", "box"), "sample")
        box = value.get("box")
        if not isinstance(box, Mapping) or not box:
            raise InvalidValueError(
                f"box of sample must map names to [low, high] or [low, high, log], got {box!r}."
            )
        return cls(value)

    def written(self) -> Any:
        """The mapping."""
        return self.given

    @property
    def names(self) -> tuple[str, ...]:
        """The sides of the box."""
        return tuple(map(str, self.given["box"]))

    def without(self, name: str) -> Sample | None:
        """The sample of the box's other sides."""
        box = _without(self.given["box"], name)
        return replace(self, given={**self.given, "box": box}) if box else None

    def grids(self, space: Space) -> list[Grid]:
        """One block, a column a side."""
        n, seed, box = self.given.get("n"), self.given.get("seed", 0), self.given["box"]
        for name, value, least in (("n", n, 1), ("seed", seed, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidValueError(
                    f"{name} of sample must be a whole number from {least}, got {value!r}."
                )
        assert isinstance(n, int)
        space.check(n)
        cube = design(str(self.given.get("method", "sobol")), n, len(box), seed)
        columns = {}
        for name, ends, unit in zip(map(str, box), box.values(), cube.T, strict=True):
            columns[name] = space.cast(name, spread(name, ends, unit).tolist(), rounds=True)
        return [Grid([columns])]


def _without(columns: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in columns.items() if str(k) != name}


def _columns(axes: Mapping[str, Any], space: Space, kind: str) -> dict[str, np.ndarray]:
    columns = {n: space.column(n, v) for n, v in axes.items()}
    lengths = {n: len(c) for n, c in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{n} has {k}" for n, k in lengths.items())
        raise InvalidValueError(
            f"{kind} needs axes of one length: {shown}. Make them equal, or use a product."
        )
    return columns
