"""Ordinary least squares with Student intervals, and the test for curvature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
class Student:
    """An estimate, its standard error of ``dof`` degrees of freedom, its share of the evidence."""

    value: float
    error: float
    dof: float
    share: float = 1.0

    @property
    def p_value(self) -> float:
        """Two-sided, that the value is 0."""
        return self.beyond(self.value)

    def beyond(self, distance: float) -> float:
        """Probability of an error of at least this size."""
        from scipy.special import stdtr

        if self.error == 0:
            return 0.0 if distance else 1.0
        return float(2 * stdtr(self.dof, -abs(distance / self.error)))


@dataclass(frozen=True)
class Curvature:
    """The quadratic term of y = b0 + b1 v + b2 v² and the slopes it gives at both ends.

    ``test`` says what the noise was mostly judged by (points, replicates or seeds), ``p_values``
    what each of these alone says and ``coupled`` how likely seeds move points together; None
    where no replicates can tell.
    """

    quadratic: float
    p_value: float
    slope_first: float  # dy/dv at the smallest x
    slope_last: float  # dy/dv at the largest x
    parts: tuple[Student, ...]  # whose p-values, each by its share, are the p-value
    test: str = "points"
    p_values: Mapping[str, float] = field(default_factory=dict)
    coupled: float | None = None

    @property
    def std_error(self) -> float:
        """Of the quadratic term, by the test that weighs most."""
        return max(self.parts, key=lambda s: s.share).error

    def drift(self, level: float) -> tuple[float, float]:
        """How much the slope changes from the smallest x to the largest, and ± at ``level``.

        The half width is where the tests, each by its share, leave 1 - level beyond it.
        """
        change = self.slope_last - self.slope_first
        per_term = abs(change / self.quadratic) if self.quadratic else 0.0
        return change, _half_width(self.parts, level) * per_term


def _half_width(parts: Sequence[Student], level: float) -> float:
    """Where the errors' probability beyond is 1 - level, by bisection between the parts' own."""
    from scipy.special import stdtrit

    alone = [float(stdtrit(s.dof, (1 + level) / 2)) * s.error for s in parts]
    low, high = min(alone), max(alone)
    for _ in range(60 if high > low else 0):
        middle = (low + high) / 2
        beyond = sum(s.share * s.beyond(middle) for s in parts)
        low, high = (middle, high) if beyond > 1 - level else (low, middle)
    return high


def curvature(v: Array, y: Array, straight: Regression) -> Curvature | None:
    """Whether a straight line in (v, y) bends: two-sided t test of the quadratic term.

    ``v`` (n,) is distinct; ``straight`` is the fit of the line.  None below four points, where
    nothing is left to judge by.  v is centred, so slopes at the ends are b1 + 2 b2 v_end.  Where
    the line already fits to rounding the p-value is 1: there is no scatter to test against.
    """
    if len(v) < 4:
        return None
    centred = v - v.mean()
    bent = least_squares(np.stack([np.ones_like(v), centred, centred**2], axis=1), y, 0.95)
    if bent.rank < 3:
        return None
    _, b1, b2 = (float(c) for c in bent.coefficients)
    own = Student(b2, float(bent.std_errors[2]), bent.dof)
    p_value = 1.0 if straight.exact else 0.0 if own.error == 0 else own.p_value
    ends = (float(centred.min()), float(centred.max()))
    first, last = (b1 + 2 * b2 * end for end in ends)
    return Curvature(b2, p_value, first, last, (own,), p_values={"points": p_value})
