"""Expressions over params: parsed to a whitelisted syntax tree, evaluated over whole columns.

Arithmetic, comparisons, ``and or not``, ``in (..)``, ``a if c else b`` and the functions below.
Nothing else parses: no attributes, no subscripts, no keywords, so an expression in a YAML file
can compute and nothing more.  Columns are numpy arrays, so a million points cost milliseconds.
An error names the expression, and the first point that offends.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name

Columns = Mapping[str, Any]


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
_ARITY: dict[str, tuple[int, float]] = {
    "signif": (2, 2),
    "min": (1, math.inf),
    "max": (1, math.inf),
    "linspace": (3, 3),
    "logspace": (3, 3),
    "range": (1, 3),
}

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
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


class Expression:
    """One parsed expression.  ``names`` are the columns it reads, in order of appearance."""

    def __init__(self, text: Any, functions: Mapping[str, Callable[..., Any]] | None = None):
        self.text = str(text).strip()
        self._functions = {**FUNCTIONS, **(functions or {})}
        try:
            self._tree = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise InvalidValueError(
                f"Cannot read the expression {self.text!r}; write arithmetic over params, "
                "for example round(ratio * input_dim**2)."
            ) from None
        self.names: tuple[str, ...] = tuple(dict.fromkeys(self._check(self._tree)))
        self.functions: frozenset[str] = frozenset(
            n.func.id
            for n in ast.walk(self._tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        )

    def _check(self, node: ast.AST) -> list[str]:
        """Refuse any node outside the whitelist; return the free names."""
        match node:
            case ast.Constant(value=bool() | float() | str() | None):
                return []
            case ast.Constant(value=int() as value):
                if value >= 2**63:
                    raise InvalidValueError(
                        f"The expression {self.text!r} has a whole number of more than 64 bits; "
                        "write it as a float, such as 1e20."
                    )
                return []
            case ast.Name(id=name):
                return [] if name in CONSTANTS else [name]
            case ast.BinOp(left=a, op=op, right=b) if type(op) in _ARITHMETIC:
                return self._check(a) + self._check(b)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=a):
                return self._check(a)
            case ast.BoolOp(values=values):
                return [n for v in values for n in self._check(v)]
            case ast.IfExp(test=t, body=a, orelse=b):
                return self._check(a) + self._check(t) + self._check(b)
            case ast.Compare(left=a, ops=ops, comparators=rest):
                return self._check(a) + [
                    n for op, b in zip(ops, rest, strict=True) for n in self._check_comparand(op, b)
                ]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                if name not in self._functions:
                    raise unknown_name("function", name, self._functions, repr(self.text))
                least, most = _ARITY.get(name, (1, 1))
                if not least <= len(args) <= most:
                    several = f"{least}" if least == most else f"{least} or more"
                    several = "1 to 3" if name == "range" else several
                    raise InvalidValueError(
                        f"{name} in {self.text!r} takes {several} values, got {len(args)}."
                    )
                return [n for a in args for n in self._check(a)]
        raise InvalidValueError(
            f"The expression {self.text!r} uses {ast.unparse(node)!r}, which is not allowed; "
            "use arithmetic, comparisons, and/or/not, a if c else b, and "
            f"{', '.join(sorted(self._functions))}."
        )

    def _check_comparand(self, op: ast.cmpop, node: ast.AST) -> list[str]:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(node, ast.Tuple | ast.List):
            return [n for e in node.elts for n in self._check(e)]
        if type(op) not in _COMPARE:
            raise InvalidValueError(
                f"The expression {self.text!r} may use 'in' only with a list, "
                "for example activation in ('relu', 'tanh')."
            )
        return self._check(node)

    def evaluate(
        self, columns: Columns, n: int | None = None, *, finite: bool = True
    ) -> np.ndarray:
        """Values over all points, shape (n,); ``columns`` maps names to arrays or scalars.

        Raises UnknownNameError for a name that is no column, InvalidValueError where a value does
        not fit or (unless ``finite=False``: measured data) is not finite, naming the first
        offending point.
        """
        for name in self.names:
            if name not in columns:
                raise unknown_name("name", name, columns, f"expression {self.text!r}")
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(self._value(self._tree, columns))
        except (TypeError, ValueError, OverflowError, np.exceptions.DTypePromotionError) as error:
            at = self._example(columns, 0)
            reason = str(error).rstrip(".")
            raise InvalidValueError(
                f"The expression {self.text!r} cannot be computed: {reason}{at or '.'}"
            ) from None
        if finite and value.dtype.kind == "f" and not np.all(ok := np.isfinite(value)):
            first = 0 if value.ndim == 0 else int(np.argmin(ok))
            shown = float(value if value.ndim == 0 else value[first])
            raise InvalidValueError(
                f"The expression {self.text!r} gives {shown}"
                f"{self._example(columns, first) or '.'} Exclude that point (where) or change the "
                "expression."
            )
        return value if n is None else np.broadcast_to(value, (n,))

    def evaluate_one(self, values: Mapping[str, Any]) -> Any:
        """The value at one point, as a plain Python value."""
        return self.evaluate(values).item()

    def _example(self, columns: Columns, i: int) -> str:
        at = []
        for name in self.names:
            column = np.asarray(columns[name])
            if column.ndim == 0 or column.size:
                at.append(f"{name}={column if column.ndim == 0 else column[i]}")
        return f" at {', '.join(at)}." if at else ""

    def _value(self, node: ast.AST, columns: Columns) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return _typed(np.asarray(columns[name] if name in columns else CONSTANTS[name]))
            case ast.BinOp(left=a, op=op, right=b):
                return _arithmetic(op, self._value(a, columns), self._value(b, columns))
            case ast.UnaryOp(op=ast.Not(), operand=a):
                return np.logical_not(self._value(a, columns))
            case ast.UnaryOp(op=op, operand=a):
                value = self._value(a, columns)
                return np.negative(value) if isinstance(op, ast.USub) else value
            case ast.BoolOp(op=op, values=values):
                return self._logic(isinstance(op, ast.And), values, columns)
            case ast.IfExp(test=t, body=a, orelse=b):
                return self._branch(t, a, b, columns)
            case ast.Compare(left=a, ops=ops, comparators=rest):
                return self._compare(a, ops, rest, columns)
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._functions[name](*(self._value(x, columns) for x in args))
        raise AssertionError(node)  # pragma: no cover  (_check refused everything else)

    def _logic(self, is_and: bool, nodes: list[ast.expr], columns: Columns) -> Any:
        """``and`` and ``or``: the right side is computed where the left leaves it open."""
        result = np.asarray(self._value(nodes[0], columns), dtype=bool)
        for node in nodes[1:]:
            is_open = result if is_and else ~result
            if is_open.ndim == 0:
                result = np.asarray(self._value(node, columns), dtype=bool) if is_open else result
                continue
            here = _at(columns, is_open)
            value = np.asarray(self._value(node, here), dtype=bool)
            result = result.copy()
            result[is_open] = value
        return result

    def _branch(self, test: ast.AST, a: ast.AST, b: ast.AST, columns: Columns) -> Any:
        """``a if test else b`` over columns; each branch is computed where it is taken."""
        chosen = np.asarray(self._value(test, columns), dtype=bool)
        if chosen.ndim == 0:
            return self._value(a if chosen else b, columns)
        parts = []
        for node, where in ((a, chosen), (b, ~chosen)):
            value = self._value(node, _at(columns, where))
            parts.append(np.broadcast_to(value, (int(where.sum()),)))
        # A branch that is nowhere taken has no say in the type.
        taken = [p for p in parts if p.size] or parts
        result = np.empty(chosen.shape, dtype=np.result_type(*taken))
        for part, where in zip(parts, (chosen, ~chosen), strict=True):
            if part.size:
                result[where] = part
        return result

    def _compare(
        self, left: ast.AST, ops: list[ast.cmpop], rest: list[ast.expr], columns: Columns
    ) -> Any:
        result: Any = True
        a = self._value(left, columns)
        for op, node in zip(ops, rest, strict=True):
            if isinstance(node, ast.Tuple | ast.List):
                found: Any = False
                for element in node.elts:
                    found = np.logical_or(found, a == self._value(element, columns))
                b: Any = None
                holds = np.logical_not(found) if isinstance(op, ast.NotIn) else found
            else:
                b = self._value(node, columns)
                holds = _COMPARE[type(op)](a, b)
            result = np.logical_and(result, holds)
            a = b
        return result


def _at(columns: Columns, where: np.ndarray) -> dict[str, Any]:
    """The columns at some of the points."""
    return {n: c if np.ndim(c) == 0 else np.asarray(c)[where] for n, c in columns.items()}


def _typed(column: np.ndarray) -> np.ndarray:
    """A column of an optional param has objects: without a None among them they are numbers."""
    if column.dtype != object:
        return column
    values = column.ravel().tolist()
    if not values or not all(isinstance(v, bool | int | float) for v in values):
        return column
    return np.array(values).reshape(column.shape)


def _arithmetic(op: ast.operator, a: Any, b: Any) -> Any:
    """numpy arithmetic that refuses what int64 would silently wrap around."""
    function = _ARITHMETIC[type(op)]
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
