"""The verbs of the command: a file a verb, a folder a section of ``lawsweep --help``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from lawsweep.cli.answers import Verb

SECTIONS = ("starting", "running", "reading", "keeping", "cluster")


@lru_cache(maxsize=1)
def homes() -> Mapping[str, str]:
    """The module of each verb, by its name: found by the names of the files, none is imported."""
    found = {}
    for section in SECTIONS:
        package = importlib.import_module(f"{__name__}.{section}")
        for file in pkgutil.iter_modules(package.__path__):
            found[file.name.rstrip("_")] = f"{package.__name__}.{file.name}"
    return MappingProxyType(found)


def load_verb(name: str) -> Verb:
    """The command of a verb, from its file."""
    module = importlib.import_module(homes()[name])
    return next(v for v in vars(module).values() if isinstance(v, Verb) and v.name == name)


def sections() -> list[tuple[str, list[Verb]]]:
    """The verbs by section, each with its title, in the order a person meets them."""
    found = []
    for section in SECTIONS:
        package = f"{__name__}.{section}"
        verbs = [load_verb(n) for n, home in homes().items() if home.startswith(f"{package}.")]
        title = str(importlib.import_module(package).__doc__).strip().rstrip(".")
        found.append((title, sorted(verbs, key=lambda v: v.place)))
    return found
