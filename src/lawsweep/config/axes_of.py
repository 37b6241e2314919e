"""What a config says about its axes and derived fields, those of grids inside its axes too."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lawsweep.config.interpolations import resolve_text
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression
from lawsweep.grid.axes import Axes, read_axes
from lawsweep.grid.grids import as_list


def axes_of(config: Mapping[str, Any], params: Collection[str] = ()) -> Axes:
    """The nodes of the ``axes`` entry; ``params`` are the experiment's, where they are known."""
    return read_axes(config.get("axes"), params)


def names_of(config: Mapping[str, Any]) -> set[str]:
    """All that a config spans or derives, in a grid of a union too."""
    axes = axes_of(config)
    return {*axes.names, *(n for derive, _ in _places(config, axes) for n in derive)}


def expressions_of(name: str, config: Mapping[str, Any], axes: Axes) -> list[str]:
    """What a config, or a grid inside its axes, derives ``name`` from."""
    found = (derive.get(name) for derive, _ in _places(config, axes))
    return [str(text) for text in found if text is not None]


def without_unused(
    config: Mapping[str, Any],
    axes: Axes,
    removed: Collection[str],
    params: Collection[str],
    beside: Mapping[str, Any] | None = None,
) -> Axes:
    """The axes without those that are no params and that only ``removed`` expressions used.

    ``beside`` is another config whose expressions count too.
    """
    used: set[str] = set()
    others = _places(beside, axes_of(beside, params)) if beside else ()
    for derive, conditions in (*_places(config, axes), *others):
        for text in (*derive.values(), *conditions):
            used |= set() if text is None else _names_in(str(text), config)
    for text in removed:
        for name in _names_in(text, config):
            if name not in params and name not in used:
                axes = axes.without(name)
    return axes


def _names_in(text: str, config: Mapping[str, Any]) -> set[str]:
    """The names that an expression reads; one that cannot be resolved yet may read all it has."""
    if "${" in text:
        try:
            text = str(resolve_text(text, config))
        except InvalidValueError:
            return set(re.findall(r"[A-Za-z_]\w*", text))
    return set(Expression(text).names)


def _places(config: Mapping[str, Any], axes: Axes) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """What is derived, and the conditions, of the config itself and of every grid inside."""
    derive = config.get("derive")
    yield derive if isinstance(derive, Mapping) else {}, as_list(config.get("where"))
    for grid in axes.inner():
        yield grid.derive, grid.conditions
