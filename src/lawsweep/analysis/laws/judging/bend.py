"""Whether a straight law bends, judged by what the replicates and the seeds show of the noise.

The quadratic term of the means is q = c'y.  Its variance may be had in three ways:

- from the scatter of the points about the parabola, t(n − 3).  Right where points are
  independent and alike; blind to what seeds add to several points at once.
- from the replicates of each point: V = Σ c_i² σ_i² / m_i for m_i replicates.  The variances are
  log-linear along x, log σ_i² = a + b v_i, by maximum likelihood, since noise that grows with
  scale is what is met and a variance from three values apiece is none.  By the information
  matrix log V has the variance g'(X'FX)⁻¹g · 2 with F the degrees of freedom of each point, X the
  rows (1, v_i) and g = Σ c_i² σ_i² (1, v_i) / m_i / V, so V is about χ² with 1 / g'(X'FX)⁻¹g
  degrees of freedom (n (S − 1) where the weights are balanced; Satterthwaite 1946).  The scatter
  about the parabola adds its n − 3.  Right where replicates are independent between points.
- from the quadratic term of each seed's own values, t(S − 1): exact whatever seeds share.  With
  three seeds it finds little: the quantile is 4.3.

Replicates are taken while nothing speaks against them: the seeds' deviations from the mean of
their points, each over σ_i, are compared from one point to the next by Durbin and Watson's ratio
(1950), whose first two moments for independent noise are closed and whose law between its bounds
is about a beta distribution.  At 2 % it sees offsets, slopes and smooth effects of seeds and
nested draws, and then the seeds' own terms decide.  What no test can tell with few seeds: seeds
that differ in nothing but their curvature, and about as much as the noise.  Where the points miss
the parabola by more than the replicates allow (F test at .5 %), the scatter must agree: that about
the parabola, or that about a cubic, as a law with an offset bends at one end more than a parabola.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.points import Points, SeedTable
from lawsweep.analysis.laws.regress import ROUNDING_ULPS, Curvature, Regression, curvature
from lawsweep.analysis.laws.seed_spread import seed_laws

COUPLED = 0.02  # size of the test for seeds that move neighbouring points together
LACK_OF_FIT = 0.005
ENOUGH = 6  # points from which their scatter about a parabola or a cubic can overrule replicates


def bend(v: Array, points: Points, straight: Regression) -> Curvature | None:
    """The quadratic term along ``v`` (n_points,) of the points' means, with its p-value.

    None below four points.  Where the line fits to rounding the p-value is 1.
    """
    found = curvature(v, points.y, straight)
    if found is None or straight.exact or found.std_error == 0:
        return found
    noise = _noise(v, points)
    if noise is None:
        return found
    centred = v - v.mean()
    design = np.stack([np.ones_like(v), centred, centred**2], axis=1)
    by_replicates, misses = _by_replicates(found, design, points, noise)
    table = points.by_seed
    chosen = by_replicates
    if table is not None and table.shared and coupled(v, table, noise.variance):
        terms = seed_laws(design, table)[:, 2]
        # Seeds that are coupled and have no terms of their own: the more careful of the others.
        chosen = max(found, by_replicates, key=lambda c: c.p_value)
        if len(terms) > 1:
            error = float(np.std(terms, ddof=1)) / np.sqrt(len(terms))
            p_value = _two_sided(float(terms.mean()), error, len(terms) - 1)
            chosen = replace(
                found, p_value=p_value, std_error=error, dof=len(terms) - 1, test="seeds"
            )
    if misses and len(v) >= ENOUGH:
        by_scatter = min(found.p_value, _smooth(design, points.y))
        if by_scatter > chosen.p_value:
            return replace(found, p_value=by_scatter)
    return chosen


def noise_at(v: Array, points: Points, at: Array) -> tuple[Array, Array] | None:
    """Variance of the mean of a point at ``at``, of as many replicates as others have in the mean.

    With its degrees of freedom, (n,) each; None where replicates tell nothing.
    """
    noise = _noise(v, points)
    if noise is None:
        return None
    u = (at - v.mean()) / np.ptp(v)
    terms = np.stack([np.ones_like(u), u], axis=1)[:, : noise.terms.shape[1]]
    log = terms @ noise.beta
    dof = 1 / np.einsum("ij,ij->i", terms, np.linalg.solve(noise.information, terms.T).T)
    replicates = 1 / np.mean(1 / (noise.dof + 1))
    return np.exp(np.minimum(log, 700.0)) / replicates, dof


@dataclass(frozen=True)
class _Noise:
    """Variance of a replicate at each point (n_points,), log-linear along x, and its evidence."""

    variance: Array
    dof: Array  # of each point
    terms: Array  # (n_points, 1 or 2): what log variance is linear in
    information: Array  # terms' diag(dof) terms
    beta: Array  # their coefficients


def _noise(v: Array, points: Points) -> _Noise | None:
    """The noise of replicates; None where there are none, or all are alike."""
    squares, dof = _within(points)
    size = ROUNDING_ULPS * np.finfo(float).eps * float(np.max(np.abs(points.replicates)))
    if dof.sum() < 2 or float(squares.sum()) <= size**2 * float(dof.sum()):
        return None
    u = (v - v.mean()) / np.ptp(v)
    terms = np.stack([np.ones_like(u), u], axis=1)
    if np.sum(dof > 0) < 3:
        terms = terms[:, :1]
    information = terms.T @ (dof[:, None] * terms)
    has = dof > 0
    observed = squares[has] / dof[has]
    logs = np.log(np.maximum(observed, 1e-9 * observed.max()))
    rows = terms[has]
    solve = np.linalg.solve(information, rows.T * dof[has])
    beta = solve @ logs
    for _ in range(30):
        step = solve @ (observed * np.exp(-(rows @ beta)) - 1)
        beta = beta + np.minimum(np.maximum(step, -2.0), 2.0)
        if np.abs(step).max() < 1e-4:  # of a logarithm that is known to a tenth at best
            break
    return _Noise(np.exp(terms @ beta), dof, terms, information, beta)


def _within(points: Points) -> tuple[Array, Array]:
    """Sum of squares of the replicates of each point about their mean, and its dof."""
    table = points.by_seed
    if table is not None and table.shared:
        m = table.there.sum(axis=0)
        return np.sum(_apart(table) ** 2, axis=0), (m - 1).astype(float)
    squares = (points.replicates - points.y[points.point_of]) ** 2
    total = np.bincount(points.point_of, weights=squares, minlength=len(points))
    return total, (points.n - 1).astype(float)


def _apart(table: SeedTable) -> Array:
    """Deviations of the seeds from the mean of each point, (n_seeds, n_points); 0 where none."""
    mean = np.sum(table.mean * table.there, axis=0) / table.there.sum(axis=0)
    return np.where(table.there, table.mean - mean, 0.0)


def _by_replicates(
    found: Curvature, design: Array, points: Points, noise: _Noise
) -> tuple[Curvature, bool]:
    """The test by the variance of replicates, and whether the points miss the parabola."""
    from scipy.special import fdtrc

    inverse = np.linalg.pinv(design)
    of_means = noise.variance / (noise.dof + 1)
    shares = inverse[2] ** 2 * of_means
    variance = float(shares.sum())
    g = (shares / variance) @ noise.terms
    dof = 1 / float(g @ np.linalg.solve(noise.information, g))
    n_dof, left = float(noise.dof.sum()), len(design) - 3
    residuals = points.y - design @ (inverse @ points.y)
    expected = float(np.sum(of_means * (1 - np.sum(design * inverse.T, axis=1))))
    ratio = float(residuals @ residuals) / expected
    variance *= (n_dof + left * ratio) / (n_dof + left)
    dof *= (n_dof + left) / n_dof
    error = float(np.sqrt(variance))
    p_value = _two_sided(found.quadratic, error, dof)
    test = replace(found, p_value=p_value, std_error=error, dof=dof, test="replicates")
    return test, bool(fdtrc(left, n_dof, ratio) < LACK_OF_FIT)


def _smooth(design: Array, y: Array) -> float:
    """p-value of the quadratic and cubic terms together by the scatter about the cubic."""
    from scipy.special import fdtrc

    basis, _ = np.linalg.qr(np.column_stack([design, design[:, 1] ** 3]))
    parts = basis.T @ y
    left = len(y) - 4
    rss = float(np.sum((y - basis @ parts) ** 2))
    bent = float(np.sum(parts[2:] ** 2))
    return float(fdtrc(2, left, bent / 2 / (rss / left))) if rss > 0 else 0.0


def coupled(v: Array, table: SeedTable, variance: Array) -> bool:
    """Whether seeds move neighbouring points together (Durbin and Watson's ratio is small).

    The ratio is Σ(e_{i+1} − e_i)² / Σ e_i² over the seeds' standardised deviations, each along its
    own points.  For a seed at k points the form has trace 2k − 2 and that of its square is 6k − 8.
    """
    from scipy.special import betainc

    order = np.argsort(v)
    apart = (_apart(table) / np.sqrt(variance))[:, order]
    there = table.there[:, order]
    k = there.sum(axis=1)
    used = k > 1
    dof = float(there.sum() - np.sum(there.any(axis=0)))
    total = float(np.sum(apart[used] ** 2))
    if not used.any() or dof <= 0 or total == 0:
        return False
    rows, columns = np.nonzero(there)  # in order of seeds, then of points
    same = rows[1:] == rows[:-1]
    values = apart[rows, columns]
    ratio = float(np.sum(((values[1:] - values[:-1])[same]) ** 2)) / total
    n = float(k[used].sum())
    most = 2 + 2 * np.cos(np.pi / float(k.max()))  # the largest eigenvalue of the form
    mean = float(np.sum(2 * k[used] - 2)) / n
    spread = (float(np.sum(6 * k[used] - 8)) / n - mean**2) / (dof / 2 + 1)
    share = mean / most
    total_shape = share * (1 - share) * most**2 / spread - 1
    if total_shape <= 0:
        return False
    at = min(max(ratio / most, 0.0), 1.0)
    return bool(betainc(share * total_shape, (1 - share) * total_shape, at) < COUPLED)


def _two_sided(value: float, error: float, dof: float) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if value else 1.0
    return float(2 * stdtr(dof, -abs(value / error)))
