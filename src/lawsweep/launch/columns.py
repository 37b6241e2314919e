"""A plan's columns, read for many runs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lawsweep.grid.plan import Plan


def params_of(plan: Plan, runs: Sequence[int]) -> list[Mapping[str, Any]]:
    """The given params of each run, as ``plan.params_of``; runs of a point share the mapping."""
    points = np.asarray(runs, dtype=np.int64) // len(plan.seeds)
    names = tuple(plan.params)
    columns = [_plain(c[points]) for c in plan.params.values()]
    found: list[Mapping[str, Any]] = []
    last = -1
    for at, point in enumerate(points.tolist()):
        if point != last:
            found.append({n: c[at] for n, c in zip(names, columns, strict=True)})
        else:
            found.append(found[-1])
        last = point
    return found


def _plain(column: np.ndarray) -> list[Any]:
    values: list[Any] = column.tolist()
    if column.dtype.kind == "O":
        return [v.item() if isinstance(v, np.generic) else v for v in values]
    return values
