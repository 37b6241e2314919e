"""The one curve: a smooth function of x' that is fitted to all points while they are scaled.

y = L^-b f(x'), or log y = f(x') - b log L, with f a polynomial or a cubic spline whose knots are at
quantiles of x'.  Given a, b and x_c its coefficients are those of least squares (variable
projection: Golub and Pereyra 1973), so that what is left is a function of a, b and x_c alone.  How
many coefficients it has is chosen by AICc.

Houdayer and Hartmann compare with straight lines between neighbours.  How far these are from a
curve does not shrink with the noise: it moves the exponents, and S is far from 1 on a coarse grid.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.collapse.curves import Curves, Theta

NAMES = ("a", "b", "x_c")
SIZES = (3, 4, 5, 6, 7, 8, 10, 12, 15)  # coefficients of f: a parabola, a cubic, splines
NODES = {1: 61, 2: 17, 3: 9}  # of a grid over so many parameters
LEAST_SHARE = 0.5  # of the most points that can be within another curve: fewer is no collapse
STARTS = 3
STEPS = 40
PATIENCE = 3  # more coefficients are tried while one of so many is better
LINKED_POINTS = 3  # points within another curve: below them there is nothing to compare


def basis(at: Array, x: Array, size: int) -> Array:
    """``size`` functions that span f at ``at`` (m,), those of the points ``x`` (n,): (m, size)."""
    low, high = float(x.min()), float(x.max())
    scale = (high - low) or 1.0
    u = np.clip(2 * (at - low) / scale - 1, -1.0, 1.0)
    if size <= 4:
        return np.asarray(np.polynomial.legendre.legvander(u, size - 1))
    ordered = np.sort(2 * (x - low) / scale - 1)
    place = np.arange(1, size - 3) / (size - 3) * (len(x) - 1)  # quantiles, as numpy's linear ones
    below = place.astype(int)
    inner = ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
    return _cubic(u, np.concatenate([[-1.0] * 4, inner, [1.0] * 4]))


def _cubic(u: Array, knots: Array) -> Array:
    """The cubic B-splines of ``knots`` (k,) at ``u`` (m,), (m, k - 4): de Boor's recursion."""
    n = len(knots) - 4
    span = np.clip(np.searchsorted(knots, u, side="right") - 1, 3, n - 1)
    parts = [np.ones(len(u))]
    for degree in (1, 2, 3):
        right = [knots[span + k + 1] - u for k in range(degree)]
        left = [u - knots[span - k] for k in range(degree)]
        made, carried = [], np.zeros(len(u))
        for k in range(degree):
            width = right[k] + left[degree - 1 - k]
            share = parts[k] / np.where(width > 0, width, 1.0)
            made.append(carried + right[k] * share)
            carried = left[degree - 1 - k] * share
        parts = [*made, carried]
    found = np.zeros((len(u), n))
    for k, part in enumerate(parts):
        found[np.arange(len(u)), span - 3 + k] = part
    return found


