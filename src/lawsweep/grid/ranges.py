"""The values of an axis: an expression over ranges, or a part of a sample's box."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.expressions.functions import FUNCTIONS

MAX_AXIS = 10_000_000


class TooManyValuesError(InvalidValueError):
    """A range or a space of ``n`` values, more than it may have."""

    def __init__(self, n: int):
        self.n = n
        super().__init__(f"An axis has at most {MAX_AXIS:,} values, got {n:,}. Narrow it.")


def values_of(name: str, text: str, limit: int = MAX_AXIS) -> tuple[list[Any], bool]:
    """Values of the axis ``name``, and whether they may be rounded to whole numbers.

    More than ``limit`` of them are a TooManyValuesError before there are any.
    """
    try:
        expression = Expression(text, _generators(limit))
    except InvalidValueError as error:
        if text.count("(") == text.count(")"):
            raise
        raise InvalidValueError(
            f"{error} In a YAML list or mapping in braces, put it in quotes: its commas end "
            "the value otherwise."
        ) from None
    if expression.names:
        raise InvalidValueError(
            f"The axis {name!r} is {text!r}, which names {expression.names[0]!r}; "
            "an axis stands alone. Put an expression over params under derive."
        )
    values = np.atleast_1d(expression.evaluate({}))
    if values.dtype.kind == "f":
        # 15 figures: linspace(0.1, 0.5, 5) holds 0.3 and not 0.30000000000000004, which would
        # be another run.
        values = FUNCTIONS["signif"](values, 15)
    if values.ndim != 1:
        raise InvalidValueError(f"The axis {name!r} must be one-dimensional, got {text!r}.")
    return values.tolist(), bool(expression.functions & {"linspace", "logspace"})


def spread(name: str, ends: Any, unit: np.ndarray) -> np.ndarray:
    """Coordinates in [0, 1) spread over [low, high], in the logarithm where asked."""
    log = isinstance(ends, Sequence) and len(ends) == 3 and ends[2] == "log"
    numbers = list(ends[:2]) if isinstance(ends, Sequence) and (log or len(ends) == 2) else []
    good = len(numbers) == 2 and all(
        isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in numbers
    )
    if not good or numbers[0] > numbers[1] or (log and numbers[0] <= 0):
        raise InvalidValueError(
            f"{name} in the box of sample must be [low, high] or [low, high, log] with "
            f"low <= high (above 0 for log), got {ends!r}."
        )
    low, high = map(float, numbers)
    return low * (high / low) ** unit if log else low + (high - low) * unit


def _linspace(limit: int, a: Any, b: Any, n: Any) -> np.ndarray:
    return np.linspace(float(a), float(b), _count(n, limit))


def _logspace(limit: int, a: Any, b: Any, n: Any) -> np.ndarray:
    if float(a) <= 0 or float(b) <= 0:
        raise ValueError(f"logspace({a}, {b}, {n}) needs positive ends (the values themselves)")
    return np.geomspace(float(a), float(b), _count(n, limit))


def _range(limit: int, *ends: Any) -> np.ndarray:
    if not 1 <= len(ends) <= 3:
        raise ValueError("range takes (b), (a, b) or (a, b, step)")
    if len(ends) == 3 and ends[2] == 0:
        raise ValueError("range needs a step that is not 0")
    size = abs(ends[-1 if len(ends) == 1 else 1] - (ends[0] if len(ends) > 1 else 0))
    if size / abs(ends[2] if len(ends) == 3 else 1) > limit:
        raise TooManyValuesError(int(min(1e18, size / abs(ends[2] if len(ends) == 3 else 1))))
    if all(np.asarray(e).dtype.kind in "iu" for e in ends):
        return np.arange(*ends)
    a, b = (0.0, ends[0]) if len(ends) == 1 else ends[:2]
    step = ends[2] if len(ends) == 3 else 1.0
    # numpy's count of a float range may be one too many: 1, 1.1, 1.2 and then 1.3000000000000003.
    count = max(0, math.ceil((float(b) - float(a)) / float(step) - 1e-9))
    return float(a) + float(step) * np.arange(count)


def _count(n: Any, limit: int) -> int:
    if float(n) != int(n) or int(n) < 1:
        raise ValueError(f"the number of values must be a whole number from 1, got {n}")
    if int(n) > limit:
        raise TooManyValuesError(int(n))
    return int(n)


def _generators(limit: int) -> dict[str, Callable[..., np.ndarray]]:
    made = (("linspace", _linspace), ("logspace", _logspace), ("range", _range))
    return {name: functools.partial(function, limit) for name, function in made}


GENERATORS = _generators(MAX_AXIS)
