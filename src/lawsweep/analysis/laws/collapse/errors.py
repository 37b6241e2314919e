"""How well a collapse is known: intervals by the profile of its sum of squares, and its quality.

Two sources, of which the wider interval is quoted, as of every law here.  The scatter of the points
about the curve, s² = rss / (n - p) with t(n - p): right where the noise of points is independent.
And where points share seeds, what one seed alone does to the parameters: of first order that is
J e_s, with J the pseudo-inverse of the law's derivatives and e_s the seed's part of the means, so
that S / (S - 1) Σ_s (J e_s)² is the variance of their sum whatever the seeds share (the jackknife
of first order over seeds, or the variance clustered by seeds), with t(S - 1).

S is the mean squared distance of the points from the curve over what it would be were there one:
Σ r² / E Σ r², r = (I - H) mean, where E Σ r² is taken from the replicates, through the same I - H.
So it is 1 in the mean where curves are one, whatever noise the points share and however it differs
between them.  The chance that it is as large as it is comes from F(v, v (S - 1)) with the effective
degrees of freedom v = (tr V)² / tr V² of the residuals (Satterthwaite 1946), tr V² without the bias
that few seeds give it (Bai and Saranadasa 1996).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.collapse.master import Best, Problem, basis, refine
from lawsweep.analysis.laws.points import Points

GROWTH = 1.6
MOST_STEPS = 14  # from 0.4 to 300 standard errors
BISECTIONS = 14


@dataclass(frozen=True)
class Solved:
    """A collapse at its minimum: parameters, coefficients of f, and derivatives.

    ``values`` (k,) are the ``names``, then come the coefficients of f; ``slope`` (n, p) are the
    derivatives of y (or log y) in all of them, and ``inverse`` (p, n) its pseudo-inverse.
    """

    best: Best
    names: tuple[str, ...]
    values: Array
    coefficients: Array
    slope: Array
    inverse: Array

    @property
    def dof(self) -> int:
        """Points less parameters."""
        n, p = self.slope.shape
        return int(n - p)

    @property
    def covariance(self) -> Array:
        """Of parameters and coefficients, as the scatter says, (p, p)."""
        return np.asarray(self.inverse @ self.inverse.T * self.best.rss / self.dof)

    def left(self, rows: Array) -> Array:
        """What the law cannot follow of ``rows`` (m, n)."""
        return np.asarray(rows - rows @ (self.slope @ self.inverse).T)


def solved(best: Best) -> Solved | None:
    """None where the derivatives depend on each other: the points do not tell them apart."""
    problem = best.problem
    curves = problem.curves
    theta = problem.at(best.values)
    design = problem.design(theta)
    linear = np.linalg.lstsq(design, problem.response(), rcond=None)[0]
    b_last = design.shape[1] > problem.size
    coefficients = linear[: problem.size]
    names = problem.free
    found = dict(zip(problem.searched, best.values.tolist(), strict=True))
    if b_last:
        found["b"] = float(linear[-1])
    columns = []
    for name in names:
        if name == "b":
            y = design[:, : problem.size] @ coefficients
            columns.append(-curves.size if curves.logy else -curves.size * y)
            continue
        k = problem.searched.index(name)
        ends = []
        h = 1e-6 * max(abs(found[name]), float(np.ptp(curves.x)) if name == "x_c" else 1.0)
        for side in (1, -1):
            nudged = best.values.copy()
            nudged[k] += side * h
            at = problem.at(nudged)
            ends.append(problem.design(at, linear=False) @ coefficients)
        columns.append((ends[0] - ends[1]) / (2 * h))
    slope = np.column_stack([*columns, design[:, : problem.size]])
    norms = np.linalg.norm(slope, axis=0)
    if not np.all(norms > 0) or len(slope) <= slope.shape[1]:
        return None
    u, s, vt = np.linalg.svd(slope / norms, full_matrices=False)
    if s[-1] <= 1e-9 * s[0]:
        return None
    inverse = (vt.T / s) @ u.T / norms[:, None]
    values = np.array([found[n] for n in names])
    return Solved(best, names, values, coefficients, slope, inverse)


def derivatives(of: Solved, x: Array, size: Array) -> Array:
    """Derivatives of the law at ``x``, ``size`` (m,) as the points have them: (m, p)."""
    from lawsweep.analysis.laws.collapse.curves import Theta, scaled

    curves, problem = of.best.problem.curves, of.best.problem
    given = {**problem.given, **dict(zip(of.names, of.values.tolist(), strict=True))}

    def functions(**change: float) -> Array:
        theta = Theta(**{**given, **change})
        at = scaled(x, size, theta, curves.logx)
        grown = np.ones(len(x)) if curves.logy else np.exp(-theta.b * size)
        return basis(at, curves.scaled_x(theta), problem.size) * grown[:, None]

    here = functions()
    columns = []
    for name in of.names:
        if name == "b":
            columns.append(-size if curves.logy else -size * (here @ of.coefficients))
            continue
        h = 1e-6 * max(abs(given[name]), float(np.ptp(curves.x)) if name == "x_c" else 1.0)
        up, down = (functions(**{name: given[name] + s * h}) for s in (1, -1))
        columns.append((up - down) @ of.coefficients / (2 * h))
    return np.column_stack([*columns, here])


@dataclass(frozen=True)
class Shares:
    """What each cluster of rows (a seed, or a row of its own) adds to the means, (S, n)."""

    parts: Array
    n_seeds: int | None  # None: rows of their own

    @property
    def factor(self) -> float:
        """Of the sum of squares over clusters that makes it a variance."""
        return len(self.parts) / (len(self.parts) - 1)


def shares(points: Points) -> Shares | None:
    """The seeds' parts where points share seeds; None where they share none, or one alone."""
    table = points.by_seed
    if table is None or not table.shared or points.seeds is None:
        return None
    seeds, of = np.unique(points.seeds.astype(np.int64), return_inverse=True)
    if len(seeds) < 2:
        return None
    parts = np.zeros((len(seeds), len(points)))
    apart = points.replicates - points.y[points.point_of]
    np.add.at(parts, (of.reshape(-1), points.point_of), apart / points.n[points.point_of])
    return Shares(parts, len(seeds))


