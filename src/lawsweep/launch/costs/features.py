"""What the seconds of a run may depend on: the params that vary over a plan, as columns of a fit.

The fit is of log seconds, and a power law is a straight line in the logarithm of its param.  Each
column has a standard deviation that its coefficient is expected to have, in units of log seconds:
what data do not ask for stays near zero, so there may be more columns than measured runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lawsweep.grid.plan import Plan

# Expected exponents of time in a param: 0 to 3 for sizes, 0 for most others.
EXPONENT_SD = 1.5
CATEGORY_SD = 1.2  # of a category, in log seconds: a factor of 3.3 either way
BEND_SD, LEVEL_SD, CROSSED_SD = 0.5, 0.5, 0.7
FUSED_SD = 1.5  # fused runs are cheaper, by a factor nobody knows
EARLIER_SD = 0.2  # rows of the table may be of another machine, or a busier one
OTHER_SD = 0.5  # rows of another kind of card, scaled by both's rates: known within a factor of 2
# How far an experiment's seconds stray from its stated cost: per doubling, in the logarithm.
# 0.15 covers seconds like cost^0.8 to cost^1.2.
SLOPE_SD = 0.15
BESIDE_COST = 0.3  # of the above, for params of an experiment that states a cost
FEW = 8  # values of a param that each have a level of their own; of more, bumps at so many places
MOST_CATEGORIES = 40
MOST_CROSSED, MOST_COLUMNS = 24, 120
INTERCEPT_SD = 1e3  # nothing is known beforehand of how long a run takes


class Features:
    """Columns over points: ``rows`` makes those of some points, (n, n_columns).

    ``sd``: (n_columns,), of each coefficient; ``bends``: those that a plain power law lacks.
    ``cost``: log of the stated seconds over points, or None where nothing is stated.
    """

    def __init__(self, plan: Plan, cost: np.ndarray | None):
        self._cost = None if cost is None else (cost - cost.mean()) / math.log(2.0)
        scale = 1.0 if cost is None else BESIDE_COST
        self._params = [p for p in (_param(c, scale) for c in plan.params.values()) if p]
        self._crossed = list(self._crossings(scale))
        sds, bends = [INTERCEPT_SD], [False]
        if self._cost is not None:
            sds, bends = [*sds, SLOPE_SD], [*bends, False]
        for p in self._params:
            sds, bends = [*sds, *p.sd], [*bends, *p.bends]
        sds += [sd for *_, sd in self._crossed]
        bends += [True] * len(self._crossed)
        # Of fused rows, of earlier ones and of other cards' a level each, and what fusing saves may
        # depend on size.
        self._sizes = [(k, 0) for k, p in enumerate(self._params) if p.is_number]
        sds += [FUSED_SD, EARLIER_SD, OTHER_SD, *([CROSSED_SD] * len(self._sizes))]
        bends += [False, False, False, *([True] * len(self._sizes))]
        self.sd, self.bends = np.array(sds), np.array(bends)

    def _crossings(self, scale: float) -> Iterator[tuple[int, int, int, int, float]]:
        """Pairs of main columns whose effects may not merely multiply."""
        n = 0
        for j, a in enumerate(self._params):
            for k, b in enumerate(self._params[:j]):
                pairs = [(x, y) for x in range(a.n_main) for y in range(b.n_main)]
                n += len(pairs)
                if len(pairs) > MOST_CROSSED or n > MOST_COLUMNS:
                    continue
                for x, y in pairs:
                    yield j, x, k, y, scale * CROSSED_SD * min(a.reach, b.reach)

    def rows(
        self, points: np.ndarray, fused: Any = False, earlier: Any = False, other: Any = False
    ) -> np.ndarray:
        """The columns of some points, computed together with others or not; ``other``: elsewhere,
        on another kind of card.
        """
        n = len(points)
        values = [p.table[p.codes[points]] for p in self._params]
        fused = np.broadcast_to(np.asarray(fused, dtype=np.float64), (n,))
        columns = [np.ones((n, 1))]
        if self._cost is not None:
            columns.append(self._cost[points][:, None])
        columns += values
        columns += [(values[j][:, x] * values[k][:, y])[:, None] for j, x, k, y, _ in self._crossed]
        levels = (fused, np.asarray(earlier, float), np.asarray(other, float))
        columns += [np.broadcast_to(level, (n,))[:, None] for level in levels]
        columns += [(fused * values[k][:, x])[:, None] for k, x in self._sizes]
        return np.concatenate(columns, axis=1)


class _Param:
    """Columns of one param: a table over its values, (n_values, n), and which a point has."""

    def __init__(self, codes: np.ndarray, main: np.ndarray, rest: np.ndarray, sd: list[float],
                 reach: float, *, is_number: bool):  # fmt: skip
        self.codes = codes.astype(np.int32)
        self.table = np.concatenate([main, rest], axis=1)
        self.n_main, self.reach, self.is_number = main.shape[1], reach, is_number
        self.sd = sd
        self.bends = [k >= self.n_main for k in range(len(sd))]


def _param(column: np.ndarray, scale: float) -> _Param | None:
    """None where it has one value only, or too many to tell apart."""
    if column.dtype.kind in "iuf":
        values, codes = np.unique(column, return_inverse=True)
        if len(values) > 1 and np.isfinite(values).all():
            return _number(values.astype(np.float64), codes.reshape(-1), scale)
    seen: dict[Any, int] = {}
    codes = np.array([seen.setdefault(v, len(seen)) for v in map(_key, column.tolist())])
    if not 1 < len(seen) <= MOST_CATEGORIES:
        return None
    levels = np.eye(len(seen)) - 1.0 / len(seen)
    sd = [scale * CATEGORY_SD] * len(seen)
    return _Param(codes, levels, np.zeros((len(seen), 0)), sd, 1.0, is_number=False)


def _key(value: Any) -> Any:
    """As a key: NaN equals itself."""
    return "nan" if isinstance(value, float) and value != value else value


def _number(values: np.ndarray, codes: np.ndarray, scale: float) -> _Param:
    """A straight line in its logarithm (of what may be negative, in itself), a bend, and levels."""
    if values[0] >= 0:  # sorted
        base = np.log(values + (0.0 if values[0] > 0 else values[1]))
        reach = (base[-1] - base[0]) / 2.0
        line_sd = min(EXPONENT_SD * reach, 4.0)
    else:
        base, reach, line_sd = values, 1.0, 1.0
    line = 2.0 * (base - base[0]) / (base[-1] - base[0]) - 1.0
    rest = []
    if len(values) > 2:
        rest = [(line**2 - 0.5)[:, None], _levels(line)]
    table = np.concatenate(rest, axis=1) if rest else np.zeros((len(values), 0))
    bend = [scale * BEND_SD * min(reach, 3.0)] if rest else []
    levels = [scale * LEVEL_SD] * max(0, table.shape[1] - 1)
    return _Param(codes, line[:, None], table, [scale * line_sd, *bend, *levels],
                  min(reach, 1.5), is_number=True)  # fmt: skip


def _levels(line: np.ndarray) -> np.ndarray:
    """An indicator for each of few values; of many, straight bumps around some of them."""
    if len(line) <= FEW:
        return np.eye(len(line))
    knots = line[np.linspace(0, len(line) - 1, FEW).round().astype(int)]
    return np.stack([np.interp(line, knots, one) for one in np.eye(FEW)], axis=1)
