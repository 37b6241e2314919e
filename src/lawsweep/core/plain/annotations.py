"""From annotations to fields: those of a dataclass, and those of a plain function's arguments."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, Union

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.plain.forms import (
    EnumForm,
    JsonForm,
    JsonListForm,
    ListForm,
    NumberForm,
    PathForm,
)
from lawsweep.core.plain.observed import VALUE
from lawsweep.core.schema import MISSING, Array, Field, FieldSpec, Form, Kind, Own

BESIDE = ("seed", "device")  # arguments of a plain function that are no params
_KINDS: dict[Any, Kind] = {bool: "bool", int: "int", float: "float", str: "str", Array: "array"}
_LISTS = (list, tuple, Sequence)
_MAPPINGS = (dict, Mapping)


@dataclasses.dataclass(frozen=True)
class _Type:
    """What an annotation says, beside its Field."""

    kind: Kind
    choices: tuple[Any, ...] | None = None
    is_tuple: bool = False
    form: Form | None = None
    optional: bool = False


def field_specs(cls: type) -> tuple[FieldSpec, ...]:
    """The resolved fields of a dataclass, in order; those of one inside it by themselves.

    Raises TypeError for what is unsupported.
    """
    if not is_data(cls):
        shown = cls.__qualname__ if isinstance(cls, type) else repr(cls)
        raise TypeError(f"{shown} must be a dataclass; decorate it with @dataclass(frozen=True).")
    return tuple(_fields_of(cls, ()))


def is_data(hint: Any) -> bool:
    """Whether it is a dataclass (the class)."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _fields_of(cls: type, within: tuple[tuple[str, type], ...]) -> Iterator[FieldSpec]:
    hints = typing.get_type_hints(cls, include_extras=True)
    for f in dataclasses.fields(cls):
        default: Any = MISSING if f.default is dataclasses.MISSING else f.default
        if f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        where = f"{cls.__qualname__}.{f.name}"
        yield from _resolved(f.name, hints[f.name], default, where, within)


def arguments(function: Callable[..., Any], *, loose: bool = False) -> tuple[FieldSpec, ...]:
    """The arguments of a plain function as params, without ``seed`` and ``device``.

    ``loose``: one without an annotation is a number (a lambda's).  Raises TypeError for an argument
    that is none: positional-only, ``*args``, ``**kwargs``, without annotation.
    """
    name = getattr(function, "__qualname__", repr(function))
    hints = hints_of(function)
    found: list[FieldSpec] = []
    for each in inspect.signature(function).parameters.values():
        where = f"{name}({each.name})"
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            stars = "*" if each.kind is each.VAR_POSITIONAL else "**"
            raise TypeError(
                f"{name} takes {stars}{each.name}, and the params of an experiment have names: "
                "write each argument out."
            )
        if each.kind is each.POSITIONAL_ONLY:
            raise TypeError(
                f"{name} takes {each.name} by its place alone; params are given by name: leave out "
                "the / after it."
            )
        if each.name in BESIDE:
            continue
        default: Any = MISSING if each.default is each.empty else each.default
        if each.name not in hints and loose:
            spec = FieldSpec(each.name, "float", False, False, None, MISSING, Field(), None,
                             NumberForm())  # fmt: skip
            found.append(_with_default(spec, default, where))
            continue
        if each.name not in hints:
            example = type(default).__name__ if type(default) in _KINDS else "float"
            raise TypeError(
                f"{where} has no annotation; say its type, for example {each.name}: {example}."
            )
        found += _resolved(each.name, hints[each.name], default, where, ())
    return tuple(found)


def returned(hint: Any, function: Callable[..., Any]) -> tuple[type, tuple[FieldSpec, ...], bool]:
    """What a return annotation says: the type, the metrics, and whether others may come.

    A dataclass declares all there are; a number, a text or a TypedDict those that it names.
    """
    if is_data(hint):
        return hint, field_specs(hint), False
    where = f"{getattr(function, '__qualname__', function)} -> "
    named: Mapping[str, Any] = {}
    if typing.is_typeddict(hint):
        named = typing.get_type_hints(hint, include_extras=True)
    else:
        plain = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
        try:
            kind = _read(plain, where)
        except TypeError:
            return object, (), True
        if kind.form is None and not kind.is_tuple and kind.kind != "array":
            named = {VALUE: hint}
    found = [s for n, h in named.items() for s in _resolved(n, h, MISSING, f"{where}{n}", ())]
    return object, tuple(dataclasses.replace(s, optional=True) for s in found), True


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, with what stands in quotes looked up.

    Raises TypeError for a name that its module does not have.
    """
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"An annotation of {name} cannot be looked up ({error}); import what it names outside "
            "of TYPE_CHECKING."
        ) from None


def _resolved(
    name: str, hint: Any, default: Any, where: str, within: tuple[tuple[str, type], ...]
) -> Iterator[FieldSpec]:
    info, own = Field(), None
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        info = next((e for e in extras if isinstance(e, Field)), info)
        own = next((e for e in extras if isinstance(e, Own)), None)
    if is_data(hint):
        yield from _inner(name, hint, default, where, within)
        return
    found = _read(hint, where)
    if info.aliases and (found.kind != "str" or found.is_tuple):
        raise TypeError(
            f"{where}: aliases are of one text, so of a metric of type str. Leave them out here."
        )
    full = "_".join([*(n for n, _ in within), name])
    spec = FieldSpec(
        full,
        found.kind,
        found.optional,
        found.is_tuple,
        found.choices,
        MISSING,
        info,
        own,
        found.form,
        within,
        name if within else "",
    )
    if spec.kind == "array":
        yield dataclasses.replace(spec, default=default)
        return
    yield _with_default(spec, default, where)


def _inner(
    name: str, cls: type, default: Any, where: str, within: tuple[tuple[str, type], ...]
) -> Iterator[FieldSpec]:
    """The fields of a dataclass inside the Params; where it has a default, each that one's."""
    if any(kind is cls for _, kind in within):
        raise TypeError(f"{where}: {cls.__qualname__} lies within itself. Write its fields out.")
    for spec in _fields_of(cls, (*within, (name, cls))):
        if default is MISSING:
            yield spec
            continue
        value = default
        for step in (*(n for n, _ in spec.within[len(within) + 1 :]), spec.leaf):
            value = getattr(value, step)
        yield _with_default(spec, value, where)


