"""Which modules a function imports when it is called: read off its code, which is not run."""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any


@functools.cache
def imported_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """Absolute imports in the bodies of ``function`` and of those of its module that it names."""
    found: dict[str, None] = {}
    seen: set[Any] = set()
    waiting: list[Any] = [function]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, FunctionType) or each in seen:
            continue
        seen.add(each)
        for code in _codes(each.__code__):
            found |= dict.fromkeys(_imports(code))
            named = (each.__globals__.get(name) for name in code.co_names)
            waiting += [f for f in named if getattr(f, "__module__", None) == each.__module__]
    return tuple(found)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A body, and those of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _imports(code: CodeType) -> Iterator[str]:
    constants: list[Any] = []  # the last two before an import: how far up it begins, and what of it
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and constants[-2:-1] == [0]:
            yield str(step.argval)
        elif step.opname.startswith(("LOAD_CONST", "LOAD_SMALL_INT")):
            constants.append(step.argval)
