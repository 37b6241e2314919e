"""A collapse that was found: its common curve anywhere, and its points scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lawsweep.analysis.frames import Array, distinct
from lawsweep.analysis.laws.collapse.curves import Curves, Theta, scaled
from lawsweep.analysis.laws.collapse.errors import Solved, solved
from lawsweep.analysis.laws.collapse.master import NAMES, Best, Problem, basis, box_of
from lawsweep.analysis.laws.points import Points

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted


def curves_of(spec: FitSpec, points: Points) -> Curves:
    """The points as curves."""
    assert spec.x is not None
    x, size = points.inputs[spec.x], points.inputs[spec.own["scale"]]
    told = [size] + ([points.inputs[spec.own["curves"]]] if "curves" in spec.own else [])
    labels = np.stack([distinct(t)[1] for t in told], axis=1)
    curve = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    logx = bool(spec.own["logx"])
    log_size = np.log(size)
    middle = float(np.unique(log_size).mean())
    return Curves(np.log(x) if logx else x, points.y, log_size - middle, curve, logx,
                  bool(spec.own["logy"]), middle)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """Points to be drawn, (n,) each: their means with one standard error, NaN where unknown.

    ``size`` is the value of ``scale`` of each point and ``label`` that of ``curves``, 0 without.
    """

    x: Array
    y: Array
    low: Array
    high: Array
    size: Array
    label: Array


@dataclass(frozen=True)
class Collapsed(Drawn):
    """In units of x L^a and y L^b, with the common curve, (200,) each."""

    curve_x: Array
    curve_y: Array


def measured(found: Fitted) -> Drawn:
    """The points of a collapse as they are; also of one that came to no exponents."""
    points, own = found.points, found.spec.own
    assert points is not None
    assert found.spec.x is not None
    error = points.sd / np.sqrt(points.n)
    ends = (points.y, points.y - error, points.y + error)
    y, low, high = (np.exp(end) if own["logy"] else end for end in ends)
    label = points.inputs[own["curves"]] if "curves" in own else np.zeros(len(points))
    return Drawn(points.inputs[found.spec.x], y, low, high, points.inputs[own["scale"]], label)


def collapsed(found: Fitted) -> Collapsed:
    """The points of a collapse, scaled, and their common curve."""
    assert found.points is not None
    where, raw = Place.of(found, found.points.inputs), measured(found)
    curves, theta = where.curves, where.theta
    grid = np.linspace(where.at.min(), where.at.max(), 200)
    functions = basis(grid, where.at, where.solved.best.problem.size)
    master = functions @ where.solved.coefficients
    # The law's log L is about its middle: back to that of the scale.
    shift_x, shift_y = theta.a * curves.middle, theta.b * curves.middle
    x, curve_x = (
        np.exp(v + shift_x) if curves.logx else v * math.exp(shift_x) for v in (where.at, grid)
    )
    lift = raw.size**theta.b
    return Collapsed(
        x=x,
        y=raw.y * lift,
        low=raw.low * lift,
        high=raw.high * lift,
        size=raw.size,
        label=raw.label,
        curve_x=curve_x,
        curve_y=np.exp(master + shift_y) if curves.logy else master * math.exp(shift_y),
    )


@dataclass(frozen=True)
class Place:
    """Where a collapse is asked for its curve: x, log L and x' (m,)."""

    curves: Curves
    solved: Solved
    theta: Theta
    x: Array
    size: Array
    at: Array

    @classmethod
    def of(cls, found: Fitted, inputs: Mapping[str, Array]) -> Place:
        """Of a fit, at these inputs."""
        assert found.points is not None
        assert found.spec.x is not None
        curves = curves_of(found.spec, found.points)
        theta = Theta(**{p.name: p.estimate for p in found.parameters})
        names = tuple(found.evidence["free"])
        given = {n: getattr(theta, n) for n in NAMES if n not in names}
        n = found.evidence["n_coefficients"]
        problem = Problem(curves, names, given, n, 0, box_of(curves))
        values = np.array([getattr(theta, n) for n in problem.searched])
        made = solved(Best(problem, values, found.rss or 0.0))
        assert made is not None
        raw = np.asarray(inputs[found.spec.x], dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.log(raw) if curves.logx else raw
            scale = np.asarray(inputs[found.spec.own["scale"]], dtype=np.float64)
            size = np.log(scale) - curves.middle
        return cls(curves, made, theta, x, size, scaled(x, size, theta, curves.logx))

    def functions(self) -> Array:
        """f's functions there, times L^-b where y has no logarithm."""
        reference = self.curves.scaled_x(self.theta)
        at = np.clip(np.nan_to_num(self.at, nan=reference[0]), reference.min(), reference.max())
        grown = 1.0 if self.curves.logy else np.exp(-self.theta.b * self.size)[:, None]
        return basis(at, reference, self.solved.best.problem.size) * grown

    def inside(self) -> Array:
        """Where points were measured."""
        reference = self.curves.scaled_x(self.theta)
        room = 1e-9 * float(np.ptp(reference))
        return np.asarray((self.at >= reference.min() - room) & (self.at <= reference.max() + room))