def seed_covariance(of: Solved, by: Shares) -> Array:
    """Of parameters and coefficients, as the seeds say, (p, p)."""
    moved = by.parts @ of.inverse.T
    return np.asarray(by.factor * moved.T @ moved)


@dataclass(frozen=True)
class Quality:
    """S, and the chance that curves which are one within their errors have one as large."""

    s: float
    chance: float


def quality(of: Solved, points: Points, by: Shares | None) -> Quality | None:
    """None where nothing says how far a mean is from its point: one row each, or rows alike."""
    from scipy.special import fdtrc

    size = float(np.max(np.abs(points.y)))
    least = len(points) * _rounding(size)
    if by is not None:
        left = of.left(by.parts)
        gram = by.factor * left @ left.T
        expected = float(np.trace(gram))
        if not expected > least:  # seeds that agree: what is left of points is rounding
            return None
        m = len(left) - 1
        square = expected**2
        if m > 1:
            u = float(np.sum(gram**2))
            square = max(m**2 / ((m - 1) * (m + 2)) * (u - expected**2 / m), square / of.dof)
            square = min(square, expected**2)
        dof = max((expected**2 - 2 * square / m) / square if m > 1 else 1.0, 1.0)
        dof, below = min(dof, float(of.dof)), m * min(dof, float(of.dof))
    else:
        variance, below = _own_variance(points)
        if below == 0:
            return None
        hat = np.einsum("ij,ji->i", of.slope, of.inverse)
        expected = float(np.sum((1 - hat) * variance))
        dof = float(of.dof)
    if not expected > least:
        return None
    s = of.best.rss / expected
    return Quality(s, float(fdtrc(dof, below, s)))


def _rounding(size: float) -> float:
    """The square of what is rounding of numbers of this size."""
    return float((64 * np.finfo(float).eps * size) ** 2)


