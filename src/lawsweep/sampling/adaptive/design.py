"""Which values of x a straight law is sampled at, and how many whole seeds that will take.

A seed is run at all chosen values or at none, so that curves stay paired and the laws of single
seeds give an interval that needs no model of the noise.  What one seed tells of the slope has
variance τ² + σ² / S_xx: what it adds to all points in proportion (τ²) and what it adds to each
alone (σ²), S_xx = Σ (v − mean v)².  S seeds of cost c(X) each narrow the interval by √S, so a set
X is the better the smaller c(X) (τ² + σ² / S_xx) is (c-optimality per second; Elfving 1952).  The
ends stay in: without them the slope would be one of another range of x.  And no gap between
neighbours exceeds half the range, so that a bend shows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.laws.straight import LACK

MANY = 20_000  # sets that are gone through; of more the best are found by exchanging one value
GAP = 0.5  # of the range
TRIES = 20  # exchanges of every value


def coarse_set(
    v: np.ndarray, seconds: np.ndarray, keep: int, fixed: Sequence[int] = ()
) -> list[int]:
    """The best ``keep`` of the values ``v`` (n,), as places in it, ascending.

    ``seconds`` (n,) is what a run takes at each; ``fixed`` are in it, and so are both ends.
    """
    n = len(v)
    must = sorted({int(np.argmin(v)), int(np.argmax(v)), *fixed})
    if n <= keep or len(must) >= keep:
        return sorted(range(n)) if n <= keep else must
    free = [i for i in range(n) if i not in must]
    k = keep - len(must)
    if math.comb(len(free), k) <= MANY:
        sets = np.array([[*must, *some] for some in itertools.combinations(free, k)])
        return sorted(sets[_best(v, seconds, sets)].tolist())
    order = [free[i] for i in np.linspace(0, len(free) - 1, k).astype(int)]
    for _ in range(TRIES):
        before = order
        for place in range(k):
            others = [order[place], *(i for i in free if i not in order)]
            tried = np.array([[*must, *order[:place], o, *order[place + 1 :]] for o in others])
            order = [*order[:place], others[_best(v, seconds, tried)], *order[place + 1 :]]
        if order == before:
            break
    return sorted(must + order)


def _badness(v: np.ndarray, seconds: np.ndarray, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the largest gap of each set exceeds what it may be, then seconds over S_xx.

    ``sets`` (n_sets, k) has places in ``v``.
    """
    at = np.sort(v[sets], axis=1)
    allowed = max(GAP * np.ptp(v), float(np.max(np.diff(np.sort(v)), initial=0.0)))
    gap = np.maximum(0.0, np.max(np.diff(at, axis=1), axis=1) - allowed * (1 + 1e-9))
    spread = np.sum((at - at.mean(axis=1, keepdims=True)) ** 2, axis=1)
    return gap, seconds[sets].sum(axis=1) / np.maximum(spread, 1e-300)


def _best(v: np.ndarray, seconds: np.ndarray, sets: np.ndarray) -> int:
    """The set of the smallest gap beyond what may be, of these the cheapest, of these the first."""
    gap, cost = _badness(v, seconds, sets)
    return int(np.argmin(np.where(gap == gap.min(), cost, np.inf)))


@dataclass(frozen=True)
class Noise:
    """Variances of one seed: ``own`` of each point alone, ``shared`` of the coefficient as a whole.

    ``slope`` is the part of the coefficient's that more values of x average away, over that of
    ``own``.  ``lack`` is the variance of the law itself at each point, which no seed narrows;
    ``p_lack`` the probability of as much scatter of the means if there were none.
    """

    own: float
    shared: float
    slope: float
    lack: float
    p_lack: float


def noise_of(v: np.ndarray, y: np.ndarray, row: int) -> Noise:
    """From whole seeds, ``y`` (n_seeds, n_values), of coefficient ``row`` of (1, v)."""
    from lawsweep.analysis.laws.points import SeedTable
    from lawsweep.analysis.laws.seed_spread import p_scatter

    n_seeds, m = y.shape
    design = np.stack([np.ones_like(v), v], axis=1)
    inverse = np.linalg.pinv(design)
    a = inverse[row]
    residual = np.eye(m) - design @ inverse
    dof = m - 2
    own = float(np.sum(np.var(y @ residual, axis=0, ddof=1)) / dof)
    # What a seed's coefficient varies by beyond that comes from what it shares; where the points
    # that weigh most are the quiet ones, it varies by less.
    varies, of_own = float(np.var(y @ a, ddof=1)), own * float(a @ a)
    scatter = float(np.sum((residual @ y.mean(axis=0)) ** 2) / dof)
    p_lack = p_scatter(design, SeedTable(y, np.ones(y.shape, dtype=bool)))
    return Noise(
        own,
        max(0.0, varies - of_own),
        min(1.0, varies / of_own) if of_own > 0 else 1.0,
        max(0.0, scatter - own / n_seeds),
        1.0 if p_lack is None else p_lack,
    )


