"""How far a law moves from seed to seed, where the points of a fit share their seeds.

A seed has one set of draws at every point, so what it adds to the points may go along the law: the
means then lie on a line however much the seeds differ, and the scatter about it says nothing of
that.  Each seed's own law does: the coefficients are linear in the data, so those of the means are
the mean of the seeds' own, and S of them have the interval mean ± t(S − 1) sd / √S, whatever the
seeds share.  It needs no model of the noise, and is wide for few seeds because that is what few
seeds tell.  Where seeds lack points, the law of the means leans on some more than on others, and
the interval is wider for that.  It is blind to a law that does not hold: that is for the scatter
of the means about it to show, as far as the seeds' own noise does not account for it
(``p_scatter``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.points import SeedTable
from lawsweep.analysis.laws.regress import ROUNDING_ULPS

ONE_SEED = "one seed: the interval lacks how other draws would move the law"


@dataclass(frozen=True)
class SeedSpread:
    """Half widths of the coefficients, shape (p,), from ``n_seeds`` laws of single seeds.

    ``covariance`` (p, p) is that of the mean of their coefficients.  Both are None where that
    cannot be known, and ``unknown`` says why in words.
    """

    half: Array | None
    n_seeds: int
    unknown: str = ""
    covariance: Array | None = None


def seed_spread(design: Array, table: SeedTable | None, level: float) -> SeedSpread | None:
    """The spread of the seeds' own laws; None where no two points share a seed.

    ``design`` (n_points, p) holds the regressors of each point.
    """
    from scipy.special import stdtrit

    if table is None or not table.shared:
        return None
    if len(table.mean) == 1:
        return SeedSpread(None, 1, ONE_SEED)
    laws = seed_laws(design, table)
    if len(laws) < 2:
        unknown = "too few seeds with a law of their own: the interval lacks how draws move it"
        return SeedSpread(None, len(laws), unknown)
    n = len(laws)
    apart = (laws - laws.mean(axis=0)) * np.sqrt(np.maximum(1.0, n * _unevenness(design, table)))
    covariance = apart.T @ apart / (n * (n - 1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * np.sqrt(np.diag(covariance))
    return SeedSpread(half, n, covariance=covariance)


def p_scatter(design: Array, table: SeedTable | None) -> float | None:
    """The probability of as much scatter of the means about the law from the seeds' noise alone.

    With Q an orthonormal basis of what the law (``design``, (n_points, p)) leaves, r_s = Q'y_s
    are the q = n_points - p residuals of seed s, of covariance C, and S |mean r|² / tr C is about
    F(e q, e q (S - 1)), e = (tr C)² / (q tr C²): Box (Ann. Math. Stat. 25, 1954) for unequal and
    correlated noise, with the unbiased traces of Huynh and Feldt (J. Educ. Stat. 1, 1976).  Of
    seeds that are at every point; None where fewer than three are, or no residual is left.
    """
    from scipy.special import fdtrc

    if table is None or not table.shared:
        return None
    y = table.mean[table.there.all(axis=1)]
    n, q = len(y), design.shape[0] - design.shape[1]
    if n < 3 or q < 1:
        return None
    scale = np.linalg.norm(design, axis=0)
    left = np.linalg.svd(design / scale, full_matrices=True)[0][:, design.shape[1] :]
    r = y @ left
    apart = r - r.mean(axis=0)
    c = apart.T @ apart / (n - 1)
    trace, squares = float(np.trace(c)), float(np.sum(c * c))
    found = n * float(np.sum(r.mean(axis=0) ** 2))
    size = ROUNDING_ULPS * np.finfo(float).eps * float(np.max(np.abs(y)))
    if trace <= size**2 * q:  # seeds that agree: their noise accounts for rounding alone
        return 1.0 if found <= n * size**2 * q else 0.0
    own = (n - 1) ** 2 / ((n - 2) * (n + 1)) * (squares - trace**2 / (n - 1))
    e = 1.0 if own <= 0 else (trace**2 - 2 * own / (n - 1)) / (q * own)
    dof = q * min(1.0, max(1 / q, e))
    return float(fdtrc(dof, dof * (n - 1), found / trace))


def _unevenness(design: Array, table: SeedTable) -> Array:
    """Σ_s w_s² of each coefficient, (p,): how unevenly the law of the means leans on seeds.

    With c the coefficient's row of the pseudoinverse, which is its regressor less what the others
    say of it up to a factor, a seed that moves coefficient k by b moves that of the means by w_s b,
    w_s = Σ_i c_i² / m_i / Σ c² over its points i (m seeds at each): 1/S where every seed is
    everywhere, and nearly 1 for the one that alone is at the ends.
    """
    leans = np.linalg.pinv(design).T ** 2
    leans = leans / leans.sum(axis=0) / table.there.sum(axis=0)[:, None]
    return np.asarray(np.sum((table.there @ leans) ** 2, axis=0))


def seed_laws(design: Array, table: SeedTable) -> Array:
    """Coefficients of single seeds' laws, (n, p).

    Of the seeds that are at every point, or of all whose own points determine a law: the ones that
    promise the shorter interval of the last coefficient, t(n - 1) √(max(1/n, Σ w²) r), where r is
    how much larger noise makes the mean variance of their laws than of laws of all points.
    """
    from scipy.special import stdtrit

    everywhere = table.there.all(axis=1)
    laws = _laws(design, table.mean[everywhere])
    if everywhere.all():
        return laws
    others, larger = _own_laws(design, table.mean, table.there)
    uneven = float(_unevenness(design, table)[-1])

    def promised(n: int, larger: float) -> float:
        quantile = float(stdtrit(n - 1, 0.975)) if n > 1 else np.inf
        return quantile * float(np.sqrt(max(1 / max(n, 1), uneven) * larger))

    return laws if promised(len(laws), 1.0) < promised(len(others), larger) else others


def _laws(design: Array, y: Array) -> Array:
    """Least squares of each row of ``y`` (n_seeds, n_points): coefficients, (n_seeds, p)."""
    scale = np.linalg.norm(design, axis=0)
    return np.asarray(y @ np.linalg.pinv(design / scale).T / scale)


def _own_laws(design: Array, mean: Array, there: Array) -> tuple[Array, float]:
    """The laws of the seeds whose own points determine one, and the mean of their variances.

    Those are of the last coefficient by independent noise, over that of a law of all points.
    """
    p = design.shape[1]
    scale = np.linalg.norm(design, axis=0)
    whole = float(np.sum(np.linalg.pinv(design)[-1] ** 2))
    found, variances = [], []
    for values, at in zip(mean, there, strict=True):
        own = design[at]
        if np.linalg.matrix_rank(own / scale) == p:
            found.append(_laws(own, values[None, at])[0])
            variances.append(float(np.sum(np.linalg.pinv(own)[-1] ** 2)) / whole)
    laws = np.array(found).reshape(-1, p)
    return laws, float(np.mean(variances)) if variances else np.inf
