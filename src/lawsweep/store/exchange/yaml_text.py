"""YAML as sweep files have it: a scalar is a number only where it is written as one.

YAML 1.1, which PyYAML reads, makes 15 of ``017``, 45045 of ``12:30:45``, 31 of ``0x1f``, 1000 of
``1_000`` and false of ``no``.  Here these are text as written (a param that is a number then
refuses them by name); numbers are decimal, and true and false are the only truths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import yaml

from lawsweep.core.errors import InvalidValueError

MAX_DEPTH = 100
# What aliases may add to a file: each stands for all of what it names, and of what that names.
MAX_ALIASED = 100_000

_TAG = "tag:yaml.org,2002:"
_RULES = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"0|-?[1-9][0-9]*", list("-0123456789")),
    (
        "float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: Any = {}  # noqa: RUF012  (its own, and filled below)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that is there twice: the second would replace the first."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found duplicate key {key.value}", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or ``_Loader`` would read as something else."""


for _name, _pattern, _first in _RULES:
    _rule = (f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), _first)
    _Loader.add_implicit_resolver(*_rule)
    _Dumper.add_implicit_resolver(*_rule)


def read_yaml(text: str) -> Any:
    """The document as plain containers.  Raises yaml.YAMLError, and InvalidValueError for a bomb.

    Depth and aliases are counted before anything is built.
    """
    with suppress(yaml.YAMLError):  # the loader says it better
        for _ in _events(text):
            pass
    return yaml.load(text, Loader=_Loader)


def write_yaml(value: Any) -> str:
    """Plain containers as YAML that ``read_yaml`` reads back as they were."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def escaped(value: Any) -> Any:
    """Plain containers such that a sweep file of them means them: no text is an interpolation."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", value)
    if isinstance(value, dict):
        return {k: escaped(v) for k, v in value.items()}
    return [escaped(v) for v in value] if isinstance(value, list | tuple) else value


def check_yaml(text: str) -> None:
    """Raise InvalidValueError for a scalar of which YAML 1.1 makes something that is not written.

    For files that somebody else (Hydra) reads.
    """
    for event in _events(text):
        if not isinstance(event, yaml.ScalarEvent) or not event.implicit[0] or event.style:
            continue
        if _of(_Loader, event.value) != f"{_TAG}str":
            continue
        read = _of(yaml.SafeLoader, event.value)
        if read in (f"{_TAG}int", f"{_TAG}bool", f"{_TAG}float"):
            raise InvalidValueError(
                f"line {_line(event)}: YAML reads {event.value} as "
                f"{yaml.safe_load(event.value)!r}. Quote it for text ('{event.value}'), or write "
                "the plain decimal number, or true or false."
            )


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _of(loader: type[yaml.SafeLoader], text: str) -> str:
    """The tag that a plain scalar gets."""
    rules = loader.yaml_implicit_resolvers
    for tag, pattern in [*rules.get(text[:1], []), *rules.get(None, [])]:
        if pattern.match(text):
            return str(tag)
    return f"{_TAG}str"


def _events(text: str) -> Iterator[Any]:
    """The events of parsing; refuses what nests too deep, or grows too large by its aliases."""
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    sizes: dict[str, int] = {}  # of what each anchor names, aliases within it counted in full
    inside: list[tuple[str | None, int]] = [(None, 0)]  # anchor, and size so far
    aliased = 0
    for event in yaml.parse(text, Loader=loader):
        yield event
        if isinstance(event, yaml.CollectionStartEvent):
            if len(inside) > MAX_DEPTH:
                raise InvalidValueError(
                    f"nests more than {MAX_DEPTH} levels deep (line {_line(event)}); "
                    "write it flatter."
                )
            inside.append((event.anchor, 1))
            continue
        size = 1
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = inside.pop()
            if anchor is not None:
                sizes[anchor] = size
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in inside):
                raise InvalidValueError("refers to itself; write the values out.")
            size = sizes.get(str(event.anchor), 1)
            aliased += size
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None:
                sizes[event.anchor] = 1
        else:
            continue
        anchor, before = inside[-1]
        inside[-1] = (anchor, before + size)
        if aliased > MAX_ALIASED:
            raise InvalidValueError(
                f"grows by more than {MAX_ALIASED:,} values through its aliases (line "
                f"{_line(event)}); write the values out."
            )