@dataclass(frozen=True)
class Problem:
    """What is left of y by the best f of ``size`` coefficients, as a function of a, b and x_c.

    ``given`` holds those that are fixed; ``fewest`` points must lie within another curve, and those
    that are searched for within ``box``.
    """

    curves: Curves
    free: tuple[str, ...]
    given: Mapping[str, float]
    size: int
    fewest: int
    box: Mapping[str, tuple[float, float]]

    @functools.cached_property
    def searched(self) -> tuple[str, ...]:
        """Parameters that are searched for: b is linear where y has a logarithm."""
        return tuple(n for n in self.free if n != "b" or not self.curves.logy)

    def at(self, values: Array) -> Theta:
        """All three, of those searched for; b is 0 where it is linear."""
        found = dict(zip(self.searched, values.tolist(), strict=True))
        return Theta(**{n: found.get(n, self.given.get(n, 0.0)) for n in NAMES})

    def design(self, theta: Theta, *, linear: bool = True) -> Array:
        """What y is linear in: f's functions times L^-b, and -log L where b is linear, (n, q)."""
        x = self.curves.scaled_x(theta)
        columns = basis(x, x, self.size) * self.curves.grown(theta)[:, None]
        if linear and self.curves.logy and "b" in self.free:
            columns = np.column_stack([columns, -self.curves.size])
        return columns

    def response(self) -> Array:
        """y, with a given b taken out where that is a shift."""
        if self.curves.logy and "b" in self.given:
            return self.curves.y + self.given["b"] * self.curves.size
        return self.curves.y

    def residuals(self, values: Array) -> Array | None:
        """(n,); None where too few points can be compared."""
        theta = self.at(values)
        ends = [self.box[name] for name in self.searched]
        if any(not low <= v <= high for v, (low, high) in zip(values, ends, strict=True)):
            return None
        if not self.comparable(theta):
            return None
        y = self.response()
        q, r = np.linalg.qr(self.design(theta))
        size = np.abs(np.diag(r))
        if size.min() <= 1e-10 * size.max():  # knots in one place: fewer functions
            u, s, _ = np.linalg.svd(self.design(theta), full_matrices=False)
            q = u[:, s > 1e-10 * s[0]]
        return np.asarray(y - q @ (q.T @ y))

    def comparable(self, theta: Theta) -> bool:
        """Whether enough points lie within another curve, and all curves hang together."""
        n, whole = self.curves.within(theta)
        return whole and n >= self.fewest

    def rss(self, values: Array) -> float:
        """The sum of squares; inf where too few points can be compared."""
        left = self.residuals(values)
        return math.inf if left is None else float(left @ left)

    def fix(self, name: str, value: float) -> Problem:
        """The same with one more parameter given."""
        free = tuple(n for n in self.free if n != name)
        return replace(self, free=free, given={**self.given, name: value})


def box_of(curves: Curves) -> dict[str, tuple[float, float]]:
    """Where a, b and x_c are searched for: as far as curves may overlap at all."""
    reach, gap = float(np.ptp(curves.size)), float(curves.gaps.max())
    a = 1.2 * float(np.ptp(curves.x)) / gap if curves.logx else max(3.0, 5.0 / reach)
    scale = [
        math.log(max(float(np.sqrt(np.mean(curves.y[curves.curve == k] ** 2))), 1e-300))
        for k in np.unique(curves.curve)
    ]
    b = max(3.0, 1.5 * (max(scale) - min(scale)) / reach)
    return {
        "a": (-a, a), "b": (-b, b), "x_c": (float(curves.x.min()), float(curves.x.max())),
    }  # fmt: skip


def refine(problem: Problem, start: Array, widths: Array) -> tuple[Array, float]:
    """A local minimum of the sum of squares from ``start``: Levenberg and Marquardt's."""
    values, damping = np.array(start, dtype=float), 1e-3
    left = problem.residuals(values)
    if left is None:
        return values, math.inf
    rss = float(left @ left)
    if not len(values) or rss == 0.0:
        return values, rss
    step = 1e-6 * widths
    for _ in range(STEPS):
        slope = _slope(problem, values, left, step)
        if slope is None:
            break
        normal, gradient = slope.T @ slope, slope.T @ left
        fall = 0.0
        for _ in range(12):
            damped = normal + damping * np.diag(np.maximum(np.diag(normal), 1e-300))
            move = np.clip(-np.linalg.solve(damped, gradient), -widths / 8, widths / 8)
            tried = problem.residuals(values + move)
            if tried is not None and float(tried @ tried) < rss:
                fall = rss - float(tried @ tried)
                values, left, rss = values + move, tried, float(tried @ tried)
                damping = max(damping / 8, 1e-12)
                break
            damping *= 6
        if fall <= 1e-9 * rss:
            break
    return values, rss


