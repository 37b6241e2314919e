"""Intervals of a law that is linear in its coefficients, and of what it predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array
    from lawsweep.analysis.laws.fitted import Fitted


def half_band(
    found: Fitted, design: Array, *, new: bool, noise: tuple[Array, Array] | None = None
) -> Array | None:
    """Half width of the law's interval at rows of ``design`` (n, p), shape (n,).

    With C the covariance of the coefficients, d'C d is the variance of the law at d: of the
    scatter with t(n - p), of the seeds' own laws with t(S - 1); the wider one is given.  ``new``
    adds the scatter of one more point's mean, s^2 = rss / (n - p), to the variance (to the square
    of the half width where the seeds' is taken: two t quantiles, so a little wide).  ``noise`` is
    the variance of a mean at each row as its replicates would have it and the degrees of freedom
    of that: where noise grows with scale, it is larger there than s^2.  None where the fit has no
    covariance.
    """
    from scipy.special import stdtrit

    if found.covariance is None or found.rss is None or found.n_parameters is None:
        return None
    dof = found.n_points - found.n_parameters if found.dof is None else found.dof
    quantile, s2 = float(stdtrit(dof, (1 + found.spec.level) / 2)), found.rss / dof
    extra = quantile**2 * s2 * float(new) * np.ones(len(design))
    if new and noise is not None:
        extra = np.maximum(extra, stdtrit(noise[1], (1 + found.spec.level) / 2) ** 2 * noise[0])
    half = np.sqrt(quantile**2 * _variance(design, found.covariance) + extra)
    if found.seed_covariance is not None and found.seed_laws is not None:
        of_seeds = float(stdtrit(found.seed_laws - 1, (1 + found.spec.level) / 2))
        variance = of_seeds**2 * _variance(design, found.seed_covariance)
        half = np.maximum(half, np.sqrt(variance + extra))
    return np.asarray(half)


def _variance(design: Array, covariance: Array) -> Array:
    """d'C d of each row; rounding may leave it just below zero."""
    return np.asarray(np.maximum(np.einsum("ij,jk,ik->i", design, covariance, design), 0.0))
