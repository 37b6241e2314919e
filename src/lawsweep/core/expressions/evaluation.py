"""The value of a checked expression over whole columns, node by node of its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lawsweep.core.expressions.functions import COMPARE, CONSTANTS, arithmetic

Columns = Mapping[str, Any]
_EQUALITIES = (ast.Eq, ast.NotEq)


class Evaluation:
    """Evaluates nodes that ``Expression`` let pass.

    ``null_as_nan``: what computes with a null has NaN for it; a comparison for equality still
    knows the two apart.
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]], *, null_as_nan: bool = False):
        self._functions, self._null_as_nan = functions, null_as_nan

    def value(self, node: ast.AST, columns: Columns) -> Any:
        """The value of ``node``: an array over the points, or a scalar."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                found = np.asarray(columns[name] if name in columns else CONSTANTS[name])
                # A column of an optional param has objects: without a None they are numbers.
                numbers = numbers_of(found, null_as_nan=False)
                return found if numbers is None else numbers
            case ast.BinOp():
                return self._chain(node, columns)
            case ast.UnaryOp(op=ast.Not(), operand=a):
                return np.logical_not(self.value(a, columns))
            case ast.UnaryOp(op=op, operand=a):
                found = np.asarray(self._number(a, columns))
                number = found.astype(np.int64) if found.dtype == np.bool_ else found
                return np.negative(number) if isinstance(op, ast.USub) else number
            case ast.BoolOp(op=op, values=values):
                return self._logic(isinstance(op, ast.And), values, columns)
            case ast.IfExp(test=t, body=a, orelse=b):
                return self._branch(t, a, b, columns)
            case ast.Compare(left=a, ops=ops, comparators=rest):
                return self._compare(a, ops, rest, columns)
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._functions[name](*[self._number(x, columns) for x in args])
        raise AssertionError(node)  # pragma: no cover  (the check refused everything else)

    def _number(self, node: ast.AST, columns: Columns) -> Any:
        """The value of a node that is computed with."""
        return self._known(self.value(node, columns))

    def _known(self, value: Any) -> Any:
        if not self._null_as_nan:
            return value
        numbers = numbers_of(np.asarray(value), null_as_nan=True)
        return value if numbers is None else numbers

    def _chain(self, node: ast.AST, columns: Columns) -> Any:
        """Operators from left to right: the left sides in a loop, as a sum may have thousands."""
        chain = []
        while isinstance(node, ast.BinOp):
            chain.append(node)
            node = node.left
        result = self._number(node, columns)
        for link in reversed(chain):
            result = arithmetic(link.op, result, self._number(link.right, columns))
        return result

    def _logic(self, is_and: bool, nodes: list[ast.expr], columns: Columns) -> Any:
        """``and`` and ``or``: the right side is computed where the left leaves it open."""
        result = np.asarray(self.value(nodes[0], columns), dtype=bool)
        for node in nodes[1:]:
            is_open = result if is_and else ~result
            if is_open.ndim == 0:
                result = np.asarray(self.value(node, columns), dtype=bool) if is_open else result
                continue
            here = _at(columns, is_open)
            value = np.asarray(self.value(node, here), dtype=bool)
            result = result.copy()
            result[is_open] = value
        return result

    def _branch(self, test: ast.AST, a: ast.AST, b: ast.AST, columns: Columns) -> Any:
        """``a if test else b`` over columns; each branch is computed where it is taken."""
        chosen = np.asarray(self.value(test, columns), dtype=bool)
        if chosen.ndim == 0:
            return self.value(a if chosen else b, columns)
        parts = []
        for node, where in ((a, chosen), (b, ~chosen)):
            value = self.value(node, _at(columns, where))
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
        a = self.value(left, columns)
        for op, node in zip(ops, rest, strict=True):
            if isinstance(node, ast.Tuple | ast.List):
                found: Any = False
                for element in node.elts:
                    found = np.logical_or(found, a == self.value(element, columns))
                b: Any = None
                holds = np.logical_not(found) if isinstance(op, ast.NotIn) else found
            else:
                b = self.value(node, columns)
                equality = isinstance(op, _EQUALITIES)
                sides = (a, b) if equality else (self._known(a), self._known(b))
                holds = COMPARE[type(op)](*sides)
            result = np.logical_and(result, holds)
            a = b
        return result


def _at(columns: Columns, where: np.ndarray) -> dict[str, Any]:
    """The columns at some of the points."""
    return {n: c if np.ndim(c) == 0 else np.asarray(c)[where] for n, c in columns.items()}


def numbers_of(column: np.ndarray, *, null_as_nan: bool) -> np.ndarray | None:
    """A column of objects as numbers, where all of them are (or null, with ``null_as_nan``)."""
    if column.dtype != object:
        return None
    values = column.ravel().tolist()
    known = [v for v in values if v is not None] if null_as_nan else values
    if not known and not (null_as_nan and values):
        return None
    if not all(isinstance(v, bool | int | float) for v in known):
        return None
    filled = [np.nan if v is None else v for v in values] if len(known) < len(values) else values
    return np.array(filled).reshape(column.shape)