def _with_default(spec: FieldSpec, default: Any, where: str) -> FieldSpec:
    if default is MISSING:
        return spec
    spec = dataclasses.replace(
        spec, default=default
    )  # an infinity is taken where it is the default
    try:
        return dataclasses.replace(spec, default=spec.cast(default))
    except InvalidValueError as error:
        raise InvalidValueError(f"The default of {where} does not fit: {error}") from None


def _read(hint: Any, where: str) -> _Type:
    """What an annotation stands for.  Raises TypeError for one that is not supported."""
    optional, hint = _strip_optional(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    found: _Type | None = None
    if origin is Literal:
        found = _literal(args)
        optional = optional or None in args
    elif origin in _LISTS or hint in _LISTS:
        found = _list(origin or hint, args, where, hint)
    elif origin in _MAPPINGS or hint in _MAPPINGS:
        found = _Type("str", form=JsonForm("dict"))
    elif isinstance(origin or hint, type):
        found = _class(origin or hint)
    if found is None:
        raise TypeError(
            f"{where} has the unsupported type {hint!r}; use bool, int, float, str, Literal, "
            "T | None or tuple[T, ...], list[T], an Enum, a Path, a dataclass or a dict, or for a "
            "metric Array."
        )
    return dataclasses.replace(found, optional=optional)


def _literal(args: tuple[Any, ...]) -> _Type | None:
    choices = tuple(a for a in args if a is not None)
    kinds = {type(c) for c in choices}
    if len(kinds) != 1 or (kind := _KINDS.get(kinds.pop())) is None:
        return None
    return _Type(kind, choices)


def _list(kind: Any, args: tuple[Any, ...], where: str, hint: Any) -> _Type:
    """A list or tuple of like values; of unlike ones, or of lists, it is one JSON text."""
    made = tuple if kind is tuple else list
    if kind is tuple and not args:
        raise TypeError(f"{where}: a tuple field is written tuple[int, ...], got {hint!r}.")
    if not args:
        return _Type("str", form=JsonListForm("list"))
    is_long = kind is not tuple or (len(args) == 2 and args[1] is Ellipsis)
    if is_long:
        args = args[:1]
    if any(is_data(a) for a in args):
        raise TypeError(f"{where}: a list of dataclasses is not supported, got {hint!r}.")
    inner = _read(args[0], where)
    if inner.kind == "array":
        raise TypeError(f"{where} has the unsupported type {hint!r}; give each array a name.")
    plain = not (inner.is_tuple or inner.optional or isinstance(inner.form, JsonForm))
    if not plain or any(a != args[0] for a in args):
        return _Type("str", form=JsonListForm(made.__name__))
    form = None
    if kind is not tuple or inner.form is not None or not is_long:
        form = ListForm(made, inner.form, None if is_long else len(args))
    return _Type(inner.kind, inner.choices, is_tuple=True, form=form)


def _class(hint: type) -> _Type | None:
    if (kind := _KINDS.get(hint)) is not None:
        return _Type(kind)
    if issubclass(hint, enum.Enum):
        return _Type("str", tuple(m.name for m in hint), form=EnumForm(hint))
    if issubclass(hint, PurePath):
        return _Type("str", form=PathForm(Path if hint is Path else hint))
    if hint.__name__ == "DictConfig" and hint.__module__.startswith("omegaconf"):
        return _Type("str", form=JsonForm("config"))
    if hint.__module__.partition(".")[0] == "numpy":
        import numpy as np

        table: list[tuple[type, Kind]] = [
            (np.ndarray, "array"), (np.bool_, "bool"), (np.integer, "int"), (np.floating, "float"),
            (np.str_, "str"),
        ]  # fmt: skip
        return next((_Type(kind) for each, kind in table if issubclass(hint, each)), None)
    return None


def _strip_optional(hint: Any) -> tuple[bool, Any]:
    """Whether None is allowed, and the rest; ``int | float`` is a float."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        args = [a for a in typing.get_args(hint) if a is not type(None)]
        optional = len(args) < len(typing.get_args(hint))
        if set(args) == {int, float}:
            return optional, float
        if len(args) == 1:
            return optional, args[0]
    return False, hint