@dataclass(frozen=True)
class Option:
    """A set of values, the whole seeds that it is expected to take, and the seconds from here."""

    chosen: tuple[int, ...]
    n_seeds: int | None  # None: no number of seeds is enough
    seconds: float
    floor: float  # half width that is left however many seeds there are


class Forecast:
    """What half width sets of values are expected to give, by the noise seen so far.

    ``scatters``: the interval of the scatter about the law counts too.
    """

    def __init__(
        self,
        v: np.ndarray,
        seconds: np.ndarray,
        row: int,
        noise: Noise,
        level: float,
        cap: int,
        *,
        scatters: bool,
    ):
        from scipy.special import stdtrit

        self.v, self.seconds, self.row, self.noise, self.cap = v, seconds, row, noise, cap
        self._p, self._stdtrit, self._scatters = (1 + level) / 2, stdtrit, scatters
        self._sizes = np.arange(2, max(cap, 2) + 1, dtype=np.float64)
        self._t_of_sizes = stdtrit(self._sizes - 1, self._p)
        self._lack = noise.lack if noise.p_lack < LACK else 0.0

    def halves(self, chosen: Sequence[int], n_seeds: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Half widths at so many seeds: of the seeds' laws, or the wider of both intervals.

        ``t`` has Student's quantile of each ``n_seeds`` less one.
        """
        v = self.v[list(chosen)]
        centre = float(v.mean())
        # a'a of the row a of the pseudo-inverse of (1, v) that gives the coefficient
        square = 1 / max(float(np.sum((v - centre) ** 2)), 1e-300)
        square = square if self.row == 1 else 1 / len(v) + centre**2 * square
        noise, dof = self.noise, len(v) - 2
        of_seeds = t * np.sqrt((noise.shared + noise.slope * noise.own * square) / n_seeds)
        if not self._scatters:
            return np.asarray(of_seeds)
        scatter = (noise.own / n_seeds + self._lack) * square
        of_scatter = self._stdtrit(float(dof), self._p) * np.sqrt(scatter)
        return np.asarray(np.maximum(of_seeds, of_scatter))

    def option(
        self, chosen: Sequence[int], target: float, have: Sequence[int], n_have: int
    ) -> Option:
        """How a set reaches the target, where ``have`` are run at ``n_have`` seeds."""
        at = min(max(0, n_have - 2), len(self._sizes) - 1)
        sizes, t = self._sizes[at:], self._t_of_sizes[at:]
        good = np.flatnonzero(self.halves(chosen, sizes, t) <= target)
        floor = 0.0
        if self._scatters:
            floor = float(self.halves(chosen, np.array([1e12]), np.full(1, 2.0))[0])
        n = int(sizes[good[0]]) if len(good) else None
        seconds = (n or self.cap) * float(self.seconds[list(chosen)].sum())
        seconds -= n_have * float(self.seconds[list(have)].sum())
        return Option(tuple(chosen), n, seconds, floor)

    def best(self, have: Sequence[int], usable: Sequence[int], target: float, n_have: int
             ) -> tuple[Option, Option]:  # fmt: skip
        """The cheapest way to the target, and that of all values.

        The values that are run stay; those that come in are added one by one, each the one that
        makes what follows cheapest.
        """
        chosen, options = list(have), [self.option(have, target, have, n_have)]
        left = [i for i in usable if i not in chosen]
        while left:
            tried = [self.option(sorted([*chosen, i]), target, have, n_have) for i in left]
            k = min(range(len(left)), key=lambda k: _order(tried[k]))
            options.append(tried[k])
            chosen.append(left.pop(k))
        return min(options, key=_order), options[-1]


def _order(option: Option) -> tuple[bool, float, int, float]:
    """Those that arrive first; then by seconds, fewer values first."""
    if option.n_seeds is None:
        return True, option.floor, len(option.chosen), option.seconds
    return False, option.seconds, len(option.chosen), option.floor
