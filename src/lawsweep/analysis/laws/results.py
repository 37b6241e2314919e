"""What a fit found, with its evidence: one line for a person, one dictionary for a script."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.laws.fit_specs import FitSpec, find_law
from lawsweep.analysis.laws.local_slopes import LocalSlope, shown_slopes
from lawsweep.analysis.laws.regress import Curvature

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array
    from lawsweep.analysis.laws.law import Law


@dataclass(frozen=True)
class Parameter:
    """One fitted parameter and its interval at the fit's level."""

    name: str
    estimate: float
    low: float
    high: float

    def interval(self) -> str:
        """``1.19 [1.15, 1.23]``, to one digit of the half width, two where it starts 1 or 2."""
        digits = self._decimals()
        values = (self.estimate, self.low, self.high)
        if digits is None or max(abs(v) for v in values) >= 1e6:
            return "{} [{}, {}]".format(*(f"{v:.4g}" for v in values))
        return "{} [{}, {}]".format(*(f"{v:.{digits}f}" for v in values))

    def _decimals(self) -> int | None:
        """Decimals to show; None where four significant digits say more."""
        half = (self.high - self.low) / 2
        if not math.isfinite(half) or half <= 1e-12 * abs(self.estimate):
            return None
        power = math.floor(math.log10(half))
        digits = -power + (1 if half < 3 * 10.0**power else 0)
        return max(digits, 0) if digits <= 6 else None


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The fit of one group.

    ``parameters`` is empty exactly when ``reason`` says why there is no fit.  ``rms`` is the root
    mean square residual of the design points, in units of log y for the power and exponential
    laws (so about relative) and of y otherwise; ``r2`` is None where y does not vary.
    ``curvature`` is None for law terms and below four points.  ``left_out`` counts rows by why.
    ``n_seeds`` is the number of seeds whose own laws give the interval, None where it comes from
    the scatter of the points about the law.  ``local`` has the slopes between neighbouring points
    where the spec asks for them, and ``evidence`` what a law of another kind has to show.
    """

    spec: FitSpec
    group: Mapping[str, Any]
    n_points: int
    n_rows: int
    left_out: Mapping[str, int]
    parameters: tuple[Parameter, ...] = ()
    reason: str | None = None
    rms: float | None = None
    r2: float | None = None
    condition: float | None = None
    curvature: Curvature | None = None
    x_range: tuple[float, float] | None = None
    other_warnings: tuple[str, ...] = field(default=())  # than of a bend
    local: tuple[LocalSlope, ...] = ()
    n_seeds: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def law(self) -> Law:
        """The law itself."""
        return find_law(self.spec.law)

    @property
    def mean(self) -> str:
        """Which mean of its rows a point is: ``geometric`` (a law of log y) or ``arithmetic``."""
        return "geometric" if self.law.log_y else "arithmetic"

    def predict(self, inputs: Array | Mapping[str, Array]) -> Array:
        """y where x (or each expression that the law is a function of) has these values, (n,)."""
        given = inputs if isinstance(inputs, Mapping) else {self.spec.x or "": inputs}
        return self.law.predict(self, given)

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

    def summary(self) -> str:
        """One line: the law with its intervals, the counts, the local slopes."""
        head = f"{self.label()}: " if self.group else ""
        if self.reason is not None:
            return f"{head}no fit of {self._subject()}: {self.reason}{self._left_out()}"
        points, rows = count(self.n_points, "point"), count(self.n_rows, "row")
        what = f"{self.mean} means of " if self.n_rows > self.n_points else ""
        notes = f"{100 * self.spec.level:g} %, {points}, {what}{rows}"
        if self.n_seeds is not None:
            notes += f"; interval from the laws of {count(self.n_seeds, 'seed')}"
        if self.curvature is not None:
            a, b = self.curvature.slope_first, self.curvature.slope_last
            notes += f"; local slope {a:.3g} → {b:.3g}"
            notes += f", curved (p = {self.curvature.p_value:.1g})" if self.curved else ""
        if self.local:
            notes += f"; between neighbours {shown_slopes(self.local)}"
        notes += "".join(f"; {said}" for said in (*self.law.said(self), *self.other_warnings))
        return f"{head}{self.law.formula(self)}  ({notes}{self._left_out()})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values that ``json.dumps(..., allow_nan=False)`` accepts; NaN and inf are None."""
        bend = self.curvature
        found: dict[str, Any] = _json(
            {
                "name": self.spec.name,
                "law": self.spec.law,
                "x": self.spec.x,
                "y": self.spec.y,
                "terms": list(self.spec.terms),
                "where": self.spec.where,
                "level": self.spec.level,
                **({"own": dict(self.spec.own)} if self.spec.own else {}),
                "group": dict(self.group),
                "parameters": {
                    p.name: {"estimate": p.estimate, "low": p.low, "high": p.high}
                    for p in self.parameters
                },
                "reason": self.reason,
                "mean": self.mean,
                "interval_from": "points" if self.n_seeds is None else "seeds",
                "n_seeds": self.n_seeds,
                "n_points": self.n_points,
                "n_rows": self.n_rows,
                "n_left_out": self.n_left_out,
                "left_out": dict(self.left_out),
                "rms": self.rms,
                "r2": self.r2,
                "condition": self.condition,
                "x_range": self.x_range,
                "local_slope_first": bend and bend.slope_first,
                "local_slope_last": bend and bend.slope_last,
                "curvature": bend and bend.quadratic,
                "curvature_p_value": bend and bend.p_value,
                "curved": self.curved,
                "local_slopes": [vars(s) for s in self.local],
                **({"evidence": dict(self.evidence)} if self.evidence else {}),
                "warnings": list(self.warnings),
                "summary": self.summary(),
            }
        )
        return found

    def _subject(self) -> str:
        inputs = dict.fromkeys(text for _, text in self.law.inputs(self.spec))
        return f"{self.spec.y} against {', '.join(inputs)}"

    def _left_out(self) -> str:
        if not self.n_left_out:
            return ""
        why = ", ".join(f"{n} {reason}" for reason, n in self.left_out.items())
        return f"; {count(self.n_left_out, 'row')} left out: {why}"


def count(n: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)
