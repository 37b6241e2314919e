"""Slopes between neighbouring design points, beside the one exponent of a fit.

A power law that is only approached has an exponent that drifts along x; one global slope with a
narrow interval hides that.  A local slope is the difference of two means over the difference of
their x, both as logarithms where the law has them, and its interval comes from the seeds or the
scatter of the replicates alone: it says how well this slope is known, and nothing about a law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lawsweep.analysis.frames import Array, means
from lawsweep.analysis.laws.points import Points, SeedTable

SHOWN = 8  # slopes in a line for a person


@dataclass(frozen=True)
class LocalSlope:
    """Slope from ``x_low`` to ``x_high``; the interval is None where a point has one replicate."""

    x_low: float
    x_high: float
    estimate: float
    low: float | None
    high: float | None
    n_seeds: int | None = None  # whose own slopes give the interval; None: Welch's

    def text(self) -> str:
        """``1.31±0.04`` (half the interval), or the slope alone."""
        if self.low is None or self.high is None:
            return f"{self.estimate:.2f}"
        return f"{self.estimate:.2f}±{(self.high - self.low) / 2:.2g}"


def shown_slopes(slopes: Sequence[LocalSlope]) -> str:
    """The slopes on one line; of many the first and last few, as ``fit --json`` has them all."""
    texts = [s.text() for s in slopes]
    if len(texts) > SHOWN:
        texts = [*texts[: SHOWN // 2], "...", *texts[-(SHOWN // 2) :]]
    return ", ".join(texts)


def local_slopes(x: Array, v: Array, points: Points, level: float) -> tuple[LocalSlope, ...]:
    """The slopes of the means between neighbours in ``v``, in ascending order.

    ``x``, ``v`` (n_points,): each design point's x and what the law is linear in (x or log x).
    Where two neighbours share most of their seeds, the slope is the mean of the seeds' own
    between them, with t(S - 1): exact whatever the seeds share, an offset or its opposite.
    Elsewhere intervals at ``level`` are by Welch's formula: the variances of the two means s^2/n
    are estimated apart, so a noise that grows with x does no harm.
    """
    count, spread, table = points.n, points.sd, points.by_seed
    mean = means(points.replicates, points.point_of)
    order = np.argsort(v)
    found = []
    for a, b in pairwise(order.tolist()):
        gap = float(v[b] - v[a])
        steps = _paired(table, a, b)
        half = None
        if steps is not None:
            slope = float(steps.mean()) / gap
            half = _student(steps, level) / gap
        else:
            slope = float(mean[b] - mean[a]) / gap
            if min(count[a], count[b]) > 1:
                both = [a, b]
                half = _half_width(spread[both] ** 2 / count[both], count[both], level) / gap
        low, high = (None, None) if half is None else (slope - half, slope + half)
        n_seeds = None if steps is None else len(steps)
        found.append(LocalSlope(float(x[a]), float(x[b]), slope, low, high, n_seeds))
    return tuple(found)


def _paired(table: SeedTable | None, a: int, b: int) -> Array | None:
    """What each seed adds from one point to the other; None where few are at both."""
    if table is None:
        return None
    both = table.there[:, a] & table.there[:, b]
    n = int(both.sum())
    if n < 2 or 2 * n < min(int(table.there[:, a].sum()), int(table.there[:, b].sum())):
        return None
    return np.asarray(table.mean[both, b] - table.mean[both, a])


def _student(values: Array, level: float) -> float:
    """Half of the interval of a mean of independent values."""
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, (1 + level) / 2) * np.std(values, ddof=1)) / math.sqrt(n)


def _half_width(variance: Array, count: Array, level: float) -> float:
    """Half of the interval of a difference of two means (Welch and Satterthwaite)."""
    from scipy.special import stdtrit

    total = float(variance.sum())
    if total == 0.0:
        return 0.0
    dof = total**2 / float((variance**2 / (count - 1)).sum())
    return float(stdtrit(dof, (1 + level) / 2)) * math.sqrt(total)
