"""A law and its rivals on the same points: AICc, an F test where nested, the largest x left out.

All are compared in the coordinates of the law that was asked for (log y for a law of logarithms),
since likelihoods of different scales cannot be compared.  With n points, p parameters and the
noise's variance as one more, k = p + 1,

    AICc = n log(rss / n) + 2k + 2k(k + 1) / (n - k - 1)

(Hurvich and Tsai 1989), which is not defined where n <= k + 1: then it is None, and the entry says
so.  Weights are exp(-delta / 2) over their sum.  Points weigh alike; what seeds share between
points is in none of these figures, so the bend decides and they illustrate.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.frames import Array, means
from lawsweep.analysis.laws.fitted import Found
from lawsweep.analysis.laws.points import Points
from lawsweep.analysis.laws.regress import ROUNDING_ULPS
from lawsweep.core.errors import LawsweepError

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted
    from lawsweep.analysis.laws.law import Law


def solved(law: Law, spec: FitSpec, points: Points) -> Found:
    """``law.solve`` with its failure as a reason: one that cannot be fitted costs nothing else."""
    try:
        with np.errstate(all="ignore"):
            return law.solve(spec, points)
    except (LawsweepError, ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        return Found(reason=f"cannot be fitted: {error}")


def compare(found: Fitted, law: Law, order: Array) -> list[dict[str, Any]]:
    """The law first, then its rivals: plain values of each; empty where it has no rivals."""
    from lawsweep.analysis.laws.laws import LAWS, find_law

    points = found.points
    names = [name for name in law.rivals if name in LAWS and name != found.spec.law]
    if points is None or not names:
        return []
    rows = [_row(found, law, law, found.spec, points, order)]
    for name in names:
        spec = replace(found.spec, law=name, local=False, own={})
        rows.append(_row(found, law, find_law(name), spec, points, order))
    _weigh(rows)
    own = rows[0]
    for row in rows[1:]:
        row["f_p_value"] = None
        if found.spec.law in find_law(row["law"]).contains:
            row["f_p_value"] = _f_test(own, row, len(points))
    return rows


def _row(
    found: Fitted, law: Law, rival: Law, spec: FitSpec, points: Points, order: Array
) -> dict[str, Any]:
    """One candidate: how it fits, and how far it misses the largest x without it."""
    row: dict[str, Any] = {"law": spec.law, "n_parameters": None, "rss": None, "aicc": None,
                           "largest_x_missed_by": None}  # fmt: skip
    part = solved(rival, spec, _scaled(points, law, rival))
    row["reason"] = part.reason
    if part.reason is not None:
        return row
    p = part.n_parameters or len(part.parameters)
    misses = points.y - _predicted(found, law, rival, spec, part, points)
    rss, n = float(misses @ misses), len(points)
    row.update({"n_parameters": p, "rss": rss if math.isfinite(rss) else None})
    k = p + 1
    if n <= k + 1:
        row["reason"] = f"{n} points: AICc of {p} parameters needs {k + 2}"
    elif rss <= n * _rounding(points.y) ** 2:
        row["reason"] = "fits to rounding: there is no scatter to compare by"
    elif math.isfinite(rss):
        row["aicc"] = n * math.log(rss / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    kept = np.ones(n, dtype=bool)
    kept[order[-1]] = False
    rest = solved(rival, spec, _scaled(points.at(kept), law, rival))
    if rest.reason is None:
        last = points.at(~kept)
        miss = float(last.y[0] - _predicted(found, law, rival, spec, rest, last)[0])
        row["largest_x_missed_by"] = miss if math.isfinite(miss) else None
    return row


def _predicted(
    found: Fitted, law: Law, rival: Law, spec: FitSpec, part: Found, points: Points
) -> Array:
    """What a candidate says at the points, in the coordinates of the law."""
    facts = {f.name: getattr(part, f.name) for f in fields(Found) if f.name != "warnings"}
    told = replace(found, spec=spec, **facts)
    with np.errstate(all="ignore"):
        values = np.asarray(rival.predict(told, points.inputs), dtype=np.float64)
        return np.asarray(np.log(values)) if law.log_y else values


def _scaled(points: Points, law: Law, rival: Law) -> Points:
    """The points as the rival takes them: means of y or of log y."""
    if rival.log_y == law.log_y:
        return points
    with np.errstate(all="ignore"):
        rows = np.log(points.replicates) if rival.log_y else np.exp(points.replicates)
    return replace(points, replicates=rows, y=means(rows, points.point_of))


def _rounding(y: Array) -> float:
    return ROUNDING_ULPS * np.finfo(float).eps * float(np.max(np.abs(y)))


def _weigh(rows: list[dict[str, Any]]) -> None:
    """Differences and weights, where the law itself can be compared."""
    known = [] if rows[0]["aicc"] is None else [r["aicc"] for r in rows if r["aicc"] is not None]
    best = min(known, default=0.0)
    total = sum(math.exp((best - a) / 2) for a in known)
    for row in rows:
        delta = row["aicc"] - best if known and row["aicc"] is not None else None
        row["delta_aicc"] = delta
        row["weight"] = None if delta is None else math.exp(-delta / 2) / total


def _f_test(own: dict[str, Any], wider: dict[str, Any], n: int) -> float | None:
    """p-value of the law within a wider one, by the residual sums of squares."""
    from scipy.special import fdtrc

    rss, rss_wider = own["rss"], wider["rss"]
    if rss is None or rss_wider is None or rss_wider <= 0:
        return None
    more, left = wider["n_parameters"] - own["n_parameters"], n - wider["n_parameters"]
    if more < 1 or left < 1:
        return None
    return float(fdtrc(more, left, max(rss - rss_wider, 0.0) / more / (rss_wider / left)))
