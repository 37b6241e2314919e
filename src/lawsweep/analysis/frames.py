"""From a sweep's tidy table to plain numpy columns, groups and distinct points.

A missing value (NA) and a NaN result differ in the table, and to a condition; for arithmetic both
are "no number", so numbers become float64 with NaN where either stood.  Text and booleans keep None
for missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.evaluation import numbers_of
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]

# Two x values are one design point when they differ by rounding only: expressions such as
# n_samples / input_dim**2 give the last few bits differently for different (n_samples, input_dim).
SAME_POINT = 1e-12


class Columns(Mapping[str, Array]):
    """The columns of a frame as numpy arrays of shape (n,), converted when first asked for."""

    def __init__(self, frame: pd.DataFrame):
        self._frame = frame
        self._done: dict[str, Array] = {}
        self._exact: dict[str, Array] = {}
        self.n = len(frame)

    def __getitem__(self, name: str) -> Array:
        if name not in self._done:
            if name not in self._frame.columns:
                raise unknown_name("column", name, self)
            self._done[name] = to_numpy(self._frame[name])
        return self._done[name]

    def __contains__(self, name: object) -> bool:
        return name in self._frame.columns

    def __iter__(self) -> Iterator[str]:
        return iter(str(c) for c in self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame.columns)

    def numbers(self, text: str, rows: Array, what: str) -> Array:
        """The expression over ``rows`` (indices) as float64; ``what`` names it in errors."""
        expression = Expression(text)
        used = {name: self.exact_at(name, rows) for name in expression.names}
        value = expression.evaluate(used, len(rows), finite=False, null_as_nan=True)
        if value.dtype == object:
            numbers = numbers_of(value, null_as_nan=True)
            value = value if numbers is None else numbers
        if value.dtype.kind not in "biuf":
            raise InvalidValueError(
                f"{what} must be a number at every row, but {text!r} gives "
                f"{value[0] if len(value) else value.dtype!r}. Choose a numeric expression."
            )
        return value.astype(np.float64)

    def numbers_where_known(self, text: str, rows: Array, what: str) -> Array:
        """Like ``numbers``, with NaN where a column it reads is missing: rows without metrics."""
        expression = Expression(text)
        known = np.ones(len(rows), dtype=bool)
        for name in set(expression.names) - expression.asks_null:
            known &= ~_missing(self[name][rows])
        result = np.full(len(rows), np.nan)
        if known.any():
            result[known] = self.numbers(text, rows[known], what)
        return result

    def is_missing(self, name: str) -> Array:
        """Where a column has no value, shape (n,): a NaN result is one."""
        if name not in self:
            raise unknown_name("column", name, self)
        series = self._frame[name]
        if isinstance(series.dtype, np.dtype) and series.dtype.kind == "f":
            return np.zeros(self.n, dtype=bool)  # it can hold nothing but numbers
        gone = series.isna().to_numpy(dtype=bool)
        if series.dtype == object:  # which holds None and NaN side by side
            gone = gone & [not isinstance(v, float) for v in series.tolist()]
        return gone

    def exact(self, name: str) -> Array:
        """The column with None where it has no value: there a null and a NaN are two things."""
        column, gone = self[name], self.is_missing(name)
        if column.dtype == object or not gone.any():
            return column
        if name not in self._exact:
            found = np.empty(self.n, dtype=object)
            found[:] = [
                None if lost else value
                for value, lost in zip(self._frame[name].tolist(), gone.tolist(), strict=True)
            ]
            self._exact[name] = found
        return self._exact[name]

    def exact_at(self, name: str, rows: Array) -> Array:
        """``exact`` at some rows; where none of them lacks a value, in the column's own type."""
        if self.is_missing(name)[rows].any():
            return np.asarray(self.exact(name)[rows])
        return np.asarray(self[name][rows])

    def at(self, name: str, rows: Array) -> list[Any]:
        """The values of a column at a few rows, without converting it whole."""
        if name not in self:
            raise unknown_name("column", name, self)
        found: list[Any] = self._frame[name].iloc[rows].tolist()
        return found

    def order(self, name: str, rows: Array) -> Array:
        """The order that sorts ``rows`` by a column, (n,)."""
        return np.asarray(self._frame[name].iloc[rows].argsort(), dtype=np.int64)

    def where(self, text: str | None, what: str = "where") -> Array:
        """Indices of the rows for which the condition holds (all rows for None).

        A null is equal to None alone and a NaN to nothing, as where a sweep is planned; compared
        otherwise a value that a row lacks is as NaN, so the row is not within.  ``what`` names the
        condition in errors.  Raises InvalidValueError where it is no condition.
        """
        if text is None:
            return np.arange(self.n)
        expression = Expression(text)
        used = {name: self.exact(name) for name in expression.names}
        return np.flatnonzero(expression.holds(used, self.n, what=what, null_as_nan=True))

    def groups(self, by: tuple[str, ...], rows: Array) -> list[tuple[dict[str, Any], Array]]:
        """``rows`` split by the values of ``by``: (values, indices) in ascending order."""
        found: dict[tuple[Any, ...], list[int]] = {}
        keys = [self[name][rows].tolist() for name in by]
        for i, row in enumerate(rows.tolist()):
            found.setdefault(tuple(_key(k[i]) for k in keys), []).append(row)
        ordered = sorted(found, key=lambda key: [_order(v) for v in key])
        return [(dict(zip(by, key, strict=True)), np.array(found[key])) for key in ordered]

    def statuses(self, rows: Array) -> Array:
        """The status of each row; a frame without that column holds results only."""
        if "status" not in self:
            return np.full(len(rows), "ok", dtype=object)
        status = self["status"][rows]
        return np.where(_missing(status), "missing", status)

    def not_converged(self, rows: Array) -> Array:
        """True where the row says that it did not converge (no such column, or no word: False)."""
        if "converged" not in self:
            return np.zeros(len(rows), dtype=bool)
        return np.asarray(self["converged"][rows] == False, dtype=bool)  # noqa: E712

    def mixes_settings(self, rows: Array, points: Array) -> bool:
        """Whether one seed stands twice at one point, so that its mean is not over seeds alone."""
        if "seed" not in self:
            return False
        pairs = set(zip(points.tolist(), self["seed"][rows].tolist(), strict=True))
        return len(pairs) < len(rows)


