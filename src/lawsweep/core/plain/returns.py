"""Metrics that a function's text says it returns, read before anything runs.

``return {"loss": ..., "error": ...}`` names its metrics as it stands.  What no row could have among
them is then told while the sweep is planned, and not by a failure of every run.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from lawsweep.core.definition import RESERVED
from lawsweep.core.expressions.functions import CONSTANTS
from lawsweep.core.names import alike

_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def check_returns(name: str, function: Callable[..., Any], params: tuple[str, ...]) -> None:
    """Raise TypeError for a key of a dict that is returned as it stands, and can be no metric.

    A param or the seed given back is no metric, and left out of the row.
    """
    for keys in _literal_keys(function):
        mine = [k for k in keys if k not in params and k != "seed"]
        for key in mine:
            if key in RESERVED or key in CONSTANTS:
                what = "a column every row has" if key in RESERVED else "a constant in expressions"
                raise TypeError(
                    f"{name} returns a metric {key!r}, which is {what} already; call it otherwise."
                )
        if pair := alike(mine, (*params, *sorted(RESERVED))):
            raise TypeError(
                f"{name} returns {pair[1]!r}, which is one name with {pair[0]!r} to SQL; call it "
                "otherwise."
            )


def _literal_keys(function: Callable[..., Any]) -> Iterator[list[str]]:
    """The keys of each dict that is written in a ``return`` of the function's own."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, ValueError, SyntaxError):  # no text, or not a piece by itself
        return
    body = tree.body[0] if tree.body else None
    if not isinstance(body, ast.FunctionDef):
        return
    open_nodes: list[ast.AST] = list(body.body)
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, _NESTED):
            continue
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
            yield [
                k.value
                for k in node.value.keys
                if isinstance(k, ast.Constant) and isinstance(k.value, str)
            ]
        open_nodes += ast.iter_child_nodes(node)
