"""How large the noise of replicates is along x, as the replicates of the points show it.

The variances are taken to be log-linear along x, log σ_i² = a + b u_i, since noise that grows with
scale is what is met and a variance from three values apiece is none.  b is the most likely one,
b̂, with the variance 2 / Σ F_i (u_i − ū)² by the information matrix (F_i degrees of freedom of
point i), and is drawn towards 0 by James and Stein's factor 1 − var b̂ / b̂² (positive part;
Stein 1962, Efron and Morris 1973): the mean square of b is estimated without bias by b̂² − var b̂.
Noise that is alike everywhere then costs next to nothing, and noise that grows tenfold is taken as
it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.points import Points, SeedTable
from lawsweep.analysis.laws.regress import ROUNDING_ULPS, Regression

LACK_OF_FIT = 0.005  # size of the test for points that miss a law by more than replicates allow


@dataclass(frozen=True)
class Noise:
    """Variance of a replicate at each point (n_points,), log-linear along x, and its evidence."""

    variance: Array
    dof: Array  # of each point
    terms: Array  # (n_points, 1 or 2): what log variance is linear in
    information: Array  # terms' diag(dof) terms
    beta: Array  # their coefficients

    @property
    def of_means(self) -> Array:
        """Variance of each point's mean, (n_points,)."""
        return np.asarray(self.variance / (self.dof + 1))

    def dof_of(self, shares: Array) -> float:
        """Degrees of freedom of Σ shares_i σ_i², shares of the whole that add up to 1.

        Its logarithm has the variance 2 g'(X'FX)⁻¹g with g = Σ shares_i (1, u_i), that of a χ²
        over its f degrees of freedom is 2 / f (Satterthwaite 1946).
        """
        g = shares @ self.terms
        return 1 / float(g @ np.linalg.solve(self.information, g))


def noise_of(v: Array, points: Points) -> Noise | None:
    """The noise of replicates; None where there are none, or all are alike."""
    squares, dof = _within(points)
    size = ROUNDING_ULPS * np.finfo(float).eps * float(np.max(np.abs(points.replicates)))
    total = float(dof.sum())
    if total < 2 or float(squares.sum()) <= size**2 * total:
        return None
    u = (v - v.mean()) / np.ptp(v)
    terms = np.stack([np.ones_like(u), u], axis=1)
    if np.sum(dof > 0) < 3:
        terms = terms[:, :1]
    information = terms.T @ (dof[:, None] * terms)
    beta = _likeliest(terms, information, squares, dof)
    if len(beta) > 1:
        variance = 2 * float(np.linalg.inv(information)[1, 1])
        beta[1] *= max(0.0, 1 - variance / beta[1] ** 2) if beta[1] else 0.0
        beta[0] = np.log(float(np.sum(squares * np.exp(-beta[1] * u))) / total)
    return Noise(np.exp(terms @ beta), dof, terms, information, beta)


def noise_at(v: Array, points: Points, at: Array) -> tuple[Array, Array] | None:
    """Variance of the mean of a point at ``at``, of as many replicates as others have in the mean.

    With its degrees of freedom, (n,) each; None where replicates tell nothing.
    """
    noise = noise_of(v, points)
    if noise is None:
        return None
    u = (at - v.mean()) / np.ptp(v)
    terms = np.stack([np.ones_like(u), u], axis=1)[:, : noise.terms.shape[1]]
    log = terms @ noise.beta
    dof = 1 / np.einsum("ij,ij->i", terms, np.linalg.solve(noise.information, terms.T).T)
    replicates = 1 / np.mean(1 / (noise.dof + 1))
    return np.exp(np.minimum(log, 700.0)) / replicates, dof


def weighed(design: Array, y: Array, noise: Noise) -> tuple[float, float]:
    """Mean square of the residuals of points weighed by their noise, and its p-value.

    About 1 where the points miss the law by what the replicates have; the p-value is that of a
    larger one by chance (F test for lack of fit).
    """
    from scipy.special import fdtrc

    root = np.sqrt(noise.of_means)
    basis, _ = np.linalg.qr(design / root[:, None])
    scaled = y / root
    residuals = scaled - basis @ (basis.T @ scaled)
    left = len(y) - design.shape[1]
    ratio = float(residuals @ residuals) / left
    return ratio, float(fdtrc(left, float(noise.dof.sum()), ratio))


def shaped_covariance(design: Array, points: Points, line: Regression) -> Array | None:
    """Covariance (p, p) of least squares where noise grows along the law, as replicates show it.

    Points of equal weight that scatter more at one end move the law by more than their residuals'
    mean square says.  The replicates give the shape, variances log-linear along the fitted values,
    and the residuals of weighed points the size, with their n - p degrees of freedom.  None where
    replicates tell nothing, and where the points miss the law by more than theirs.
    """
    fitted = design @ line.coefficients
    noise = noise_of(fitted, points) if np.ptp(fitted) > 0 else None
    if noise is None:
        return None
    ratio, chance = weighed(design, points.y, noise)
    rows = np.linalg.pinv(design)
    return None if chance < LACK_OF_FIT else ratio * (rows * noise.of_means @ rows.T)


def apart(table: SeedTable) -> Array:
    """Deviations of the seeds from the mean of each point, (n_seeds, n_points); 0 where none."""
    mean = np.sum(table.mean * table.there, axis=0) / table.there.sum(axis=0)
    return np.where(table.there, table.mean - mean, 0.0)


def _likeliest(terms: Array, information: Array, squares: Array, dof: Array) -> Array:
    """Coefficients of log variance by maximum likelihood (Fisher's scoring, damped)."""
    has = dof > 0
    observed = squares[has] / dof[has]
    rows = terms[has]
    solve = np.linalg.solve(information, rows.T * dof[has])
    beta = np.asarray(solve @ np.log(np.maximum(observed, 1e-9 * observed.max())))
    for _ in range(30):
        step = solve @ (observed * np.exp(-(rows @ beta)) - 1)
        beta = beta + np.minimum(np.maximum(step, -2.0), 2.0)
        if np.abs(step).max() < 1e-4:  # of a logarithm that is known to a tenth at best
            break
    return beta


def _within(points: Points) -> tuple[Array, Array]:
    """Sum of squares of the replicates of each point about their mean, and its dof."""
    table = points.by_seed
    if table is not None and table.shared:
        m = table.there.sum(axis=0)
        return np.sum(apart(table) ** 2, axis=0), (m - 1).astype(float)
    squares = (points.replicates - points.y[points.point_of]) ** 2
    total = np.bincount(points.point_of, weights=squares, minlength=len(points))
    return total, (points.n - 1).astype(float)