def to_numpy(series: pd.Series[Any]) -> Array:
    """One column: int64, float64 (NaN for missing), bool, or object with None for missing."""
    missing = series.isna().to_numpy(dtype=bool)
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        if kind == "f" or missing.any():
            return series.to_numpy(dtype=np.float64, na_value=np.nan)
        return series.to_numpy(dtype=np.int64)
    if kind == "b" and not missing.any():
        return series.to_numpy(dtype=np.bool_)
    values = np.empty(len(series), dtype=object)
    values[:] = [
        None if gone else _key(value)
        for value, gone in zip(series.tolist(), missing.tolist(), strict=True)
    ]
    known = values[~missing]
    # An object column of plain numbers and None is how pandas builds one from a list of dicts.
    if len(known) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return values


def distinct(values: Array) -> tuple[Array, Array]:
    """Distinct values in ascending order, and the index of each value's own, up to rounding.

    ``values`` are finite, shape (n,).  Neighbours closer than ``SAME_POINT`` relative are one.
    """
    if not len(values):
        return values, np.zeros(0, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    gaps = np.diff(ascending) > SAME_POINT * np.maximum(abs(ascending[1:]), abs(ascending[:-1]))
    labels = np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    inverse = np.empty_like(labels)
    inverse[order] = labels
    return ascending[np.concatenate([[True], gaps])], inverse


def means(values: Array, inverse: Array) -> Array:
    """Mean of ``values`` over each label of ``inverse``."""
    return np.asarray(np.bincount(inverse, weights=values) / np.bincount(inverse))


def centres(values: Array, inverse: Array, *, geometric: bool) -> Array:
    """Mean of ``values`` (positive, for a geometric one) over each label of ``inverse``."""
    return (
        np.asarray(np.exp(means(np.log(values), inverse))) if geometric else means(values, inverse)
    )


def _missing(column: Array) -> Array:
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind == "O":
        return np.array([v is None for v in column], dtype=bool)
    return np.zeros(len(column), dtype=bool)


def _key(value: Any) -> Any:
    """A value that can be a dictionary key: lists (tuple params) as tuples, NaN as None."""
    if isinstance(value, list | np.ndarray):
        return tuple(_key(v) for v in value)
    if isinstance(value, float) and np.isnan(value):
        return None
    return value


def _order(value: Any) -> tuple[int, Any]:
    """Numbers ascending, then text, then the rest by its spelling, then missing."""
    if value is None:
        return (3, 0)
    if isinstance(value, int | float):
        return (0, value)
    return (1, value) if isinstance(value, str) else (2, repr(value))
