"""The likelihood of a straight law of rows of which some are only bounds, and its maximum.

Row j at design row d_j belongs to a seed s and says y_j = c, y_j ≤ c or y_j ≥ c of

    y_j = d_j'beta + z_j'a_s + sigma r_j e_j,    e_j normal,  a_s normal,  var a_s = sigma² / lambda

with known r_j and ratios lambda (Tobin 1958; seeds' effects as in Laird & Ware 1982).  In theta =
1 / sigma, delta = theta beta and alpha_s = theta a_s every term of the log likelihood is concave
(Olsen 1978): with u = (theta c - d'delta - z'alpha) / r it is log theta - u² / 2 of a value,
log Phi(u) of an upper and log Phi(-u) of a lower bound, and -lambda alpha² / 2 of the effects.
-p log theta makes sigma the one with n - p degrees of freedom (Patterson & Thompson 1971).
Newton's steps, halved until the sum rises, find the one maximum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lawsweep.analysis.frames import Array

ROOT_2PI = float(np.sqrt(2 * np.pi))
STEPS = 100
SMALL = 1e-12  # of Newton's decrement, twice what log L lacks; log L is of order 1


@dataclass(frozen=True)
class Rows:
    """Rows in the order of their seeds.  ``bound`` is -1 where y is at most c, 1 at least, else 0.

    ``penalty`` is how many coefficients sigma is freed of.  ``firsts`` (n_seeds,) is where the rows
    of each seed begin and ``precision`` (k,) are the lambda of the effects, columns of ``effects``.
    """

    design: Array  # (n, p)
    c: Array  # (n,)
    bound: Array  # (n,)
    weight: Array  # (n,)
    scale: Array  # (n,)
    effects: Array  # (n, k)
    seed_of: Array  # (n,), ascending
    firsts: Array
    precision: Array  # (k,)
    penalty: float

    @property
    def n_values(self) -> float:
        """Weight of the rows that are values."""
        return float(self.weight[self.bound == 0].sum())


@dataclass(frozen=True)
class Maximum:
    """The most likely law: delta (p), theta and alpha (n_seeds, k), and log L there."""

    delta: Array
    theta: float
    alpha: Array
    log_likelihood: float

    @property
    def beta(self) -> Array:
        """The coefficients."""
        return self.delta / self.theta


def parts(rows: Rows, at: Maximum) -> tuple[float, Array, Array]:
    """log L, and the first and second derivative of each row's term in u (the second negated)."""
    from scipy.special import log_ndtr

    u = rows.c * at.theta - rows.design @ at.delta
    if rows.effects.shape[1]:
        u = u - np.einsum("nk,nk->n", rows.effects, at.alpha[rows.seed_of])
    u = u / rows.scale
    term, slope, bend = -0.5 * u * u, -u, np.ones_like(u)
    bounds = np.flatnonzero(rows.bound)
    sign = -rows.bound[bounds]
    away = sign * u[bounds]
    term[bounds] = log_ndtr(away)
    mills = np.exp(-0.5 * away**2 - term[bounds]) / ROOT_2PI
    slope[bounds] = sign * mills
    bend[bounds] = mills * (mills + away)
    total = float(rows.weight @ term)
    total += (rows.n_values - rows.penalty) * float(np.log(at.theta))
    total -= 0.5 * float(np.sum(at.alpha**2 * rows.precision))
    return total, rows.weight * slope, np.maximum(rows.weight * bend, 0.0)


@dataclass(frozen=True)
class Curvatures:
    """Minus the second derivatives: of (delta, theta), of each seed's alpha, and between them."""

    fixed: Array  # (p + 1, p + 1)
    random: Array  # (n_seeds, k, k)
    cross: Array  # (n_seeds, k, p + 1)

    @property
    def profiled(self) -> Array:
        """That of (delta, theta) with alpha at its best, (p + 1, p + 1)."""
        if not self.random.shape[1]:
            return self.fixed
        solved = np.linalg.solve(self.random, self.cross)
        return np.asarray(self.fixed - np.einsum("ski,skj->ij", self.cross, solved))


def along(rows: Rows) -> Array:
    """Derivative of u in (delta, theta), (n, p + 1)."""
    return np.concatenate([-rows.design, rows.c[:, None]], axis=1) / rows.scale[:, None]


def curvatures(rows: Rows, bend: Array, theta: float) -> Curvatures:
    """Minus the second derivatives of log L."""
    a = along(rows)
    fixed = a.T @ (bend[:, None] * a)
    fixed[-1, -1] += (rows.n_values - rows.penalty) / theta**2
    k = rows.effects.shape[1]
    if not k:
        n = len(rows.firsts)
        return Curvatures(fixed, np.zeros((n, 0, 0)), np.zeros((n, 0, a.shape[1])))
    z = -rows.effects / rows.scale[:, None]
    weighed = bend[:, None] * z
    random = np.add.reduceat(weighed[:, :, None] * z[:, None, :], rows.firsts)
    random[:, np.arange(k), np.arange(k)] += rows.precision
    cross = np.add.reduceat(weighed[:, :, None] * a[:, None, :], rows.firsts)
    return Curvatures(fixed, random, cross)


def start(rows: Rows) -> Maximum:
    """Least squares through all rows, bounds as values."""
    beta, *_ = np.linalg.lstsq(rows.design, rows.c, rcond=None)
    miss = rows.c - rows.design @ beta
    spread = float(np.sqrt(np.mean(miss**2))) or 1.0
    k = rows.effects.shape[1]
    return Maximum(beta / spread, 1 / spread, np.zeros((len(rows.firsts), k)), -np.inf)


def maximise(rows: Rows, begin: Maximum | None = None, small: float = SMALL) -> Maximum:
    """The most likely law of these rows; ``begin`` is near it."""
    at = begin or start(rows)
    k = rows.effects.shape[1]
    if at.alpha.shape[1] != k:
        at = replace(at, alpha=np.zeros((len(rows.firsts), k)))
    a = along(rows)
    value, slope, bend = parts(rows, at)
    for _ in range(STEPS):
        g = a.T @ slope
        g[-1] += (rows.n_values - rows.penalty) / at.theta
        h = curvatures(rows, bend, at.theta)
        if k:
            own = np.add.reduceat(slope[:, None] * -rows.effects / rows.scale[:, None], rows.firsts)
            own = own - rows.precision * at.alpha
            solved = np.linalg.solve(h.random, np.concatenate([h.cross, own[:, :, None]], axis=2))
            left = g - np.einsum("ski,sk->i", h.cross, solved[:, :, -1])
            step = np.linalg.lstsq(h.profiled, left, rcond=None)[0]
            moved = solved[:, :, -1] - solved[:, :, :-1] @ step
            decrement = float(step @ g + np.sum(moved * own))
        else:
            step = np.linalg.lstsq(h.fixed, g, rcond=None)[0]
            moved = np.zeros_like(at.alpha)
            decrement = float(step @ g)
        if not decrement > small:
            break
        share = 1.0
        if step[-1] < 0:
            share = min(1.0, -0.9 * at.theta / float(step[-1]))
        for _ in range(40):
            tried = Maximum(
                at.delta + share * step[:-1],
                at.theta + share * float(step[-1]),
                at.alpha + share * moved,
                0.0,
            )
            new = parts(rows, tried)
            if new[0] >= value + 1e-4 * share * decrement:
                break
            share /= 2
        else:
            break
        at, (value, slope, bend) = tried, new
    return replace(at, log_likelihood=value)
