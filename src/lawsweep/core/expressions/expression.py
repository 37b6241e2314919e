"""Expressions over params: parsed to a whitelisted syntax tree, evaluated over whole columns.

Arithmetic, comparisons, ``and or not``, ``in (..)``, ``a if c else b`` and the functions of
``core/expressions/functions.py``.
Nothing else parses: no attributes, no subscripts, no keywords, so an expression in a YAML file
can compute and nothing more.  Columns are numpy arrays, so a million points cost milliseconds
(``evaluation.py``).  An error names the expression, and the first point that offends.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.core.expressions.evaluation import Columns, Evaluation, numbers_of
from lawsweep.core.expressions.functions import ARITHMETIC, ARITY, COMPARE, CONSTANTS, FUNCTIONS

MAX_CHARACTERS = 100_000
# Levels of brackets, calls and conditions inside each other; a sum of many terms is one level.
MAX_DEPTH = 100
_ASSIGNS = re.compile(r"(?<![=!<>])=(?!=)")
_SHOWN = 200  # characters of an expression in a message

_STAND_INS: Mapping[str, np.ndarray] = {
    "bool": np.zeros(0, dtype=np.bool_),
    "int": np.zeros(0, dtype=np.int64),
    "float": np.zeros(0),
    "str": np.zeros(0, dtype=object),
}


class Expression:
    """One parsed expression.  ``names`` are the columns it reads, in order of appearance."""

    def __init__(self, text: Any, functions: Mapping[str, Callable[..., Any]] | None = None):
        self.text = str(text).strip()
        self._functions = {**FUNCTIONS, **(functions or {})}
        self._tree = self._parse()
        self.names: tuple[str, ...] = tuple(dict.fromkeys(self._check()))
        self.functions: frozenset[str] = frozenset(
            n.func.id
            for n in ast.walk(self._tree)
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        )

    @property
    def shown(self) -> str:
        """The text in quotes, as a message shows it: cut where it is long."""
        cut = len(self.text) > _SHOWN
        return repr(self.text[:_SHOWN] + " ..." if cut else self.text)

    @property
    def texts(self) -> frozenset[str]:
        """The texts it compares with."""
        found = (n.value for n in ast.walk(self._tree) if isinstance(n, ast.Constant))
        return frozenset(v for v in found if isinstance(v, str))

    def _parse(self) -> ast.expr:
        if len(self.text) > MAX_CHARACTERS:
            raise self._too_large(f"is {len(self.text):,} characters long")
        try:
            return ast.parse(self.text, mode="eval").body
        except (RecursionError, MemoryError):
            raise self._too_large("is too long, or nests too deep") from None
        except (SyntaxError, ValueError):
            write = "arithmetic over params, for example round(ratio * input_dim**2)"
            if _ASSIGNS.search(self.text):
                write = "== where two things are to be equal"
            raise InvalidValueError(
                f"Cannot read the expression {self.shown}; write {write}."
            ) from None

    def _too_large(self, what: str) -> InvalidValueError:
        return InvalidValueError(
            f"The expression {self.shown} {what}; at most {MAX_CHARACTERS:,} characters, some "
            f"2,000 terms and {MAX_DEPTH} levels can be computed. Split it over several derived "
            "params, or give its values as points."
        )

    def _check(self) -> list[str]:
        """Refuse any node outside the whitelist; return the free names."""
        names = []
        waiting: list[tuple[ast.AST, int]] = [(self._tree, 0)]
        while waiting:
            node, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise self._too_large(f"nests more than {MAX_DEPTH} levels deep")
            if isinstance(node, ast.Name) and node.id not in CONSTANTS:
                names.append(node.id)
            for part in reversed(self._parts(node)):
                # a + b + c is (a + b) + c: its left sides are one level, however many.
                in_chain = isinstance(node, ast.BinOp) and part is node.left
                waiting.append((part, depth if in_chain else depth + 1))
        return names

    def _parts(self, node: ast.AST) -> list[ast.expr]:
        """What a node is made of, in order of appearance; refused where it is not allowed."""
        match node:
            case ast.Constant(value=bool() | float() | str() | None) | ast.Name():
                return []
            case ast.Constant(value=int() as value):
                if value >= 2**63:
                    raise InvalidValueError(
                        f"The expression {self.shown} has a whole number of more than 64 bits; "
                        "write it as a float, such as 1e20."
                    )
                return []
            case ast.BinOp(left=a, op=op, right=b) if type(op) in ARITHMETIC:
                return [a, b]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=a):
                return [a]
            case ast.BoolOp(values=values):
                return list(values)
            case ast.IfExp(test=t, body=a, orelse=b):
                return [a, t, b]
            case ast.Compare(left=a, ops=ops, comparators=rest):
                sides = (self._comparands(op, b) for op, b in zip(ops, rest, strict=True))
                return [a, *(side for some in sides for side in some)]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                self._check_call(name, len(args))
                return list(args)
        used = ast.get_source_segment(self.text, node) or type(node).__name__
        raise InvalidValueError(
            f"The expression {self.shown} uses {used[:_SHOWN]!r}, which is not allowed; "
            "use arithmetic, comparisons, and/or/not, a if c else b, and "
            f"{', '.join(sorted(self._functions))}."
        )

    def _check_call(self, name: str, n: int) -> None:
        if name not in self._functions:
            raise unknown_name("function", name, self._functions, self.shown)
        least, most = ARITY.get(name, (1, 1))
        if not least <= n <= most:
            several = f"{least}" if least == most else f"{least} or more"
            several = "1 to 3" if name == "range" else several
            raise InvalidValueError(f"{name} in {self.shown} takes {several} values, got {n}.")

    def _comparands(self, op: ast.cmpop, node: ast.expr) -> list[ast.expr]:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(node, ast.Tuple | ast.List):
            return list(node.elts)
        if type(op) not in COMPARE:
            raise InvalidValueError(
                f"The expression {self.shown} may use 'in' only with a list, "
                "for example activation in ('relu', 'tanh')."
            )
        return [node]

    def evaluate(
        self,
        columns: Columns,
        n: int | None = None,
        *,
        finite: bool = True,
        null_as_nan: bool = False,
    ) -> np.ndarray:
        """Values over all points, shape (n,); ``columns`` maps names to arrays or scalars.

        Raises UnknownNameError for a name that is no column, InvalidValueError where a value does
        not fit or (unless ``finite=False``: measured data) is not finite, naming the first
        offending point.  A null equals None and nothing else; to compute with one is refused, or
        with ``null_as_nan`` (rows without a result) done as with NaN.
        """
        for name in self.names:
            if name not in columns:
                raise unknown_name("name", name, columns, f"expression {self.shown}")
        evaluation = Evaluation(self._functions, null_as_nan=null_as_nan)
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(evaluation.value(self._tree, columns))
        except (TypeError, ValueError, OverflowError) as error:
            raise self._cannot(error, columns) from None
        if finite and value.dtype.kind == "f" and not np.all(ok := np.isfinite(value)):
            first = 0 if value.ndim == 0 else int(np.argmin(ok))
            shown = float(value if value.ndim == 0 else value[first])
            raise InvalidValueError(
                f"The expression {self.shown} gives {shown}"
                f"{self._example(columns, first) or '.'} Exclude that point (where) or change the "
                "expression."
            )
        return value if n is None else np.broadcast_to(value, (n,))

    def _cannot(self, error: Exception, columns: Columns) -> InvalidValueError:
        at = self._example(columns, 0)
        reason = str(error).rstrip(".")
        if isinstance(error, TypeError):  # numpy's own words for it speak of ufuncs and loops
            mixed = [n for n in self.names if _has_no_number(columns[n])]
            reason = (
                f"{mixed[0]} has text or null where a number belongs"
                if mixed
                else "it does with these values what is not defined for them"
            )
        return InvalidValueError(
            f"The expression {self.shown} cannot be computed: {reason}{at or '.'} Change it."
        )

    def holds(
        self, columns: Columns, n: int, *, what: str = "where", null_as_nan: bool = False
    ) -> np.ndarray:
        """At which points the condition is true, shape (n,), bool.

        Raises InvalidValueError where it is no condition; with ``null_as_nan`` a truth that is
        null is none.
        """
        value = self.evaluate(columns, n, finite=False, null_as_nan=null_as_nan)
        if value.dtype == object and null_as_nan:
            known = [v is not None for v in value.tolist()]
            if all(isinstance(v, bool | None) for v in value.tolist()):
                value = np.array(known, dtype=bool) & (value == True)  # noqa: E712
        if value.dtype != np.bool_:
            raise self.no_condition(what, value.dtype)
        return value

    def no_condition(self, what: str, dtype: np.dtype[Any]) -> InvalidValueError:
        """The error for a condition that is neither true nor false."""
        kind = {"i": "whole numbers", "f": "numbers", "O": "text or null", "U": "text"}
        return InvalidValueError(
            f"{what} needs true or false, and {self.shown} gives "
            f"{kind.get(dtype.kind, dtype.name)}; write a comparison."
        )

    def dtype(self, kinds: Mapping[str, str]) -> np.dtype[Any] | None:
        """The type of its values, where ``kinds`` (bool, int, float, str) tell; None: not known."""
        if not set(self.names) <= {n for n, kind in kinds.items() if kind in _STAND_INS}:
            return None
        columns = {name: _STAND_INS[kinds[name]] for name in self.names}
        try:
            return self.evaluate(columns, finite=False).dtype
        except InvalidValueError:
            return None

    @property
    def asks_null(self) -> frozenset[str]:
        """The names it compares with None: of them a null is an answer."""
        found: set[str] = set()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Compare):
                sides = [s for c in (node.left, *node.comparators) for s in _elements(c)]
                if any(isinstance(s, ast.Constant) and s.value is None for s in sides):
                    found |= {s.id for s in sides if isinstance(s, ast.Name)}
        return frozenset(found)

    @property
    def computed_with(self) -> frozenset[str]:
        """The names whose values are computed with; those that are but compared may be text."""
        found: set[str] = set()
        waiting: list[ast.AST] = [self._tree]
        while waiting:
            node = waiting.pop()
            match node:
                case ast.Name(id=name):
                    found.add(name)
                case ast.Call(args=args):
                    waiting += args
                case ast.Compare(left=left, comparators=rest):
                    sides = [s for c in (left, *rest) for s in _elements(c)]
                    waiting += [s for s in sides if not isinstance(s, ast.Name)]
                case _:
                    waiting += ast.iter_child_nodes(node)
        return frozenset(found & set(self.names))

    def evaluate_one(self, values: Mapping[str, Any]) -> Any:
        """The value at one point, as a plain Python value."""
        return self.evaluate(values).item()

    def _example(self, columns: Columns, i: int) -> str:
        at = []
        for name in self.names[:20]:
            column = np.asarray(columns[name])
            if column.ndim == 0 or column.size:
                at.append(f"{name}={column if column.ndim == 0 else column[i]}")
        return f" at {', '.join(at)}." if at else ""


def _elements(node: ast.AST) -> list[Any]:
    """A side of a comparison; of a list, its elements."""
    return list(node.elts) if isinstance(node, ast.Tuple | ast.List) else [node]


def _has_no_number(column: Any) -> bool:
    """Whether text, a list or a missing value is among a column's."""
    values = np.asarray(column)
    if values.dtype.kind != "O":
        return values.dtype.kind in "US"
    return numbers_of(values, null_as_nan=False) is None
