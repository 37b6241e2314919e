"""How single seeds move the means of a fit's points, and where that takes its parameters.

The model of a seed, for every law here: z_s = z + e_s at the points, with e_s independent between
seeds, of mean 0, and of any covariance over the points (offsets, slopes, smooth effects, shared
draws, independent noise alike).  The law is of z, the mean over seeds of log y (of y where the
errors are not relative), and so are the parameters asked about.  Means of S seeds are Gaussian
about z with covariance C / S, which the seeds' deviations estimate on S - 1 degrees of freedom;
with C / S = sum of l_k² u_k u_k' over principal axes, a parameter linear in the means, w'z, has the
exact interval ± t(S - 1) sqrt(sum of (l_k w'u_k)²), whatever C is.  A nonlinear law bends over the
length of an axis where seeds differ much, most so where one axis holds nearly all their variance,
as slopes of their own do.  Then the means lie on the line z + (a multiple of u_1), and the law is
that of one of its points: the parameters of all points within ± t(S - 1) l_1 hold the true ones
just as often as a t interval does, however they bend.  So the means are moved along each axis by up
to ± t(S - 1) l_k, the law is fitted again on the way, and the farthest that each axis takes a
parameter up (down) are added as squares: both of the above are its limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lawsweep.analysis.frames import Array, means
from lawsweep.analysis.laws.nonlinear.solver import Problem, minimise
from lawsweep.analysis.laws.points import Points

AXES = 8  # the longest are followed, the others taken at their first order
SHARES = (1 / 3, 2 / 3, 1.0)  # of the way along an axis at which the law is fitted
ONE = "one seed: the interval lacks how other draws would move the law"
FEW = "too few seeds at most points: the interval lacks how draws move the law"


@dataclass(frozen=True)
class Moves:
    """Rows (n_seeds, n) whose squares add up to the covariance of the points' means.

    ``dof`` is S - 1 where all seeds are at all points.  ``rows`` is None where the seeds do not
    tell, and ``unknown`` says why.
    """

    rows: Array | None
    n_seeds: int
    dof: float = 0.0
    unknown: str = ""


def seed_moves(points: Points, fitted: Array, n_parameters: int) -> Moves | None:
    """What each seed adds to the means; None where no two points share a seed.

    With m seeds at a point each one's deviation from their mean counts sqrt(1 / (m (m - 1))), so
    that the squares add up to the variance of that mean; a point of one seed has its deviation from
    the law, ``fitted`` (n,), and the n - p degrees of freedom of that.  Where the offsets of seeds
    are taken out of the means (``points.within_seeds``), a seed's own moves all points alike, as
    one of S, and the rest of its deviations as above.  Where seeds are missing at some points, S
    is the effective number of seeds (sum of v)² / sum of v², v the share of each in the variance
    of the means if noise were independent (Carter, Schnepel & Steigerwald 2017).
    """
    table = points.by_seed
    if table is None or not table.shared:
        return None
    there = table.there
    if len(there) == 1:
        return Moves(None, 1, unknown=ONE)
    (n_seeds, n), m = there.shape, there.sum(axis=0)
    plain = np.where(there, table.mean, 0.0).sum(axis=0) / np.maximum(m, 1)
    taken = abs(points.y - means(points.replicates, points.point_of))
    within = bool(np.any(taken > 1e-9 * max(float(np.ptp(table.mean[there])), 1e-300)))
    middle = np.where(m > 1, points.y if within else plain, fitted)
    unit = np.ones(n) if points.sizes is None else points.sizes
    rows = np.where(there, table.mean - middle, 0.0) / unit
    own = np.zeros(n_seeds)
    if within:
        own = rows.sum(axis=1) / there.sum(axis=1)
        own = own - own.mean()
    scale = np.where(m > 1, 1 / np.sqrt(np.maximum(m * (m - 1.0), 1)),
                     np.sqrt(n / (n - n_parameters)))  # fmt: skip
    rows = np.where(there, rows - own[:, None], 0.0) * scale
    rows = (rows + own[:, None] / np.sqrt(n_seeds * (n_seeds - 1.0))) * unit
    share = (there / m**2).sum(axis=1)
    effective = float(share.sum() ** 2 / (share**2).sum())
    if effective < 1.5:
        return Moves(None, len(there), unknown=FEW)
    return Moves(rows, len(there), effective - 1)


def first_order(slope: Array, moves: Moves | None, weights: Array) -> Array | None:
    """Covariance (p, p) by the linear law whose weighted derivatives are ``slope`` (n, p)."""
    if moves is None or moves.rows is None:
        return None
    laws = (moves.rows * np.sqrt(weights)) @ _inverse(slope).T
    return np.asarray(laws.T @ laws)


def moved_ends(
    problem: Problem, theta: Array, moves: Moves, tau: float, read: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """How far each parameter goes down and up, (p,) each, when the means move as the seeds do.

    ``read`` gives the parameters (g, p) at solutions (g, q) of ``problem``, NaN where one has lost
    its meaning on the way: it is not bounded then.
    """
    assert moves.rows is not None
    centre = read(theta[None])[0]
    root = np.sqrt(problem.weights)
    _, lengths, axes = np.linalg.svd(moves.rows * root, full_matrices=False)
    long = lengths > 1e-9 * max(float(lengths[0]), np.finfo(float).tiny)
    along = tau * lengths[long, None] * axes[long] / root  # (axes, n): the whole way
    if not len(along):
        return np.zeros(len(centre)), np.zeros(len(centre))
    both = np.stack([along, -along], axis=1).reshape(-1, along.shape[1])  # the longest axis first
    slope = problem.residuals(theta[None])[2][0]
    step = (both * root) @ _inverse(slope).T
    far = _ahead(read(theta + step) - centre)  # first order, (2, axes and sides, p)
    followed = slice(0, 2 * AXES)
    far[:, followed] = 0.0
    at = np.repeat(theta[None], len(both[followed]), axis=0)
    for before, share in zip((0.0, *SHARES), SHARES, strict=False):
        target = replace(problem, z=problem.z + share * both[followed])
        start = at + (share - before) * step[followed]
        lost = ~np.isfinite(target.residuals(start)[0])
        start[lost] = at[lost]
        at, total, _ = minimise(target, start, None, 40)
        values = read(at)
        values[~np.isfinite(total)] = np.nan
        # A parameter that turns back keeps the farthest it came.
        far[:, followed] = np.maximum(far[:, followed], _ahead(values - centre))
    by_axis = far.reshape(2, len(along), 2, len(centre)).max(axis=2)
    with np.errstate(over="ignore"):
        down, up = np.sqrt((by_axis**2).sum(axis=1))
    return down, up


def one_step(problem: Problem, theta: Array) -> Array:
    """One linear step (g, p) from ``theta`` (p,) towards the least sum of each of g problems."""
    _, left, slope = problem.residuals(np.repeat(theta[None], len(problem.z), axis=0))
    return np.stack([theta + _inverse(s) @ r for s, r in zip(slope, left, strict=True)])


def _ahead(change: Array) -> Array:
    """How far down and up, (2, g, p): not below 0, and without bound where it is no number."""
    both = np.stack([-change, change])
    return np.where(np.isnan(both), np.inf, np.maximum(both, 0.0))


def _inverse(slope: Array) -> Array:
    """Of linear least squares on columns of any scale: (p, n)."""
    norms = np.linalg.norm(slope, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    return np.asarray(np.linalg.pinv(slope / norms) / norms[:, None])
