"""Files in the working folder that hide a module of Python's or of a package lawsweep needs.

The working folder is imported from first, by this process where an experiment lies in it and by
every worker.  ``./queue.py`` is then what Ray imports for ``queue``, and nothing starts.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
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
            whose = _whose(module)
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
    here = folder.resolve()
    others = [p for p in sys.path if p and Path(p).resolve() != here]
    try:
        spec = PathFinder.find_spec(module, others)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.origin or module == "lawsweep":  # of us, a folder without a file is a leftover
        return [Path(spec.origin)] if spec.origin else []
    return [Path(p) for p in spec.submodule_search_locations or []]


def _is_same(path: Path, hidden: Path) -> bool:
    """Whether a package in the folder is the very one that is found (a checkout of it)."""
    return hidden.resolve().is_relative_to(path.resolve())


def _whose(module: str) -> str | None:
    """lawsweep, or the package it needs (itself or by another) that has the module; else None."""
    if module == "lawsweep":
        return module
    needed, queue = set(), [("lawsweep", _EXTRAS)]
    homes = importlib.metadata.packages_distributions().get(module, [])
    while queue:
        name, extras = queue.pop()
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in requires:
            found = re.match(r"([\w.\-]+)\s*(?:\[([^\]]*)\])?", line)
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
            if found is None or (extra and _plain(extra[1]) not in extras.split(",")):
                continue
            more = ",".join(_plain(e.strip()) for e in (found[2] or "").split(","))
            key = (_plain(found[1]), more)  # ray and ray[default] need different ones
            if key not in needed:
                needed.add(key)
                queue.append((found[1], more))
    return next((home for home in homes if _plain(home) in {n for n, _ in needed}), None)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
