"""What is found by name: ours, from a table in our code; that of other packages, by entry point.

A table of ours maps a name to ``module:attribute``, which is imported when it is asked for.  A
package adds to a group (``lawsweep.executors``, ``lawsweep.stores``, ...) in its metadata:

    [project.entry-points."lawsweep.executors"]
    pool = "pool_executor:PoolExecutor"

Our names are ours: a package that offers one of them is not asked.  A name that two packages offer
is refused.  Metadata in the working folder is passed over: a received folder could hold any.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError, unknown_name

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint


def names(group: str, builtin: Mapping[str, str]) -> list[str]:
    """All names of a group, sorted: those of ``builtin`` and those of installed packages."""
    return sorted({*builtin, *_outside(group)})


def load(group: str, name: str, builtin: Mapping[str, str], kind: str = "") -> Any:
    """What a name of a group stands for, imported.  ``kind`` is the word for it in a message.

    Raises UnknownNameError with the nearest names, and InvalidValueError with the package's name
    where that is broken, or where two packages offer the name.
    """
    if name in builtin:
        module, _, attribute = builtin[name].partition(":")
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
    kind = kind or kind_of(group)
    entry = _entry(group, name, builtin, kind)
    try:
        return entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".: ")
        raise InvalidValueError(
            f"The {kind} {name!r} of package {_package(entry)} cannot be loaded from "
            f"{entry.value!r}: {reason}. Mend the package, or uninstall it."
        ) from error


def load_class(group: str, name: str, builtin: Mapping[str, str], base: type[Any]) -> Any:
    """``load`` where the group is one of subclasses of ``base``; what is none is refused."""
    found = load(group, name, builtin)
    lacks = sorted(getattr(found, "__abstractmethods__", ()))
    if isinstance(found, type) and issubclass(found, base) and not lacks:
        return found
    why = f"one that lacks {', '.join(lacks)}" if lacks else repr(found)
    raise InvalidValueError(
        f"The {kind_of(group)} {name!r} must be a subclass of {base.__module__}."
        f"{base.__qualname__}, got {why}. Mend the package that offers it, or uninstall it."
    )


def target(group: str, name: str, builtin: Mapping[str, str], kind: str = "") -> str:
    """The ``module:attribute`` of a name, not imported.  Raises as ``load`` does for a name."""
    if name in builtin:
        return builtin[name]
    return _place(_entry(group, name, builtin, kind or kind_of(group)))


def targets(group: str, builtin: Mapping[str, str]) -> dict[str, str]:
    """Name to ``module:attribute`` of all that have one (two packages' common name has none)."""
    single = {name: found[0] for name, found in _outside(group).items() if len(found) == 1}
    return {**{name: _place(entry) for name, entry in single.items()}, **builtin}


def kind_of(group: str) -> str:
    """``executor`` for ``lawsweep.executors``."""
    return group.rpartition(".")[2].removesuffix("s")


def _entry(group: str, name: str, builtin: Mapping[str, str], kind: str) -> EntryPoint:
    found = _outside(group)
    if name not in found:
        raise unknown_name(kind, name, {*builtin, *found})
    first, *others = found[name]
    if others:
        packages = ", ".join(sorted(_package(e) for e in found[name]))
        raise InvalidValueError(
            f"The {kind} {name!r} is offered by more than one package: {packages}. "
            "Uninstall all but one."
        )
    return first


def _outside(group: str) -> dict[str, list[EntryPoint]]:
    """Entry points of other packages by name; those that say the same count once."""
    import importlib.metadata  # a tenth of a second, and our own names need it not

    here = Path.cwd().resolve()
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in importlib.metadata.entry_points(group=group):
        if entry.dist is None or not (_lies_in(here, entry.dist) or entry.dist.name == "lawsweep"):
            found.setdefault(entry.name, {})[entry.value] = entry
    return {name: list(entries.values()) for name, entries in found.items()}


def _place(entry: EntryPoint) -> str:
    return f"{entry.module}:{entry.attr}"


def _lies_in(folder: Path, dist: Distribution) -> bool:
    return Path(str(dist.locate_file(""))).resolve() == folder


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(unknown)"
