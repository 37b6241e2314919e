"""The columns of axes: values cast to their params, counted before they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lawsweep.core.errors import EmptyPlanError, InvalidValueError, numbers_in
from lawsweep.core.schema import INT64_MAX, FieldSpec
from lawsweep.grid.grids import Grid, too_many_points
from lawsweep.grid.ranges import MAX_AXIS, TooManyValuesError, values_of

FEW_VALUES = 100_000  # of an axis: computed in a moment, whatever the others span


class Space:
    """What axes are made in: the params they are of, how many points there may be, and notes.

    ``notes`` are for the user (rounding, duplicates).
    """

    def __init__(self, specs: Mapping[str, FieldSpec], max_points: int = MAX_AXIS):
        self.specs = specs
        self.notes: list[str] = []
        self.max_points = max_points
        self.so_far = 1  # points that the axis at hand multiplies

    def multiplies(self, grids: Sequence[Grid]) -> None:
        """Say what the axes made from now on multiply."""
        self.so_far = sum(g.n_points for g in grids)

    def check(self, n: int) -> None:
        """Raise InvalidValueError where ``n`` values of the axis at hand are more than may be.

        Some may coincide when they are rounded, so a few are let through whatever they multiply.
        """
        if n > self._room():
            raise too_many_points(n * self.so_far, self.max_points)

    def _room(self) -> int:
        return max(self.max_points // max(1, self.so_far), min(self.max_points, FEW_VALUES))

    def column(self, name: str, value: Any, *, distinct: bool = False) -> np.ndarray:
        """The values of an axis as written, in the type of its param, (n_values,).

        ``distinct``: of equal ones the first stays, and a note says so.
        """
        spec = self.specs.get(name)
        spaced = False
        if hasattr(value, "tolist"):  # a numpy array or scalar, from Python
            value = value.tolist()
        if isinstance(value, str) and not (spec and spec.kind == "str"):
            if listed := numbers_in(value):
                raise InvalidValueError(
                    f"The axis {name!r} is a list or an expression, got the text {value!r}. "
                    f"Write {name}: {listed}."
                )
            try:
                values, spaced = values_of(name, value, min(self._room(), MAX_AXIS))
            except TooManyValuesError as error:
                self.check(error.n)
                raise
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
        column = self.cast(name, values, rounds=spaced)
        if not distinct:
            return column
        kept = list(dict.fromkeys(column.tolist()))
        if len(kept) == len(column):
            return column
        self.notes.append(
            f"axis {name}: {len(column) - len(kept)} of {len(column)} values coincide"
            f"{' after rounding' if spaced else ''}; {len(kept)} are left"
        )
        return to_column(kept) if column.dtype == object else np.array(kept, dtype=column.dtype)

    def cast(self, name: str, values: list[Any], *, rounds: bool = False) -> np.ndarray:
        """Plain values as a column, (n_values,); ``rounds``: to whole numbers where the param is.

        Raises InvalidValueError for a value that is none of the param.
        """
        spec = self.specs.get(name)
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
