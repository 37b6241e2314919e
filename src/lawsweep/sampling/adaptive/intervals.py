"""Intervals of a mean and of a quantile that hold when one stops because they are narrow.

Mean.  Of normal values the running means are independent of the running variances, so a rule that
looks at the variances alone leaves the mean normal at the moment N at which it stops, and
mean ± within covers with probability E[2 Φ(within √N / σ) − 1] (Ray 1957; Starr 1966).  The rule
is Chow and Robbins' with Student's t in place of the normal quantile, and with one more seed that
must confirm it (Simons 1968: a few more observations make up for stopping early).  What holds with
the confidence asked for is mean ± within; the shorter interval of the rows alone lacks a percent
or two.

Mean of skewed values.  There the running mean and variance go together: a share γ² / n of the
squared relative error of s² is what goes along with the mean, so that an interval that looks narrow
is often one whose mean is off.  It is made wider by γ / √n of itself, as if s² were two standard
deviations of that part too small, and up to a tenth of the seeds more must confirm it; γ² is what
the sample's skewness has beyond the 6 / n that normal values show.  Measured, not proved: no
interval of a mean holds whatever the law of the values (Bahadur and Savage 1956).

Quantile.  With B of n values below the quantile, binomial (n, q), the interval between the l-th
and the u-th value covers exactly when l ≤ B < u.  Over a schedule of looks B is a random walk on
whole numbers, so the probability that all looks cover is a sum over its paths: the ranks are
chosen such that this is at least the confidence, and it holds however the stop is chosen, for any
continuous law of the values (for others it is more).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

GROWTH = 1.5  # a round makes the number of seeds at most so many times as large
MAX_LOOK = 4000  # seeds of a point for which ranks are computed


class Interval(NamedTuple):
    """An estimate with its interval; infinite where so few values tell nothing."""

    estimate: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half its width."""
        return (self.high - self.low) / 2


def student(dof: float, level: float) -> float:
    """The two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(dof, (1 + level) / 2))


def skewness(values: np.ndarray) -> float:
    """What the skewness of ``values`` (n,) is beyond what normal ones show; 0 where it is less."""
    n = len(values)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        apart = (values - values.mean()) / values.std()
        adjusted = float(np.mean(apart**3)) * math.sqrt(n * (n - 1)) / (n - 2) if n > 2 else 0.0
    return math.sqrt(max(0.0, adjusted**2 - 6 / n)) if math.isfinite(adjusted) else 0.0


def mean_interval(values: np.ndarray, level: float) -> Interval:
    """Mean of ``values`` (n,) with Student's interval, wider where they are skewed."""
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()) if n else math.nan, -math.inf, math.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = student(n - 1, level) * sd / math.sqrt(n) * (1 + skewness(values) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def quantile_interval(values: np.ndarray, q: float, ranks: tuple[int, int] | None) -> Interval:
    """The ``q``-quantile of ``values`` (n,) between two of them, by rank from 1."""
    if not len(values):
        return Interval(math.nan, -math.inf, math.inf)
    ascending = np.sort(values)
    estimate = float(np.quantile(ascending, q))
    if ranks is None:
        return Interval(estimate, -math.inf, math.inf)
    return Interval(estimate, float(ascending[ranks[0] - 1]), float(ascending[ranks[1] - 1]))


@functools.lru_cache(maxsize=64)
def looks(first: int, most: int) -> tuple[int, ...]:
    """Numbers of values at which a quantile is looked at: from ``first``, each 1.5 times more."""
    sizes = [min(first, most)]
    while sizes[-1] < min(most, MAX_LOOK):
        sizes.append(min(most, MAX_LOOK, math.ceil(GROWTH * sizes[-1])))
    return tuple(sizes)


@functools.lru_cache(maxsize=64)
def ranks_of(q: float, level: float, sizes: tuple[int, ...]) -> tuple[tuple[int, int] | None, ...]:
    """Ranks (from 1) of the interval of the ``q``-quantile at each look; None: too few values.

    All looks cover together with probability ``level`` or more.  Each has the same error in
    either tail, the largest for which that is so.
    """
    low, high = 0.0, 1 - level  # one look alone could have as much
    found = _ranks(q, low, sizes)
    for _ in range(30):
        middle = (low + high) / 2
        tried = _ranks(q, middle, sizes)
        if all_cover(q, sizes, tried) >= level:
            low, found = middle, tried
        else:
            high = middle
    return found


def _ranks(q: float, error: float, sizes: tuple[int, ...]) -> tuple[tuple[int, int] | None, ...]:
    """Equal tails of at most ``error`` / 2: l with P(B < l), and u with P(B ≥ u), within it."""
    found: list[tuple[int, int] | None] = []
    for n in sizes:
        below = np.cumsum(_binomial(n, q))  # P(B ≤ k)
        lower = int(np.searchsorted(below, error / 2, side="right"))  # P(B < l) = below[l - 1]
        above = np.cumsum(_binomial(n, q)[::-1])[::-1]  # P(B ≥ k)
        upper = int(n + 1 - np.searchsorted(above[::-1], error / 2, side="right"))
        found.append((lower, upper) if lower >= 1 and upper <= n else None)
    return tuple(found)


def all_cover(q: float, sizes: tuple[int, ...], ranks: tuple[tuple[int, int] | None, ...]) -> float:
    """The probability that the intervals of all looks hold the ``q``-quantile."""
    alive, n_before = np.ones(1), 0
    for n, pair in zip(sizes, ranks, strict=True):
        alive = np.convolve(alive, _binomial(n - n_before, q))
        n_before = n
        if pair is not None:
            alive[: pair[0]] = 0.0
            alive[pair[1] :] = 0.0
    return float(alive.sum())


@functools.lru_cache(maxsize=256)
def _binomial(n: int, q: float) -> np.ndarray:
    """Probabilities of 0 ... n, shape (n + 1,)."""
    from scipy.special import gammaln

    k = np.arange(n + 1)
    log_ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(np.exp(log_ways + k * math.log(q) + (n - k) * math.log1p(-q)))


def alike(values: np.ndarray) -> bool:
    """Whether ``values`` are one number up to rounding."""
    if len(values) < 2:
        return False
    size = float(np.max(np.abs(values)))
    return bool(np.ptp(values) <= 64 * np.finfo(float).eps * size)
