"""What the least sum of squares comes to: intervals and quality, or why there are none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.collapse.curves import Theta, distance_from_lines
from lawsweep.analysis.laws.collapse.errors import (
    Shares,
    Solved,
    ends,
    quality,
    seed_covariance,
    shares,
    solved,
)
from lawsweep.analysis.laws.collapse.master import Best, box_of
from lawsweep.analysis.laws.fitted import Found, Parameter
from lawsweep.analysis.laws.points import Points
from lawsweep.analysis.laws.straight import solve_coefficients

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec

STRAIGHT = 1e-3  # chance of a bend as large in straight lines, above which there is none


class Minimum:
    """What a minimum comes to: its intervals, or why there are none."""

    def __init__(self, spec: FitSpec, points: Points, best: Best):
        self.spec, self.points, self.best = spec, points, best
        self.curves, self.free = best.problem.curves, best.problem.free

    def straight(self) -> Found | None:
        """Why a and b cannot be told apart where the curves are straight lines of logarithms."""
        from scipy.special import fdtrc

        curves = self.curves
        if not (curves.logx and curves.logy and {"a", "b"} <= set(self.free)):
            return None
        design = np.stack([np.ones(len(curves.x)), curves.x, curves.size], axis=1)
        plain, line = solve_coefficients(design, ("c", "p", "e"), self.points, self.spec.level)
        if line is None or not plain.parameters or plain.rss is None:
            return None
        n, p = len(curves.x), self.best.n_parameters
        more, dof = p - 3, n - p
        rounding = n * (64 * np.finfo(float).eps * float(np.max(np.abs(curves.y)))) ** 2
        if plain.rss > rounding and self.best.rss > 0:
            f = (plain.rss - self.best.rss) / more / (self.best.rss / dof)
            if fdtrc(more, dof, max(f, 0.0)) < STRAIGHT:
                return None
        by_name = {q.name: q for q in plain.parameters}
        slope, size = by_name["p"].estimate, by_name["e"]
        known = Parameter("b - p a", -size.estimate, -size.high, -size.low)
        sign = "-" if slope > 0 else "+"
        text = f"b {sign} {abs(slope):.3g} a = {known.interval()}"
        return Found(
            reason=f"the curves are straight lines of logarithms, on which a and b cannot be told "
            f"apart: only {text} is known; give one of them (exponents: {{a: …}})",
            evidence={"known": {"slope": slope, "b_minus_slope_a": known.estimate,
                                "low": known.low, "high": known.high}},
        )  # fmt: skip

    def found(self) -> Found:
        """The parameters with both intervals, the quality, and the covariance for bands."""
        from scipy.special import stdtrit

        made = solved(self.best)
        if made is None:
            return self._unbounded(list(self.free))
        by = shares(self.points)
        tail = (1 + self.spec.level) / 2
        t = float(stdtrit(made.dof, tail))
        of_seeds = None if by is None else seed_covariance(made, by)
        box, parameters, wider, open_ends = box_of(self.curves), [], False, []
        theta = {**self.best.problem.given, **dict(zip(made.names, made.values, strict=True))}
        for name in ("a", "b", *(["x_c"] if "critical" in self.spec.own else [])):
            value = float(theta[name])
            if name not in made.names:
                parameters.append(Parameter(name, value, value, value))
                continue
            k = made.names.index(name)
            taus, error = [t], math.sqrt(max(float(made.covariance[k, k]), 0.0))
            if by is not None and of_seeds is not None and error > 0:
                spread = math.sqrt(max(float(of_seeds[k, k]), 0.0)) / error
                taus.append(float(stdtrit(len(by.parts) - 1, tail)) * spread)
            limits = box[name] if name != "b" or not self.curves.logy else (-math.inf, math.inf)
            got = ends(made, name, taus, limits)
            own = got[1] if len(got) > 1 else None
            low = min(low for low, _ in got)
            high = max(high for _, high in got)
            wider = wider or (own is not None and taus[1] > taus[0])
            if math.isinf(low) or math.isinf(high):
                open_ends.append(name)
            parameters.append(Parameter(name, value, low, high, got[0], own))
        if open_ends:
            return self._unbounded(open_ends)
        return self._report(made, by, of_seeds, parameters, wider)

    def _report(
        self, made: Solved, by: Shares | None, of_seeds: Array | None,
        parameters: list[Parameter], wider: bool,
    ) -> Found:  # fmt: skip
        points, curves = self.points, self.curves
        s = quality(made, points, by)
        theta = Theta(**{p.name: p.estimate for p in parameters})
        error = np.sqrt(_pooled(points) / points.n)
        lines = distance_from_lines(curves, theta, error) if np.all(error > 0) else None
        warnings = []
        if self.free and by is None and points.by_seed is not None and points.by_seed.shared:
            warnings.append("one seed: the interval lacks how other draws would move the law")
        return Found(
            parameters=tuple(parameters),
            rms=math.sqrt(self.best.rss / len(points)),
            rss=self.best.rss,
            n_parameters=made.slope.shape[1],
            covariance=made.covariance,
            seed_covariance=of_seeds,
            seed_laws=None if by is None else len(by.parts),
            n_seeds=len(by.parts) if by is not None and wider else None,
            warnings=tuple(warnings),
            evidence={
                "quality": None if s is None else s.s,
                "chance": None if s is None else s.chance,
                "quality_lines": None if lines is None else lines[0],
                "n_compared": curves.within(theta)[0],
                "n_curves": int(curves.curve.max()) + 1,
                "n_coefficients": self.best.problem.size,
                "free": list(self.free),
            },
        )

    def _unbounded(self, names: list[str]) -> Found:
        which = " and ".join(names)
        verb = "is" if len(names) == 1 else "are"
        fewer = "more sizes, a wider range of x or more seeds"
        if len(self.free) > 1:
            fewer += f", or give one of {', '.join(self.free)}"
        return Found(
            reason=f"{which} {verb} not bounded by these points: curves lie as well on one up to "
            f"where they no longer overlap, or to the edge of the search; {fewer}"
        )


def _pooled(points: Points) -> float:
    """Variance of a row about its point, of all of them; 0 where there is one row each."""
    dof = len(points.replicates) - len(points)
    apart = points.replicates - points.y[points.point_of]
    return float(apart @ apart) / dof if dof else 0.0
