"""Overrides in Hydra's grammar, applied to a composed config.

``params.width=64,128`` (or ``range(...)``, ``linspace(...)``, any axis expression) replaces or
adds an axis; ``params.width=64`` pins the param: its axis and its derived field go.  An axis that
applies under a condition, or in some grids of a union, does so with its new values too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lawsweep.config.axes_of import axes_of, expressions_of, without_unused
from lawsweep.config.habits import explain_hydra_key, explain_param, explain_seed
from lawsweep.core.errors import InvalidValueError, LawsweepError, unknown_name
from lawsweep.core.expressions.expression import Expression
from lawsweep.core.schema import FieldSpec
from lawsweep.grid.points import MAX_POINTS
from lawsweep.grid.ranges import GENERATORS
from lawsweep.grid.sweep import KEYS

_AXIS_TEXT = re.compile(r"\+{0,2}((?:params|axes)\.[A-Za-z_]\w*)=(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class Override:
    """One parsed override.  ``values`` is a list for a sweep, ``value`` anything else."""

    text: str
    path: tuple[str, ...]
    value: Any
    is_sweep: bool = False
    is_delete: bool = False


def parse_override(text: str) -> Override:
    """Parse one override.  Raises InvalidValueError for what Hydra's grammar refuses."""
    if not isinstance(text, str):
        raise InvalidValueError(f"An override is text such as 'seeds=3', got {text!r}.")
    expression = _axis_expression(text)
    if expression is not None:
        return expression
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if "=" not in text and not text.startswith("~"):
        raise InvalidValueError(f"An override is written key=value, got {text!r}.")
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise InvalidValueError(
            f"Cannot read the override {text!r} ({reason}). Write key=value, key=a,b or "
            "key=range(a,b,step); put quotes around text with special characters."
        ) from None
    except AttributeError:
        if __debug__:
            raise
        # Hydra's reader of functions does part of its work in assertions, which are off.
        raise InvalidValueError(
            f"Hydra cannot read the function in {text!r} under python -O or PYTHONOPTIMIZE. "
            "Write the values as a,b,c, or unset it."
        ) from None
    path = tuple(parsed.get_key_element().lstrip("+~").split("."))
    if parsed.is_delete():
        return Override(text, path, None, is_delete=True)
    if not parsed.is_sweep_override():
        return Override(text, path, parsed.value())
    if not parsed.is_discrete_sweep():
        raise InvalidValueError(
            f"The override {text!r} has no list of values; use a,b,c or range(a,b,step)."
        )
    try:
        values = [_plain(v) for v in islice(parsed.sweep_iterator(), MAX_POINTS + 1)]
    except HydraException:
        raise InvalidValueError(
            f"The override {text!r} has no list of values; use a,b,c or range(a,b,step)."
        ) from None
    if len(values) > MAX_POINTS:  # counted as they come: there may be too many to hold
        raise InvalidValueError(
            f"The override {text!r} gives more than {MAX_POINTS:,} values. Narrow it."
        )
    return Override(text, path, values, is_sweep=True)


def _plain(value: Any) -> Any:
    """An element of a sweep as plain Python: Hydra leaves its quoted strings wrapped there."""
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    return value


def _axis_expression(text: str) -> Override | None:
    """An axis expression such as ``params.d=linspace(1, 2, 3)``, which Hydra could not read."""
    match = _AXIS_TEXT.match(text)
    if not match:
        return None
    value = match[2].strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    try:
        found = Expression(value, GENERATORS)
    except LawsweepError:
        return None
    if found.names or not found.functions & set(GENERATORS):
        return None
    return Override(text, tuple(match[1].split(".")), value, is_sweep=True)


def check_key(override: Override, params: Callable[[], Iterable[str]] = tuple) -> None:
    """Raise UnknownNameError when the first part of the key is no key of a config.

    ``params`` gives the params of the experiment, for who left out their ``params.``.
    """
    first = override.path[0]
    if first in KEYS:
        return
    if first.partition("/")[0] == "hydra":
        raise explain_hydra_key(override.path, override.text)
    if first == "seed":
        raise explain_seed(override.text)
    if len(override.path) == 1:
        known = []
        with suppress(LawsweepError):  # what is wrong with the experiment is said without it
            known = list(params())
        if error := explain_param(first, override.text, known, KEYS):
            raise error
    raise unknown_name("key", first, KEYS, f"override {override.text!r}")


