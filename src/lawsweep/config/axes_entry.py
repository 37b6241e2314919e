"""An ``axes`` entry as plain containers: what it spans, without an axis, or with other values.

What the entry means is ``grid/axes.py``'s business; here its shape is kept, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from lawsweep.core.expressions.expression import Expression
from lawsweep.grid.axes import as_list


def axis_names(axes: Any) -> list[str]:
    """All names that an ``axes`` entry spans, whatever block they are in."""
    if isinstance(axes, list | tuple):
        return [n for block in axes for n in axis_names(block)]
    if not isinstance(axes, Mapping):
        return []
    names: list[str] = []
    for key, value in axes.items():
        if key in ("zip", "points"):
            columns = value[0] if isinstance(value, list | tuple) and value else value
            names += map(str, columns) if isinstance(columns, Mapping) else []
        elif key == "sample":
            box = value.get("box") if isinstance(value, Mapping) else None
            names += map(str, box) if isinstance(box, Mapping) else []
        elif key in ("union", "when"):
            names += [n for m in _members(value) for n in axis_names(m.get("axes"))]
        else:
            names.append(str(key))
    return names


def has_axis(axes: Any, name: str) -> bool:
    """Whether ``name`` is an axis, or fixed or derived by a grid, anywhere in an ``axes`` entry."""
    return bool(without_axis(axes, name) != axes)


def has_axis_of_its_own(axes: Any, name: str) -> bool:
    """Whether ``name`` is an axis outside of every ``when`` and ``union``."""
    return has_axis(_outside(axes), name)


def is_inside_only(axes: Any, name: str) -> bool:
    """Whether ``name`` is given inside a ``when`` or ``union`` alone."""
    return has_axis(axes, name) and not has_axis_of_its_own(axes, name)


def _outside(axes: Any) -> Any:
    if isinstance(axes, list | tuple):
        return [_outside(block) for block in axes]
    if not isinstance(axes, Mapping):
        return axes
    return {k: v for k, v in axes.items() if k not in ("union", "when")}


def without_axis(axes: Any, name: str) -> Any:
    """An ``axes`` entry without ``name``, wherever it was; blocks left empty go too."""
    if isinstance(axes, list | tuple):
        return [rest for block in axes if (rest := without_axis(block, name)) or not block]
    if not isinstance(axes, Mapping):
        return axes
    kept: dict[str, Any] = {}
    for key, value in axes.items():
        if key == name:
            continue
        rest = _BLOCK_WITHOUT[key](value, name) if key in _BLOCK_WITHOUT else value
        if key not in _BLOCK_WITHOUT or rest or not value:
            kept[key] = rest
    return kept


def with_values(axes: Any, name: str, values: Any) -> Any:
    """An ``axes`` entry where ``name`` has other values, in each place that it stands in.

    Taken out of a ``zip``, of ``points`` or of a ``sample`` it spans a product with what is left.
    A grid of a union that fixes or derives it spans the values.
    """
    if isinstance(axes, list | tuple):
        return [with_values(block, name, values) for block in axes]
    if not isinstance(axes, Mapping):
        return axes
    found: dict[str, Any] = {}
    for key, value in axes.items():
        if key == name:
            found[key] = values
        elif key in ("zip", "points", "sample"):
            rest = _BLOCK_WITHOUT[key](value, name)
            if rest == value:
                found[key] = value
                continue
            found |= {key: rest} if rest else {}
            found[name] = values
        elif key in ("union", "when"):
            found[key] = _each(value, lambda member: _grid_with_values(member, name, values))
        else:
            found[key] = value
    return found


def _grid_with_values(grid: Mapping[str, Any], name: str, values: Any) -> dict[str, Any]:
    """A member of ``union`` or ``when`` with other values of ``name``, where it has any."""
    fixed = any(name in (grid.get(key) or {}) for key in ("params", "derive"))
    if not fixed:
        return (
            {**grid, "axes": with_values(grid["axes"], name, values)}
            if "axes" in grid
            else {**grid}
        )
    rest = _grids_without(grid, name)
    axes = rest.get("axes") or {}
    spanned = [*axes, {name: values}] if isinstance(axes, list | tuple) else {**axes, name: values}
    return {**rest, "axes": spanned}


def _each(members: Any, change: Callable[[Mapping[str, Any]], Any]) -> Any:
    """``union`` or ``when``, a grid or a list of grids, with each grid changed."""
    if isinstance(members, list | tuple):
        return [_each(m, change) for m in members]
    return change(members) if isinstance(members, Mapping) else members


def _members(value: Any) -> list[Mapping[str, Any]]:
    members = value if isinstance(value, list | tuple) else [value]
    return [m for m in members if isinstance(m, Mapping)]


def _columns_without(columns: Any, name: str) -> Any:
    """``zip`` or ``points``: a mapping of columns, or a list of points."""
    if isinstance(columns, Mapping):
        return {k: v for k, v in columns.items() if k != name}
    if isinstance(columns, list | tuple):
        return [rest for p in columns if (rest := _columns_without(p, name))]
    return columns


def _sample_without(sample: Any, name: str) -> Any:
    if not isinstance(sample, Mapping) or not isinstance(sample.get("box"), Mapping):
        return sample
    box = {k: v for k, v in sample["box"].items() if k != name}
    return {**sample, "box": box} if box else {}


def _grids_without(members: Any, name: str) -> Any:
    """``union`` or ``when``: a grid or a list of grids."""
    if isinstance(members, list | tuple):
        return [_grids_without(m, name) for m in members]
    if not isinstance(members, Mapping):
        return members
    kept = dict(members)
    for key in ("params", "derive"):
        if isinstance(kept.get(key), Mapping):
            kept[key] = {k: v for k, v in kept[key].items() if k != name}
    if "axes" in kept:
        kept["axes"] = without_axis(kept["axes"], name)
    return kept


_BLOCK_WITHOUT: dict[str, Callable[[Any, str], Any]] = {
    "zip": _columns_without,
    "points": _columns_without,
    "sample": _sample_without,
    "when": _grids_without,
    "union": _grids_without,
}


def grids_of(axes: Any) -> Iterator[Mapping[str, Any]]:
    """Every member of every ``union`` and ``when`` of an ``axes`` entry, nested ones too."""
    if isinstance(axes, list | tuple):
        for block in axes:
            yield from grids_of(block)
    elif isinstance(axes, Mapping):
        for key in ("union", "when"):
            for member in _members(axes.get(key)):
                yield member
                yield from grids_of(member.get("axes"))


def names_of(config: Mapping[str, Any]) -> set[str]:
    """All that a config spans or derives, in a grid of a union too."""
    found = set(axis_names(config.get("axes")))
    for place in (config, *grids_of(config.get("axes"))):
        found |= set(map(str, place.get("derive") or {}))
    return found


def advances_with(axes: Any, name: str) -> list[str]:
    """The axes that ``name`` stands in one ``zip``, points or sample with, wherever that is."""
    if isinstance(axes, list | tuple):
        return [n for block in axes for n in advances_with(block, name)]
    if not isinstance(axes, Mapping):
        return []
    found: list[str] = []
    for key, value in axes.items():
        if key in ("zip", "points", "sample"):
            names = axis_names({key: value})
            found += [n for n in names if n != name] if name in names else []
        elif key in ("union", "when"):
            found += [n for m in _members(value) for n in advances_with(m.get("axes"), name)]
    return list(dict.fromkeys(found))


def expressions_of(name: str, config: Mapping[str, Any]) -> list[str]:
    """What a config, or a grid inside its axes, derives ``name`` from."""
    places = (config, *grids_of(config.get("axes")))
    found = [(place.get("derive") or {}).get(name) for place in places]
    return [str(text) for text in found if text is not None]


def without_unused_axes(
    config: dict[str, Any],
    removed: Collection[str],
    fields: Collection[str],
    beside: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Drop the axes that are no params and that only ``removed`` expressions used.

    ``beside`` is another config whose expressions count too.
    """
    used: set[str] = set()
    configs = [config, beside or {}]
    for place in (*configs, *(g for c in configs for g in grids_of(c.get("axes")))):
        texts = [*(place.get("derive") or {}).values(), *as_list(place.get("where"))]
        for text in (*texts, place.get("if")):
            used |= set() if text is None else set(Expression(text).names)
    axes = config.get("axes")
    for text in removed:
        for name in Expression(text).names:
            if name not in fields and name not in used:
                axes = without_axis(axes, name)
    return {**config, "axes": axes}
