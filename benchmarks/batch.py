"""Intervals and bends of straight laws for many whole tables at once, and the law's own beside.

What ``Straight.solve`` does with one table (every seed at every point), written down for arrays
(n_tables, n_seeds, n_points): thousands of replicates take a second.  ``compare`` holds it to the
law's own code on the first tables of each cell; where they differ it raises.
"""

from __future__ import annotations

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit

from lawsweep.analysis.laws.judging.bend import ENOUGH
from lawsweep.analysis.laws.judging.coupling import PRIOR, _inverses
from lawsweep.analysis.laws.judging.noise import LACK_OF_FIT
from lawsweep.analysis.laws.results import FitResult

Array = np.ndarray


def batch(v: Array, y: Array, level: float = 0.95) -> dict[str, Array]:
    """Slope with the half widths by scatter and seeds, and the p-value of a bend, (n_tables,)."""
    _, n_seeds, n = y.shape
    line = np.stack([np.ones(n), v], axis=1)
    solve = np.linalg.pinv(line)
    means = y.mean(axis=1)
    slope = means @ solve[1]
    rss = np.sum((means - means @ (line @ solve).T) ** 2, axis=1)
    q = (1 + level) / 2
    scatter = stdtrit(n - 2, q) * np.sqrt(rss / (n - 2)) * np.linalg.norm(solve[1])
    found = {"slope": slope, "scatter": scatter, "seeds": np.zeros_like(slope)}
    found["p_value"] = _points(v, means)[0]
    if n_seeds > 1:
        own = (y @ solve[1]).std(axis=1, ddof=1) / np.sqrt(n_seeds)
        found["seeds"] = stdtrit(n_seeds - 1, q) * own
        found["p_value"] = _bend(v, y)
    return found


def compare(v: Array, y: Array, laws: list[FitResult]) -> None:
    """Raise AssertionError where the law's own code says otherwise of the first tables."""
    found = batch(v, y[: len(laws)])
    for k, law in enumerate(laws):
        p = law.parameters[1]
        half = max(found["scatter"][k], found["seeds"][k])
        np.testing.assert_allclose(
            [p.low, p.high], found["slope"][k] + half * np.array([-1, 1]), rtol=1e-7, atol=1e-12
        )
        if law.curvature is not None:
            # The likeliest growth of noise is found to 1e-4.
            assert abs(law.curvature.p_value - found["p_value"][k]) < 1e-4


def _two_sided(q: Array, error: Array, dof: Array) -> Array:
    return 2 * stdtr(dof, -np.abs(q) / error)


def _points(v: Array, means: Array) -> tuple[Array, Array]:
    """p-values of the quadratic term by the scatter, and of that and a cubic about the cubic."""
    n, centred = len(v), v - v.mean()
    basis, _ = np.linalg.qr(np.stack([centred**k for k in range(4)], axis=1))
    parts = means @ basis
    rss = np.sum((means - parts @ basis.T) ** 2, axis=1)
    wider = rss + parts[:, 3] ** 2
    p = _two_sided(parts[:, 2], np.sqrt(wider / (n - 3)), n - 3.0)
    cubic = np.sum(parts[:, 2:] ** 2, axis=1)
    return p, fdtrc(2, n - 4, cubic / 2 / (rss / (n - 4))) if n > 4 else np.zeros_like(p)


def _bend(v: Array, y: Array) -> Array:
    _, n_seeds, n = y.shape
    centred, u = v - v.mean(), (v - v.mean()) / np.ptp(v)
    design = np.stack([np.ones(n), centred, centred**2], axis=1)
    row = np.linalg.pinv(design)[2]
    means = y.mean(axis=1)
    apart, q = y - means[:, None], means @ row
    squares, dof = np.sum(apart**2, axis=1), n_seeds - 1.0
    b = _growth(u, squares / dof, dof)
    size = np.exp(b[:, None] * u)
    total = np.sum(squares / size, axis=1) / (n * dof)
    variance = total[:, None] * size
    of_means = variance / n_seeds
    ratio = _weighed(design, means, of_means)
    shares = row**2 * of_means
    error2 = shares.sum(axis=1)
    information = dof * np.array([n, np.sum(u**2)])
    g = np.stack([np.ones(len(y)), (shares @ u) / error2], axis=1)
    left, all_dof = n - 3, n * dof
    freedom = (all_dof + left) / all_dof / np.sum(g**2 / information, axis=1)
    error = np.sqrt(error2 * (all_dof + left * ratio) / (all_dof + left))
    own = (y @ row).std(axis=1, ddof=1) / np.sqrt(n_seeds)
    w = _coupling(v, apart / np.sqrt(variance)[:, None])
    p = (1 - w) * _two_sided(q, error, freedom) + w * _two_sided(q, own, dof)
    by_points, cubic = _points(v, means)
    by_scatter = np.minimum(by_points, cubic)
    misses = fdtrc(left, all_dof, ratio) < LACK_OF_FIT
    return np.where(misses & (by_scatter > p) & (n >= ENOUGH), by_scatter, p)


def _growth(u: Array, observed: Array, dof: float) -> Array:
    """The likeliest log-linear growth of variances, (n_tables,), drawn towards 0."""
    terms = np.stack([np.ones_like(u), u], axis=1)
    solve = np.linalg.pinv(terms)
    beta = np.log(np.maximum(observed, 1e-9 * observed.max(axis=1, keepdims=True))) @ solve.T
    for _ in range(30):
        step = (observed * np.exp(-beta @ terms.T) - 1) @ solve.T
        beta += np.clip(step, -2, 2)
    b, variance = beta[:, 1], 2 / (dof * np.sum(u**2))
    return b * np.maximum(0.0, 1 - variance / b**2)


def _weighed(design: Array, means: Array, of_means: Array) -> Array:
    """Mean square of the residuals of points weighed by their noise."""
    weights = 1 / of_means
    left = np.einsum("tn,ni,nj->tij", weights, design, design)
    right = np.einsum("tn,tn,ni->ti", weights, means, design)
    miss = means - np.linalg.solve(left, right[..., None])[..., 0] @ design.T
    return np.sum(weights * miss**2, axis=1) / (len(design) - design.shape[1])


def _coupling(v: Array, z: Array) -> Array:
    """Probability that seeds move points together, (n_tables,)."""
    _, n_seeds, n = z.shape
    u = (v - v.min()) / np.ptp(v)
    inverse, log_det = _inverses(tuple(u.tolist()), (True,) * n)
    products = np.einsum("tsi,tsj->tij", z, z)
    left = np.einsum("tij,mij->tm", products, inverse)
    likely = -((n_seeds - 1) * log_det + n * (n_seeds - 1) * np.log(left)) / 2
    odds = PRIOR * np.mean(np.exp(np.minimum(likely[:, 1:] - likely[:, :1], 600.0)), axis=1)
    return odds / (1 + odds)
