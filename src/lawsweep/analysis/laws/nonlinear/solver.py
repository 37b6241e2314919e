"""Weighted nonlinear least squares of many problems over the same points, all at once.

A profile is some hundred small fits that differ in one fixed parameter; one after the other they
would cost a hundred times the overhead of an array operation.  Levenberg's method with Marquardt's
scaling (Marquardt 1963) on the stack of them: a fixed parameter has its column taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    z: Array  # (n,), or (g, n) where each of g problems has its own
    weights: Array  # alike
    log: bool
    ascending: tuple[int, int] | None = None  # two parameters that have an order

    def of(self, rows: Array) -> Problem:
        """Of these of its problems."""
        if self.z.ndim == self.weights.ndim == 1:
            return self
        z, weights = (v if v.ndim == 1 else v[rows] for v in (self.z, self.weights))
        return replace(self, z=z, weights=weights)

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
        if not good.all():
            left[~good] = 0.0
            slope[~good] = 0.0
            total = np.where(good, total, np.inf)
        return total, left, slope * root[..., None]


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
    floor = (
        problem.z.shape[-1]
        * (np.finfo(float).eps * float(np.max(abs(problem.z), initial=0.0))) ** 2
        * float(np.max(problem.weights, initial=0.0))
    )
    total, left, slope = problem.residuals(theta)
    settled = np.zeros(g, dtype=bool)
    live = np.flatnonzero(np.isfinite(total))  # rows of what follows: those that still move
    problem, left, slope = problem.of(live), left[live], slope[live]
    at, least, free = theta[live], total[live], ~held[live]
    damping = np.full(len(live), 1e-3)
    diagonal = np.arange(p)
    for _ in range(n_steps):
        moving = slope * free[:, None, :]
        down = np.einsum("gnp,gn->gp", moving, left)
        normal = np.matmul(moving.transpose(0, 2, 1), moving)
        scale = np.sqrt(normal[:, diagonal, diagonal])
        scale = np.where(scale > 0, scale, 1.0)
        scaled = normal / (scale[:, :, None] * scale[:, None, :])
        scaled[:, diagonal, diagonal] += damping[:, None]
        step = np.linalg.solve(scaled, (down / scale)[:, :, None])[:, :, 0] / scale
        gain = np.einsum("gp,gp->g", step, down)  # at least half of what the sum can fall by
        # A step that is damped to nothing and still does not help is at rounding.
        done = (gain <= 1e-12 * least + floor) | (damping > LARGEST)
        if done.any():
            theta[live], total[live], settled[live[done]] = at, least, True
            stay = ~done
            if not stay.any():
                return theta, total, settled
            live, problem = live[stay], problem.of(stay)
            at, least, free, damping = at[stay], least[stay], free[stay], damping[stay]
            left, slope, step = left[stay], slope[stay], step[stay]
        tried, tried_left, tried_slope = problem.residuals(at + step)
        better = tried < least
        at = np.where(better[:, None], at + step, at)
        least = np.where(better, tried, least)
        left = np.where(better[:, None], tried_left, left)
        slope = np.where(better[:, None, None], tried_slope, slope)
        damping = np.maximum(np.where(better, damping / 8, damping * 4), SMALLEST)
    theta[live], total[live] = at, least
    return theta, total, settled
