"""Laws of inputs beside those of ``sampling``: clusters, correlated coordinates, given rows.

As there, draws are made on the CPU in float64, and a larger number of rows extends a smaller one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.float64]


def mixture(rng: np.random.Generator, n: int, d: int, n_clusters: int, separation: float) -> Rows:
    """``n`` rows of a mixture of ``n_clusters`` Gaussians in R^d, shape (n, d).

    Row i is separation * c_k + z_i with k = i mod n_clusters, z_i ~ N(0, I), and centres c_k
    drawn once, uniform on the unit sphere: clusters are of equal size (up to one row), and
    ``separation`` is the distance of their centres from the origin in units of the standard
    deviation within a cluster.  Their mean is not 0 and their covariance not I.

    Raises ValueError for fewer than one cluster or a negative separation.
    """
    if n_clusters < 1:
        raise ValueError(f"expected at least 1 cluster, got {n_clusters}; give more")
    if not separation >= 0.0:
        raise ValueError(f"separation must be 0 or more, got {separation}; give a distance")
    centres = rng.standard_normal((n_clusters, d))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows: Rows = rng.standard_normal((n, d))
    rows += separation * centres[np.arange(n) % n_clusters]
    return rows


def power_law_spectrum(d: int, exponent: float) -> Rows:
    """Eigenvalues proportional to i^-exponent, i = 1..d, that sum to d; shape (d,)."""
    values: Rows = np.arange(1, d + 1, dtype=np.float64) ** -exponent
    values *= d / values.sum()
    return values


def correlated(rng: np.random.Generator, n: int, eigenvalues: ArrayLike) -> Rows:
    """``n`` rows ~ N(0, diag(eigenvalues)), shape (n, d).

    A network whose first weights are Gaussian is blind to a rotation of its inputs (in law), so
    the covariance is taken diagonal: only its spectrum matters.  Raises ValueError for an
    eigenvalue that is negative or not finite.
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("expected finite eigenvalues of 0 or more, one a coordinate; check them")
    rows: Rows = rng.standard_normal((n, len(values)))
    rows *= np.sqrt(values)
    return rows


def standardised(rows: Rows) -> Rows:
    """Each column shifted and scaled to mean 0 and variance 1 (over n); constant ones are 0."""
    centred = rows - rows.mean(0)
    # A column of one number has a variance of rounding size, not of 0.
    varies = rows.max(0) > rows.min(0)
    sd = np.sqrt((centred * centred).mean(0))
    scaled: Rows = np.where(varies, centred / np.where(varies, sd, 1.0), 0.0)
    return scaled


def checked(rows: NDArray[np.generic], input_dim: int, what: str) -> Rows:
    """Given rows as float64 (n, input_dim), or ValueError saying what is wrong with ``what``."""
    values = np.asarray(rows)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{what} must hold real numbers, got {values.dtype}; convert it")
    if values.ndim != 2 or values.shape[1] != input_dim:
        raise ValueError(
            f"{what} must have shape (n, {input_dim}), one sample a row, got "
            f"{tuple(values.shape)}; set input_dim to its number of columns or reshape it"
        )
    result = values.astype(np.float64)
    good = np.isfinite(result)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        more = int((~good).sum()) - 1
        rest = f" (and {more} more)" if more else ""
        raise ValueError(
            f"{what} has {result[row, column]} at row {row}, column {column}, counted from 0"
            f"{rest}; remove or impute it"
        )
    return result


def drawn(rows: Rows, rng: np.random.Generator, n: int, what: str) -> Rows:
    """The first ``n`` of the rows in a random order, shape (n, d).

    The order is a permutation of all rows, so a larger ``n`` extends a smaller one.  Raises
    ValueError when there are fewer than ``n``.
    """
    if n > len(rows):
        raise ValueError(f"{what} has {len(rows)} rows, got n_samples={n}; ask for fewer samples")
    return rows[rng.permutation(len(rows))[:n]]
