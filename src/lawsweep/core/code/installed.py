"""What installed packages offer us in their metadata: each folder of the import path read once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.metadata import (
    Distribution,
    DistributionFinder,
    EntryPoint,
    MetadataPathFinder,
)
from pathlib import Path

Offered = tuple[tuple[str, tuple[EntryPoint, ...]], ...]  # of each package its name, what it offers

_read: dict[str, tuple[int, Offered]] = {}
# A change within one tick of a file system's clock shows in no time of change: what has just been
# changed is read again.  The coarsest clocks, of FAT and some network mounts, tick in 2 s.
_SETTLED_NS = 3 * 10**9


def entry_points(group: str) -> list[tuple[str, EntryPoint]]:
    """Entry points of a group of ours, ``lawsweep.*``, each with the name of its package.

    ``importlib.metadata.entry_points`` reads the metadata of every package each time, some tens of
    milliseconds, and a sweep asks once a figure.  Here a folder is read again where its time of
    change is another: whatever is installed, or taken away, while a process lives is seen.
    """
    seen: set[str] = set()
    found: list[tuple[str, EntryPoint]] = []
    for name, offered in _packages():
        if name not in seen:  # the first on the path hides others of its name
            seen.add(name)
            found += ((name, entry) for entry in offered if entry.group == group)
    return found


def _packages() -> Iterator[tuple[str, tuple[EntryPoint, ...]]]:
    for finder in sys.meta_path:
        if finder is PathFinder:
            for place in sys.path:
                yield from _in_folder(str(Path(place).absolute()))
        elif (find := getattr(finder, "find_distributions", None)) is not None:
            yield from _offered(find(DistributionFinder.Context()))


def _in_folder(place: str) -> Offered:
    try:
        changed = Path(place).stat().st_mtime_ns
    except OSError:  # no such folder, or not ours to read
        return ()
    known = _read.get(place)
    if known is not None and known[0] == changed:
        return known[1]
    # Not PathFinder's: the package importlib_metadata, once imported, takes that away.
    context = DistributionFinder.Context(path=[place])
    found = tuple(_offered(MetadataPathFinder.find_distributions(context)))
    if time.time_ns() - changed > _SETTLED_NS:
        _read[place] = changed, found
    return found


def _offered(packages: Iterable[Distribution]) -> Iterator[tuple[str, tuple[EntryPoint, ...]]]:
    for package in packages:
        entries = (e for e in package.entry_points if e.group.startswith("lawsweep."))
        # As importlib tells packages apart: by the folder's name.  That in the metadata, where some
        # Python has it not, says the same, but to read it takes a millisecond a package.
        name = getattr(package, "_normalized_name", None) or package.name
        yield name, tuple(entries)
