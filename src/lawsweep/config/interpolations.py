"""Interpolations: what ``${…}`` stands for, looked at once, when the overrides are in.

As in Hydra, ``${params.width}`` is what the override says, ``${oc.env:X,default}`` works on the
command line as in files, and a param that nobody gives is at the experiment's default.  A number
from the environment is a number where the field it stands in is one.

A swept param has no one value.  In a title, label or name of a fit or figure it reads as its
values (``relu, tanh``); elsewhere it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lawsweep.core.errors import InvalidValueError, nearest
from lawsweep.core.options import OptionField, option_fields
from lawsweep.core.schema import FieldSpec
from lawsweep.grid.axes import Axes, Plain, read_axes
from lawsweep.grid.sweep import OnFailure
from lawsweep.sampling.stopping import StopRuns
from lawsweep.store.exchange.yaml_text import MAX_ALIASED, read_yaml
from lawsweep.store.options import StoreOptions

Specs = Callable[[], Mapping[str, FieldSpec]]
Path = tuple[str | int, ...]
Texts = Sequence[tuple[Path, str]]
_WHOLE = re.compile(r"\$\{([\w.\[\]]+)\}\Z")
_PARAM = re.compile(r"\$\{\s*params(?:\.|\[)(\w+)")


def resolve_text(text: str, context: Mapping[str, Any]) -> Any:
    """What one interpolated text stands for, in a config.  Raises InvalidValueError."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    made = {**context, "": text}
    _check_size(made)
    try:
        found = OmegaConf.create(made)[""]
        return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    except OmegaConfBaseException as error:
        raise _told(error, context) from None


def resolve(config: Mapping[str, Any], specs: Specs) -> dict[str, Any]:
    """The config with every interpolation replaced by what it stands for.

    ``specs`` gives the params of the experiment, where one asks.  Raises InvalidValueError.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    texts = [(path, text) for path, text in _texts(config) if "${" in text]
    if not texts:
        return dict(config)
    _check_size(config)
    lent = _lent(config, texts, specs)
    given = dict(config)
    if lent:
        given["params"] = {**(config.get("params") or {}), **lent}
    needed = _needed(given, texts)
    try:
        made = OmegaConf.create({k: v for k, v in given.items() if k in needed})
        for path, text in texts:
            if "oc.env:" in text:
                _set_number(made, path, config, specs)
        found = OmegaConf.to_container(made, resolve=True)
    except OmegaConfBaseException as error:
        raise _told(error, config) from None
    except RecursionError:
        raise InvalidValueError(
            "interpolations refer to each other without end; give one of them a value."
        ) from None
    assert isinstance(found, dict)
    if lent:
        found["params"] = {k: v for k, v in found["params"].items() if k not in lent}
    return {k: found.get(k, v) for k, v in config.items()}


def leave_out(
    config: Mapping[str, Any], before: Mapping[str, Any], specs: Specs
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The config without fits and figures that name what overrides took away, and notes of them.

    ``before`` is the config without the overrides: what could not be resolved there stays.
    """
    found, notes = dict(config), []
    for key in ("fits", "figures"):
        entries, kept = config.get(key), []
        for i, entry in enumerate(entries if isinstance(entries, list) else ()):
            reason = _why_not(config, key, i, entry, specs)
            if reason is None or _why_not(before, key, i, entry, specs) is not None:
                kept.append(entry)
            else:
                notes.append(f"{key}[{i}] is left out: {reason}")
        found[key] = kept if isinstance(entries, list) else entries
    return found, tuple(notes)


def _why_not(
    config: Mapping[str, Any], key: str, place: int, entry: Any, specs: Specs
) -> str | None:
    """Why an entry of fits or figures cannot be resolved in a config; None where it can."""
    rest = {k: v for k, v in config.items() if k not in ("fits", "figures")}
    try:
        resolve({**rest, key: [None] * place + [entry]}, specs)
    except InvalidValueError as error:
        return str(error)
    return None


def _needed(config: Mapping[str, Any], texts: Texts) -> set[str]:
    """The keys of the config that hold interpolations, or that one may name."""
    if any(re.search(r"\$\{\s*\$", text) for _, text in texts):
        return set(config)  # a name that is itself looked up
    words = {word for _, text in texts for word in re.findall(r"\w+", text)}
    return {k for k in config if k in words} | {str(path[0]) for path, _ in texts}


def _texts(node: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text of plain containers, with the keys that lead to it."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _texts(value, (*path, key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            if isinstance(value, str | Mapping | list | tuple):  # numbers come by the thousand
                yield from _texts(value, (*path, i))


def _shown(path: Path) -> str:
    """``figures[0].title``."""
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path).lstrip(".")


