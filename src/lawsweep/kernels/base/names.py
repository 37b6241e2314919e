"""Names that choose one of several ways: an unknown one is an error, never another's label."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def unknown(what: str, name: object, valid: Iterable[str]) -> ValueError:
    """The error for a ``what`` that is none of ``valid``: lists them, and the nearest."""
    names = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    nearest = f"; did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {what} {name!r}; valid: {', '.join(names)}{nearest}")


def check_name(what: str, name: object, valid: Iterable[str]) -> None:
    """Raise ValueError unless ``name`` is one of ``valid``."""
    names = tuple(valid)
    if name not in names:
        raise unknown(what, name, names)


def named(what: str, name: str, table: Mapping[str, T]) -> T:
    """``table[name]``; ValueError with the valid names where it is not there."""
    if name not in table:
        raise unknown(what, name, table)
    return table[name]


def in_folder(path: Iterable[str]) -> tuple[str, ...]:
    """The names of the modules in a package's ``__path__``, sorted; none is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(path)))


def from_folder(what: str, name: str, package: str, path: Iterable[str]) -> ModuleType:
    """The module that a package's folder holds under that name; ValueError where it holds none."""
    check_name(what, name, in_folder(path))
    return importlib.import_module(f"{package}.{name}")
