"""Grids: products of blocks of columns, and the params, derived fields and filters of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError

Columns = dict[str, np.ndarray]
MAX_GRIDS = 10_000


@dataclass
class Grid:
    """One product of blocks, with the fixed params, derived fields and filters that go with it."""

    blocks: list[Columns] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    derive: dict[str, str] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)

    @property
    def n_points(self) -> int:
        """How many points the product spans, before any filter."""
        return math.prod(len(next(iter(b.values()))) for b in self.blocks)

    def times(self, other: Grid) -> Grid:
        """The product of two grids; what ``other`` fixes wins."""
        return Grid(
            self.blocks + other.blocks,
            {**self.params, **other.params},
            {**self.derive, **other.derive},
            self.where + other.where,
        )

    def expand(self) -> Columns:
        """The columns of all points, last block fastest."""
        n, stride, columns = self.n_points, self.n_points, {}
        for block in self.blocks:
            length = len(next(iter(block.values())))
            stride //= length
            index = (np.arange(n) // stride) % length
            for name, values in block.items():
                columns[name] = values[index]
        return columns


def too_many_points(n: int, limit: int, *, at_least: bool = False) -> InvalidValueError:
    """The error for axes that span more points than they may (``at_least``: and n is not all)."""
    return InvalidValueError(
        f"The axes span {'at least ' if at_least else ''}{n:,} points, more than the limit of "
        f"{limit:,}. Narrow an axis, or {'raise max_points' if at_least else f'set max_points={n}'}"
        " if you mean it."
    )


def product(some: list[Grid], others: list[Grid]) -> list[Grid]:
    """Every grid of one list times every grid of the other."""
    if len(some) * len(others) > MAX_GRIDS:
        raise InvalidValueError(
            f"when and union split the axes into {len(some) * len(others):,} grids, more than "
            f"{MAX_GRIDS:,}. Give conditions that exclude each other as members of one union."
        )
    return [a.times(b) for a in some for b in others]


def as_list(value: Any) -> list[str]:
    """A list of expressions; one string is a list of one."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence) and all(isinstance(v, str) for v in value):
        return list(value)
    raise InvalidValueError(f"where must be a list of expressions, got {value!r}.")
