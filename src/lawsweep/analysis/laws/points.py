"""What a law is fitted to: its design points, and their replicates by seed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lawsweep.analysis.frames import Array, means


@dataclass(frozen=True)
class SeedTable:
    """The response by seed and point, (n_seeds, n_points), and where there is one."""

    mean: Array
    there: Array

    @property
    def shared(self) -> bool:
        """Whether some seed is at two points."""
        return bool(np.any(self.there.sum(axis=1) > 1))


def seed_table(y: Array, points: Array, seeds: Array | None, n_points: int) -> SeedTable | None:
    """``y``, ``points`` and ``seeds`` (n_rows,) as a table; None where rows have no seeds."""
    if seeds is None or not len(y) or seeds.dtype.kind not in "iu":
        return None
    names, seed_of = np.unique(seeds.astype(np.int64), return_inverse=True)
    shape = (len(names), n_points)
    cell, n_cells = seed_of * n_points + points, len(names) * n_points
    count = np.bincount(cell, minlength=n_cells).reshape(shape)
    total = np.bincount(cell, weights=y, minlength=n_cells).reshape(shape)
    return SeedTable(total / np.maximum(count, 1), count > 0)


@dataclass(frozen=True)
class Points:
    """What a law is fitted to: distinct design points, each with the mean of its replicates.

    ``inputs`` has the values of each expression that the law is a function of, (n_points,), by its
    text.  ``y`` (n_points,) are means of ``replicates`` (n_rows,), which are log y where the law
    is one of logarithms; ``point_of`` (n_rows,) is the point of each row and ``seeds`` its seed,
    None where rows have none.  ``bound`` (n_rows,) is -1 where a replicate is only known to be at
    most what stands there, 1 where at least, 0 where it is a value; None where all are.
    """

    inputs: Mapping[str, Array]
    y: Array
    replicates: Array
    point_of: Array
    seeds: Array | None
    bound: Array | None = None
    sizes: Array | None = None  # of seeds' offsets that were taken out, (n_points,), where unlike

    def __len__(self) -> int:
        return len(self.y)

    @functools.cached_property
    def by_seed(self) -> SeedTable | None:
        """The replicates by seed and point; None where rows have no seeds."""
        return seed_table(self.replicates, self.point_of, self.seeds, len(self.y))

    @property
    def n(self) -> Array:
        """Replicates of each point, (n_points,)."""
        return np.bincount(self.point_of, minlength=len(self.y))

    @property
    def sd(self) -> Array:
        """Standard deviation of each point's replicates, (n_points,); NaN where there is one."""
        squares = (self.replicates - means(self.replicates, self.point_of)[self.point_of]) ** 2
        total = np.bincount(self.point_of, weights=squares, minlength=len(self.y))
        n = self.n
        return np.where(n > 1, np.sqrt(total / np.maximum(n - 1, 1)), np.nan)

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Rows of each point that are upper bounds, and lower ones: (n_points,) each."""
        if self.bound is None:
            return np.zeros(len(self), dtype=np.int64), np.zeros(len(self), dtype=np.int64)
        upper, lower = (
            np.bincount(self.point_of[self.bound == side], minlength=len(self)) for side in (-1, 1)
        )
        return upper, lower

    def at(self, kept: Array) -> Points:
        """Some of the points (a mask of n_points) with their rows."""
        rows = kept[self.point_of]
        number = np.cumsum(kept) - 1
        return Points(
            inputs={text: values[kept] for text, values in self.inputs.items()},
            y=self.y[kept],
            replicates=self.replicates[rows],
            point_of=number[self.point_of[rows]],
            seeds=None if self.seeds is None else self.seeds[rows],
            bound=None if self.bound is None or not self.bound[rows].any() else self.bound[rows],
            sizes=None if self.sizes is None else self.sizes[kept],
        )


def within_seeds(points: Points, sizes: Array | None = None) -> tuple[Points, float]:
    """The points with means as if every seed were at each of them, and how far seeds are apart.

    A point that lacks some seeds lacks their offsets too, and a law through plain means bends
    after them.  With r the deviations of cells from the plain mean of their point, random offsets
    a ~ N(0, κσ²) of the seeds are those of the mixed model with free means of points ("recovery of
    interblock information", Yates 1940): with T = diag(k_s) - Σ_i n_i n_i' / m_i (k_s cells of a
    seed, n_i who is at point i, m_i of them) and g_s = Σ_i r_si,

        (T + I/κ) a = g,   log L = -½ log |I + κT| - ½ (N - n) log(Σ r² - g'a),

    at the κ where the restricted likelihood L is greatest; κ = 0, and plain means, where seeds
    are no further apart than the noise has them.  A table without gaps is as it was.  The second
    value is √κ, the seeds' standard deviation over that of the noise.

    ``sizes`` (n_points,) is how offset and noise go with the point: |y| where both are in
    proportion to it.  Then r is in units of it, and a mean is divided by 1 + its seeds' offsets,
    as its size has these in it too.
    """
    table = points.by_seed
    if table is None or not table.shared or table.there.all():
        return points, 0.0
    there = table.there.astype(float)
    m = there.sum(axis=0)
    at_point = np.sum(table.mean * there, axis=0) / m
    alike = sizes is None or bool(np.all(sizes == sizes[0]))
    unit = np.ones(len(m)) if sizes is None or alike else sizes
    r = (table.mean - at_point) / unit * there
    dof, total = float(there.sum()) - len(m), float(np.sum(r**2))
    if dof < 1 or total == 0:
        return points, 0.0
    values, vectors = np.linalg.eigh(np.diag(there.sum(axis=1)) - there / m @ there.T)
    values = np.maximum(values, 0.0)
    pulled = vectors.T @ r.sum(axis=1)
    kappa = np.concatenate([[0.0], np.geomspace(1e-3, 1e9, 241)])[:, None]
    shrunk = kappa / (1 + kappa * values)
    left = np.maximum(total - np.sum(shrunk * pulled**2, axis=1), np.finfo(float).eps * total)
    likely = -(np.sum(np.log1p(kappa * values), axis=1) + dof * np.log(left)) / 2
    best = int(np.argmax(likely))
    if best == 0:
        return points, 0.0
    offsets = vectors @ (shrunk[best] * pulled)
    taken = np.sum(offsets[:, None] * there, axis=0) / m
    apart = float(np.sqrt(kappa[best, 0]))
    if alike:
        return replace(points, y=points.y - taken), apart
    if np.any(taken <= -1):  # no offset in proportion takes a mean past 0
        return points, 0.0
    return replace(points, y=points.y / (1 + taken), sizes=unit / (1 + taken)), apart
