"""y L^b against x L^a on one curve, with errors of the exponents and a quality."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.frames import Array, distinct
from lawsweep.analysis.laws.collapse.curves import Curves
from lawsweep.analysis.laws.collapse.errors import derivatives
from lawsweep.analysis.laws.collapse.master import NAMES, search
from lawsweep.analysis.laws.collapse.minimum import Minimum
from lawsweep.analysis.laws.collapse.place import Place, curves_of
from lawsweep.analysis.laws.fitted import Found, Parameter
from lawsweep.analysis.laws.judging.bands import half_band
from lawsweep.analysis.laws.law import Law
from lawsweep.analysis.laws.points import Points
from lawsweep.core.errors import unknown_name

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted

UNLIKELY = 0.01  # chance of an S as large, below which curves are not called one


class Collapse(Law):
    """Curves of several sizes L on one: y L^b = f(x L^a), or f((x - x_c) L^a)."""

    own = ("scale", "curves", "exponents", "critical", "logx", "logy")
    needs = ("x", "scale")
    log_y = True

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """``scale`` and ``curves`` are expressions; ``critical`` is true, or the point itself."""
        own: dict[str, Any] = {"scale": entry.expression("scale", columns)}
        if entry.values.get("curves") is not None:
            own["curves"] = entry.expression("curves", columns)
        own["exponents"] = _given(entry)
        critical = entry.values.get("critical")
        if critical not in (None, False):
            if critical is not True and not _is_number(critical):
                raise entry.wrong("critical", "true (to be found) or a number", critical)
            own["critical"] = critical if critical is True else float(critical)
        for key in ("logx", "logy"):
            flag = entry.flag(key)
            own[key] = "critical" not in own if flag is None else flag
        if "critical" in own and own["logx"]:
            raise entry.wrong("logx", "false where there is a critical point", True)
        return own

    def of_logs(self, spec: FitSpec) -> bool:
        """``logy``: true unless there is a critical point, or it says otherwise."""
        return bool(spec.own["logy"])

    def inputs(self, spec: FitSpec) -> Iterator[tuple[str, str]]:
        """x, the scale, and what else tells the curves apart."""
        assert spec.x is not None
        yield "x", spec.x
        yield "scale", spec.own["scale"]
        if "curves" in spec.own:
            yield "curves", spec.own["curves"]

    def unusable(self, inputs: Sequence[Array], y: Array) -> Iterator[tuple[Array, str]]:
        """A size is positive, and y where it has a logarithm."""
        yield np.asarray(inputs[1] <= 0), "with a scale ≤ 0"
        yield np.asarray(y <= 0), "with y ≤ 0"

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """The exponents with which all points lie closest to one smooth curve."""
        reason = _too_little(spec, points)
        if reason is not None:
            return Found(reason=reason)
        curves = curves_of(spec, points)
        given = {**dict.fromkeys(NAMES, 0.0), **_fixed(spec)}
        free = [n for n in ("a", "b") if n not in spec.own["exponents"]]
        free += ["x_c"] if spec.own.get("critical") is True else []
        given = {n: v for n, v in given.items() if n not in free}
        best = search(curves, free, given)
        if best is None:
            return Found(reason=_no_overlap(curves, free))
        bound = Minimum(spec, points, best)
        if (straight := bound.straight()) is not None:
            return straight
        return bound.found()

    def formula(self, found: Fitted) -> str:
        """``gap * input_dim^1.0 [...] = f(n_target * input_dim^-1.0 [...])``."""
        size, x = found.spec.own["scale"], found.spec.x_bracketed
        size = size if size.isidentifier() else f"({size})"
        if "critical" in found.spec.own:
            x = f"({found.spec.x} - {_shown(found['x_c'])})"
        given = found["b"].low == found["b"].high == 0
        y = found.spec.y if found.spec.y.isidentifier() or given else f"({found.spec.y})"
        a, b = (
            f" * {size}^{_shown(found[name])}" if found[name].high or found[name].low else ""
            for name in ("a", "b")
        )
        return f"{y}{b} = f({x}{a})"

    def short(self, found: Fitted) -> str:
        """The exponents."""
        return ", ".join(f"{p.name} {_shown(p)}" for p in found.parameters)

    def said(self, found: Fitted) -> Sequence[str]:
        """How far the curves are from being one."""
        return (quality_said(found),)

    def predict(self, found: Fitted, inputs: Mapping[str, Array]) -> Array:
        """y of the common curve; NaN beyond the x' that was measured."""
        where = Place.of(found, inputs)
        value = where.functions() @ where.solved.coefficients
        if where.curves.logy:
            value = np.exp(value - where.theta.b * where.size)
        return np.where(where.inside(), value, np.nan)

    def band(
        self, found: Fitted, inputs: Mapping[str, Array], *, new: bool = False
    ) -> tuple[Array, Array] | None:
        """The common curve's: the wider of what the scatter and the seeds say."""
        where = Place.of(found, inputs)
        inside = where.inside()
        half = half_band(found, derivatives(where.solved, where.x, where.size), new=new)
        if half is None:
            return None
        centre, half = self.predict(found, inputs), np.where(inside, half, np.nan)
        if where.curves.logy:
            return centre * np.exp(-half), centre * np.exp(half)
        return centre - half, centre + half


