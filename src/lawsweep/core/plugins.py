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
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import InvalidValueError, UnknownNameError, unknown_name

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


def unknown(
    group: str, name: object, valid: Iterable[object], kind: str, where: str = ""
) -> UnknownNameError:
    """``unknown_name``, which says so where metadata was passed over that has the name."""
    error = unknown_name(kind, name, valid, where)
    if all(entry.name != name for entry in _passed_over(group)):
        return error
    return UnknownNameError(
        f"{error} Metadata in the working folder offers it, and is passed over: install the "
        "package (pip install -e .), or work in another folder."
    )


def place_of(error: BaseException) -> str | None:
    """``parts.py line 3, in poll, of package parts 1.0``: whose code raised an error, if not ours.

    That is the innermost call in a package with entry points of ours, or in the working folder.
    """
    import importlib.metadata

    owners = {
        entry.module.partition(".")[0]: f"{dist.name} {dist.version}"
        for dist in importlib.metadata.distributions()
        for entry in dist.entry_points
        if entry.group.startswith("lawsweep.") and dist.name != "lawsweep"
    }
    own = Path.cwd().resolve()
    ours = Path(__file__).resolve().parents[1]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        path = Path(frame.f_code.co_filename)
        # In a checkout the working folder holds us, and an environment with others' packages.
        local = own in path.parents and "site-packages" not in path.parts
        if ours not in path.parents and (module in owners or local):
            of = f", of package {owners[module]}" if module in owners else ""
            return f"{path.name} line {line}, in {frame.f_code.co_name}{of}"
    return None


def kind_of(group: str) -> str:
    """``executor`` for ``lawsweep.executors``."""
    return group.rpartition(".")[2].removesuffix("s")


def _entry(group: str, name: str, builtin: Mapping[str, str], kind: str) -> EntryPoint:
    found = _outside(group)
    if name not in found:
        raise unknown(group, name, {*builtin, *found}, kind)
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
    from lawsweep.core.code.installed import entry_points  # our own names need it not

    here = Path.cwd().resolve()
    found: dict[str, dict[str, EntryPoint]] = {}
    for package, entry in entry_points(group):
        dist = entry.dist
        if dist is None or (package != "lawsweep" and not _lies_in(here, dist)):
            found.setdefault(entry.name, {})[entry.value] = entry
    return {name: list(entries.values()) for name, entries in found.items()}


def _passed_over(group: str) -> list[EntryPoint]:
    from lawsweep.core.code.installed import entry_points

    here = Path.cwd().resolve()
    found = [entry for _, entry in entry_points(group)]
    return [entry for entry in found if entry.dist is not None and _lies_in(here, entry.dist)]


def _place(entry: EntryPoint) -> str:
    return f"{entry.module}:{entry.attr}"


def _lies_in(folder: Path, dist: Distribution) -> bool:
    return Path(str(dist.locate_file(""))).resolve() == folder


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(unknown)"
