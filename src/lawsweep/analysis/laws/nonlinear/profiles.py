"""Profile intervals: how far a parameter goes before the others can no longer make up for it.

With s² = rss / (n - p) the signed root tau(v) = ± sqrt((rss(v) - rss) / s²), rss(v) the least sum
with the parameter held at v, is the parameter's t statistic where the law is linear, and follows
its bend elsewhere (Bates & Watts 1988, section 6.1): the interval ends where |tau| = t(n - p).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.nonlinear.solver import Problem, minimise

FARTHEST = 100.0  # times the wanted tau, in standard errors: beyond it an end is not bounded
NEAR = np.array([0.4, 0.7, 1.0, 1.4, 2.0, 3.0])  # first distances, in units of the linear law's end
GROWTH = 1.7  # of the distances of a profile that does not rise there as it should
REFINEMENTS = 3
CLOSE = 1e-4  # of tau: an end is found


@dataclass(frozen=True)
class Optimum:
    """Where a problem is least: parameters (p,), the sum, s² and covariance / s² (p, p)."""

    theta: Array
    rss: float
    s2: float
    unscaled: Array
    slope: Array  # weighted derivatives (n, p)
    condition: float

    def errors(self) -> Array:
        """Standard errors by the linear law at the optimum, (p,)."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.unscaled), 0.0) * self.s2))


def optimum(problem: Problem, theta: Array, rss: float, dof: int) -> Optimum | None:
    """What belongs to a minimum; None where the derivatives there depend on each other."""
    slope = problem.residuals(theta[None])[2][0]
    norms = np.linalg.norm(slope, axis=0)
    if not np.all(norms > 0):
        return None
    _, s, vt = np.linalg.svd(slope / norms, full_matrices=False)
    if s[-1] <= 8 * len(slope) * np.finfo(float).eps * s[0]:
        return None
    root = vt.T / s / norms[:, None]
    return Optimum(theta, rss, rss / dof, root @ root.T, slope, float(s[0] / s[-1]))


def profile_ends(
    problem: Problem, best: Optimum, wanted: Sequence[tuple[int, float]]
) -> list[tuple[float, float]]:
    """Ends of the profile of each (parameter, tau) of ``wanted``; ±inf where tau is not reached.

    The outermost crossing counts: a set in two pieces is given with what lies between.
    """
    if not wanted:
        return []
    errors = best.errors()
    lanes: list[_Lane] = []
    for k in dict.fromkeys(k for k, _ in wanted):
        taus = [tau for j, tau in wanted if j == k]
        lanes += [_Lane(k, side, float(errors[k]), min(taus), max(taus)) for side in (-1, 1)]
    near = [lane.error * lane.most * NEAR for lane in lanes]
    start = [_along(best, lane, v) for lane, v in zip(lanes, near, strict=True)]
    _solve(problem, best, lanes, near, start)
    odd = [lane for lane in lanes if not lane.plain()]
    if odd:
        far = [lane.steps() for lane in odd]
        start = [_along(best, lane, v) for lane, v in zip(odd, far, strict=True)]
        _solve(problem, best, odd, far, start)
        for lane in odd:  # again from the neighbour nearer to the optimum: keeps to one valley
            lane.sort()
        _solve(problem, best, odd, [lane.values for lane in odd],
               [lane.neighbours(best) for lane in odd])  # fmt: skip
        for lane in odd:
            lane.sort()
    for _ in range(REFINEMENTS):
        asked = [[lane.crossing(tau) for j, tau in wanted if j == lane.k] for lane in lanes]
        inner = [np.array([c for c in some if c is not None]) for some in asked]
        if not any(len(v) for v in inner):
            break
        _solve(problem, best, lanes, inner,
               [lane.between(v) for lane, v in zip(lanes, inner, strict=True)], 10)  # fmt: skip
        for lane in lanes:
            lane.sort()
    by_side = {(lane.k, lane.side): lane for lane in lanes}
    return [(by_side[k, -1].end(tau, best), by_side[k, 1].end(tau, best)) for k, tau in wanted]


def _along(best: Optimum, lane: _Lane, values: Array) -> Array:
    """Starts on the linear law's own profile, (g, p): the others move by their covariance."""
    direction = best.unscaled[:, lane.k] / best.unscaled[lane.k, lane.k]
    return np.asarray(best.theta + values[:, None] * lane.side * direction)


