"""Weighted nonlinear least squares of many problems over the same points, all at once.

A profile is some hundred small fits that differ in one fixed parameter; one after the other they
would cost a hundred times the overhead of an array operation.  Levenberg's method with Marquardt's
scaling (Marquardt 1963) on the stack of them: a fixed parameter has its column taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lawsweep.analysis.frames import Array

SMALLEST, LARGEST = 1e-12, 1e12  # of the damping


class Model(Protocol):
    """A function of the points with parameters."""

    def at(self, theta: Array) -> tuple[Array, Array]:
        """Values (g, n) and derivatives (g, n, p) at parameter vectors (g, p)."""
        ...


@dataclass(frozen=True)
class Problem:
    """Minimise Σ w (z - f)², or Σ w (z - log f)² where ``log``: z are the means of log y then.

    A law that is not positive at some point has no logarithm there: its sum is infinite.
    """

    model: Model
    z: Array  # (n,)
    weights: Array  # (n,)
    log: bool
    ascending: tuple[int, int] | None = None  # two parameters that have an order

    def residuals(self, theta: Array) -> tuple[Array, Array, Array]:
        """Sums (g,), residuals (g, n) and derivatives of the fitted values (g, n, p), weighted."""
        root = np.sqrt(self.weights)
        with np.errstate(all="ignore"):
            value, slope = self.model.at(theta)
            if self.log:
                slope = slope / value[:, :, None]
                value = np.log(value)
            left = (self.z - value) * root
            total = np.einsum("gn,gn->g", left, left)
            good = np.isfinite(total) & np.isfinite(slope).all(axis=(1, 2))
        left[~good] = 0.0
        slope[~good] = 0.0
        return np.where(good, total, np.inf), left, slope * root[:, None]


def minimise(
    problem: Problem, start: Array, fixed: Array | None = None, n_steps: int = 60
) -> tuple[Array, Array, Array]:
    """Parameters (g, p), sums (g,) and whether each settled (g,), from ``start`` (g, p).

    ``fixed`` (g, p) are parameters that stay.  Settled is a step that would lower the sum by less
    than 1e-12 of it (by less than rounding of the data, where nothing is left).
    """
    theta = np.array(start, dtype=np.float64)
    g, p = theta.shape
    held = np.zeros((g, p), dtype=bool) if fixed is None else fixed
    floor = len(problem.z) * (np.finfo(float).eps * float(np.max(abs(problem.z), initial=0.0))) ** 2
    floor *= float(np.max(problem.weights, initial=0.0))
    total, left, slope = problem.residuals(theta)
    damping = np.full(g, 1e-3)
    settled = ~np.isfinite(total)
    diagonal = np.arange(p)
    for _ in range(n_steps):
        free = slope * ~held[:, None, :]
        down = np.einsum("gnp,gn->gp", free, left)
        normal = np.einsum("gnp,gnq->gpq", free, free)
        scale = np.sqrt(normal[:, diagonal, diagonal])
        scale = np.where(scale > 0, scale, 1.0)
        scaled = normal / (scale[:, :, None] * scale[:, None, :])
        scaled[:, diagonal, diagonal] += damping[:, None]
        step = np.linalg.solve(scaled, (down / scale)[:, :, None])[:, :, 0] / scale
        gain = np.einsum("gp,gp->g", step, down)  # at least half of what the sum can fall by
        settled |= gain <= 1e-12 * total + floor
        if settled.all():
            break
        step[settled] = 0.0
        tried, tried_left, tried_slope = problem.residuals(theta + step)
        better = (tried < total) & ~settled
        theta[better] += step[better]
        total = np.where(better, tried, total)
        left[better], slope[better] = tried_left[better], tried_slope[better]
        damping = np.where(better, damping / 8, damping * 4)
        # A step that is damped to nothing and still does not help is at rounding.
        settled |= damping > LARGEST
        damping = np.clip(damping, SMALLEST, LARGEST)
    settled &= np.isfinite(total)
    return theta, total, settled
