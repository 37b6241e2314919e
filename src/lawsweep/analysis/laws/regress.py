"""Ordinary least squares with Student intervals, and the test for curvature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array

# Residuals below this many units in the last place of the data are rounding, not scatter: a
# t statistic of one rounding error over another would be a p-value about nothing.
ROUNDING_ULPS = 64.0


@dataclass(frozen=True)
class Regression:
    """Solution of min ‖design c − y‖ for full column rank; ``rank`` < p carries no solution."""

    coefficients: Array  # (p,)
    std_errors: Array  # (p,)
    low: Array  # (p,)
    high: Array  # (p,)
    rms: float  # root mean square of the residuals
    r2: float | None  # None where y does not vary about its mean
    dof: int
    rank: int
    condition: float  # of the design with columns of unit norm
    exact: bool  # the residuals are rounding
    rss: float = np.nan
    covariance: Array | None = None  # (p, p)


def least_squares(design: Array, y: Array, level: float) -> Regression:
    """Fit ``y`` (n,) on ``design`` (n, p) and give intervals at ``level``.

    The columns are scaled to unit norm first, so that the rank decision and the condition number
    speak of dependence between terms and not of their units.  With a thin SVD  D = U S Vᵀ,
    c = V S⁻¹ Uᵀ y  and  cov(c) = s² V S⁻² Vᵀ,  s² = rss / (n − p); the interval is c ± t·se with
    Student's t on n − p degrees of freedom.  Needs n > p.
    """
    from scipy.special import stdtrit

    n, p = design.shape
    norms = np.linalg.norm(design, axis=0)
    scale = np.where(norms > 0, norms, 1.0)
    u, s, vt = np.linalg.svd(design / scale, full_matrices=False)
    # The usual backward-error cut; times 8 since the columns themselves carry rounding.
    rank = int(np.sum(s > 8 * max(n, p) * np.finfo(float).eps * s[0]))
    condition = float(s[0] / s[-1]) if s[-1] > 0 else np.inf
    if rank < p:
        gone = np.full(p, np.nan)
        return Regression(gone, gone, gone, gone, np.nan, None, n - p, rank, condition, False)
    coefficients = vt.T @ ((u.T @ y) / s) / scale
    residuals = y - design @ coefficients
    rss = float(residuals @ residuals)
    dof = n - p
    root = vt.T / s / scale[:, None]
    std_errors = np.sqrt(rss / dof) * np.sqrt(np.sum(root**2, axis=1))
    half = stdtrit(dof, (1 + level) / 2) * std_errors
    total = float(np.sum((y - y.mean()) ** 2))
    # Rounding in y and in each product c_k t_k, whichever is larger.
    size = max(float(np.max(abs(y))), float(np.max(abs(design) @ abs(coefficients))))
    rounding = ROUNDING_ULPS * np.finfo(float).eps * size
    return Regression(
        coefficients,
        std_errors,
        coefficients - half,
        coefficients + half,
        float(np.sqrt(rss / n)),
        1 - rss / total if total > n * rounding**2 else None,
        dof,
        rank,
        condition,
        bool(np.max(abs(residuals)) <= rounding),
        rss,
        rss / dof * (root @ root.T),
    )


@dataclass(frozen=True)
class Curvature:
    """The quadratic term of y = b0 + b1 v + b2 v² and the slopes it gives at both ends."""

    quadratic: float
    p_value: float
    slope_first: float  # dy/dv at the smallest x
    slope_last: float  # dy/dv at the largest x
    std_error: float  # of the quadratic term
    dof: float
    test: str = "points"  # what the noise was judged by: points, replicates or seeds

    def drift(self, level: float) -> tuple[float, float]:
        """How much the slope changes from the smallest x to the largest, and ± at ``level``."""
        from scipy.special import stdtrit

        change = self.slope_last - self.slope_first
        per_term = abs(change / self.quadratic) if self.quadratic else 0.0
        half = float(stdtrit(self.dof, (1 + level) / 2)) * self.std_error
        return change, half * per_term


def curvature(v: Array, y: Array, straight: Regression) -> Curvature | None:
    """Whether a straight line in (v, y) bends: two-sided t test of the quadratic term.

    ``v`` (n,) is distinct; ``straight`` is the fit of the line.  None below four points, where
    nothing is left to judge by.  v is centred, so slopes at the ends are b1 + 2 b2 v_end.  Where
    the line already fits to rounding the p-value is 1: there is no scatter to test against.
    """
    from scipy.special import stdtr

    if len(v) < 4:
        return None
    centred = v - v.mean()
    bent = least_squares(np.stack([np.ones_like(v), centred, centred**2], axis=1), y, 0.95)
    if bent.rank < 3:
        return None
    _, b1, b2 = (float(c) for c in bent.coefficients)
    if straight.exact:
        p_value = 1.0
    elif bent.std_errors[2] == 0:
        p_value = 0.0
    else:
        p_value = float(2 * stdtr(bent.dof, -abs(b2 / bent.std_errors[2])))
    ends = (float(centred.min()), float(centred.max()))
    first, last = (b1 + 2 * b2 * end for end in ends)
    return Curvature(b2, p_value, first, last, float(bent.std_errors[2]), bent.dof)
