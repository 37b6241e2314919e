"""Laws that are linear in their coefficients: what they share, and the straight lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lawsweep.analysis.frames import Array, Columns, means
from lawsweep.analysis.laws.fit_specs import BOUNDS
from lawsweep.analysis.laws.fitted import Found, Parameter, count
from lawsweep.analysis.laws.judging.bands import half_band
from lawsweep.analysis.laws.judging.bend import bend
from lawsweep.analysis.laws.judging.local_slopes import LocalSlope, local_slopes
from lawsweep.analysis.laws.judging.noise import noise_at, shaped_covariance
from lawsweep.analysis.laws.law import Law, Points
from lawsweep.analysis.laws.regress import ROUNDING_ULPS, Regression, least_squares
from lawsweep.analysis.laws.seed_spread import p_scatter, seed_spread
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from lawsweep.analysis.entries import Entry
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted

WIDER, SEEDS = "wider", "seeds"  # which interval of a parameter is quoted
LACK = 0.05  # p of the scatter about the law below which the seeds' noise does not account for it

SAME = "y is the same at every point: no law of x is determined"
SIZES = (1e-140, 1e140)  # of y, between which sums of its squares are floats


class Straight(Law):
    """A straight line in x (or log x) and y (or log y): intercept and slope, and how it bends."""

    takes = ("x", "local", *BOUNDS)
    own = ("interval",)
    straight = True
    names: ClassVar[tuple[str, str]]  # of intercept and slope; C is the exponential of one

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """``interval``, where it is not the usual one."""
        return read_interval(entry)

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """Least squares over the points, the test for curvature, and the local slopes."""
        assert spec.x is not None
        x = points.inputs[spec.x]
        v = np.log(x) if self.log_x else x
        if points.bound is not None:
            return self._of_bounds(spec, points, x, v)
        if len(points) > len(self.names) and same_everywhere(points.y):
            return Found(reason=SAME)
        found, line = self._line(spec, points, v)
        local: tuple[LocalSlope, ...] = ()
        if spec.local and len(x) > 1:
            local = local_slopes(x, v, points, spec.level)
        bent = bend(v, points, line) if found.parameters and line else None
        return replace(found, curvature=bent, local=local)

    def parameters(self, spec: FitSpec, points: Points) -> Found:
        """The line alone, without the test for curvature."""
        assert spec.x is not None
        x = points.inputs[spec.x]
        if points.bound is not None:
            return self.solve(spec, points)
        return self._line(spec, points, np.log(x) if self.log_x else x)[0]

    def _line(self, spec: FitSpec, points: Points, v: Array) -> tuple[Found, Regression | None]:
        design = np.stack([np.ones_like(v), v], axis=1)
        return solve_coefficients(design, self.names, points, spec.level, quoted(spec))

    def _of_bounds(self, spec: FitSpec, points: Points, x: Array, v: Array) -> Found:
        """By likelihood; local slopes between points that have values alone."""
        from lawsweep.analysis.laws.censored.solve import solve_bounds

        def of_values(design: Array, own: Points) -> Found:
            return solve_coefficients(design, self.names, own, spec.level)[0]

        found = solve_bounds(v, self.names, points, spec.level, of_values)
        whole = np.sum(points.bounds, axis=0) == 0
        local: tuple[LocalSlope, ...] = ()
        if spec.local and whole.sum() > 1:
            local = local_slopes(x[whole], v[whole], points.at(whole), spec.level)
        return replace(found, local=local)

    def band(
        self, found: Fitted, inputs: Mapping[str, Array], *, new: bool = False
    ) -> tuple[Array, Array] | None:
        """The line's, back in units of y: the wider of what the scatter and the seeds say."""
        assert found.spec.x is not None
        x = np.asarray(inputs[found.spec.x], dtype=np.float64)
        v = np.log(x) if self.log_x else x
        noise = None
        if new and found.points is not None and found.points.bound is None:
            fitted = found.points.inputs[found.spec.x]
            noise = noise_at(np.log(fitted) if self.log_x else fitted, found.points, v)
        half = half_band(found, np.stack([np.ones_like(v), v], axis=1), new=new, noise=noise)
        if half is None:
            return None
        centre = self.predict(found, inputs)
        if not self.log_y:
            return centre - half, centre + half
        with np.errstate(over="ignore"):
            return centre * np.exp(-half), centre * np.exp(half)

    def predict(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        """The line, back in units of y."""
        assert found.spec.x is not None
        x = np.asarray(inputs[found.spec.x], dtype=np.float64)
        intercept, slope = (found[name].estimate for name in self.names)
        if not self.log_y:
            return np.asarray(intercept + slope * (np.log(x) if self.log_x else x))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            value = np.asarray(intercept * (x**slope if self.log_x else np.exp(slope * x)))
            if np.all(np.isfinite(value)) and 0 < intercept < np.inf:
                return value
            # A C that is no float, of an x far from where C is: the line goes through the middle.
            points, log_c = found.points, np.log(intercept) if intercept > 0 else -np.inf
            if points is not None and points.bound is None and not np.isfinite(log_c):
                at = points.inputs[found.spec.x]
                log_c = points.y.mean() - slope * np.mean(np.log(at) if self.log_x else at)
            return np.asarray(np.exp(log_c + slope * (np.log(x) if self.log_x else x)))


class Power(Straight):
    """y = C x^a: log y = log C + a log x.  Of thresholds, through their errors."""

    names = ("C", "exponent")
    rivals = ("power_offset", "two_powers", "power_log", "exponential")
    log_x = log_y = True

    def formula(self, found: Fitted) -> str:
        """``y ~ x^2.01 [1.96, 2.06]``."""
        return f"{found.spec.y} ~ {found.spec.x_bracketed}^{found['exponent'].interval()}"

    def short(self, found: Fitted) -> str:
        """``slope 2.01 [1.96, 2.06]``."""
        return f"slope {found['exponent'].interval()}"

    def fit_cells(self, columns: Columns, spec: FitSpec) -> list[Fitted] | None:
        """Thresholds weigh by their intervals; other columns of cells as any rows."""
        from lawsweep.analysis.laws.threshold.fits import fit_thresholds

        plain = not spec.local and not spec.bounds
        of_thresholds = "n_star" in Expression(spec.y).names and plain
        return fit_thresholds(columns, spec) if of_thresholds else None


class Exponential(Straight):
    """y = C exp(a x): log y = log C + a x."""

    names = ("C", "rate")
    rivals = ("power",)
    log_y = True

    def formula(self, found: Fitted) -> str:
        """``y ~ exp(a*x), a = -0.5 [-0.6, -0.4]``."""
        x = found.spec.x_bracketed
        return f"{found.spec.y} ~ exp(a*{x}), a = {found['rate'].interval()}"


class Linear(Straight):
    """y = b + a x."""

    names = ("intercept", "slope")

    def formula(self, found: Fitted) -> str:
        """``y = 1.0 [0.9, 1.1] + 2.0 [1.9, 2.1] * x``."""
        ends = (found["intercept"].interval(), found["slope"].interval())
        return f"{found.spec.y} = {ends[0]} + {ends[1]} * {found.spec.x_bracketed}"


def read_interval(entry: Entry) -> Mapping[str, Any]:
    """The key ``interval`` of a law that is linear in its coefficients."""
    if entry.values.get("interval") is None:
        return {}
    chosen = entry.choice("interval", (WIDER, SEEDS), WIDER)
    return {} if chosen == WIDER else {"interval": chosen}


def quoted(spec: FitSpec) -> str:
    """Which interval the fit quotes."""
    return str(spec.own.get("interval", WIDER))


def solve_coefficients(
    design: Array, names: Sequence[str], points: Points, level: float, quoted: str = WIDER
) -> tuple[Found, Regression | None]:
    """Coefficients of ``design`` (n_points, p) with intervals; the regression, where there is one.

    A parameter ``C`` is the exponential of its coefficient, and so are its bounds.  ``quoted`` is
    ``wider``, or ``seeds``: then that of the seeds' own laws is quoted as long as their noise
    accounts for the scatter about the law (``p_scatter``), and the wider one elsewhere.
    """
    need = len(names) + 1  # one more than parameters: without a residual there is no interval
    if len(points) < need:
        reason = f"{count(len(points), 'distinct point')}, {need} needed for an interval"
        return Found(reason=reason), None
    size = float(np.max(abs(points.replicates)))
    if size and not SIZES[0] < size < SIZES[1]:
        what = "large" if size > 1 else "small"
        reason = f"y is too {what} for its squares ({size:.2g}); give it in other units"
        return Found(reason=reason), None
    solution = least_squares(design, points.y, level)
    if solution.rank < len(names):
        reason = (
            f"the terms depend on each other at these points (rank {solution.rank} of "
            f"{len(names)}); drop a term or spread the points"
        )
        return Found(reason=reason, condition=solution.condition), solution
    spread = seed_spread(design, points.by_seed, level)
    scatter, covariance = solution.high - solution.coefficients, solution.covariance
    if spread is None or spread.half is None:  # otherwise the seeds' laws have noise that grows
        shaped = shaped_covariance(design, points, solution)
        if shaped is not None and covariance is not None and not solution.exact:
            scatter = scatter * np.sqrt(np.diag(shaped) / np.diag(covariance))
            covariance = shaped
    n_seeds = None
    if spread is not None and spread.half is not None:
        # Of data that the law fits to rounding, and every seed alike, both are rounding.
        n_seeds = spread.n_seeds if np.any(spread.half > scatter) and not _alike(points) else None
    own = None if spread is None else spread.half
    p = p_scatter(design, points.by_seed) if quoted == SEEDS and own is not None else None
    alone = p is not None and p >= LACK
    if alone and spread is not None:
        n_seeds = spread.n_seeds
    parameters = tuple(
        parameter_of(name, value, scatter[k], None if own is None else own[k], alone=alone)
        for k, (name, value) in enumerate(zip(names, solution.coefficients, strict=True))
    )
    found = Found(
        parameters=parameters,
        rms=solution.rms,
        r2=solution.r2,
        condition=solution.condition,
        n_seeds=n_seeds,
        warnings=() if spread is None or not spread.unknown else (spread.unknown,),
        rss=solution.rss,
        n_parameters=len(names),
        covariance=covariance,
        seed_covariance=None if spread is None else spread.covariance,
        seed_laws=None if spread is None or spread.half is None else spread.n_seeds,
    )
    return found, solution


def same_everywhere(y: Array) -> bool:
    """Whether means are one number, up to rounding."""
    size = ROUNDING_ULPS * np.finfo(float).eps * float(np.max(abs(y)))
    return bool(np.max(abs(y - y[0])) <= size)


def parameter_of(
    name: str, value: float, scatter: float, seeds: float | None, *, alone: bool = False
) -> Parameter:
    """A parameter with both intervals, from its coefficient and their half widths.

    The wider one is quoted; with ``alone`` that of the seeds.
    """

    def ends(half: float) -> tuple[float, float]:
        low, high = float(value - half), float(value + half)
        with np.errstate(over="ignore"):
            return (float(np.exp(low)), float(np.exp(high))) if name == "C" else (low, high)

    with np.errstate(over="ignore"):
        estimate = float(np.exp(value) if name == "C" else value)
    told = scatter if seeds is None else seeds if alone else max(scatter, seeds)
    by_seeds = None if seeds is None else ends(seeds)
    return Parameter(name, estimate, *ends(told), ends(scatter), by_seeds)


def _alike(points: Points) -> bool:
    """Whether the replicates of each point are one number, up to rounding."""
    rows = points.replicates
    apart = np.abs(rows - means(rows, points.point_of)[points.point_of])
    return bool(np.all(apart <= ROUNDING_ULPS * np.finfo(float).eps * np.max(np.abs(rows))))
