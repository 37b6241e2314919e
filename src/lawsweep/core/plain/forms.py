"""Params that a function takes as more than a plain value: enums, paths, lists, mappings, numbers.

Tables, run ids and sweep files hold the plain value; what a function is given is made of it where
it runs.
"""

from __future__ import annotations

import enum
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, ClassVar

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.schema import FieldSpec, Form


@dataclass(frozen=True)
class EnumForm(Form):
    """A member of an enum: its name."""

    kind: type[enum.Enum]

    def plain(self, spec: FieldSpec, value: Any) -> Any:
        """The member's name; a value that is one member's, and no name, stands for that member."""
        if isinstance(value, self.kind):
            return value.name
        if isinstance(value, str) and value in self.kind.__members__:
            return self.kind[value].name  # an alias is the member it stands for
        if isinstance(value, enum.Enum):
            raise spec.wrong_type(value)
        of_value = [m.name for m in self.kind if m.value == value and type(m.value) is type(value)]
        return of_value[0] if of_value else value

    def build(self, value: Any) -> Any:
        """The member."""
        return self.kind[value]


@dataclass(frozen=True)
class PathForm(Form):
    """A path: its text, as it is written."""

    kind: type[PurePath]

    words: ClassVar[str] = "a path"

    def plain(self, spec: FieldSpec, value: Any) -> Any:
        """The text."""
        if isinstance(value, int):
            raise spec.wrong_type(value)
        return str(value) if isinstance(value, PurePath) else value

    def build(self, value: Any) -> Any:
        """The path."""
        return self.kind(value)


@dataclass(frozen=True)
class ListForm(Form):
    """A list or a tuple: of other forms, of a length."""

    kind: type  # list or tuple
    inner: Form | None = None
    length: int | None = None

    def plain(self, spec: FieldSpec, value: Any) -> Any:
        """A tuple of plain values."""
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            raise spec.wrong_type(value)
        found = tuple(value)
        if self.length is not None and len(found) != self.length:
            raise InvalidValueError(
                f"{spec.name} must be {self.length} values, got {len(found)}: {value!r}."
            )
        return found if self.inner is None else tuple(self.inner.plain(spec, v) for v in found)

    def build(self, value: Any) -> Any:
        """The list or tuple."""
        return self.kind(value if self.inner is None else map(self.inner.build, value))


@dataclass(frozen=True)
class JsonForm(Form):
    """A mapping, or a list of unlike things: one value, canonical JSON in tables and run ids."""

    kind: str  # dict, list, tuple, config

    words: ClassVar[str] = "a mapping"

    def plain(self, spec: FieldSpec, value: Any) -> Any:
        """The JSON text: keys sorted, ASCII, no spaces.  Of such a text it is that text."""
        if hasattr(value, "_metadata") and hasattr(value, "_content"):  # OmegaConf's containers
            value = importlib.import_module("omegaconf").OmegaConf.to_container(value, resolve=True)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise spec.wrong_type(value) from None
        wanted = (list, tuple) if self.kind in ("list", "tuple") else Mapping
        if not isinstance(value, wanted):
            raise spec.wrong_type(value)
        try:
            return json.dumps(_sorted(value), separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidValueError(
                f"{spec.name} must be made of numbers, texts, lists and mappings, got {value!r} "
                f"({error}). Change its value."
            ) from None

    def build(self, value: Any) -> Any:
        """The mapping or list."""
        found = json.loads(value)
        if self.kind == "config":  # whoever annotates with it has imported it
            return importlib.import_module("omegaconf").OmegaConf.create(found)
        return tuple(found) if self.kind == "tuple" else found


def _sorted(value: Any) -> Any:
    """With keys that are texts, in their order, and whatever is a list a list."""
    if isinstance(value, Mapping):
        if not all(isinstance(k, str) for k in value):
            raise TypeError("a key that is no text")
        return {k: _sorted(value[k]) for k in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(v) for v in value]
    if isinstance(value, float):
        return value + 0.0
    return value


@dataclass(frozen=True)
class JsonListForm(JsonForm):
    """A list of unlike things."""

    words: ClassVar[str] = "a list"


@dataclass(frozen=True)
class NumberForm(Form):
    """A number that nothing says the type of (a command's, a lambda's): whole ones become int."""

    words: ClassVar[str] = "a number"

    def plain(self, spec: FieldSpec, value: Any) -> Any:
        """The number."""
        return value

    def build(self, value: Any) -> Any:
        """An int where it is whole."""
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
