"""Slopes between neighbouring design points, beside the one exponent of a fit.

A power law that is only approached has an exponent that drifts along x; one global slope with a
narrow interval hides that.  A local slope is the difference of two means over the difference of
their x, both as logarithms where the law has them, and its interval comes from the scatter of the
replicates alone: it says how well this slope is known, and nothing about a law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lawsweep.analysis.frames import Array

SHOWN = 8  # slopes in a line for a person


@dataclass(frozen=True)
class LocalSlope:
    """Slope from ``x_low`` to ``x_high``; the interval is None where a point has one replicate."""

    x_low: float
    x_high: float
    estimate: float
    low: float | None
    high: float | None

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


def local_slopes(
    x: Array, v: Array, y: Array, points: Array, level: float
) -> tuple[LocalSlope, ...]:
    """The slopes of the means of ``y`` between neighbours in ``v``, in ascending order.

    ``x``, ``v`` (n_points,): each design point's x and what the law is linear in (x or log x);
    ``y`` (n_rows,): the response, log y where the law asks for it; ``points`` (n_rows,): the
    design point of each row.  Intervals at ``level`` by Welch's formula: the variances of the two
    means s^2/n are estimated apart, so a noise that grows with x does no harm.  Seeds that are
    shared between points, and so correlated, would make them too wide rather than too narrow.
    """
    count = np.bincount(points)
    mean = np.bincount(points, weights=y) / count
    squares = np.bincount(points, weights=(y - mean[points]) ** 2)
    variance = squares / np.maximum(count - 1, 1) / count  # of the mean
    order = np.argsort(v)
    found = []
    for a, b in pairwise(order.tolist()):
        gap = float(v[b] - v[a])
        slope = float(mean[b] - mean[a]) / gap
        low = high = None
        if min(count[a], count[b]) > 1:
            half = _half_width(variance[[a, b]], count[[a, b]], level) / gap
            low, high = slope - half, slope + half
        found.append(LocalSlope(float(x[a]), float(x[b]), slope, low, high))
    return tuple(found)


def _half_width(variance: Array, count: Array, level: float) -> float:
    """Half of the interval of a difference of two means (Welch and Satterthwaite)."""
    from scipy.special import stdtrit

    total = float(variance.sum())
    if total == 0.0:
        return 0.0
    dof = total**2 / float((variance**2 / (count - 1)).sum())
    return float(stdtrit(dof, (1 + level) / 2)) * math.sqrt(total)
