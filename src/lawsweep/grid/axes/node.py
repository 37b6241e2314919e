"""The nodes of an ``axes`` entry: what a kind has to say, and the entry that holds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from lawsweep.core.errors import InvalidValueError, unknown_name
from lawsweep.grid.axes.space import Space
from lawsweep.grid.grids import Grid, product


class Inner(Protocol):
    """A grid inside an axis, of a union say: its own axes, and what it fixes and derives."""

    @property
    def axes(self) -> Axes:
        """Its axes."""

    @property
    def params(self) -> Mapping[str, Any]:
        """What it fixes."""

    @property
    def derive(self) -> Mapping[str, Any]:
        """What it derives."""

    @property
    def conditions(self) -> list[str]:
        """Its filters, as expressions."""


class Axis(ABC):
    """A node: what one key of an ``axes`` mapping means.

    A kind (see ``axis_kind``) also has a classmethod ``read(value, params)``: the node of what is
    written after its key.  It looks at the shape of that and leaves its values alone, which may
    still be interpolations; ``grids`` looks at the values.  ``params`` are the names of the
    experiment's params, as far as they are known, for axes inside.
    """

    key: ClassVar[str] = ""  # what it is written under; of a plain axis that is its name
    inner: Sequence[Inner] = ()  # the grids inside it

    @abstractmethod
    def written(self) -> Any:
        """What is written after the key."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The axes that it spans."""

    @abstractmethod
    def without(self, name: str) -> Axis | None:
        """The node without what it says of ``name``; None where nothing is left."""

    @abstractmethod
    def with_values(self, name: str, values: Any) -> Sequence[Axis]:
        """The node where ``name`` has other values, in each place that it has some in."""

    @abstractmethod
    def together(self, name: str) -> list[str]:
        """The axes that ``name`` advances with."""

    @abstractmethod
    def grids(self, space: Space) -> list[Grid]:
        """The grids it spans: their points are joined.  Raises a LawsweepError for bad values."""

    @property
    def label(self) -> str:
        """The key it is written under."""
        return self.key


class Flat(Axis):
    """A kind of axes without grids inside."""

    def with_values(self, name: str, values: Any) -> Sequence[Axis]:
        """Taken out, ``name`` spans a product with what is left."""
        if name not in self.names:
            return [self]
        rest = self.without(name)
        plain = Plain(name, values)
        return [plain] if rest is None else [rest, plain]

    def together(self, name: str) -> list[str]:
        """All of its axes advance together."""
        return [n for n in self.names if n != name] if name in self.names else []


@dataclass(frozen=True)
class Plain(Flat):
    """One axis by its name: a list, one value, or an expression."""

    name: str
    values: Any

    def written(self) -> Any:
        """The values."""
        return self.values

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    @property
    def names(self) -> tuple[str, ...]:
        """Its name."""
        return (self.name,)

    def without(self, name: str) -> Plain | None:
        """None, where it is this one."""
        return None if name == self.name else self

    def grids(self, space: Space) -> list[Grid]:
        """One column; repeated values are dropped, and a note says so."""
        return [Grid([{self.name: space.column(self.name, self.values, distinct=True)}])]


KINDS: dict[str, Any] = {}
A = TypeVar("A", bound=type[Axis])


def axis_kind(key: str) -> Callable[[A], A]:
    """Class decorator: under ``key`` an ``axes`` entry has axes of this kind from now on.

    ``read`` of the class makes the node of what is written there (see ``Axis``).
    """

    def register(cls: A) -> A:
        other = KINDS.get(key, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"there is an axis kind {key!r} already, {other.__module__}.{other.__qualname__}; "
                "call yours otherwise"
            )
        cls.key = key
        KINDS[key] = cls
        return cls

    return register


def kind_names() -> tuple[str, ...]:
    """The keys of an ``axes`` entry that are kinds and no names of axes."""
    return tuple(KINDS)


