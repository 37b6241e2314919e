"""Kinds of axes with grids inside: conditional ones, and unions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.grid.axes.node import Axes, Axis, axis_kind, read_axes
from lawsweep.grid.axes.space import Space
from lawsweep.grid.grids import Grid, as_list, product, too_many_points

GRID_KEYS = ("axes", "params", "derive", "where")


@dataclass(frozen=True)
class Member:
    """A grid inside: what is written, and its axes as nodes."""

    given: Mapping[str, Any]
    axes: Axes

    @property
    def params(self) -> Mapping[str, Any]:
        """What it fixes."""
        return self.given.get("params") or {}

    @property
    def derive(self) -> Mapping[str, Any]:
        """What it derives."""
        return self.given.get("derive") or {}

    @property
    def conditions(self) -> list[str]:
        """Its filters, and the condition it is under."""
        condition = [str(self.given["if"])] if "if" in self.given else []
        return [*as_list(self.given.get("where")), *condition]

    def written(self) -> dict[str, Any]:
        """The grid as plain containers."""
        has_axes = self.given.get("axes") is not None or self.axes.names
        return {**self.given, "axes": self.axes.written()} if has_axes else dict(self.given)

    def without(self, name: str) -> Member:
        """The grid without what it says of ``name``."""
        given = dict(self.given)
        for key in ("params", "derive"):
            if name in (given.get(key) or {}):
                given[key] = {k: v for k, v in given[key].items() if k != name}
        return Member(given, self.axes.without(name))

    def with_values(self, name: str, values: Any) -> Member:
        """The grid with other values of ``name``, where it has any."""
        if name not in self.params and name not in self.derive:
            return replace(self, axes=self.axes.with_values(name, values))
        rest = self.without(name)
        return replace(rest, axes=rest.axes.with_axis(name, values))


@dataclass(frozen=True)
class _Nested(Axis):
    """A kind with members; ``is_list``: it was written as a list of them."""

    is_list: bool
    inner: Sequence[Member] = ()

    def written(self) -> Any:
        """The members as plain containers."""
        found = [m.written() for m in self.inner]
        return found if self.is_list else found[0]

    @property
    def names(self) -> tuple[str, ...]:
        """What its members span."""
        return tuple(n for m in self.inner for n in m.axes.names)

    def without(self, name: str) -> Self | None:
        """All members stay, if without an axis: each is a part of the grid."""
        return self._changed(lambda m: m.without(name))

    def with_values(self, name: str, values: Any) -> Sequence[Axis]:
        """Members that say something of ``name`` say something else."""
        return [self._changed(lambda m: m.with_values(name, values))]

    def together(self, name: str) -> list[str]:
        """The axes that ``name`` advances with in one of its members."""
        return [n for m in self.inner for n in m.axes.together(name)]

    def _changed(self, change: Callable[[Member], Member]) -> Self:
        return replace(self, inner=tuple(map(change, self.inner)))


@axis_kind("when")
@dataclass(frozen=True)
class When(_Nested):
    """Axes where a condition holds; other points keep the params' own values."""

    @classmethod
    def read(cls, value: Any, params: Collection[str]) -> When:
        """A mapping of ``if`` and ``axes``, or a list of such."""
        is_list = not isinstance(value, Mapping)
        members = value if is_list else [value]
        if not isinstance(members, Sequence) or isinstance(members, str) or not members:
            raise InvalidValueError(f"when must be a mapping with if and axes, got {value!r}.")
        for member in members:
            if not isinstance(member, Mapping) or set(member) != {"if", "axes"}:
                raise InvalidValueError(f"when needs the keys if and axes, got {member!r}.")
        return cls(is_list, tuple(Member(m, read_axes(m["axes"], params)) for m in members))

    def grids(self, space: Space) -> list[Grid]:
        """For each condition the grids where it holds, and one where it does not."""
        result = [Grid()]
        for member in self.inner:
            condition = str(member.given["if"])
            inside = [Grid(where=[condition]).times(g) for g in member.axes.grids(space)]
            outside = Grid(where=[f"not ({condition})"])
            result = product(result, [*inside, outside])
        return result


@axis_kind("union")
@dataclass(frozen=True)
class Union(_Nested):
    """Several grids, each with its own ``axes``, ``params``, ``derive`` and ``where``."""

    @classmethod
    def read(cls, value: Any, params: Collection[str]) -> Union:
        """A list of grids."""
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InvalidValueError(f"union must be a list of grids, got {value!r}.")
        return cls(True, tuple(_member(m, params) for m in value))

    def grids(self, space: Space) -> list[Grid]:
        """The grids of every member."""
        before, n_points, found = space.so_far, 0, []
        for member in self.inner:
            fixed = Grid(
                params={str(k): v for k, v in member.params.items()},
                derive={str(k): str(v) for k, v in member.derive.items() if v is not None},
                where=member.conditions,
            )
            made = [fixed.times(g) for g in member.axes.grids(space)]
            n_points += before * sum(g.n_points for g in made)
            if n_points > space.max_points:  # at once: the grids to come may be many
                raise too_many_points(n_points, space.max_points, at_least=True)
            found += made
        return found


def _member(given: Any, params: Collection[str]) -> Member:
    if not isinstance(given, Mapping):
        raise InvalidValueError(f"Each grid of a union must be a mapping, got {given!r}.")
    for key in given:
        if key not in GRID_KEYS:
            raise unknown_name("key", str(key), GRID_KEYS, "a grid of a union")
    for key in ("params", "derive"):
        if not isinstance(given.get(key) or {}, Mapping):
            raise InvalidValueError(f"{key} of a union must be a mapping, got {given[key]!r}.")
    return Member(given, read_axes(given.get("axes"), params))