def _own_variance(points: Points) -> tuple[Array, float]:
    """Variance of each mean from its own rows, or where it has one from all; degrees of freedom."""
    n = points.n
    sd = points.sd
    dof = float(np.sum(n - 1))
    if dof == 0:
        return np.zeros(len(n)), 0.0
    common = float(np.nansum(sd**2 * (n - 1)) / dof)
    return np.where(n > 1, sd**2, common) / n, dof


def ends(
    of: Solved, name: str, taus: Sequence[float], limits: tuple[float, float]
) -> list[tuple[float, float]]:
    """Ends of the profile of a parameter for each tau; ±inf where it is not reached.

    tau(v)² = (rss(v) - rss) / s², rss(v) the least sum with the parameter held at v.
    """
    k = of.names.index(name)
    value, error = float(of.values[k]), math.sqrt(max(float(of.covariance[k, k]), 0.0))
    s2 = of.best.rss / of.dof
    size = float(np.max(np.abs(of.best.problem.curves.y)))
    # Of points that lie on one curve to rounding the sums beside the least are noise.
    if not error > 0 or not of.best.rss > len(of.best.problem.curves.y) * _rounding(size):
        return [(value, value) for _ in taus]
    found: list[list[float]] = [[] for _ in taus]
    for side in (-1, 1):
        walk = _Walk(of, name, value, s2, limits)
        walk.out(side, error, max(taus))
        for tau, into in zip(taus, found, strict=True):
            into.append(walk.crossing(tau, side))
    return [(low, high) for low, high in found]


class _Walk:
    """The profile of one parameter, from its estimate to one side."""

    def __init__(self, of: Solved, name: str, value: float, s2: float, limits: tuple[float, float]):
        self.of, self.name, self.s2, self.limits = of, name, s2, limits
        rest = [n for n in of.best.problem.searched if n != name]
        start = dict(zip(of.names, of.values.tolist(), strict=True))
        self.known = [(value, 0.0, np.array([start[n] for n in rest]))]
        problem = of.best.problem
        self.widths = np.array([max(abs(start[n]), 1.0) * 4 for n in rest])
        if "x_c" in rest:
            self.widths[rest.index("x_c")] = float(np.ptp(problem.curves.x))

    def tau(self, value: float) -> float:
        """At ``value``, from the nearest place that is known; inf where curves do not overlap."""
        near = min(self.known, key=lambda known: abs(known[0] - value))
        problem: Problem = self.of.best.problem.fix(self.name, value)
        rest, rss = refine(problem, near[2], self.widths)
        if not math.isfinite(rss):
            return math.inf
        tau = math.sqrt(max(rss - self.of.best.rss, 0.0) / self.s2)
        self.known.append((value, tau, rest))
        return tau

    def out(self, side: int, error: float, tau: float) -> None:
        """Walk until ``tau`` is passed, to the limit, or to where curves no longer overlap."""
        step, value = 0.4 * error, self.known[0][0]
        for _ in range(MOST_STEPS):
            value += side * step
            step *= GROWTH
            beyond = not self.limits[0] <= value <= self.limits[1]
            if beyond:
                value = self.limits[side > 0]
            at = self.tau(value)
            if beyond or not math.isfinite(at) or at >= tau:
                return

    def crossing(self, tau: float, side: int) -> float:
        """Where the profile first passes ``tau``; ±inf where it does not."""
        walked = sorted(self.known, key=lambda k: side * k[0])
        first = next((i for i, k in enumerate(walked) if k[1] >= tau), 0)
        if first == 0:  # the estimate itself: tau is 0, or was not reached
            return walked[0][0] if tau == 0.0 else side * math.inf
        low, high = walked[first - 1], walked[first]
        for _ in range(BISECTIONS):
            share = (tau - low[1]) / (high[1] - low[1]) if high[1] > low[1] else 0.5
            value = low[0] + min(max(share, 0.1), 0.9) * (high[0] - low[0])
            at = self.tau(value)
            made = (value, at, high[2])
            if abs(at - tau) < 3e-3 * tau:
                return value
            low, high = (low, made) if at >= tau else (made, high)
        return high[0]
