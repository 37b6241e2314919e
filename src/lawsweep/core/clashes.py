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
        elif (hidden := _elsewhere(module, folder)) is not None and not _is_same(path, hidden):
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


def _elsewhere(module: str, folder: Path) -> Path | None:
    """Where the module is found when ``folder`` is not looked in."""
    here = folder.resolve()
    others = [p for p in sys.path if p and Path(p).resolve() != here]
    try:
        spec = PathFinder.find_spec(module, others)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _is_same(path: Path, hidden: Path) -> bool:
    """Whether a package in the folder is the very one that is found (a checkout of it)."""
    return hidden.resolve().is_relative_to(path.resolve())


def _whose(module: str) -> str | None:
    """lawsweep, or the package it needs (itself or by another) that has the module; else None."""
    if module == "lawsweep":
        return module
    needed, queue = set(), ["lawsweep"]
    homes = importlib.metadata.packages_distributions().get(module, [])
    while queue:
        name = queue.pop()
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in requires:
            found = re.match(r"[\w.\-]+", line)
            if found and "extra ==" not in line and (key := _plain(found[0])) not in needed:
                needed.add(key)
                queue.append(found[0])
    return next((home for home in homes if _plain(home) in needed), None)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
