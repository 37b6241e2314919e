"""What a job is called for ever: its config, resolved, without ``hydra``.

Two spellings of one config are one run: ``model=big`` and ``model.width=100 model.name=big``, or a
value that stands there and one that is referred to (``${model.width}``).  A default that is changed
in ``conf/`` is another run, and so is a key that is added.  References to other keys of the config
are followed; what a resolver would say (``${now:...}``, ``${oc.env:...}``, ``${hydra:...}`` and
the application's own) is not asked for: it stands as it is written, so that neither the hour nor
the machine nor a secret of the environment becomes part of a run.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

_RESOLVER = re.compile(r"\$\{\s*[A-Za-z_][\w.]*\s*:")
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}", re.ASCII)
_OPENING = re.compile(r"(\\*)\$\{")

_NOWHERE = object()


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The config as plain values, references followed and resolvers left as they are written.

    ``config`` is changed on the way: give a copy of one's own.
    """
    from omegaconf import OmegaConf

    found = OmegaConf.to_container(config)
    plain: dict[str, Any] = _plain(_resolved(config, found))
    return plain


def _resolved(config: DictConfig, found: Any) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    texts = [(path, text) for path, text in texts_of(found) if "${" in text]
    if all(_RESOLVER.search(text) or "${" not in _REFERENCE.sub("", text) for _, text in texts):
        return _followed(found, found, ())
    for path, text in texts:
        if _RESOLVER.search(text):
            _put(config, path, _OPENING.sub(lambda m: m[1] * 2 + "\\${", text))
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:  # one leads nowhere: the run will say so, if it looks at it
        return found


def _followed(value: Any, config: dict[Any, Any], seen: tuple[str, ...]) -> Any:
    """With plain references (``${model.width}``) followed, as far as they lead somewhere.

    OmegaConf's parser would take most of the time of a sweep of many jobs.
    """
    if isinstance(value, dict):
        return {k: _followed(v, config, seen) for k, v in value.items()}
    if isinstance(value, list):
        return [_followed(v, config, seen) for v in value]
    if not isinstance(value, str) or "${" not in value or _RESOLVER.search(value):
        return value

    def at(path: str) -> Any:
        found: Any = config
        for key in path.split("."):
            found = found.get(key, _NOWHERE) if isinstance(found, dict) else _NOWHERE
        if found is _NOWHERE or found == "???" or path in seen:
            return _NOWHERE
        return _followed(found, config, (*seen, path))

    if whole := _REFERENCE.fullmatch(value):
        found = at(whole[1])
        return value if found is _NOWHERE else found

    def text(match: re.Match[str]) -> str:
        found = at(match[1])
        return match[0] if found is _NOWHERE or isinstance(found, dict | list) else str(found)

    return _REFERENCE.sub(text, value)


def _put(config: Any, path: tuple[Any, ...], text: str) -> None:
    """Put a text at a place of a config, whatever type the place has."""
    from omegaconf import AnyNode

    for key in path[:-1]:
        config = config._get_node(key)
    node = AnyNode(text, key=path[-1], parent=config)
    config.__dict__["_content"][path[-1]] = node


def digest_of(application: str, config: Mapping[str, Any]) -> str:
    """32 hexadecimal digits for an application's function and a plain config."""
    text = json.dumps([application, config], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def without(config: dict[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """The config without some keys (``paths``, ``logging.level``), and what lies within them."""
    for key in keys:
        config = _without(config, key.split("."))
    return config


def _without(config: dict[str, Any], path: list[str]) -> dict[str, Any]:
    if path[0] not in config:
        return config
    inner = config[path[0]]
    if len(path) > 1 and isinstance(inner, dict):
        return {**config, path[0]: _without(inner, path[1:])}
    return {k: v for k, v in config.items() if k != path[0]} if len(path) == 1 else config


def leaves(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each leaf with its path; a list is one leaf, and so is an empty mapping."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from (((key, *path), leaf) for path, leaf in leaves(value))
        else:
            yield (key,), value


def texts_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Each text with its path of keys and places."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, dict | list):
            yield from texts_of(inner, (*path, key))
        elif isinstance(inner, str):
            yield (*path, key), inner


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value if not isinstance(value, enum.Enum) else value.name
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bytes):
        return value.hex()
    return value.as_posix() if isinstance(value, PurePath) else str(value)
