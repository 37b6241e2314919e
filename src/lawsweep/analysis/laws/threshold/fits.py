"""Thresholds that searches found, fitted through their errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.fitted import Fitted, Parameter, count
from lawsweep.core.expressions.expression import Expression


def fit_thresholds(columns: Columns, spec: FitSpec) -> list[Fitted]:
    """The power law of ``n_star`` (or what ``y`` makes of it) in ``x``, one result a group.

    Each threshold weighs by its interval: log y has the standard deviation (log high - log low) /
    2z, z the normal quantile of the search's confidence.  The interval of the exponent comes from
    those errors; where the thresholds scatter about the law by more than they allow (chi^2 above
    its degrees of freedom) it is widened to what the scatter says, with Student's t.  Cells whose
    threshold is beyond the grid are left out and counted: where they gather at one end of x, that
    biases the law.
    """
    groups = columns.groups(spec.by, columns.where(spec.where, f"{spec.name}.where"))
    return [_fit_group(columns, spec, values, rows) for values, rows in groups]


def _fit_group(columns: Columns, spec: FitSpec, values: Mapping[str, Any], rows: Array) -> Fitted:
    from scipy.special import ndtri

    assert spec.x is not None
    y, low, high = ends_of(columns, spec.y, rows)
    x = columns.numbers(spec.x, rows, f"{spec.name}.x")
    with np.errstate(invalid="ignore"):
        on_log = (x > 0) & np.isfinite(x)
        good = on_log & (low > 0) & (high > low) & np.isfinite(y)
    states = columns["state"][rows]
    base: dict[str, Any] = {
        "spec": spec,
        "group": values,
        "n_points": int(good.sum()),
        "n_rows": int(columns["n_runs"][rows][good].sum()),
        "left_out": dict(Counter(sorted(map(str, np.where(on_log, states, "x ≤ 0")[~good])))),
    }
    if base["n_points"] < 2:
        return Fitted(**base, reason=f"{count(base['n_points'], 'threshold')}, 2 needed")
    if np.ptp(np.log(x[good])) == 0:
        return Fitted(**base, reason="all thresholds are at one x, 2 needed")
    z = ndtri((1 + columns["confidence"][rows][good].astype(float)) / 2)
    sd = (np.log(high[good]) - np.log(low[good])) / (2 * z)
    parameters, rms, warnings = _weighted(np.log(x[good]), np.log(y[good]), sd, spec.level)
    n_unsettled = int(np.sum(np.isin(states[good], ("unresolved", "open"))))
    if n_unsettled:
        warnings.append(f"{count(n_unsettled, 'threshold')} not resolved to the tolerance")
    return Fitted(
        **base,
        parameters=parameters,
        rms=rms,
        x_range=(float(x[good].min()), float(x[good].max())),
        other_warnings=tuple(warnings),
    )


def _weighted(
    u: Array, v: Array, sd: Array, level: float
) -> tuple[tuple[Parameter, Parameter], float, list[str]]:
    """v = c + a u with known standard deviations: (C = exp c, a), rms residual, warnings."""
    from scipy.special import ndtri, stdtrit

    weights = 1 / sd**2
    centre = np.average(u, weights=weights)
    w, du = weights.sum(), u - centre
    slope = float(np.sum(weights * du * v) / np.sum(weights * du**2))
    middle = float(np.average(v, weights=weights))
    residuals = v - middle - slope * du
    dof, chi2 = len(u) - 2, float(np.sum(weights * residuals**2))
    factor, quantile = 1.0, float(ndtri((1 + level) / 2))
    warnings = []
    if dof and chi2 > dof:
        factor, quantile = float(np.sqrt(chi2 / dof)), float(stdtrit(dof, (1 + level) / 2))
        warnings.append(f"thresholds scatter {factor:.2g} times as much as their intervals say")
    half = quantile * factor / float(np.sqrt(np.sum(weights * du**2)))
    # log C = middle - a centre; the two estimates are independent, u being centred.
    half_c = float(np.hypot(quantile * factor / np.sqrt(w), half * centre))
    log_c = middle - slope * float(centre)
    ends_c = (float(np.exp(log_c - half_c)), float(np.exp(log_c + half_c)))
    ends_a = (slope - half, slope + half)
    c = Parameter("C", float(np.exp(log_c)), *ends_c, scatter=ends_c)
    a = Parameter("exponent", slope, *ends_a, scatter=ends_a)
    return (c, a), float(np.sqrt(np.mean(residuals**2))), warnings


def ends_of(columns: Columns, text: str, rows: Array) -> tuple[Array, Array, Array]:
    """``text`` with the threshold, and with either end of its interval in its place.

    NaN where the cell has no such number.  Where ``text`` falls as the threshold grows, its ends
    are the other way round; where one end alone is known, its slope there tells.
    """
    expression = Expression(text)

    def at(threshold: Array) -> Array:
        used = {n: threshold if n == "n_star" else columns[n][rows] for n in expression.names}
        return np.asarray(expression.evaluate(used, len(rows), finite=False), dtype=np.float64)

    ends = [columns[name][rows].astype(np.float64) for name in ("n_star", "low", "high")]
    y, a, b = (at(end) for end in ends)
    known = np.where(np.isfinite(ends[1]), ends[1], ends[2])
    with np.errstate(invalid="ignore"):
        slopes = at(known + 1e-3 * np.abs(known) + 1e-12) - at(known)
        falls = np.where(np.isfinite(a) & np.isfinite(b), a > b, slopes < 0)
    return y, np.where(falls, b, a), np.where(falls, a, b)
