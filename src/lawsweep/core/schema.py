"""The fields of Params and Metrics: their types, ranges, units and meanings.

A field is annotated with a plain type, or with ``Annotated[type, Field(...)]`` to give its
meaning, unit and range::

    n_samples: Annotated[int, Field("number of samples N", ge=1)]

Types: ``bool``, ``int``, ``float``, ``str``, ``Literal[...]`` of one kind of values, ``T | None``,
``tuple[T, ...]`` and ``list[T]`` of those; for a param also an ``Enum`` (by its members' names), a
``Path``, a ``tuple[int, int]``, a dataclass (its fields become params, ``model_width``) and a
``dict`` or ``DictConfig`` (one value, JSON in tables); for a metric also numpy's scalars, and
``Array``, ``Array | None`` or ``np.ndarray``: a real array, which is kept beside the row.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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


# Of a metric that is learnt from the rows "null" says that none had a value yet.
Kind = Literal["bool", "int", "float", "str", "array", "null"]


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
    ``follows`` is said of a param that the others decide: shown and kept, and no part of a run id.
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
    follows: bool = False
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Own:
    """Marks a choice that may also be the user's own, ``module:attribute``; ``what`` it is called.

    ``Annotated[Literal["relu", "tanh"], Own("activation")]``
    """

    what: str


class Form(ABC):
    """What a function takes a param as, where that is none of the plain types."""

    words: ClassVar[str] = ""  # what a person calls it, in messages; empty: as the plain type

    @abstractmethod
    def plain(self, spec: FieldSpec, value: Any) -> Any:
        """The value as tables hold it, or as what ``spec`` then casts; raises InvalidValueError."""

    @abstractmethod
    def build(self, value: Any) -> Any:
        """What the function is given."""


@dataclass(frozen=True)
class FieldSpec:
    """One resolved field: name, kind, whether optional or a tuple, choices, default, Field.

    ``form``: what a function is given in place of the value that tables and run ids hold (an enum's
    member for its name).  ``within``: the dataclasses that it lies in, from the outside, each with
    the name of its field; it is called ``leaf`` there, and ``model_width`` here.
    """

    name: str
    kind: Kind
    optional: bool
    is_tuple: bool
    choices: tuple[Any, ...] | None
    default: Any
    info: Field
    own: Own | None = None
    form: Form | None = None
    within: tuple[tuple[str, type], ...] = ()
    leaf: str = ""

    @property
    def roots(self) -> tuple[str, ...]:
        """What the dataclasses that it lies in are called among the params."""
        names = [name for name, _ in self.within]
        return tuple("_".join(names[: i + 1]) for i in range(len(names)))

    def of(self, params: Any) -> Any:
        """The field's value in a ``Params``."""
        for name in (*(name for name, _ in self.within), self.leaf or self.name):
            params = getattr(params, name)
        return params

    def build(self, value: Any) -> Any:
        """What a function is given for a checked value."""
        if self.form is None or value is None:
            return value
        return self.form.build(value)

    @property
    def has_default(self) -> bool:
        """Whether the field may be left out."""
        return self.default is not MISSING

    @property
    def type_name(self) -> str:
        """The type as a person reads it, for messages: ``int``, ``one of relu, tanh``."""
        base: str = f"one of {', '.join(map(str, self.choices))}" if self.choices else self.kind
        base = self.form.words if self.form and self.form.words else base
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
        if self.form is not None:
            value = self.form.plain(self, value)
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
        if value is not None and self.form is not None:
            value = self.form.plain(self, value)
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


def mapping_of(value: Any) -> dict[str, Any] | None:
    """A mapping, or a dataclass's fields by their names; None for anything else."""
    if isinstance(value, Mapping):
        return {str(n): v for n, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return None
