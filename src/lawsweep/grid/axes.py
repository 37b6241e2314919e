"""Axes: how a sweep spans its params.

``axes`` is a mapping (a product of axes) or a list of mappings (a product of blocks).  Inside a
mapping some keys are blocks of their own:

- ``zip``: axes that advance together;
- ``points``: explicit points, a list of mappings or a mapping of columns;
- ``sample``: a space-filling sample of a box (``grid/designs.py``);
- ``when``: axes that apply only where a condition holds (``if`` and ``axes``);
- ``union``: a list of grids, each with its own ``axes`` and, if wanted, ``params``, ``derive`` and
  ``where``.

An axis is a list, one
value, or an expression over ``linspace(a, b, n)``, ``logspace(a, b, n)`` (n values from a to b,
equally spaced in the logarithm) and ``range(a, b, step)`` (without b), such as
``floor(sqrt(1000 * range(5, 956, 50)))``.

The points come as numpy columns, last axis fastest, so a million of them are a few arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lawsweep.core.errors import EmptyPlanError, InvalidValueError, unknown_name
from lawsweep.core.schema import INT64_MAX, FieldSpec
from lawsweep.grid.designs import design
from lawsweep.grid.grids import Grid, product, too_many_points
from lawsweep.grid.ranges import MAX_AXIS, TooManyValuesError, spread, values_of

BLOCKS = ("zip", "points", "sample", "when", "union")
GRID_KEYS = ("axes", "params", "derive", "where")
FEW_VALUES = 100_000  # of an axis: computed in a moment, whatever the others span


class AxesReader:
    """Reads an ``axes`` entry into grids; collects notes for the user (rounding, duplicates)."""

    def __init__(self, specs: Mapping[str, FieldSpec], max_points: int = MAX_AXIS):
        self.specs = specs
        self.notes: list[str] = []
        self.max_points = max_points
        self._so_far = 1  # points that the axis at hand multiplies

    def grids(self, axes: Any) -> list[Grid]:
        """The grids of an ``axes`` entry: one, or one for each member of a union."""
        if axes is None:
            return [Grid()]
        if isinstance(axes, Mapping):
            axes = [axes]
        if not isinstance(axes, Sequence) or isinstance(axes, str):
            raise InvalidValueError(
                f"axes must be a mapping of axes or a list of such mappings, got {axes!r}."
            )
        result = [Grid()]
        for block in axes:
            if not isinstance(block, Mapping):
                raise InvalidValueError(
                    f"Each block of axes must be a mapping of axes, got {block!r}."
                )
            result = self._block(block, result)
        for grid in result:
            names = Counter(n for b in grid.blocks for n in b)
            for name, times in names.items():
                if times > 1:
                    raise InvalidValueError(f"The axis {name!r} is given twice; keep one of them.")
        return result

    def _block(self, block: Mapping[str, Any], result: list[Grid]) -> list[Grid]:
        """``result`` times the block."""
        for name, value in block.items():
            self._so_far = sum(g.n_points for g in result)
            if name in BLOCKS and name not in self.specs:  # a param of that name is an axis
                made: list[Grid] = getattr(self, f"_{name}")(value)
            else:
                made = [Grid([{str(name): self._axis(str(name), value, distinct=True)}])]
            result = product(result, made)
        return result

    def _points(self, points: Any) -> list[Grid]:
        """Explicit points: a list of mappings with the same names, or a mapping of columns."""
        if isinstance(points, Mapping):
            return self._zip(points, "points")
        if not isinstance(points, Sequence) or isinstance(points, str) or not points:
            raise InvalidValueError(
                f"points must be a list of mappings, a mapping of lists, or a CSV or Parquet file; "
                f"got {points!r}."
            )
        for point in points:
            if not isinstance(point, Mapping) or not point:
                raise InvalidValueError(
                    f"Each point of points must map names to values, got {point!r}."
                )
            if set(point) != set(points[0]):
                raise InvalidValueError(
                    f"Every point of points must name {', '.join(map(str, points[0]))}; "
                    f"got {point!r}."
                )
        return self._zip({n: [p[n] for p in points] for n in points[0]}, "points")

    def _sample(self, spec: Any) -> list[Grid]:
        """A sample of a box, ``{n: 100, method: sobol, seed: 0, box: {d: [10, 500]}}``."""
        if not isinstance(spec, Mapping):
            raise InvalidValueError(f"sample must be a mapping with n and box, got {spec!r}.")
        for key in spec:
            if key not in ("n", "method", "seed", "box"):
                raise unknown_name("key", str(key), ("n", "method", "seed", "box"), "sample")
        n, seed, box = spec.get("n"), spec.get("seed", 0), spec.get("box")
        for name, value, least in (("n", n, 1), ("seed", seed, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidValueError(
                    f"{name} of sample must be a whole number from {least}, got {value!r}."
                )
        if not isinstance(box, Mapping) or not box:
            raise InvalidValueError(
                f"box of sample must map names to [low, high] or [low, high, log], got {box!r}."
            )
        assert isinstance(n, int)
        assert isinstance(seed, int)
        if n > self._room():
            raise too_many_points(n * self._so_far, self.max_points)
        cube = design(str(spec.get("method", "sobol")), n, len(box), seed)
        columns = {}
        for name, ends, unit in zip(box, box.values(), cube.T, strict=True):
            values = spread(str(name), ends, unit)
            columns[str(name)] = self._cast(
                str(name), self.specs.get(str(name)), values.tolist(), rounds=True
            )
        return [Grid([columns])]

    def _when(self, spec: Any) -> list[Grid]:
        """Axes where a condition holds; other points keep the params' own values."""
        members = [spec] if isinstance(spec, Mapping) else spec
        if not isinstance(members, Sequence) or isinstance(members, str) or not members:
            raise InvalidValueError(f"when must be a mapping with if and axes, got {spec!r}.")
        result = [Grid()]
        for member in members:
            if not isinstance(member, Mapping) or set(member) != {"if", "axes"}:
                raise InvalidValueError(f"when needs the keys if and axes, got {member!r}.")
            condition = str(member["if"])
            inside = [Grid(where=[condition]).times(g) for g in self.grids(member["axes"])]
            outside = Grid(where=[f"not ({condition})"])
            result = product(result, [*inside, outside])
        return result

    def _union(self, members: Any) -> list[Grid]:
        if not isinstance(members, Sequence) or isinstance(members, str) or not members:
            raise InvalidValueError(f"union must be a list of grids, got {members!r}.")
        before, n_points, found = self._so_far, 0, []
        for member in members:
            made = self._member(member)
            n_points += before * sum(g.n_points for g in made)
            if n_points > self.max_points:  # at once: the grids to come may be many
                raise too_many_points(n_points, self.max_points, at_least=True)
            found += made
        return found

    def _zip(self, axes: Any, kind: str = "zip") -> list[Grid]:
        if not isinstance(axes, Mapping) or not axes:
            raise InvalidValueError(f"{kind} must be a mapping of axes, got {axes!r}.")
        columns = {str(n): self._axis(str(n), v, distinct=False) for n, v in axes.items()}
        lengths = {n: len(c) for n, c in columns.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{n} has {k}" for n, k in lengths.items())
            raise InvalidValueError(
                f"{kind} needs axes of one length: {shown}. Make them equal, or use a product."
            )
        return [Grid([columns])]

    def _member(self, member: Any) -> list[Grid]:
        if not isinstance(member, Mapping):
            raise InvalidValueError(f"Each grid of a union must be a mapping, got {member!r}.")
        for key in member:
            if key not in GRID_KEYS:
                raise unknown_name("key", str(key), GRID_KEYS, "a grid of a union")
        parts = {key: member.get(key) or {} for key in ("params", "derive")}
        for key, part in parts.items():
            if not isinstance(part, Mapping):
                raise InvalidValueError(f"{key} of a union must be a mapping, got {part!r}.")
        fixed = Grid(
            params={str(k): v for k, v in parts["params"].items()},
            derive={str(k): str(v) for k, v in parts["derive"].items() if v is not None},
            where=as_list(member.get("where")),
        )
        return [fixed.times(g) for g in self.grids(member.get("axes"))]

    def _room(self) -> int:
        """How many values the axis at hand may have.

        Some may coincide when they are rounded, so a few are let through whatever they multiply.
        """
        return max(self.max_points // max(1, self._so_far), min(self.max_points, FEW_VALUES))

    def _axis(self, name: str, value: Any, *, distinct: bool) -> np.ndarray:
        spec = self.specs.get(name)
        spaced = False
        if hasattr(value, "tolist"):  # a numpy array or scalar, from Python
            value = value.tolist()
        if isinstance(value, str) and not (spec and spec.kind == "str"):
            try:
                values, spaced = values_of(name, value, min(self._room(), MAX_AXIS))
            except TooManyValuesError as error:
                if error.n <= self._room():
                    raise
                raise too_many_points(error.n * self._so_far, self.max_points) from None
        else:
            is_list = isinstance(value, Sequence) and not isinstance(value, str)
            values = list(value) if is_list else [value]
            if spec and spec.is_tuple and not all(isinstance(v, list | tuple) for v in values):
                raise InvalidValueError(
                    f"The axis {name!r} must be a list of lists, such as [[8, 4], [16]]; "
                    f"got {value!r}."
                )
        if not len(values):
            raise EmptyPlanError(f"The axis {name!r} is empty; give it at least one value.")
        column = self._cast(name, spec, values, rounds=spaced)
        if not distinct:
            return column
        kept = (
            np.array(list(dict.fromkeys(column.tolist())), dtype=column.dtype)
            if (column.dtype != object)
            else to_column(list(dict.fromkeys(column.tolist())))
        )
        if len(kept) < len(column):
            self.notes.append(
                f"axis {name}: {len(column) - len(kept)} of {len(column)} values coincide"
                f"{' after rounding' if spaced else ''}; {len(kept)} are left"
            )
        return kept

    def _cast(
        self, name: str, spec: FieldSpec | None, values: list[Any], *, rounds: bool
    ) -> np.ndarray:
        if spec is None:
            for v in values:
                large = isinstance(v, int) and abs(v) > INT64_MAX
                if not isinstance(v, int | float | str) or large:
                    raise InvalidValueError(
                        f"The axis {name!r} must hold numbers (of at most 64 bits) or strings, "
                        f"got {v!r}."
                    )
            if len({isinstance(v, str) for v in values}) > 1:
                raise InvalidValueError(
                    f"The axis {name!r} mixes numbers and strings: {values!r}. Keep one kind."
                )
            return np.array(values) if not isinstance(values[0], str) else to_column(values)
        if rounds and spec.kind == "int" and not spec.is_tuple:
            # Round, never truncate: 99.99999999999999 of a geometric axis is 100.
            rounded = [int(np.rint(v)) for v in values]
            if any(
                abs(r - v) > 1e-9 * max(1.0, abs(v)) for r, v in zip(rounded, values, strict=True)
            ):
                self.notes.append(f"axis {name}: values rounded to whole numbers")
            values = rounded
        return to_column([spec.cast(v) for v in values], spec)


def as_list(value: Any) -> list[str]:
    """A list of expressions; one string is a list of one."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence) and all(isinstance(v, str) for v in value):
        return list(value)
    raise InvalidValueError(f"where must be a list of expressions, got {value!r}.")


def to_column(values: Iterable[Any], spec: FieldSpec | None = None) -> np.ndarray:
    """A column of cast values: a numeric array where the kind allows, else objects."""
    values = list(values)
    numeric = {"bool": np.bool_, "int": np.int64, "float": np.float64}
    if spec is not None and not spec.is_tuple and not spec.optional and spec.kind in numeric:
        return np.array(values, dtype=numeric[spec.kind])
    column = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # a loop: numpy would split a tuple into two dimensions
        column[i] = value
    return column