def check_written(override: Override, fields: Mapping[str, FieldSpec]) -> None:
    """Refuse a number for a param that is text where its digits are not those that were written.

    Hydra reads ``1_000`` and ``+5`` as 1000 and 5; a text has to be quoted to be such.
    """
    spec = fields.get(override.path[-1]) if len(override.path) == 2 else None
    if spec is None or spec.kind != "str":
        return
    written = re.split(r"[\s,\[\]]+", override.text.partition("=")[2])
    values = override.value if isinstance(override.value, list) else [override.value]
    flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
    for value in flat:
        if isinstance(value, int) and not isinstance(value, bool) and str(value) not in written:
            raise InvalidValueError(
                f"The override {override.text!r} reads as the number {value}, and {spec.name} is "
                f"text. Quote it, for the shell too: \"{'.'.join(override.path)}='...'\"."
            )


def apply_override(
    config: dict[str, Any], override: Override, fields: Collection[str]
) -> dict[str, Any]:
    """The config with one override applied; ``fields`` are the params of the experiment."""
    path, value = override.path, override.value
    if path[0] == "params" and len(path) == 2:
        return _apply_param(config, path[1], override, fields)
    if path[0] == "params" and (name := "_".join(path[1:])) in fields:
        return _apply_param(config, name, override, fields)  # of a dataclass inside the Params
    if override.is_sweep and path[0] not in ("axes", "seeds"):
        raise InvalidValueError(
            f"The override {override.text!r} gives several values; only params, axes and seeds "
            "take a sweep. Launch once for each value."
        )
    axes = axes_of(config, fields)
    if path[0] == "axes" and len(path) == 2:
        has = axes.has(path[1])
        if override.is_delete and not has:
            raise unknown_name("axis", path[1], axes.names, f"override {override.text!r}")
        if override.is_delete:
            axes = axes.without(path[1])
        else:
            axes = axes.with_values(path[1], value) if has else axes.with_axis(path[1], value)
        return {**config, "axes": axes.written()}
    made = _set(config, path, override)
    if path[0] != "derive" or not fields:
        return made
    before, after = ((c.get("derive") or {}) for c in (config, made))
    removed = [str(text) for name, text in before.items() if text not in (None, after.get(name))]
    return {**made, "axes": without_unused(made, axes, removed, fields).written()}


def _apply_param(
    config: dict[str, Any], name: str, override: Override, fields: Collection[str]
) -> dict[str, Any]:
    axes = axes_of(config, fields)
    values = override.value if override.is_sweep else [override.value]
    was_axis = axes.has(name)
    given = {*(config.get("params") or {}), *(config.get("derive") or {})}
    if override.is_delete and not was_axis and name not in given:
        names = {*given, *axes.names}
        raise unknown_name("param", name, names, f"override {override.text!r}")
    removed = expressions_of(name, config, axes)
    if not override.is_delete and name not in given and axes.has_inside_only(name):
        # It applies under a condition, or in some grids of a union: the others have none of it.
        axes = without_unused(config, axes.with_values(name, values), removed, fields)
        return {**config, "axes": axes.written()}
    # An axis that is no param (a ratio that others derive from) stays an axis when pinned.
    stays = not override.is_delete and (override.is_sweep or (was_axis and name not in fields))
    config = {**config}
    for key in ("params", "derive"):
        config[key] = {k: v for k, v in (config.get(key) or {}).items() if k != name}
    if stays and axes.has_of_its_own(name) and name not in given:
        axes = without_unused(config, axes.with_values(name, values), removed, fields)
        return {**config, "axes": axes.written()}
    axes = without_unused(config, axes.without(name), removed, fields)
    if stays:
        axes = axes.with_axis(name, values)
    elif not override.is_delete:
        config["params"][name] = override.value
    return {**config, "axes": axes.written()}


def _set(config: dict[str, Any], path: tuple[str, ...], override: Override) -> dict[str, Any]:
    """Set (or delete) a nested key, copying on the way down."""
    head, rest = path[0], path[1:]
    if not rest:
        gone = override.is_delete or (override.value is None and override.path[0] == "derive")
        if gone and head not in config:
            raise unknown_name("key", head, config, f"override {override.text!r}")
        if override.is_delete:
            return {k: v for k, v in config.items() if k != head}
        return {**config, head: override.value}
    inner = config.get(head)
    if inner is None:
        inner = {}
    if not isinstance(inner, Mapping):
        raise InvalidValueError(
            f"The override {override.text!r} goes into {head!r}, which is {inner!r} and no "
            f"mapping. Give {head!r} as a whole."
        )
    return {**config, head: _set(dict(inner), rest, override)}
