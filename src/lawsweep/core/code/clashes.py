"""Files in the working folder that hide a module of Python's or of a package lawsweep needs.

The working folder is imported from first, by this process where an experiment lies in it and by
every worker.  ``./queue.py`` is then what Ray imports for ``queue``, and nothing starts.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder, all_suffixes
from pathlib import Path

from lawsweep.core.errors import InvalidValueError

#: What lawsweep itself may use where it is installed, as Ray does its job server's packages.
_EXTRAS = "data,jobs"


def refuse_clashes(folder: Path) -> None:
    """Raise InvalidValueError, with the name, where a file of ``folder`` hides a module."""
    found = clashes(folder)
    if found:
        name, whose = found[0]
        raise InvalidValueError(
            f"{name} in the working folder hides a module of {whose}, since the folder is imported "
            "from first. Rename it, or start from another folder."
        )


def clashes(folder: Path) -> list[tuple[str, str]]:
    """(file, whose module it hides) of each such file or package in ``folder``, by name."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    found = []
    for path in entries:
        module = _module(path)
        if module is None:
            continue
        if module in sys.stdlib_module_names:
            found.append((path.name, "Python's standard library"))
        elif (hidden := _elsewhere(module, folder)) and not any(_is_same(path, h) for h in hidden):
            whose = _whose(module, folder)
            if whose is not None:
                found.append((path.name, whose))
    return found


def _module(path: Path) -> str | None:
    """The module that ``import`` would find in an entry of a folder; None for none."""
    try:
        if path.is_dir():  # without an __init__ it hides nothing: whole packages go first
            return path.name if (path / "__init__.py").is_file() else None
        suffix = next((s for s in all_suffixes() if path.name.endswith(s)), None)
        if suffix is None or not path.is_file():
            return None
    except OSError:
        return None
    return path.name[: -len(suffix)]


def _elsewhere(module: str, folder: Path) -> list[Path]:
    """Where the module is found when ``folder`` is not looked in: one place, or a namespace's."""
    try:
        spec = PathFinder.find_spec(module, _others(folder))
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.origin or module == "lawsweep":  # of us, a folder without a file is a leftover
        return [Path(spec.origin)] if spec.origin else []
    return [Path(p) for p in spec.submodule_search_locations or []]


def _others(folder: Path) -> list[str]:
    """Where Python looks for modules, but for ``folder``."""
    here = folder.resolve()
    return [p for p in sys.path if p and Path(p).resolve() != here]


def _is_same(path: Path, hidden: Path) -> bool:
    """Whether a package in the folder is the very one that is found (a checkout of it)."""
    return hidden.resolve().is_relative_to(path.resolve())


def _whose(module: str, folder: Path) -> str | None:
    """lawsweep, or the package it needs (itself or by another) that has the module; else None.

    What lies in ``folder`` itself has no say in whose a module is.
    """
    if module == "lawsweep":
        return module
    return _owners(tuple(_places(folder))).get(module)


def _places(folder: Path) -> Iterator[tuple[str, int]]:
    """Where packages are installed, and when that changed last: for ``_owners`` to remember."""
    for place in map(Path, _others(folder)):
        with contextlib.suppress(OSError):
            is_archive = place.is_file()  # one that is imported from: not looked into here
            if is_archive or any(e.name.lower().endswith("-info") for e in place.iterdir()):
                yield str(place), place.stat().st_mtime_ns


@functools.lru_cache(maxsize=2)
def _owners(places: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """Package by module: of lawsweep's packages, and of those they need, all modules.

    Each by its name: looking through whatever is installed takes a third of a second.
    """
    path = [place for place, _ in places]
    owners: dict[str, str] = {}
    seen, queue = set(), [("lawsweep", _EXTRAS)]
    while queue:
        name, extras = queue.pop(0)
        package = next(iter(importlib.metadata.distributions(name=name, path=path)), None)
        if package is None:
            continue
        for module in _modules_of(package):
            owners.setdefault(module, package.metadata["Name"])
        for line in package.requires or []:
            found = re.match(r"([\w.\-]+)\s*(?:\[([^\]]*)\])?", line)
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
            if found is None or (extra and _plain(extra[1]) not in extras.split(",")):
                continue
            more = ",".join(_plain(e.strip()) for e in (found[2] or "").split(","))
            key = (_plain(found[1]), more)  # ray and ray[default] need different ones
            if key not in seen:
                seen.add(key)
                queue.append((found[1], more))
    return owners


def _modules_of(package: importlib.metadata.Distribution) -> set[str]:
    """The names that ``import`` knows of it, from what its installer wrote down."""
    declared = (package.read_text("top_level.txt") or "").split()
    if declared:
        return set(declared)
    lines = (package.read_text("RECORD") or "").splitlines()
    tops = {line.partition("/")[0] if "/" in line else line.partition(",")[0] for line in lines}
    suffixes = all_suffixes()
    modules = {next((t[: -len(s)] for s in suffixes if t.endswith(s)), t) for t in tops}
    return {m for m in modules if m.isidentifier()}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