@dataclass(frozen=True)
class Axes:
    """An ``axes`` entry: a product of blocks, each a product of nodes."""

    blocks: tuple[tuple[Axis, ...], ...]
    is_list: bool = False  # as it was written: a list of mappings, or one mapping

    def written(self) -> Any:
        """The entry as plain containers."""
        found = [{node.label: node.written() for node in block} for block in self.blocks]
        return found if self.is_list else (found or [{}])[0]

    def __iter__(self) -> Iterator[Axis]:
        return (node for block in self.blocks for node in block)

    @property
    def names(self) -> list[str]:
        """All names that it spans, in whatever node."""
        return [n for node in self for n in node.names]

    def has(self, name: str) -> bool:
        """Whether ``name`` is an axis, a block, or fixed or derived by a grid inside, anywhere."""
        return any(
            name in (node.label, *node.names) or any(gives(i, name) for i in node.inner)
            for node in self
        )

    def has_of_its_own(self, name: str) -> bool:
        """Whether ``name`` is an axis outside of every grid inside."""
        return any(name in node.names for node in self if not node.inner)

    def has_inside_only(self, name: str) -> bool:
        """Whether ``name`` is given by grids inside alone."""
        return self.has(name) and not self.has_of_its_own(name)

    def without(self, name: str) -> Axes:
        """The entry without the axis or block ``name``; blocks left empty go too."""
        kept = []
        for block in self.blocks:
            others = [node for node in block if node.label != name]
            rest = [left for node in others if (left := node.without(name)) is not None]
            if rest or not block:
                kept.append(tuple(rest))
        return Axes(tuple(kept), self.is_list)

    def with_values(self, name: str, values: Any) -> Axes:
        """The entry where ``name`` has other values, in each place that it has some in."""
        plain = (Plain(name, values),)
        blocks = [
            tuple(
                n
                for node in block
                for n in (plain if node.label == name else node.with_values(name, values))
            )
            for block in self.blocks
        ]
        return Axes(tuple(blocks), self.is_list)

    def with_axis(self, name: str, values: Any) -> Axes:
        """The entry times one more axis."""
        plain = (Plain(name, values),)
        if self.is_list:
            return Axes((*self.blocks, plain), True)
        return Axes(((*(self.blocks[0] if self.blocks else ()), *plain),))

    def together(self, name: str) -> list[str]:
        """The axes that ``name`` advances with, wherever that is."""
        return list(dict.fromkeys(n for node in self for n in node.together(name)))

    def inner(self) -> Iterator[Inner]:
        """Every grid inside, those of grids inside it too."""
        for node in self:
            for grid in node.inner:
                yield grid
                yield from grid.axes.inner()

    def grids(self, space: Space) -> list[Grid]:
        """The grids of the entry: one, or one for each member of a union."""
        result = [Grid()]
        for node in self:
            space.multiplies(result)
            result = product(result, node.grids(space))
        for grid in result:
            for name, times in Counter(n for b in grid.blocks for n in b).items():
                if times > 1:
                    raise InvalidValueError(f"The axis {name!r} is given twice; keep one of them.")
        return result


def gives(inner: Inner, name: str) -> bool:
    """Whether a grid inside fixes, derives or spans ``name``."""
    return name in inner.params or name in inner.derive or inner.axes.has(name)


def read_axes(axes: Any, params: Collection[str] = ()) -> Axes:
    """The nodes of an ``axes`` entry.  Raises a LawsweepError for what has another shape.

    A key is a kind, unless it is one of ``params``; what is neither, and no list of values, is a
    kind misspelt.
    """
    if axes is None:
        return Axes(())
    is_list = not isinstance(axes, Mapping)
    if is_list and (not isinstance(axes, Sequence) or isinstance(axes, str)):
        raise InvalidValueError(
            f"axes must be a mapping of axes or a list of such mappings, got {axes!r}."
        )
    blocks = axes if is_list else [axes]
    for block in blocks:
        if not isinstance(block, Mapping):
            raise InvalidValueError(f"Each block of axes must be a mapping of axes, got {block!r}.")
    read = [tuple(_read_one(str(k), v, params) for k, v in b.items()) for b in blocks]
    return Axes(tuple(read), is_list)


def _read_one(key: str, value: Any, params: Collection[str]) -> Axis:
    if key in KINDS and key not in params:
        node: Axis = KINDS[key].read(value, params)
        return node
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if isinstance(value, Mapping) and set(value) & {"value", "values", "min", "max"}:
        raise InvalidValueError(_as_elsewhere(key, value))
    # Values that are mappings may be a param's: that shows where the params are known.
    mappings = bool(params) and is_list and any(isinstance(v, Mapping) for v in value)
    if key not in params and (mappings or isinstance(value, Mapping)):
        raise unknown_name("block", key, KINDS, "axes")
    return Plain(key, value)


def _as_elsewhere(key: str, value: Mapping[str, Any]) -> str:
    """The sentence for an axis that is written as other tools have it."""
    values = value.get("values", [value["value"]] if "value" in value else None)
    if values is not None:
        shown = f"[{', '.join(map(str, values))}]" if isinstance(values, list) else "[1, 2]"
        return f"The axis {key!r} is its values, got {dict(value)!r}. Write {key}: {shown}."
    low, high = value.get("min", 0), value.get("max", 1)
    return (
        f"The axis {key!r} is its values, got {dict(value)!r}. Write {key}: "
        f"linspace({low}, {high}, 5), or logspace; a random sample is "
        f"sample: {{n: 20, box: {{{key}: [{low}, {high}]}}}}."
    )
