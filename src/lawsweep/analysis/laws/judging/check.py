"""Whether one law of this kind is supported by its points, in a sentence and in tables.

The sentence goes by the bend (``bend.py``), whose level is known.  Beside it stand, for whoever
looks closer: the same law without the first and the last points (``windows``), the largest x
predicted from the others (``hold_out``), and the law's rivals on the same points
(``candidates``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.laws.fitted import Found
from lawsweep.analysis.laws.judging.candidates import compare, solved

if TYPE_CHECKING:
    from lawsweep.analysis.frames import Array
    from lawsweep.analysis.laws.fitted import Fitted
    from lawsweep.analysis.laws.law import Law

LEFT_OUT = (1, 2)  # points left out at either end
_TESTS = ("replicates", "seeds")
BETTER = 4.0  # a difference in AICc from which a rival is named


@dataclass(frozen=True)
class Judge:
    """What the checks of a fit came to; each is made when it is first asked for."""

    found: Fitted
    law: Law

    @functools.cached_property
    def verdict(self) -> str | None:
        """Whether one law of this kind is supported, in a sentence; None where nothing can say.

        Costs a fit, and two of each rival where the law bends or misses its largest x.
        """
        return None if self._order is None else _sentence(self)

    @functools.cached_property
    def checks(self) -> dict[str, Any]:
        """The tables behind it, plain values; costs some five fits and two of each rival."""
        if self._order is None:
            return {}
        return {
            "windows": _windows(self.found, self.law, self._order),
            "hold_out": self.hold_out,
            "candidates": self.candidates,
        }

    @functools.cached_property
    def hold_out(self) -> dict[str, Any] | None:
        """The mean at the largest x beside what the others predict."""
        return (
            None
            if self._order is None or self._bounded
            else _hold_out(self.found, self.law, self._order)
        )

    @functools.cached_property
    def candidates(self) -> list[dict[str, Any]]:
        """The law and its rivals; empty where it has none, or where rows are bounds."""
        if self._order is None or self._bounded:
            return []
        return compare(self.found, self.law, self._order)

    @property
    def _bounded(self) -> bool:
        """Whether some rows are bounds: points then have no means to compare by."""
        return self.found.points is not None and self.found.points.bound is not None

    @functools.cached_property
    def _order(self) -> Array | None:
        """The points along x; None where there is no fit, or no x."""
        points, x = self.found.points, self.found.spec.x
        if self.found.reason is not None or points is None or x is None or x not in points.inputs:
            return None
        return np.argsort(points.inputs[x], kind="stable")


def _sentence(judge: Judge) -> str | None:
    found, held = judge.found, judge.hold_out
    bend, name = found.curvature, f"one {found.spec.law} law"
    if bend is None:
        if not judge.law.straight or found.n_points > 3:
            return None
        return f"{found.n_points} points cannot say whether {name} holds: 4 are needed"
    slopes = f"local slope {bend.slope_first:.3g} → {bend.slope_last:.3g}"
    missed = held is not None and held.get("holds") is False
    if found.curved:
        p = f"p = {bend.p_value:.1g}{_other(found)}"
        text = f"{name} is not supported: it bends, {slopes} ({p})"
    else:
        change, half = bend.drift(found.spec.level)
        text = f"no bend is seen, the slope changes by {change:.2g} ± {half:.2g}"
        text += f" ({other[2:]})" if (other := _other(found)) else ""
        head = f"{name} is in doubt" if missed else f"{name} is supported"
        text = f"{head}: {text}"
    if missed and held is not None:
        text += f"; {found.spec.x} = {held['x']:.4g} is not as the others predict"
    rivals = judge.candidates if found.curved or missed else []
    best = next((r for r in rivals if r["delta_aicc"] == 0), None)
    own = next((r for r in rivals if r["law"] == found.spec.law), None)
    if best and own and (own["delta_aicc"] or 0) >= BETTER:
        text += f"; {best['law']} fits better (ΔAICc {own['delta_aicc']:.2g})"
    return text


def _other(found: Fitted) -> str:
    """The tests by replicates and by the seeds' own bends, where they disagree."""
    tests = found.curvature.p_values if found.curvature else {}
    if not {*_TESTS} <= {*tests} or len({tests[k] < 1 - found.spec.level for k in _TESTS}) == 1:
        return ""
    return (
        f"; by replicates {tests['replicates']:.1g}, by the seeds' own bends {tests['seeds']:.1g}"
    )


def _windows(found: Fitted, law: Law, order: Array) -> list[dict[str, Any]]:
    """The law without its first or last points, each with its parameters or a reason."""
    points, x = found.points, found.spec.x
    assert points is not None
    assert x is not None
    rows = []
    for k in LEFT_OUT:
        for end, gone in (("first", order[:k]), ("last", order[-k:])):
            kept = np.ones(len(points), dtype=bool)
            kept[gone] = False
            if not kept.any():
                continue
            part = solved(law, found.spec, points.at(kept))
            values = points.inputs[x][kept]
            rows.append(
                {
                    "without": f"{end} {k}",
                    "x_range": (float(values.min()), float(values.max())),
                    "n_points": int(kept.sum()),
                    "parameters": {p.name: [p.estimate, p.low, p.high] for p in part.parameters},
                    "reason": part.reason,
                }
            )
    return rows


def _hold_out(found: Fitted, law: Law, order: Array) -> dict[str, Any] | None:
    """The mean at the largest x beside what the other points predict, with its interval."""
    points, x = found.points, found.spec.x
    assert points is not None
    assert x is not None
    kept = np.ones(len(points), dtype=bool)
    kept[order[-1]] = False
    if not kept.any():
        return None
    largest = float(points.inputs[x][order[-1]])
    seen = float(np.exp(points.y[order[-1]]) if law.log_y else points.y[order[-1]])
    part = solved(law, found.spec, points.at(kept))
    said: dict[str, Any] = {"x": largest, "seen": seen, "reason": part.reason}
    if part.reason is not None:
        return said
    facts = {f.name: getattr(part, f.name) for f in fields(Found) if f.name != "warnings"}
    others = replace(found, n_points=int(kept.sum()), points=points.at(kept), **facts)
    at = {text: values[order[-1:]] for text, values in points.inputs.items()}
    said["predicted"] = float(law.predict(others, at)[0])
    ends = law.band(others, at, new=True)
    if ends is not None:
        low, high = float(ends[0][0]), float(ends[1][0])
        rounding = 1e-9 * abs(seen)  # of data that the law fits to rounding
        holds = bool(low - rounding <= seen <= high + rounding)
        said.update({"low": low, "high": high, "holds": holds})
    return said