def _lent(config: Mapping[str, Any], texts: Texts, specs: Specs) -> dict[str, Any]:
    """Params that interpolations name and the config does not give: what they stand for."""
    for key in ("params", "derive"):
        if not isinstance(config.get(key) or {}, Mapping):
            raise InvalidValueError(
                f"{key} must be a mapping of names to values, got {config[key]!r}."
            )
    given, derived = (config.get(key) or {} for key in ("params", "derive"))
    lent: dict[str, Any] = {}
    axes: Axes | None = None
    for path, text in texts:
        for name in _PARAM.findall(text):
            if name in given:
                continue
            axes = axes or read_axes(config.get("axes"))
            if name in derived or axes.has(name):
                if path[0] not in ("fits", "figures"):
                    raise _many(path, name, "derived" if name in derived else "swept")
                lent[name] = _values(axes, name)
            elif name in specs() and specs()[name].has_default:
                default = specs()[name].default
                lent[name] = list(default) if isinstance(default, tuple) else default
    return lent


def _many(path: Path, name: str, how: str) -> InvalidValueError:
    return InvalidValueError(
        f"{_shown(path)} names ${{params.{name}}}, and {name} is {how}, so it has no one value "
        f"there. Pin it (params.{name}=VALUE), or write an expression under derive."
    )


def _values(axes: Axes, name: str) -> str:
    """A swept param as a title has it: its values, or its name where those are made."""
    nodes = [*axes, *(node for grid in axes.inner() for node in grid.axes)]
    found = [n.values for n in nodes if isinstance(n, Plain) and n.name == name]
    if len(found) != 1:
        return name
    values = found[0] if isinstance(found[0], list | tuple) else [found[0]]
    return ", ".join(map(str, values))


def _set_number(made: Any, path: Path, config: Mapping[str, Any], specs: Specs) -> None:
    """Replace a text from the environment by the number it is, where a number is meant."""
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    value = parent[path[-1]]
    if not isinstance(value, str) or not _takes_number(path, config, specs):
        return
    with suppress(Exception):  # what is no YAML is no number
        read = read_yaml(value)
        if isinstance(read, bool | int | float):
            parent[path[-1]] = read


def _takes_number(path: Path, config: Mapping[str, Any], specs: Specs) -> bool:
    """Whether what stands at a path is no text, as its field says."""
    if path[0] in ("params", "axes"):
        fields = [specs()[str(k)] for k in path[1:] if str(k) in specs()]
        return not fields or fields[-1].kind != "str"
    if path[0] in ("seeds", "max_points"):
        return True
    options = {f.name: f for f in _options_of(str(path[0]), config)}
    field = options.get(str(path[1])) if len(path) == 2 else None
    return field is not None and bool({int, float, bool} & set(field.types))


def _options_of(key: str, config: Mapping[str, Any]) -> tuple[OptionField, ...]:
    """The options that a block of the config has, by whoever owns them."""
    options: Any
    if key == "executor":
        from lawsweep.executors.make import options_of

        return option_fields(options_of(config["executor"]))
    if key == "search":
        from lawsweep.sampling.samplers import find_sampler

        options = find_sampler(config["search"].get("kind")).Options
        return option_fields(options)
    if key == "until":
        from lawsweep.sampling.samplers import find_until, until_kind

        options = find_until(until_kind(config["until"])).Options
        return option_fields(options)
    classes = {"on_failure": OnFailure, "store": StoreOptions, "stop_runs": StopRuns}
    return option_fields(classes[key]) if key in classes else ()


def _told(error: Exception, config: Mapping[str, Any]) -> InvalidValueError:
    """OmegaConf's error as one sentence."""
    text = str(error)
    place = f"{getattr(error, 'full_key', '') or ''} ".lstrip()
    if missing := re.search(r"Interpolation key '(.+?)' not found", text):
        close = nearest(missing[1], _keys(config), n=1)
        hint = f" Did you mean ${{{close[0]}}}?" if close else ""
        return InvalidValueError(
            f"{place}names ${{{missing[1]}}}, and there is no {missing[1]}.{hint}"
        )
    if unset := re.search(r"Environment variable '(.+?)' not found", text):
        return InvalidValueError(
            f"{place}reads the environment variable {unset[1]}, which is not set. Set it, or give "
            f"a default: ${{oc.env:{unset[1]},default}}."
        )
    if "Recursive interpolation" in text:
        return InvalidValueError(f"{place}names itself, by what it stands for. Give it a value.")
    return InvalidValueError(" ".join(text.split())[:300])


def _keys(config: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")


def _check_size(config: Mapping[str, Any]) -> None:
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
        raise InvalidValueError(
            "interpolations refer to each other without end; give one of them a value."
        ) from None
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
