"""Readable names of columns and expressions, in text that matplotlib sets.

``input_dim**2`` reads "input_dim²", ``lambda_min`` reads "$\\lambda_{\\mathrm{min}}$".  General on
purpose: a paper's own symbols are given by ``xlabel`` and ``ylabel`` in the sweep file.
"""

from __future__ import annotations

import ast
from typing import Any

from lawsweep.core.expressions.expression import Expression

# ``lambda`` and its like start a name only: lambda_min is a symbol with an index.
_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi "
    "psi omega"
)
GREEK = frozenset(_LETTERS.split())
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_FUNCTIONS = {
    "log10": r"$\log_{10}$ ",
    "log2": r"$\log_2$ ",
    "log": "ln ",
    "sqrt": "√",
    "cbrt": "∛",
}
_OPERATORS: dict[type, tuple[str, int]] = {  # sign, and how tightly it binds
    ast.Add: (" + ", 1),
    ast.Sub: (" − ", 1),
    ast.Mult: (" · ", 2),
    ast.Div: (" / ", 2),
    ast.Pow: ("**", 4),
}
_ATOM = 5


def pretty(text: str) -> str:
    """The expression as a label; what has no nicer spelling stays as it is written."""
    written = Expression(text).text
    try:
        return _render(ast.parse(written, mode="eval").body)[0]
    except RecursionError:  # a sum of a thousand terms
        return written.replace("$", r"\$")


def name(column: str) -> str:
    """A column's name: a leading Greek letter becomes one, the rest its index."""
    head, _, rest = column.partition("_")
    if head not in GREEK:
        return column
    index = r"_{\mathrm{" + rest.replace("_", r"\,") + "}}" if rest else ""
    return rf"$\{head}{index}$"


def value(item: Any) -> str:
    """A group's value: numbers short, ``$`` taken literally."""
    if isinstance(item, float):
        return f"{item:.6g}"
    return "none" if item is None else str(item).replace("$", r"\$")


def _render(node: ast.AST) -> tuple[str, int]:
    """The label of a subtree, and how tightly its outermost operator binds."""
    match node:
        case ast.Name(id=column):
            return name(column), _ATOM
        case ast.Constant(value=bool() | str() | None):
            return ast.unparse(node), _ATOM
        case ast.Constant(value=number):
            return f"{number:g}" if isinstance(number, float) else str(number), _ATOM
        case ast.BinOp(left=a, op=ast.Pow(), right=ast.Constant(value=int() as k)) if k >= 0:
            return _inside(a, _ATOM) + str(k).translate(_SUPERSCRIPT), 4
        case ast.BinOp(left=a, op=op, right=b) if type(op) in _OPERATORS:
            sign, tight = _OPERATORS[type(op)]
            # a − (b − c) and a / (b c) keep their brackets.
            return _inside(a, tight) + sign + _inside(b, tight + 1), tight
        case ast.UnaryOp(op=ast.USub(), operand=a):
            return "−" + _inside(a, 3), 3
        case ast.Call(func=ast.Name(id="abs"), args=[a]):
            return f"|{_render(a)[0]}|", _ATOM
        case ast.Call(func=ast.Name(id=function), args=[a]) if function in _FUNCTIONS:
            return _FUNCTIONS[function] + _inside(a, _ATOM), 3
        case ast.Call(func=ast.Name(id=function), args=args):
            return f"{function}({', '.join(_render(a)[0] for a in args)})", _ATOM
    return ast.unparse(node).replace("$", r"\$"), 0


def _inside(node: ast.AST, tight: int) -> str:
    text, binds = _render(node)
    return text if binds >= tight else f"({text})"
