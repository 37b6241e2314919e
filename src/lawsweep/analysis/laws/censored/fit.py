"""A straight law of rows of which some are only bounds: estimate, intervals, bend.

Where no row is a bound all of this is least squares over the means of the points, their scatter
with n - p degrees of freedom and the laws of single seeds with S - 1:

- points weigh alike, whatever their replicates and their noise;
- the scatter of the points is a factor phi on the likelihood, the mean of g_i² / I_i with g_i the
  slope of log L in the law's value at point i and I_i its curvature there (McCullagh & Nelder
  1989, chapter 9), with the points that have a value less p degrees of freedom: a point of bounds
  may show that the law misses it, and never that it holds;
- a seed's own law is one step of Newton from the common one, h_s = H⁻¹ g_s, so the covariance of
  their mean is S / (S - 1) sum h_s h_s' (Liang & Zeger 1986), with t(S - 1);
- an end of an interval of tau standard errors is where the profile of log L has fallen so that
  2 (log L - profile) = M log(1 + tau² / M), M the rows that are values less p.  That of least
  squares falls by just this, and bounds make it fall less to the side that they leave open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.censored.components import find_components
from lawsweep.analysis.laws.censored.tobit import Maximum, Rows, along, curvatures, maximise, parts
from lawsweep.analysis.laws.points import Points

ENDS = 12  # steps to an end of an interval


@dataclass(frozen=True)
class BoundFit:
    """A fit in the design's own coefficients (p,), in units of y.

    ``covariance`` is the likelihood's, ``phi`` what the points scatter beyond it with ``dof``, and
    ``seeds`` the covariance of the mean of the laws of ``n_seeds`` single seeds, None where no two
    points share one.
    """

    design: Array
    rows: Rows
    best: Maximum
    basis: Array  # (p, p): coefficients of the design are basis @ those of the rows' design
    size: tuple[float, float]  # y = size[0] + size[1] * what was fitted
    covariance: Array
    phi: float
    dof: int
    seeds: Array | None
    n_seeds: int
    replicates: float  # of a point, in the mean

    @property
    def coefficients(self) -> Array:
        """The estimates, (p,)."""
        return self._out(self.best.beta)

    @property
    def variance(self) -> float:
        """Of a point's mean about the law."""
        return self.phi * (self.size[1] / self.best.theta) ** 2 / self.replicates

    def _out(self, beta: Array) -> Array:
        found = self.size[1] * (self.basis @ beta)
        return np.asarray(found + self.size[0] * self._one())

    def _one(self) -> Array:
        """Coefficients of the constant 1: what is added to y is added to these."""
        return np.linalg.lstsq(self.design, np.ones(len(self.design)), rcond=None)[0]

    def ends(self, k: int, taus: Sequence[float]) -> list[tuple[float, float]]:
        """The interval of coefficient k that is tau standard errors wide, for each tau."""
        row = self.basis[k]
        shift = self.size[0] * float(self._one()[k])
        return [
            tuple(shift + self.size[1] * _end(self.rows, self.best, row, side * tau)  # type: ignore[misc]
                  for side in (-1.0, 1.0))
            for tau in taus
        ]  # fmt: skip


def fit_bounds(design: Array, points: Points, u: Array, like: BoundFit | None = None) -> BoundFit:
    """``design`` (n_points, p) has the constant among its columns' sums; ``u`` is along x, -1 to 1.

    Needs values at p + 1 points that are of full rank, and that no law fits to rounding.  The
    seeds' effects and the growth of the noise are those of ``like``, a fit of the same points.
    """
    assert points.bound is not None
    values = points.bound == 0
    centre = float(points.replicates[values].mean())
    unit = float(points.replicates[values].std()) or 1.0
    basis = np.linalg.inv(np.linalg.qr(design)[1]) * np.sqrt(len(design))
    order, seed_of, firsts, shared = _by_seed(points)
    at = points.point_of[order]
    n, p = len(order), design.shape[1]
    rows = Rows(
        design=(design @ basis)[at],
        c=(points.replicates[order] - centre) / unit,
        bound=points.bound[order],
        weight=np.ones(n),
        scale=np.ones(n),
        effects=np.zeros((n, 0)),
        seed_of=seed_of,
        firsts=firsts,
        precision=np.zeros(0),
        penalty=float(p),
    )
    if like is None:
        several = float(values.sum()) - len(np.unique(points.point_of[values])) >= p + 2
        of = find_components(rows, u[at], shared and len(firsts) > 1, several).rows
    else:
        of = like.rows
    # Of points that weigh alike: by their replicates, and by their noise where it grows.
    weight = of.scale**2 / points.n[at]
    rows = replace(
        rows,
        effects=of.effects,
        precision=of.precision,
        scale=of.scale,
        weight=weight / weight[rows.bound == 0].mean(),
    )
    best = maximise(rows)
    _, slope, bend = parts(rows, best)
    jacobian = np.concatenate([np.eye(p), -best.beta[:, None]], axis=1) / best.theta
    inverse = np.linalg.inv(curvatures(rows, bend, best.theta).profiled)
    to_units = unit * basis @ jacobian
    phi, dof = _scatter(rows, slope, bend, at, p)
    seeds = None
    if shared and len(firsts) > 1:
        own = np.add.reduceat(slope[:, None] * along(rows), firsts)
        n_values = np.add.reduceat(rows.weight * (rows.bound == 0), firsts)
        own[:, -1] += (n_values - rows.penalty / len(firsts)) / best.theta
        laws = own @ (to_units @ inverse).T
        laws = laws - laws.mean(axis=0)
        seeds = laws.T @ laws * len(firsts) / (len(firsts) - 1)
    return BoundFit(
        design=design,
        rows=rows,
        best=best,
        basis=basis,
        size=(centre, unit),
        covariance=to_units @ inverse @ to_units.T,
        phi=phi,
        dof=dof,
        seeds=seeds,
        n_seeds=len(firsts),
        replicates=float(np.sum(rows.weight / rows.scale**2)) / len(design),
    )


