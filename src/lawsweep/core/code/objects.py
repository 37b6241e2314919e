"""The code of functions and classes that are in no file of their own: notebooks, scripts, stdin."""

from __future__ import annotations

import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import Any

_NUMBERS = (bool, int, float, complex, type(None))
_PLAIN = (*_NUMBERS, str, bytes)


def described(objects: Sequence[Any]) -> tuple[str, list[str]]:
    """Text of objects and of all they refer to beside them, and the modules they refer to.

    The text is the source where there is one, else the bytecode.  Of a constant that is no number
    it has a hash, since it may be a secret.
    """
    texts: dict[str, str] = {}
    modules: list[str] = []
    home = getattr(objects[0], "__module__", "__main__")
    queue = [(getattr(o, "__qualname__", repr(o)), o) for o in objects]
    while queue:
        name, value = queue.pop()
        if name in texts:
            continue
        value = inspect.unwrap(value) if callable(value) else value
        # An Experiment that is called by another, or whatever else wraps a function.
        inner = getattr(value, "function", None)
        value = inner if isinstance(inner, types.FunctionType) else value
        if isinstance(value, types.ModuleType):
            modules.append(value.__name__)
        elif isinstance(value, types.FunctionType | type):
            if value.__module__ != home:
                modules.append(value.__module__)
                continue
            texts[name] = _text(value)
            queue += _referred(value)
        elif (text := _constant(value)) is not None:
            texts[name] = f"{name} = {text}"  # read as Python: a comment would not count
        elif isinstance(kind := getattr(type(value), "__module__", None), str):
            modules.append(kind)
    return "\n\n".join(texts[n] for n in sorted(texts)) + "\n", modules


def _text(value: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(value)).strip()
    except (OSError, TypeError):
        pass
    lines = [f"no_source({value.__qualname__!r}, python={sys.version_info[:2]})"]
    for code in _codes(value):
        constants = [repr(c) for c in code.co_consts if isinstance(c, _NUMBERS)]
        constants += [_hash(c) for c in code.co_consts if isinstance(c, str | bytes)]
        said = code.co_code.hex(), code.co_names, constants
        lines.append(f"bytecode({code.co_name!r}, {said!r})")
    if isinstance(value, type):
        lines.append(f"fields({str(dict(getattr(value, '__annotations__', {})))!r})")
    return "\n".join(lines)


def _functions(value: Any) -> list[types.FunctionType]:
    if isinstance(value, types.FunctionType):
        return [value]
    return [f for f in vars(value).values() if isinstance(f, types.FunctionType)]


def _codes(value: Any) -> Iterator[types.CodeType]:
    """The bytecode of a function, or of a class's methods, that of inner functions too."""
    queue = [f.__code__ for f in _functions(value)]
    while queue:
        code = queue.pop(0)
        yield code
        queue += [c for c in code.co_consts if isinstance(c, types.CodeType)]


def _referred(value: Any) -> list[tuple[str, Any]]:
    """Global names that a function or a class uses, and variables it closes over."""
    found: dict[str, Any] = {}
    for function in _functions(value):
        known = function.__globals__
        names = {n for code in _codes(function) for n in code.co_names}
        found |= {n: known[n] for n in names if n in known}
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=False
        ):
            try:
                found[name] = cell.cell_contents
            except ValueError:  # not yet bound
                continue
        for i, default in enumerate(function.__defaults__ or ()):
            found[f"{function.__qualname__}.default{i}"] = default
    if isinstance(value, type):
        found |= {base.__qualname__: base for base in value.__bases__ if base is not object}
    return list(found.items())


def _constant(value: Any) -> str | None:
    """Numbers as they are, other plain values by their hash; None for anything else."""
    if isinstance(value, _NUMBERS):
        return repr(value)
    if isinstance(value, str | bytes):
        return f"hashed({_hash(value)!r})"
    if type(value).__module__ == "numpy" and hasattr(value, "tobytes"):
        return f"array('{value.dtype}', {value.shape}, {_hash(value.tobytes())!r})"
    if isinstance(value, list | tuple | set | frozenset | dict):
        items = list(value.items()) if isinstance(value, dict) else list(value)
        flat = [x for item in items for x in (item if isinstance(value, dict) else (item,))]
        if all(isinstance(x, _PLAIN) for x in flat):
            items = sorted(items, key=repr) if isinstance(value, set | frozenset) else items
            return f"{type(value).__name__}_hashed({_hash(repr(items))!r})"
    return None


def _hash(value: str | bytes) -> str:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return hashlib.blake2b(data, digest_size=8).hexdigest()