class _Lane:
    """The profile of one parameter to one side: distances from the optimum, taus, parameters."""

    def __init__(self, k: int, side: int, error: float, least: float, most: float):
        self.k, self.side, self.error = k, side, error
        self.least, self.most = least, most
        self.values = np.zeros(0)
        self.taus = np.zeros(0)
        self.thetas = np.zeros((0, 0))

    def plain(self) -> bool:
        """Whether tau rises from one distance to the next, and to well beyond the largest asked."""
        rises = self.taus > np.concatenate([[0.0], self.taus[:-1]])
        return bool(np.all(rises) and self.taus[-1] >= 1.5 * self.most)

    def steps(self) -> Array:
        """Distances to look at first, from a third of the nearest end on."""
        n = int(np.ceil(np.log(3 * FARTHEST * self.most / self.least) / np.log(GROWTH)))
        return np.asarray(self.error * self.least / 3 * GROWTH ** np.arange(n + 1))

    def take(self, values: Array, taus: Array, thetas: Array) -> None:
        """Keep what was found; of a distance looked at twice the lower tau."""
        p = thetas.shape[1]
        both = np.concatenate([self.values, values])
        taus = np.concatenate([self.taus, taus])
        thetas = np.concatenate([self.thetas.reshape(-1, p), thetas])
        order = np.lexsort((taus, both))
        both, taus, thetas = both[order], taus[order], thetas[order]
        first = np.concatenate([[True], np.diff(both) > 0])
        self.values, self.taus, self.thetas = both[first], taus[first], thetas[first]

    def sort(self) -> None:
        """Within reach of the largest tau only, plus the first beyond it."""
        beyond = np.flatnonzero(self.taus >= 3 * self.most)
        if len(beyond):
            inside = np.flatnonzero(self.taus < 3 * self.most)
            keep = max(int(beyond[0]), int(inside[-1]) + 1 if len(inside) else 0) + 1
            self.values, self.taus = self.values[:keep], self.taus[:keep]
            self.thetas = self.thetas[:keep]

    def neighbours(self, best: Optimum) -> Array:
        """Starts at each distance: the next nearer one's parameters, itself moved."""
        inner = np.concatenate([best.theta[None], self.thetas[:-1]])
        inner[:, self.k] = best.theta[self.k] + self.side * self.values
        return inner

    def _bracket(self, tau: float) -> tuple[int, bool]:
        """The last distance within, -1 for the optimum, and whether one beyond it is known."""
        within = np.flatnonzero(self.taus < tau)
        i = int(within[-1]) if len(within) else -1
        return i, i + 1 < len(self.values)

    def crossing(self, tau: float) -> float | None:
        """Where the profile crosses tau by the chord of its bracket; None where it does not."""
        i, closed = self._bracket(tau)
        if not closed or np.any(abs(self.taus - tau) <= CLOSE * tau):
            return None
        a, ta = (0.0, 0.0) if i < 0 else (float(self.values[i]), float(self.taus[i]))
        b, tb = float(self.values[i + 1]), float(self.taus[i + 1])
        share = (tau - ta) / (tb - ta) if np.isfinite(tb) and tb > ta else 0.5
        if not b - a > 1e-6 * b:
            return None
        return a + (b - a) * float(np.clip(share, 0.02, 0.98))

    def between(self, values: Array) -> Array:
        """Starts at distances between known ones."""
        if not len(values):
            return np.zeros((0, self.thetas.shape[1]))
        at = np.clip(np.searchsorted(self.values, values) - 1, 0, len(self.values) - 1)
        return self.thetas[at].copy()

    def end(self, tau: float, best: Optimum) -> float:
        """The parameter where the profile crosses tau."""
        i, closed = self._bracket(tau)
        if not closed:
            return self.side * np.inf
        a, ta = (0.0, 0.0) if i < 0 else (float(self.values[i]), float(self.taus[i]))
        b, tb = float(self.values[i + 1]), float(self.taus[i + 1])
        share = (tau - ta) / (tb - ta) if np.isfinite(tb) and tb > ta else 1.0
        return float(best.theta[self.k]) + self.side * (a + (b - a) * share)


def _solve(
    problem: Problem,
    best: Optimum,
    lanes: Sequence[_Lane],
    values: Sequence[Array],
    start: Sequence[Array],
    n_steps: int = 25,
) -> None:
    """Minimise over the other parameters at each lane's distances, and let the lanes keep it."""
    p = len(best.theta)
    stacked = np.concatenate([s.reshape(-1, p) for s in start])
    at = np.concatenate([np.full(len(v), lane.k) for lane, v in zip(lanes, values, strict=True)])
    to = np.concatenate([best.theta[lane.k] + lane.side * v
                         for lane, v in zip(lanes, values, strict=True)])  # fmt: skip
    rows = np.arange(len(at))
    stacked[rows, at] = to
    # Where the linear guess is no law at all the optimum's own, with this one moved, may be.
    lost = ~np.isfinite(problem.residuals(stacked)[0])
    stacked[lost] = best.theta
    stacked[rows, at] = to
    fixed = np.zeros(stacked.shape, dtype=bool)
    fixed[rows, at] = True
    theta, total, _ = minimise(problem, stacked, fixed, n_steps)
    taus = np.sqrt(np.maximum(total - best.rss, 0.0) / best.s2)
    if problem.ascending is not None:  # past the other one the two have changed names
        low, high = problem.ascending
        taus[theta[:, low] >= theta[:, high]] = np.inf
    cut = np.cumsum([len(v) for v in values])[:-1]
    for lane, v, t, th in zip(
        lanes, values, np.split(taus, cut), np.split(theta, cut), strict=True
    ):
        lane.take(v, t, th)
