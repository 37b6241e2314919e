"""Options: blocks of a config as frozen dataclasses, whose fields say what is allowed.

Whoever has options (a failure policy, an executor, a place) declares them beside itself::

    @dataclass(frozen=True)
    class Options:
        n_cpus: Annotated[int | None, Field("cores of the Ray", ge=1)] = None
        cpus_per_task: Annotated[float | str, Field("a number, or an expression", gt=0)] = 1

        def __post_init__(self) -> None:
            check_options(self, "executor")

A field is ``bool``, ``int``, ``float``, ``str``, ``Literal[...]``, ``Mapping[str, Any]``, any of
these ``| None``, or a union of them; ``Field`` gives the range of its numbers, and the unit ``s``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union

from lawsweep.core.errors import InvalidValueError, nearest, unknown_name
from lawsweep.core.schema import INT64_MAX, Field

T = TypeVar("T")


def read_options(cls: type[T], values: Any, place: str) -> T:
    """The options of ``cls``, a dataclass as above, from a mapping (or such options themselves).

    ``place`` is what they are of, for messages.  Raises UnknownNameError for a name that is no
    field, InvalidValueError for what is no mapping, lacks a field or does not fit one.
    """
    if isinstance(values, cls):
        return values
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if not isinstance(values, Mapping):
        raise InvalidValueError(
            f"{place} must be a mapping of {', '.join(fields)}, got {values!r}."
        )
    for name in values:
        if name not in fields:
            raise unknown_name("option", name, fields, place)
    for name, f in fields.items():
        has_default = not (
            f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        )
        if name not in values and not has_default:
            raise InvalidValueError(f"{place} needs {name}; got {dict(values)!r}. Give it.")
    made = cls(**values)
    check_options(made, place)
    return made


def check_options(options: Any, place: str) -> None:
    """Refuse values that do not fit the fields of frozen ``options``; whole floats become ints.

    Raises InvalidValueError: ``place.name must be a whole number from 1, got ...``.
    """
    cls: type = type(options)
    for field in option_fields(cls):
        value = getattr(options, field.name)
        fitted = field.fitted(value)
        if fitted is _NO:
            close = nearest(str(value), map(str, field.choices))
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidValueError(
                f"{place}.{field.name} must be {field.expected}, got {value!r}.{hint}"
            )
        object.__setattr__(options, field.name, fitted)


@dataclass(frozen=True)
class OptionField:
    """One field of options: its ``name``, the plain types it takes, its choices, range and unit."""

    name: str
    types: tuple[Any, ...]
    choices: tuple[Any, ...]
    info: Field

    def fitted(self, value: Any) -> Any:
        """``value`` as one of the types; ``_NO`` where it is none of them, or out of range."""
        if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # numpy's, from Python
            value = value.item()
        if value is None or isinstance(value, bool):  # a truth is no number
            return value if type(value) in self.types else _NO
        if isinstance(value, str):
            return value if str in self.types or value in self.choices else _NO
        if isinstance(value, int | float):
            return self._number(value)
        return value if isinstance(value, Mapping) and Mapping in self.types else _NO

    def _number(self, value: float) -> Any:
        if value in self.choices:
            return value
        if isinstance(value, int) and abs(value) > INT64_MAX:
            return _NO
        if int in self.types and float(value).is_integer():
            value = int(value)
        elif float not in self.types or not math.isfinite(value):
            return _NO
        bounds = (
            (self.info.ge, operator.ge),
            (self.info.gt, operator.gt),
            (self.info.le, operator.le),
            (self.info.lt, operator.lt),
        )
        return value if all(b is None or holds(value, b) for b, holds in bounds) else _NO

    @property
    def is_text(self) -> bool:
        """Whether a text stands for itself here, even where it looks like a number."""
        return str in self.types

    @property
    def expected(self) -> str:
        """What the field takes, as a person reads it: ``a whole number from 1, or null``."""
        noun = "a whole number" if float not in self.types else "a number"
        noun = "seconds" if self.info.unit == "s" else noun
        words = [f"one of {', '.join(map(str, self.choices))}"] if self.choices else []
        words += [noun + self._range()] if {int, float} & set(self.types) else []
        for kind, word in ((bool, "true or false"), (str, "text"), (Mapping, "a mapping")):
            words += [word] if kind in self.types else []
        return " or ".join(words) + (", or null" if type(None) in self.types else "")

    def _range(self) -> str:
        bounds = (("from", self.info.ge), ("above", self.info.gt), ("to", self.info.le),
                  ("below", self.info.lt))  # fmt: skip
        return "".join(f" {word} {bound:,.10g}" for word, bound in bounds if bound is not None)


class _NoFit:
    """What no value is."""


_NO = _NoFit()


@functools.cache
def option_fields(cls: type) -> tuple[OptionField, ...]:
    """The fields of a dataclass of options.  Raises TypeError for a type that is none of ours."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_resolve(f.name, hints[f.name], cls) for f in dataclasses.fields(cls))


def _resolve(name: str, hint: Any, cls: type) -> OptionField:
    info = Field()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        info = next((e for e in extras if isinstance(e, Field)), info)
    parts = typing.get_args(hint) if _is_union(hint) else (hint,)
    kinds: list[Any] = []
    choices: list[Any] = []
    for part in parts:
        origin = typing.get_origin(part) or part
        if origin is Literal:
            choices += typing.get_args(part)
        elif origin in (bool, int, float, str, type(None)):
            kinds.append(origin)
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            kinds.append(Mapping)
        else:
            raise TypeError(
                f"{cls.__qualname__}.{name} has the unsupported type {part!r}; use bool, int, "
                "float, str, Literal, Mapping, None, or a union of them."
            )
    return OptionField(name, tuple(kinds), tuple(choices), info)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)
