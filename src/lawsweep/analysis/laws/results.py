"""What a fit found, with its evidence: one line for a person, one dictionary for a script."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lawsweep.analysis.laws.censored.marks import told
from lawsweep.analysis.laws.fitted import Fitted, count
from lawsweep.analysis.laws.judging.check import Judge
from lawsweep.analysis.laws.judging.local_slopes import shown_slopes
from lawsweep.analysis.laws.law import Law
from lawsweep.analysis.laws.laws import find_law

MUCH = 1.5  # how many times as wide one interval is for the other to be shown too

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array
    from lawsweep.analysis.laws.differences import Difference


@dataclass(frozen=True, kw_only=True)
class FitResult(Fitted):
    """The fit of one group, with its law: it predicts, and says itself."""

    def __repr__(self) -> str:
        return f"FitResult({self.summary()})"

    @property
    def law(self) -> Law:
        """The law itself."""
        return find_law(self.spec.law)

    @property
    def mean(self) -> str:
        """Which mean of its rows a point is: ``geometric`` (a law of log y) or ``arithmetic``."""
        return "geometric" if self.law.of_logs(self.spec) else "arithmetic"

    def predict(self, inputs: Array | Mapping[str, Array]) -> Array:
        """y where x (or each expression that the law is a function of) has these values, (n,)."""
        given = inputs if isinstance(inputs, Mapping) else {self.spec.x or "": inputs}
        return self.law.predict(self, given)

    def band(
        self, inputs: Array | Mapping[str, Array], new: bool = False
    ) -> tuple[Array, Array] | None:
        """Ends of the interval of the law at x, (n,) each; ``new``: of a new point's mean there.

        None where the law has none, or there is no fit.
        """
        given = inputs if isinstance(inputs, Mapping) else {self.spec.x or "": inputs}
        return None if self.reason is not None else self.law.band(self, given, new=new)

    @functools.cached_property
    def judged(self) -> Judge:
        """What the checks of the law came to; each is made when it is first asked for."""
        return Judge(self, self.law)

    @property
    def verdict(self) -> str | None:
        """Whether one law of this kind is supported, in a sentence; None where nothing can say."""
        return self.judged.verdict

    def difference(self, other: FitResult, parameter: str = "exponent") -> Difference:
        """``other`` minus this of a parameter, with intervals; see ``differences.difference``."""
        from lawsweep.analysis.laws.differences import difference
        from lawsweep.core.errors import InvalidValueError

        found = difference(self, other, parameter)
        if not found:
            why = self.reason or other.reason
            raise InvalidValueError(
                f"There is no difference of {parameter}: {why}. Compare fits that both have it."
            )
        return found[0]

    def summary(self) -> str:
        """The law with its intervals, the counts, the local slopes; below it the verdict."""
        head = self.spec.name + (f" ({self.label()})" if self.group else "") + ": "
        if self.reason is not None:
            bounds = self._bounds()
            rows = f"; {count(self.n_rows, 'row')}{bounds}" if bounds else ""
            return f"{head}no fit of {self._subject()}: {self.reason}{rows}{self._lost()}"
        points, rows = count(self.n_points, "point"), count(self.n_rows, "row")
        what = f"{self.mean} means of " if self.n_rows > self.n_points else ""
        rows += self._bounds()
        notes = f"{100 * self.spec.level:g} %, {points}, {what}{rows}"
        notes += self._sources()
        if self.curvature is not None:
            a, b = self.curvature.slope_first, self.curvature.slope_last
            notes += f"; local slope {a:.3g} → {b:.3g}"
            notes += f", curved (p = {self.curvature.p_value:.1g})" if self.curved else ""
        if self.local:
            notes += f"; between neighbours {shown_slopes(self.local)}"
        notes += "".join(f"; {said}" for said in (*self.law.said(self), *self.other_warnings))
        line = f"{head}{self.law.formula(self)}  ({notes}{self._left_out()})"
        return line if self.verdict is None else f"{line}\n        {self.verdict}"

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
                **self.spec.bounds,
                **({"n_bounds": self.n_bounds} if self.spec.bounds else {}),
                "group": dict(self.group),
                "parameters": {
                    p.name: {
                        "estimate": p.estimate,
                        "low": p.low,
                        "high": p.high,
                        "scatter": p.scatter,
                        "seeds": p.seeds,
                    }
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
                "rss": self.rss,
                "n_parameters": self.n_parameters,
                "r2": self.r2,
                "condition": self.condition,
                "x_range": self.x_range,
                "local_slope_first": bend and bend.slope_first,
                "local_slope_last": bend and bend.slope_last,
                "curvature": bend and bend.quadratic,
                "curvature_p_value": bend and bend.p_value,
                "curvature_test": bend and bend.test,
                "curvature_p_values": bend and dict(bend.p_values),
                "seeds_coupled": bend and bend.coupled,
                "curved": self.curved,
                "local_slopes": [vars(s) for s in self.local],
                **({"evidence": dict(self.evidence)} if self.evidence else {}),
                "warnings": list(self.warnings),
                "verdict": self.verdict,
                "checks": {**self.judged.checks, **self.checks},
                "summary": self.summary(),
            }
        )
        return found

    def _sources(self) -> str:
        """Where the interval comes from, and the other one where they differ much."""
        last = self.parameters[-1]
        text = ""
        if self.n_seeds is not None:
            text = f"; interval from the laws of {count(self.n_seeds, 'seed')}"
        if last.scatter is None or last.seeds is None:
            return text
        scatter, seeds = (high - low for low, high in (last.scatter, last.seeds))
        if self.n_seeds is not None and max(seeds, scatter) > MUCH * min(seeds, scatter):
            return f"{text}, by the scatter {last.shown(last.scatter)}"
        if self.n_seeds is None and scatter > MUCH * seeds > 0 and self.seed_laws:
            return f"; by the laws of {count(self.seed_laws, 'seed')} {last.shown(last.seeds)}"
        return text

    @property
    def n_bounds(self) -> dict[str, int]:
        """Rows that are upper bounds, and lower ones, and points that have nothing else."""
        return told(self.points)

    def _bounds(self) -> str:
        """``, 12 of them upper bounds (2 points of nothing else)``; empty without bounds."""
        n = self.n_bounds
        kinds = [f"{n[k]} {k}" for k in ("upper", "lower") if n[k]]
        if not kinds:
            return ""
        text = f", {' and '.join(kinds)} bounds among them"
        return text + (f" ({count(n['points'], 'point')} of bounds alone)" if n["points"] else "")

    def _subject(self) -> str:
        inputs = dict.fromkeys(text for _, text in self.law.inputs(self.spec))
        return f"{self.spec.y} against {', '.join(inputs)}"

    @property
    def why_not(self) -> str | None:
        """Why there is no fit, with what became of the rows; None where there is one."""
        return None if self.reason is None else f"{self.reason}{self._lost()}"

    def _lost(self) -> str:
        return self._left_out() + "".join(f"; {warning}" for warning in self.other_warnings)

    def _left_out(self) -> str:
        if not self.n_left_out:
            return ""
        why = ", ".join(f"{n} {reason}" for reason, n in self.left_out.items())
        return f"; {count(self.n_left_out, 'row')} left out: {why}"


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
