"""Expressions over params: parsed to a whitelisted syntax tree, evaluated over whole columns.

Arithmetic, comparisons, ``and or not``, ``in (..)``, ``a if c else b`` and the functions of
``core/functions.py``.
Nothing else parses: no attributes, no subscripts, no keywords, so an expression in a YAML file
can compute and nothing more.  Columns are numpy arrays, so a million points cost milliseconds.
An error names the expression, and the first point that offends.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.functions import ARITHMETIC, ARITY, COMPARE, CONSTANTS, FUNCTIONS, arithmetic

Columns = Mapping[str, Any]


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
            case ast.BinOp(left=a, op=op, right=b) if type(op) in ARITHMETIC:
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
                least, most = ARITY.get(name, (1, 1))
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
        if type(op) not in COMPARE:
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
        except (TypeError, ValueError, OverflowError) as error:
            at = self._example(columns, 0)
            reason = str(error).rstrip(".")
            if isinstance(error, TypeError):  # numpy's own words for it speak of ufuncs and loops
                mixed = [n for n in self.names if _has_no_number(columns[n])]
                reason = (
                    f"{mixed[0]} has text or null where a number belongs"
                    if mixed
                    else "it does with these values what is not defined for them"
                )
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

    @property
    def computed_with(self) -> frozenset[str]:
        """The names whose values are computed with; those that are but compared may be text."""
        found: set[str] = set()

        def visit(node: ast.AST) -> None:
            match node:
                case ast.Name(id=name):
                    found.add(name)
                case ast.Call(args=args):
                    for argument in args:
                        visit(argument)
                case ast.Compare(left=left, comparators=rest):
                    for side in (left, *rest):
                        listed = side.elts if isinstance(side, ast.Tuple | ast.List) else [side]
                        for value in listed:
                            if not isinstance(value, ast.Name):
                                visit(value)
                case _:
                    for child in ast.iter_child_nodes(node):
                        visit(child)

        visit(self._tree)
        return frozenset(found & set(self.names))

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
                return arithmetic(op, self._value(a, columns), self._value(b, columns))
            case ast.UnaryOp(op=ast.Not(), operand=a):
                return np.logical_not(self._value(a, columns))
            case ast.UnaryOp(op=op, operand=a):
                found = np.asarray(self._value(a, columns))
                number = found.astype(np.int64) if found.dtype == np.bool_ else found
                return np.negative(number) if isinstance(op, ast.USub) else number
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
                holds = COMPARE[type(op)](a, b)
            result = np.logical_and(result, holds)
            a = b
        return result


def _at(columns: Columns, where: np.ndarray) -> dict[str, Any]:
    """The columns at some of the points."""
    return {n: c if np.ndim(c) == 0 else np.asarray(c)[where] for n, c in columns.items()}


def _has_no_number(column: Any) -> bool:
    """Whether text, a list or a missing value is among a column's."""
    values = np.asarray(column)
    if values.dtype.kind != "O":
        return values.dtype.kind in "US"
    return not all(isinstance(v, bool | int | float) for v in values.ravel().tolist())


def _typed(column: np.ndarray) -> np.ndarray:
    """A column of an optional param has objects: without a None among them they are numbers."""
    if column.dtype != object:
        return column
    values = column.ravel().tolist()
    if not values or not all(isinstance(v, bool | int | float) for v in values):
        return column
    return np.array(values).reshape(column.shape)