def _by_seed(points: Points) -> tuple[Array, Array, Array, bool]:
    """Rows in the order of their seeds, the seed of each, where each begins, whether shared."""
    table = points.by_seed
    if table is None:
        n = len(points.replicates)
        return np.arange(n), np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64), False
    assert points.seeds is not None
    _, seed_of = np.unique(points.seeds, return_inverse=True)
    order = np.argsort(seed_of.reshape(-1), kind="stable")
    seed_of = seed_of.reshape(-1)[order]
    firsts = np.flatnonzero(np.diff(seed_of, prepend=-1))
    return order, seed_of, firsts, table.shared


def _scatter(rows: Rows, slope: Array, bend: Array, at: Array, p: int) -> tuple[float, int]:
    """phi and its degrees of freedom; theta cancels."""
    g = np.bincount(at, weights=slope / rows.scale)
    information = np.bincount(at, weights=bend / rows.scale**2)
    dof = len(np.unique(at[rows.bound == 0])) - p
    known = information > 1e-12 * information.max()
    return float(np.sum(g[known] ** 2 / information[known])) / dof, dof


def _end(rows: Rows, best: Maximum, functional: Array, tau: float) -> float:
    """Where the profile of functional'beta ends, ``tau`` standard errors (with sign) away.

    The functional is fixed at t by its largest coefficient: beta_j = (t - rest) / f_j, so that row
    and bound move by t d_j / f_j and the other columns lose f_m / f_j d_j.
    """
    centre = float(functional @ best.beta)
    if tau == 0:
        return centre
    j = int(np.argmax(abs(functional)))
    others = [m for m in range(len(functional)) if m != j]
    pushed = rows.design[:, j] / functional[j]
    design = rows.design[:, others] - pushed[:, None] * functional[others]
    room = rows.n_values - rows.penalty
    wanted = np.sign(tau) * np.sqrt(room * np.log1p(tau**2 / room))
    near = replace(best, delta=best.delta[others])
    # The first guess is the likelihood's own standard error.
    h = curvatures(rows, parts(rows, best)[2], best.theta)
    inverse = np.linalg.inv(h.profiled)
    to = np.append(functional, -centre) / best.theta
    t, step = centre, tau * float(np.sqrt(to @ inverse @ to))
    inner = centre  # the furthest value that is known to be within
    outer = np.sign(tau) * np.inf
    for _ in range(ENDS):
        t = t + step
        if not (min(inner, outer) < t < max(inner, outer)):
            t = (inner + outer) / 2
        there = replace(rows, design=design, c=rows.c - t * pushed)
        near = maximise(there, near)
        fall = max(2 * (best.log_likelihood - near.log_likelihood), 0.0)
        s = np.sign(tau) * np.sqrt(fall)
        if abs(s) < abs(wanted):
            inner = t
        else:
            outer = t
        slope = parts(there, near)[1]
        downhill = float(np.sum(slope * near.theta * pushed / rows.scale))  # -dQ/dt
        if s == 0 or downhill == 0:
            step = tau * abs(step)
            continue
        step = float((wanted - s) * s / downhill)
        if abs(wanted - s) < 1e-7 * abs(wanted):
            return float(t + step)
    return float(t)