def _slope(problem: Problem, values: Array, left: Array, step: Array) -> Array | None:
    columns = []
    for k, h in enumerate(step):
        nudge = np.zeros(len(values))
        nudge[k] = h
        moved, sign = problem.residuals(values + nudge), 1.0
        if moved is None:
            moved, sign = problem.residuals(values - nudge), -1.0
        if moved is None:
            return None
        columns.append(sign * (moved - left) / h)
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Best:
    """The least sum of squares, where it is, and of which problem."""

    problem: Problem
    values: Array
    rss: float

    @property
    def n_parameters(self) -> int:
        """Coefficients of f, and what else is free."""
        return self.problem.size + len(self.problem.free)


def search(curves: Curves, free: Sequence[str], given: Mapping[str, float]) -> Best | None:
    """The best f and the a, b and x_c with it; None where curves overlap at none of them."""
    box = box_of(curves)
    first = Problem(curves, tuple(free), dict(given), 5, 0, box)
    nodes = _nodes(box, first.searched)
    seen = [curves.within(first.at(node)) for node in nodes]
    most = max((n for n, whole in seen if whole), default=0)
    if not most:
        return None
    fewest = max(LINKED_POINTS, math.ceil(LEAST_SHARE * most))
    usable = np.array([whole and n >= fewest for n, whole in seen])
    widths = np.array([box[n][1] - box[n][0] for n in first.searched])
    sizes = [s for s in SIZES if s + len(free) + 2 <= len(curves.x) * 2 // 3]
    if not sizes:
        return None
    starts: list[Array] = []
    for size in dict.fromkeys((sizes[min(1, len(sizes) - 1)], sizes[min(5, len(sizes) - 1)])):
        rough = replace(first, size=size, fewest=fewest)
        sums = np.array(
            [rough.rss(v) if u else math.inf for v, u in zip(nodes, usable, strict=True)]
        )
        places = _lowest(sums, [NODES.get(len(widths), 1)] * len(widths))
        starts += [refine(rough, nodes[k], widths)[0] for k in places]
    found: list[Best] = []
    for size in sizes:
        problem = replace(first, size=size, fewest=fewest)
        near = starts if len(found) < 2 else [found[-1].values, found[-2].values, starts[0]]
        values, rss = min((refine(problem, s, widths) for s in _distinct(near, widths)),
                          key=lambda tried: tried[1], default=(np.zeros(0), math.inf))  # fmt: skip
        if math.isfinite(rss):
            found.append(Best(problem, values, rss))
        if len(found) > PATIENCE and _worse(found[-PATIENCE - 1 :], len(curves.x)):
            break
    return min(found, key=lambda b: aicc(b.rss, len(curves.x), b.n_parameters), default=None)


def _worse(found: list[Best], n: int) -> bool:
    """Whether none of the last is better than the first of these."""
    scores = [aicc(best.rss, n, best.n_parameters) for best in found]
    return min(scores[1:]) > scores[0]


def _distinct(starts: list[Array], widths: Array) -> list[Array]:
    kept: list[Array] = []
    for start in starts:
        if all(np.any(np.abs(start - other) > 1e-3 * widths) for other in kept) or not kept:
            kept.append(start)
    return kept


def aicc(rss: float, n: int, n_parameters: int) -> float:
    """Hurvich and Tsai's 1989, of Gaussian residuals whose variance is fitted too."""
    k = n_parameters + 1
    if n - k - 1 <= 0:
        return math.inf
    return n * math.log(max(rss, 1e-300) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _nodes(box: Mapping[str, tuple[float, float]], names: Sequence[str]) -> list[Array]:
    axes = [np.linspace(*box[n], NODES[len(names)] + 2)[1:-1] for n in names]
    return [np.array(node) for node in itertools.product(*axes)]


def _lowest(sums: Array, shape: list[int]) -> Iterator[int]:
    """The lowest local minima of a grid, as indices into its nodes."""
    grid = sums.reshape(shape)
    least = np.isfinite(grid)
    for axis in range(grid.ndim):
        for step in (-1, 1):
            beside = np.roll(grid, step, axis)
            edge = [slice(None)] * grid.ndim
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            beside[tuple(edge)] = math.inf
            least &= grid <= beside
    places = np.flatnonzero(least.ravel())
    yield from places[np.argsort(sums[places], kind="stable")[:STARTS]].tolist()
