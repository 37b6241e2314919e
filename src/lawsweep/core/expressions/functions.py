"""What an expression may call, and its operators, over whole columns."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np


def _whole(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A rounding function that returns integers (and leaves integers alone)."""

    def rounded(x: Any) -> Any:
        x = np.asarray(x)
        if x.dtype.kind in "iub":
            return x
        y = function(x)
        if np.any(~np.isfinite(y)) or np.any(np.abs(y) >= 2.0**63):
            raise OverflowError("a value does not fit a 64-bit integer")
        return y.astype(np.int64)

    return rounded


def _signif(x: Any, digits: Any) -> np.ndarray:
    """``x`` rounded to so many significant figures, by way of its decimal spelling."""
    places = int(digits) - 1
    if places < 0 or places > 16:
        raise ValueError(f"signif takes 1 to 17 digits, got {digits}")
    x = np.asarray(x, dtype=np.float64)
    rounded = [float(f"{v:.{places}e}") for v in x.ravel().tolist()]
    return np.array(rounded).reshape(x.shape)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "round": _whole(np.rint),
    "floor": _whole(np.floor),
    "ceil": _whole(np.ceil),
    "int": _whole(np.trunc),
    "float": lambda x: np.asarray(x, dtype=np.float64),
    "signif": _signif,
    "sqrt": np.sqrt,
    "cbrt": np.cbrt,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "exp": np.exp,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "min": lambda *xs: _fold(np.minimum, xs),
    "max": lambda *xs: _fold(np.maximum, xs),
}
CONSTANTS = {"pi": np.pi}
# How many values a function takes, where it is not one.  Checked here, because numpy would take
# a second one as the array to write its result into.
ARITY: dict[str, tuple[int, float]] = {
    "signif": (2, 2),
    "min": (1, math.inf),
    "max": (1, math.inf),
    "linspace": (3, 3),
    "logspace": (3, 3),
    "range": (1, 3),
}

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _fold(function: Callable[[Any, Any], Any], xs: tuple[Any, ...]) -> Any:
    if not xs:
        raise ValueError("min and max need at least one value")
    result = xs[0]
    for x in xs[1:]:
        result = function(result, x)
    return result


def arithmetic(op: ast.operator, a: Any, b: Any) -> Any:
    """numpy arithmetic that refuses what int64 would silently wrap around."""
    function = ARITHMETIC[type(op)]
    a, b = (x.astype(np.int64) if x.dtype == np.bool_ else x for x in map(np.asarray, (a, b)))
    if isinstance(op, ast.Pow) and a.dtype.kind in "iu" and b.dtype.kind in "iu" and np.any(b < 0):
        a = a.astype(np.float64)
    if isinstance(op, ast.FloorDiv | ast.Mod) and np.any(b == 0):
        raise ValueError("division by zero")
    result = function(a, b)
    wraps = isinstance(op, ast.Add | ast.Sub | ast.Mult | ast.Pow)
    if wraps and np.asarray(result).dtype.kind in "iu":
        exact = function(a.astype(np.float64), b.astype(np.float64))
        if np.any(np.abs(exact) >= 2.0**63):
            raise OverflowError("a whole number exceeds 64 bits")
    return result
