"""Interpolations (``${params.width}``) of a composed config, counted before they are resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.store.exchange.yaml_text import MAX_ALIASED

_WHOLE = re.compile(r"\$\{([\w.\[\]]+)\}\Z")


def check_interpolations(config: Mapping[str, Any]) -> None:
    """Raise InvalidValueError where lists of lists by name would grow without end.

    Each names all of what it stands for, and of what that stands for.
    """
    sizes: dict[str, int] = {}

    def size(node: Any, inside: frozenset[str]) -> int:
        if isinstance(node, Mapping):
            return 1 + sum(size(v, inside) for v in node.values())
        if isinstance(node, list):
            return 1 + sum(size(v, inside) for v in node)
        match = _WHOLE.match(node) if isinstance(node, str) else None
        path = match[1].replace("[", ".").replace("]", "") if match else ""
        if not path or path in inside:  # a circle is told where it is resolved
            return 1
        if path not in sizes:
            sizes[path] = size(_at(config, path), inside | {path})
        return sizes[path]

    try:
        grown = size(config, frozenset())
    except RecursionError:
        raise InvalidValueError("interpolations refer to each other without end") from None
    if grown > _plain_size(config) + MAX_ALIASED:
        raise InvalidValueError(
            f"interpolations make it grow by more than {MAX_ALIASED:,} values; write them out"
        )


def _at(config: Mapping[str, Any], path: str) -> Any:
    found: Any = config
    for key in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(key)
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _plain_size(node: Any) -> int:
    values = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    return 1 + sum(map(_plain_size, values))
