"""Reads the mappings under ``fits`` and ``figures`` of a sweep file; says what is wrong and where.

Parsing needs the names of the columns only, no data, and imports neither pandas nor matplotlib,
so ``plan`` can refuse a misspelt metric in milliseconds instead of after a night of compute.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lawsweep.core import plugins
from lawsweep.core.errors import InvalidValueError, LawsweepError, unknown_name
from lawsweep.core.expressions.expression import Expression

_NUMBERS = ("bool", "int", "float")  # kinds that can be computed with
LONGEST = 60  # characters of a name that is made
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def entries(
    value: Any, place: str, keys: Sequence[str], kinds: Mapping[str, str] | None = None
) -> Iterator[Entry]:
    """The entries of a list of mappings; ``keys`` are those that they may have, for messages.

    ``kinds``: what columns hold where that is known: bool, int, float, str, or another word.
    """
    if value is None:
        return
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidValueError(
            f"{place} must be a list of mappings, got {value!r}. Start each entry with '- '."
        )
    for i, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise InvalidValueError(
                f"{place}[{i}] must be a mapping of {', '.join(keys)}, got {entry!r}."
            )
        yield Entry(f"{place}[{i}]", entry, kinds or {})


@dataclass(frozen=True)
class Entry:
    """One mapping of the sweep file and where it stands, for messages."""

    place: str
    values: Mapping[str, Any]
    kinds: Mapping[str, str] = field(default_factory=dict)

    def wrong(self, key: str, expected: str, got: Any) -> InvalidValueError:
        """The error for a value that is not what its key takes."""
        return InvalidValueError(
            f"{self.place}.{key} must be {expected}, got {got!r}. Change its value."
        )

    def check_keys(self, valid: Collection[str]) -> None:
        """Refuse a key that is none of ``valid``."""
        for key in self.values:
            if key not in valid:
                raise unknown_name("key", str(key), valid, self.place)

    def kind(self, key: str, group: str, builtin: Mapping[str, str]) -> str | None:
        """What ``key`` names of a group of plugins; None where it is none of their names."""
        value = str(self.values.get(key))
        return value if value in builtin or value in plugins.names(group, builtin) else None

    def unknown_kind(self, key: str, group: str, builtin: Mapping[str, str]) -> LawsweepError:
        """The error of an entry whose ``key`` is not there, or none of the names of its group."""
        try:
            self.require(key)
        except InvalidValueError as error:
            return error
        names = plugins.names(group, builtin)
        return plugins.unknown(group, str(self.values[key]), names, key, self.place)

    def require(self, *keys: str) -> None:
        """Refuse an entry without one of ``keys``."""
        for key in keys:
            if self.values.get(key) is None:
                raise InvalidValueError(
                    f"{self.place} needs {key}; got {sorted(self.values)}. Add a line '{key}: …'."
                )

    def refuse(self, key: str, where: str) -> None:
        """Refuse a key that ``where`` (``kind curve``) does not take; null and false are none."""
        if self.values.get(key) not in (None, False):
            raise InvalidValueError(
                f"{self.place}: {where} takes no {key}, got {self.values[key]!r}. Remove it."
            )

    def choice(self, key: str, valid: Collection[str], default: str | None) -> str:
        """One of ``valid``; without a default it must be given."""
        value = self.values.get(key, default)
        if value is None and default is None:
            self.require(key)
        value = "none" if value is None or value is False else str(value)
        if value not in valid:
            raise unknown_name(key, value, valid, self.place)
        return value

    def expression(self, key: str, names: Collection[str]) -> str:
        """An expression over ``names``, of numbers or true and false."""
        return self._checked(f"{self.place}.{key}", self.values.get(key), names)

    def condition(self, key: str, names: Collection[str]) -> str | None:
        """An expression over ``names`` that is true or false, and may be left out."""
        if self.values.get(key) is None:
            return None
        text = self.expression(key, names)
        dtype = Expression(text).dtype(self.kinds)
        if dtype is not None and dtype.kind != "b":
            raise Expression(text).no_condition(f"{self.place}.{key}", dtype)
        return text

    def expressions(self, key: str, names: Collection[str]) -> tuple[str, ...]:
        """A list of distinct expressions over ``names``."""
        value = self.values.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.wrong(key, "a list of expressions", value)
        texts = tuple(
            self._checked(f"{self.place}.{key}[{i}]", v, names) for i, v in enumerate(value)
        )
        if len(set(texts)) < len(texts):
            raise self.wrong(key, "a list without repeats", list(texts))
        return texts

    def columns(self, key: str, names: Collection[str]) -> tuple[str, ...]:
        """One column or a list of columns, each once."""
        value = self.values.get(key)
        if value is None:
            return ()
        listed = (value,) if isinstance(value, str) else value
        if not isinstance(listed, Sequence) or not all(isinstance(v, str) for v in listed):
            raise self.wrong(key, "a column or a list of columns", value)
        for name in listed:
            if name not in names:
                raise unknown_name("column", name, names, f"{self.place}.{key}")
        return tuple(dict.fromkeys(listed))

    def flag(self, key: str) -> bool | None:
        """True or false; None where it is not given."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def share(self, key: str, default: float) -> float:
        """A number between 0 and 1."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise self.wrong(key, f"a number between 0 and 1, for example {default:g}", value)
        return float(value)

    def text(self, key: str) -> str | None:
        """Text, or a number as text; None where it is not given."""
        value = self.values.get(key)
        if isinstance(value, Mapping | list | tuple | bool):
            raise self.wrong(key, "text", value)
        return None if value is None else str(value)

    def stem(self, head: str, about: str) -> str:
        """``name``, a file's stem; by default ``head`` and the columns the entry is about.

        ``curve_gap`` of ``abs(gap)``: what is computed of them is for a title, or for a name.
        """
        name = self.text("name") or "_".join([head, *_columns_of(about)])[:LONGEST].rstrip("_")
        if not _STEM.match(name):
            raise self.wrong("name", "a file name of letters, digits and ._-", name)
        return name

    def _checked(self, place: str, value: Any, names: Collection[str]) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidValueError(
                f"{place} must be an expression such as input_dim**2, got {value!r}. Change it."
            )
        try:
            expression = Expression(value)
        except LawsweepError as error:
            raise type(error)(f"{place}: {error}") from None
        for name in expression.names:
            if name not in names:
                raise unknown_name("column", name, names, place)
        texts = {n for n, kind in self.kinds.items() if kind not in _NUMBERS}
        for name in sorted(expression.computed_with & texts):
            raise InvalidValueError(
                f"{place} must be a number, and {name} holds text. Choose a numeric "
                "expression, or tell its values apart with by."
            )
        return expression.text


def _columns_of(about: str) -> list[str]:
    """The first two columns that an expression reads; of what is none, its words."""
    try:
        names = Expression(about).names
    except LawsweepError:
        names = ()
    words = [re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_") for word in names or [about]]
    return [word for word in words[:2] if word] or ["value"]


def distinct_names(names: Sequence[str]) -> list[str]:
    """Names made distinct (two files of one stem would overwrite each other): a, a_2, a_3."""
    made: list[str] = []
    for stem in names:
        name, k = stem, 1
        while name in made:
            k += 1
            name = f"{stem}_{k}"
        made.append(name)
    return made
