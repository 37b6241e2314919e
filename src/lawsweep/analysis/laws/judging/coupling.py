"""How likely it is that seeds move several points together, by how they differ from each other.

With z the seeds' deviations from the means of their points, each over the standard deviation
there, seeds that share nothing between points have cov z = I.  Against that stand seeds that add
an effect of their own along x, cov z = I + κ M: an offset, a slope, a curvature, or a smooth
function (a Gaussian process of short, middle or long reach), each κ / 4 apart from 1/4 to 256
times the noise.  Between those ends it makes a difference: of less the quadratic term's error is
little larger, and of more it is no clearer.  Means of the points and the scale are unknown: the
likelihood of what is left is (restricted likelihood, Patterson and Thompson 1971; the scale
integrated out over dσ/σ)

    L ∝ Π_s |V_s|^(-1/2) |Σ_s V_s⁻¹|^(-1/2) Q^(-(N − n)/2),   Q = min over means of Σ_s z'V_s⁻¹z

with V_s the covariance of the cells that seed s has, N of them in all at n points.  The
alternatives weigh alike.  What stands before the data is ``PRIOR``.
"""

from __future__ import annotations

import functools

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.judging.noise import apart
from lawsweep.analysis.laws.points import SeedTable

# Odds before the data.  They trade a bend that is found late for one that is called falsely: with
# three seeds the power stays within .03 of the test that knows seeds share nothing (a replicate
# and a point are then alike), and of seeds that share something short a bend is called in under
# 7 %; ``benchmarks/coverage.py`` has both, and what no test can have.
PRIOR = 1 / 12
REACHES = (0.15, 0.4, 1.0)  # of the smooth effects, shares of the range of x
RATIOS = tuple(4.0**k for k in range(-1, 5))  # κ: mean variance of the effect over the noise's
MOST_SEEDS, MOST_POINTS = 40, 32  # that are looked at: these tell, and more cost time


def coupling(v: Array, table: SeedTable, variance: Array) -> float:
    """Probability that seeds move points together, given their values at ``v`` (n_points,).

    ``variance`` (n_points,) is that of a replicate.
    """
    z, there, u = _binned(v, apart(table) / np.sqrt(variance), table.there)
    fewest_first = np.argsort(there.sum(axis=1), kind="stable")
    kept = fewest_first[-MOST_SEEDS:]
    z, there = z[kept], there[kept]
    seen = there.any(axis=0)
    z, there, u = z[:, seen], there[:, seen], u[seen]
    dof = int(there.sum()) - len(u)
    if dof < 1 or not np.any(z):
        return 0.0
    likely = _log_likelihoods(tuple(u.tolist()), z, there, dof)
    evidence = float(np.mean(np.exp(np.minimum(likely[1:] - likely[0], 600.0))))
    return PRIOR * evidence / (1 + PRIOR * evidence)


def _effects(u: Array) -> Array:
    """Covariances I + κ M at ``u`` (n,) in [0, 1], I first: (n_models, n, n)."""
    eye = np.eye(len(u))
    centred = u - u.mean()
    square = centred**2 - np.mean(centred**2)
    slope = float(centred @ centred)
    square = square - centred * (float(centred @ square) / slope) if slope else square
    shapes = [np.ones((len(u), len(u))), np.outer(centred, centred), np.outer(square, square)]
    shapes += [np.exp(-(((u[:, None] - u) / reach) ** 2) / 2) for reach in REACHES]
    sized = [m * (len(u) / np.trace(m)) for m in shapes if np.trace(m) > 0]
    return np.stack([eye] + [eye + ratio * m for m in sized for ratio in RATIOS])


@functools.lru_cache(maxsize=64)  # groups of a fit, and the tables of a benchmark, share x
def _inverses(u: tuple[float, ...], there: tuple[bool, ...]) -> tuple[Array, Array]:
    """Inverse of each model (n_models, n, n) among the cells that are there, and log det."""
    own = np.array(there, dtype=float)
    both = np.outer(own, own)
    # The cells that are there, and ones on the diagonal elsewhere, which drop out.
    covariance = _effects(np.array(u)) * both + np.diag(1 - own)
    return np.linalg.inv(covariance) * both, np.linalg.slogdet(covariance)[1]


def _log_likelihoods(u: tuple[float, ...], z: Array, there: Array, dof: int) -> Array:
    """Restricted log likelihood of each model, up to what all share: (n_models,)."""
    patterns: dict[tuple[bool, ...], list[int]] = {}
    for seed, row in enumerate(there.tolist()):
        patterns.setdefault(tuple(row), []).append(seed)
    parts = [(z[seeds], *_inverses(u, pattern)) for pattern, seeds in patterns.items()]
    size, n = len(parts[0][2]), len(u)
    logs, total = np.zeros(size), np.zeros((size, n, n))
    pulled, squares = np.zeros((size, n)), np.zeros(size)
    for own, inverse, log_det in parts:
        logs += len(own) * log_det
        total += len(own) * inverse
        pulled += inverse @ own.sum(axis=0)
        squares += np.einsum("si,mij,sj->m", own, inverse, own)
    means = np.linalg.solve(total, pulled[..., None])[..., 0]
    left = np.maximum(squares - np.sum(pulled * means, axis=1), np.finfo(float).tiny)
    logs = logs + np.linalg.slogdet(total)[1]
    return np.asarray(-(logs + dof * np.log(left)) / 2)


def _binned(v: Array, z: Array, there: Array) -> tuple[Array, Array, Array]:
    """The points in the order of ``v``; of many, sums of neighbours over the root of their number.

    Independent noise keeps its variance so, and a smooth effect shows all the more.
    """
    order = np.argsort(v, kind="stable")
    u = (v[order] - v.min()) / np.ptp(v)
    z, there = z[:, order], there[:, order]
    if len(v) <= MOST_POINTS:
        return z, there, u
    first = np.unique(np.linspace(0, len(v), MOST_POINTS, endpoint=False).astype(int))
    count = np.add.reduceat(there.astype(float), first, axis=1)
    sums = np.add.reduceat(z * there, first, axis=1)
    middle = np.add.reduceat(u, first) / np.diff(np.append(first, len(v)))
    return sums / np.sqrt(np.maximum(count, 1.0)), count > 0, middle
