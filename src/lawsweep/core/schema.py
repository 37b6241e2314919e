"""The fields of Params and Metrics: their types, ranges, units and meanings.

A field is annotated with a plain type, or with ``Annotated[type, Field(...)]`` to give its
meaning, unit and range::

    n_samples: Annotated[int, Field("number of samples N", ge=1)]

Supported types: ``bool``, ``int``, ``float``, ``str``, ``Literal[...]`` of strings or of
integers, ``T | None`` and ``tuple[T, ...]`` of those; for a metric also ``Array`` and
``Array | None``: a large real array, which is kept beside the row.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union

from lawsweep.core.errors import InvalidValueError, advice, nearest

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np

    Array: TypeAlias = Any
else:

    class Array:
        """The type of a metric that is a large real array (a spectrum, a loss curve, weights).

        Its value is whatever numpy turns into a real array of any shape; it is kept as float64.
        """


Kind = Literal["bool", "int", "float", "str", "array"]
_KINDS: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "str", Array: "array"}


class Missing(enum.Enum):
    """The default of a field that has none; an enum member stays itself when it is pickled."""

    MISSING = enum.auto()


MISSING = Missing.MISSING

INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class Field:
    """Meaning, unit and range of a field, written inside ``Annotated[type, Field(...)]``.

    ``chaotic`` is said of a metric that turns on the last bit (the end of long training, a count of
    a solver's steps): with another processor, thread count or company it may be another.  ``steps``
    are the places of a list metric's values along the computation: after how many steps each is.
    ``aliases`` of a text metric map what rows of before say to what it is called today: every
    reader of a row applies them, so that a text may become a code without a new version.
    """

    meaning: str = ""
    unit: str = "1"
    source: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    chaotic: bool = False
    steps: tuple[int, ...] = ()
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Own:
    """Marks a choice that may also be the user's own, ``module:attribute``; ``what`` it is called.

    ``Annotated[Literal["relu", "tanh"], Own("activation")]``
    """

    what: str


@dataclass(frozen=True)
class FieldSpec:
    """One resolved field: name, kind, whether optional or a tuple, choices, default, Field."""

    name: str
    kind: Kind
    optional: bool
    is_tuple: bool
    choices: tuple[Any, ...] | None
    default: Any
    info: Field
    own: Own | None = None

    @property
    def has_default(self) -> bool:
        """Whether the field may be left out."""
        return self.default is not MISSING

    @property
    def type_name(self) -> str:
        """The type as a person reads it, for messages: ``int``, ``one of relu, tanh``."""
        base: str = f"one of {', '.join(map(str, self.choices))}" if self.choices else self.kind
        base = f"{base} or your own module:{self.own.what}" if self.own else base
        base = f"list of {base}" if self.is_tuple else base
        return f"{base} or null" if self.optional else base

    def cast(self, value: Any) -> Any:
        """``value`` in this field's canonical type, or InvalidValueError.

        An integer is accepted for a float and for a string (``kernel: 2``), an integral float
        for an int; nothing else is converted.  ``-0.0`` becomes ``0.0``; NaN is refused, and so
        is an infinity, unless it is the default or the range names it (``le=math.inf``).
        """
        if value is None:
            if self.optional:
                return None
            raise self.wrong_type(value)
        if self.is_tuple:
            if isinstance(value, str) or not hasattr(value, "__iter__"):
                raise self.wrong_type(value)
            return tuple(self._check(self._cast_one(v)) for v in value)
        return self._check(self._cast_one(value))

    def cast_metric(self, value: Any) -> Any:
        """As ``cast`` for a measured value: NaN and infinities are data, ranges are not held.

        Raises InvalidValueError for another type, and for None where the field is not optional.
        """
        if value is None and self.optional:
            return None
        if value is None:
            raise InvalidValueError(
                f"{self.name} must be {self.type_name}, got None. Return a value"
                f"{' (NaN is one)' if self.kind == 'float' else ''}, or declare the metric "
                f"{self.kind} | None."
            )
        if not self.is_tuple:
            return self._cast_metric_one(value)
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            raise self.wrong_type(value)
        return tuple(self._cast_metric_one(v) for v in value)

    def cast_array(self, value: Any) -> np.ndarray:
        """A measured array as a float64 copy in row-major order, NaN and infinities kept.

        Raises InvalidValueError for what is no real array: complex, object, string, ragged.
        """
        import numpy as np

        try:
            found = np.asarray(value)
        except Exception as error:  # noqa: BLE001  (whatever an array-like's __array__ may raise)
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InvalidValueError(
                f"{self.name} must be an array of real numbers; numpy cannot read the "
                f"{type(value).__name__} it got ({reason}). Give a numpy array on the CPU."
            ) from None
        if found.dtype.kind not in "biuf":
            raise InvalidValueError(
                f"{self.name} must be an array of real numbers, got one of {found.dtype}. "
                "Split complex numbers into two arrays; text and objects are not supported."
            )
        return np.array(found, dtype=np.float64, order="C", copy=True)

    def _cast_metric_one(self, value: Any) -> Any:
        if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
            value = value.item()
        if self.kind == "float" and isinstance(value, float):
            return value
        if self.kind == "str" and not isinstance(value, str):
            raise self.wrong_type(value)  # a param's text may be written as a number; no metric's
        found = self._cast_one(value)
        if self.info.aliases:
            found = self.info.aliases.get(found, found)
        if self.choices is not None and found not in self.choices:
            raise self.wrong_type(value)
        return found

    def _cast_one(self, value: Any) -> Any:
        if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
            value = value.item()
        is_int = isinstance(value, int) and not isinstance(value, bool)
        if self.kind == "bool" and isinstance(value, bool):
            return value
        if self.kind == "int":
            if isinstance(value, float) and value.is_integer():
                value, is_int = int(value), True
            if is_int and abs(value) <= INT64_MAX:
                return value
        if self.kind == "float" and (is_int or isinstance(value, float)):
            return self._cast_float(value)
        if self.kind == "str":
            if isinstance(value, str):
                return printable(value)
            if is_int:
                return str(value)
        raise self.wrong_type(value)

    def _cast_float(self, value: float) -> float:
        try:
            number = float(value)
        except OverflowError:
            raise self.wrong_type(value) from None
        if math.isnan(number):
            raise InvalidValueError(
                f"{self.name} must be {self.type_name}, got {value!r}, which is no number. "
                "Change its value."
            )
        return number + 0.0  # -0.0 + 0.0 is 0.0: one spelling, one run id

    def _check(self, value: Any) -> Any:
        if self.choices is not None and value not in self.choices and not self.is_own(value):
            raise self.wrong_type(value)
        limits = (
            ("at least", self.info.ge, operator.ge),
            ("greater than", self.info.gt, operator.gt),
            ("at most", self.info.le, operator.le),
            ("less than", self.info.lt, operator.lt),
        )
        for words, bound, holds in limits:
            if bound is not None and not holds(value, bound):
                raise InvalidValueError(
                    f"{self.name} must be {words} {bound:g}, got {value!r}. Change its value."
                )
        if isinstance(value, float) and math.isinf(value) and not self._takes(value):
            raise InvalidValueError(
                f"{self.name} must be a finite number, got {value!r}. Change its value."
            )
        return value

    def is_own(self, value: Any) -> bool:
        """Whether a value is written as the user's own, where the field takes that."""
        return self.own is not None and isinstance(value, str) and ":" in value

    def _takes(self, infinity: float) -> bool:
        """Whether the field itself speaks of this infinity."""
        default = self.default if isinstance(self.default, tuple) else (self.default,)
        return infinity in (self.info.ge, self.info.le, *default)

    def wrong_type(self, value: Any) -> InvalidValueError:
        """The error for a value that is no ``type_name``, with the nearest choice."""
        close = nearest(str(value), map(str, self.choices or ()))
        hint = f" Did you mean {close[0]!r}?" if close else advice(self.kind, value)
        shown = type(value).__name__
        return InvalidValueError(
            f"{self.name} must be {self.type_name}, got {value!r} ({shown}).{hint}"
        )


def printable(text: str) -> str:
    """``text`` as UTF-8 can hold it: a lone surrogate (of a file name, say) is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def field_specs(cls: type) -> tuple[FieldSpec, ...]:
    """The resolved fields of a dataclass, in order.  Raises TypeError for what is unsupported."""
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        shown = cls.__qualname__ if isinstance(cls, type) else repr(cls)
        raise TypeError(f"{shown} must be a dataclass; decorate it with @dataclass(frozen=True).")
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(_resolve(f, hints[f.name], cls) for f in dataclasses.fields(cls))


def _resolve(f: dataclasses.Field[Any], hint: Any, cls: type) -> FieldSpec:
    where = f"{cls.__qualname__}.{f.name}"
    info, own = Field(), None
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        info = next((e for e in extras if isinstance(e, Field)), info)
        own = next((e for e in extras if isinstance(e, Own)), None)
    optional, hint = _strip_optional(hint)
    is_tuple = typing.get_origin(hint) is tuple
    if is_tuple:
        args = typing.get_args(hint)
        if len(args) != 2 or args[1] is not Ellipsis:
            raise TypeError(f"{where}: a tuple field is written tuple[int, ...], got {hint!r}.")
        hint = args[0]
    choices = None
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        kinds = {type(c) for c in choices}
        hint = kinds.pop() if len(kinds) == 1 else None
    kind = _KINDS.get(hint) if isinstance(hint, type) else None
    if kind is None or (kind == "array" and is_tuple):
        raise TypeError(
            f"{where} has the unsupported type {hint!r}; use bool, int, float, str, Literal, "
            "T | None or tuple[T, ...], or for a metric Array."
        )
    if info.aliases and (kind != "str" or is_tuple):
        raise TypeError(f"{where}: aliases are of one text, so of a metric of type str.")
    default: Any = MISSING if f.default is dataclasses.MISSING else f.default
    if kind == "array":
        return FieldSpec(f.name, kind, optional, False, None, default, info)
    if f.default_factory is not dataclasses.MISSING:
        default = f.default_factory()
    spec = FieldSpec(f.name, kind, optional, is_tuple, choices, default, info, own)
    if default is not MISSING:
        try:
            spec = dataclasses.replace(spec, default=spec.cast(default))
        except InvalidValueError as error:
            raise InvalidValueError(f"The default of {where} does not fit: {error}") from None
    return spec


def _strip_optional(hint: Any) -> tuple[bool, Any]:
    if typing.get_origin(hint) in (Union, types.UnionType):
        args = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(args) == 1 and len(args) < len(typing.get_args(hint)):
            return True, args[0]
    return False, hint
