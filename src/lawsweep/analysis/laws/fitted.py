"""What a fit of one group came to: what its law is told of it, and speaks of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.judging.local_slopes import LocalSlope
from lawsweep.analysis.laws.regress import Curvature

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array
    from lawsweep.analysis.laws.points import Points

Interval = tuple[float, float]


def outer(ends: Sequence[Interval]) -> Interval:
    """The wider of some intervals, on each side: that which holds them all.

    Where the sources bend alike, as those of a linear law do, it is the widest one of them.
    """
    return min(low for low, _ in ends), max(high for _, high in ends)


@dataclass(frozen=True)
class Parameter:
    """One fitted parameter and its interval at the fit's level.

    ``scatter`` is the interval from the scatter of the points about the law (of a nonlinear law
    its profile), ``seeds`` that from the laws of single seeds; None is one that cannot be known.
    ``low`` and ``high`` are the ends of the wider one, on each side.
    """

    name: str
    estimate: float
    low: float
    high: float
    scatter: Interval | None = None
    seeds: Interval | None = None

    def interval(self) -> str:
        """``1.19 [1.15, 1.23]``, to one digit of the half width, two where it starts 1 or 2."""
        return "{} [{}, {}]".format(*self._texts(self.estimate, self.low, self.high))

    def shown(self, ends: Interval) -> str:
        """``[1.15, 1.23]``, with the digits of its own half width."""
        own = Parameter(self.name, self.estimate, *ends)
        return "[{}, {}]".format(*own._texts(*ends))

    def _texts(self, *values: float) -> list[str]:
        digits = self._decimals()
        if digits is None or max(abs(v) for v in values) >= 1e6:
            return [f"{v:.4g}" for v in values]
        return [f"{v:.{digits}f}" for v in values]

    def _decimals(self) -> int | None:
        """Decimals to show; None where four significant digits say more."""
        half = (self.high - self.low) / 2
        if not math.isfinite(half) or half <= 1e-12 * abs(self.estimate):
            return None
        power = math.floor(math.log10(half))
        digits = -power + (1 if half < 3 * 10.0**power else 0)
        return max(digits, 0) if digits <= 6 else None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a law made of its points, and how well it is known.

    ``parameters`` is empty exactly when ``reason`` says why there is no fit.  ``rms`` is the root
    mean square residual of the design points, in units of log y for the power and exponential
    laws (so about relative) and of y otherwise; ``r2`` is None where y does not vary.
    ``curvature`` is None for law terms and below four points.
    ``n_seeds`` is the number of seeds whose own laws give the interval, None where it comes from
    the scatter of the points about the law.  ``local`` has the slopes between neighbouring points
    where the spec asks for them, and ``evidence`` what a law of another kind has to show: plain
    values, which scripts are given as they are.

    ``rss`` is the (weighted) residual sum of squares of the points and ``n_parameters`` how many
    numbers were fitted.  ``covariance`` (p, p) is that of the law's own coordinates (of log C
    where a C is fitted in logarithms) as the scatter says, with n_points - n_parameters degrees of
    freedom (``dof`` where these are fewer); ``seed_covariance`` the same as the ``seed_laws`` laws
    of single seeds say, with seed_laws - 1.  ``checks`` is what the law itself found out about how
    well it holds: plain values.
    """

    parameters: tuple[Parameter, ...] = ()
    reason: str | None = None
    rms: float | None = None
    r2: float | None = None
    condition: float | None = None
    curvature: Curvature | None = None
    n_seeds: int | None = None
    local: tuple[LocalSlope, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    rss: float | None = None
    n_parameters: int | None = None
    covariance: Array | None = field(default=None, compare=False, repr=False)
    seed_covariance: Array | None = field(default=None, compare=False, repr=False)
    seed_laws: int | None = None
    dof: int | None = None
    checks: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Found(Evidence):
    """What a law returns; without ``parameters``, and with a ``reason``, it found nothing."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fitted(Evidence):
    """What a law is told of its fit of one group: what was asked, and what came of it.

    ``left_out`` counts rows by why; ``points`` are what it was fitted to.
    """

    spec: FitSpec
    group: Mapping[str, Any]
    n_points: int
    n_rows: int
    left_out: Mapping[str, int]
    x_range: tuple[float, float] | None = None
    other_warnings: tuple[str, ...] = field(default=())  # than of a bend
    points: Points | None = field(default=None, compare=False, repr=False)

    @property
    def n_left_out(self) -> int:
        """Rows of the group that the fit does not use."""
        return sum(self.left_out.values())

    @property
    def curved(self) -> bool:
        """Whether the quadratic term differs from zero at the fit's level."""
        return self.curvature is not None and self.curvature.p_value < 1 - self.spec.level

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the law must know."""
        if not self.curved or self.curvature is None:
            return self.other_warnings
        bend = self.curvature
        return (
            *self.other_warnings,
            f"the local slope runs from {bend.slope_first:.3g} to {bend.slope_last:.3g} "
            f"(p = {bend.p_value:.1g}): not one {self.spec.law} law",
        )

    def __getitem__(self, name: str) -> Parameter:
        """A parameter by its name (``C``, ``exponent``, ``rate``, ``slope``, or a term)."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    def label(self) -> str:
        """The group as text, ``n_samples=1000, kernel=full``; empty without ``by``."""
        return ", ".join(f"{k}={_plain(v)}" for k, v in self.group.items())


def count(n: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