def quality_said(found: Fitted) -> str:
    """``quality S = 1.1 (p = 0.4) of 36 points on 4 curves: one within their errors``."""
    facts = found.evidence
    n, n_points = facts["n_compared"], found.n_points
    about = f"{facts['n_curves']} curves, {n} of {n_points} points within another"
    rms = found.rms or 0.0
    off = f"{100 * rms:.2g} %" if found.spec.own["logy"] else f"{rms:.2g}"
    if facts["quality"] is None:
        return f"no quality, as no replicates say how far points may be off: {off} rms; {about}"
    one = facts["chance"] >= UNLIKELY
    word = "one curve within their errors" if one else "not one curve within their errors"
    p = f"p = {facts['chance']:.1g}"
    return f"quality S = {facts['quality']:.3g} ({p}): {word}, {off} rms from it; {about}"


def _fixed(spec: FitSpec) -> dict[str, float]:
    fixed = dict(spec.own["exponents"])
    if isinstance(spec.own.get("critical"), float):
        fixed["x_c"] = spec.own["critical"]
    return fixed


def _too_little(spec: FitSpec, points: Points) -> str | None:
    if not len(points):
        return "0 points"
    assert spec.x is not None
    x, size = points.inputs[spec.x], points.inputs[spec.own["scale"]]
    if spec.own["logx"] and np.any(x <= 0):
        n = int(np.sum(x <= 0))
        return f"x is ≤ 0 at {n} of {len(x)} points; say logx: false, or leave them out by where"
    sizes = distinct(size)[0]
    if len(sizes) < 2:
        alone = f"{spec.own['scale']} = {sizes[0]:g}"
        return f"one size alone ({alone}), 2 needed for a collapse; check scale"
    free = 3 - len(_fixed(spec)) - ("critical" not in spec.own)
    need = math.ceil(1.5 * (5 + free))
    if len(x) < need:
        return f"{len(x)} distinct points, {need} needed for a curve and {free} exponents"
    if float(np.ptp(points.y)) <= 64 * np.finfo(float).eps * float(np.max(np.abs(points.y))):
        return f"{spec.y} is the same at all points: any exponents do"
    return None


def _no_overlap(curves: Curves, free: Sequence[str]) -> str:
    where = "at any exponents" if free else "at the exponents given"
    return (
        f"the {int(curves.curve.max()) + 1} curves do not reach across each other in x' {where}; "
        "widen their ranges of x"
    )


def _given(entry: Entry) -> dict[str, float]:
    """``exponents``: those that are not to be found."""
    value = entry.values.get("exponents")
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise entry.wrong("exponents", "a mapping such as {a: -1, b: 1}", value)
    for name, number in value.items():
        if name not in ("a", "b"):
            raise unknown_name("exponent", str(name), ("a", "b"), f"{entry.place}.exponents")
        if not _is_number(number):
            raise entry.wrong("exponents", f"numbers, {name} being one", number)
    return {str(name): float(number) for name, number in value.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(parameter: Parameter) -> str:
    given = parameter.low == parameter.high == parameter.estimate
    return f"{parameter.estimate:g}" if given else parameter.interval()
