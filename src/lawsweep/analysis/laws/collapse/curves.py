"""Curves of several sizes, how they are scaled, and where one reaches across another.

Logarithms are taken where the law has them: with them x L^a and y L^b are shifts along the axes.
Here log L is about its middle, so that a scaled x or y is off by one factor for all points; what is
shown has the L that was given.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from lawsweep.analysis.frames import Array

LINKED = 2  # points within the range of another curve that make two of them comparable
ROUNDING = 1e-12  # of the span of x': points at an end of another curve are within it


@dataclass(frozen=True)
class Theta:
    """What scales the curves: the exponents of x and y, and the critical point."""

    a: float = 0.0
    b: float = 0.0
    x_c: float = 0.0


@dataclass(frozen=True)
class Curves:
    """Points of several curves, all (n,): x and y (or their logarithms), log L, and the curve."""

    x: Array
    y: Array
    size: Array  # log L - middle
    curve: Array  # labels 0, 1, …
    logx: bool
    logy: bool
    middle: float = 0.0

    def scaled_x(self, theta: Theta) -> Array:
        """x L^a, its logarithm, or (x - x_c) L^a, (n,)."""
        return scaled(self.x, self.size, theta, self.logx)

    def grown(self, theta: Theta) -> Array:
        """L^-b of each point where y has no logarithm, else 1, (n,)."""
        return np.ones(len(self.y)) if self.logy else np.exp(-theta.b * self.size)

    @functools.cached_property
    def gaps(self) -> Array:
        """Distances of log L between neighbouring sizes."""
        return np.diff(np.unique(self.size))

    @functools.cached_property
    def _ends(self) -> tuple[Array, Array, Array]:
        """Of each curve the point of its least and of its largest x, and its points, (n_curves, n).

        Scaling keeps the order of x, so these are its ends at any exponents.
        """
        mine = self.curve == np.arange(int(self.curve.max()) + 1)[:, None]
        low = np.where(mine, self.x, np.inf).argmin(axis=1)
        return low, np.where(mine, self.x, -np.inf).argmax(axis=1), mine

    def within(self, theta: Theta) -> tuple[int, bool]:
        """How many points lie within the range of another curve; whether all hang together."""
        x = self.scaled_x(theta)
        if not np.isfinite(x).all():
            return 0, False
        first, last, mine = self._ends
        low, high = x[first], x[last]
        room = ROUNDING * float(high.max() - low.min())
        inside = (x >= low[:, None] - room) & (x <= high[:, None] + room) & ~mine
        shared = inside.astype(float) @ mine.T
        return int(inside.any(axis=0).sum()), _hangs_together(shared + shared.T >= LINKED)


def scaled(x: Array, size: Array, theta: Theta, logx: bool) -> Array:
    """``x`` (n,), a logarithm where ``logx``, scaled by ``size`` (n,), log L."""
    return x + theta.a * size if logx else (x - theta.x_c) * np.exp(theta.a * size)


def _hangs_together(linked: Array) -> bool:
    reached = np.zeros(len(linked), dtype=bool)
    reached[0] = True
    for _ in range(len(linked)):
        if reached.all():
            return True
        reached |= linked[reached].any(axis=0)
    return bool(reached.all())


def distance_from_lines(curves: Curves, theta: Theta, error: Array) -> tuple[float, int] | None:
    """The quality S of Houdayer and Hartmann as it stands in their paper, and of how many points.

    Phys. Rev. B 70, 014418 (2004), appendix: each point is compared with a weighted straight line
    through the two points on either side of it of every other curve,
    S = mean of (y' - Y)² / (dy'² + dY²).  ``error`` (n,) are the dy of y, all above 0.  None where
    no curve reaches across another.
    """
    x = curves.scaled_x(theta)
    grown = 1 / curves.grown(theta)
    y = curves.y + theta.b * curves.size if curves.logy else curves.y * grown
    error = error * grown
    sums = np.zeros((5, len(x)))
    for label in range(int(curves.curve.max()) + 1):
        mine = np.flatnonzero(curves.curve == label)
        mine = mine[np.argsort(x[mine], kind="stable")]
        if len(mine) < 2:
            continue
        right = np.clip(np.searchsorted(x[mine], x, side="left"), 1, len(mine) - 1)
        inside = (x >= x[mine[0]]) & (x <= x[mine[-1]]) & (curves.curve != label)
        for step in (-1, 0):
            at = mine[right + step]
            w = np.where(inside, 1 / error[at] ** 2, 0.0)
            u = x[at] - x  # about the point itself: no cancellation
            sums += np.stack([w, w * u, w * y[at], w * u * u, w * u * y[at]])
    known = sums[0] > 0
    if not known.any():
        return None
    k, kx, ky, kxx, kxy = sums[:, known]
    determinant = k * kxx - kx**2
    sloped = determinant > 1e-12 * k * kxx
    divided = np.where(sloped, determinant, 1.0)
    value = np.where(sloped, (kxx * ky - kx * kxy) / divided, ky / k)
    variance = np.where(sloped, kxx / divided, 1 / k)
    terms = (y[known] - value) ** 2 / (error[known] ** 2 + variance)
    return float(terms.mean()), int(known.sum())
