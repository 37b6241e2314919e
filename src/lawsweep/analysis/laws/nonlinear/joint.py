"""y = E + A N^a + B D^b, and what it says of the best N and D at a given compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lawsweep.analysis.entries import Entry
from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Found, Parameter, outer
from lawsweep.analysis.laws.law import Points
from lawsweep.analysis.laws.nonlinear.law import SumOfPowers
from lawsweep.core.errors import InvalidValueError
from lawsweep.core.expressions.expression import Expression

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.fitted import Fitted

FRONTIER = ("N_exponent", "D_exponent", "N_opt", "D_opt")


class Joint(SumOfPowers):
    """y = E + A N^a + B D^b over ``terms: [N, D]``; ``compute: k*N*D`` asks for the frontier.

    The frontier (Hoffmann et al. 2022, arXiv 2203.15556, section 3.3): least y at k N D = C is at
    a A N^a = b B D^b, so N = G (C/k)^(b/(a+b)) and D = (C/k)^(a/(a+b)) / G with
    G = (a A / b B)^(-1/(a+b)).  Its intervals are of first order in the errors of the law.

    Seeds: log y_s = log(E + A N^a + B D^b) + e_s, or all five numbers each seed's own, whose means
    (of log A_s and log B_s) the intervals then hold too.
    """

    takes = needs = ("terms",)
    own = ("errors", "compute")
    names = ("E", "A", "a", "B", "b")
    leading = ("a", "b")
    of_two = True

    def over(self, spec: FitSpec) -> tuple[str, ...]:
        """N and D."""
        return spec.terms

    def read_own(self, entry: Entry, columns: Sequence[str]) -> Mapping[str, Any]:
        """``errors``, and ``compute``: a number times both terms."""
        terms = entry.expressions("terms", columns)
        if len(terms) != 2:
            raise entry.wrong("terms", "two expressions, N and D", list(terms))
        own = dict(super().read_own(entry, columns))
        if entry.values.get("compute") is not None:
            own["compute"] = entry.expression("compute", columns)
            own["per_compute"] = _factor(entry, own["compute"], terms, columns)
        return own

    def solve(self, spec: FitSpec, points: Points) -> Found:
        """The sum, and the frontier at the largest compute that was measured."""
        found = super().solve(spec, points)
        k = spec.own.get("per_compute")
        if k is None or not found.parameters:
            return found
        n, d = (points.inputs[text] for text in spec.terms)
        return _with_frontier(found, float(np.max(n * d)), float(k), len(points), spec.level)

    def formula(self, found: Fitted) -> str:
        """``L = 1.8 [1.7, 1.9] + 480 [300, 700] * N^-0.35 [-0.4, -0.3] + …``."""
        e, a, alpha, b, beta = (q.interval() for q in found.parameters[:5])
        n, d = (replace(found.spec, x=text).x_bracketed for text in found.spec.terms)
        return f"{found.spec.y} = {e} + {a} * {n}^{alpha} + {b} * {d}^{beta}"

    def short(self, found: Fitted) -> str:
        """``a -0.35 [-0.4, -0.3], b -0.37 [-0.4, -0.3]``."""
        return f"a {found['a'].interval()}, b {found['b'].interval()}"

    def said(self, found: Fitted) -> Sequence[str]:
        """How its points weigh, and the frontier."""
        said = list(super().said(found))
        if len(found.parameters) > 5:
            n, d = found.spec.terms
            u, v, at_n, at_d = (q.interval() for q in found.parameters[5:])
            said.append(
                f"least at compute C where {n} ~ C^{u}, {d} ~ C^{v}; at C = "
                f"{found.evidence['compute']:.4g}: {n} = {at_n}, {d} = {at_d}"
            )
        return said


def _factor(entry: Entry, compute: str, terms: Sequence[str], columns: Sequence[str]) -> float:
    """k of compute = k N D, from three points of the columns."""
    names = sorted({n for t in (compute, *terms) for n in Expression(t).names})
    rng = np.random.default_rng(0)
    at = {name: rng.uniform(1.0, 4.0, 3) for name in names}
    try:
        c, n, d = (Expression(t).evaluate(at, 3, finite=False) for t in (compute, *terms))
    except InvalidValueError as error:
        raise InvalidValueError(f"{entry.place}.compute: {error}") from None
    k = np.asarray(c, dtype=float) / np.asarray(n * d, dtype=float)
    if not np.all(np.isfinite(k)) or not k[0] > 0 or np.ptp(k) > 1e-9 * k[0]:
        example = f"6 * {terms[0]} * {terms[1]}"
        raise entry.wrong("compute", f"a number times both terms, as in {example}", compute)
    return float(k[0])


def _with_frontier(found: Found, most: float, k: float, n_points: int, level: float) -> Found:
    """``most`` is the largest N D."""
    by_name = {q.name: q.estimate for q in found.parameters}
    a, b = by_name["a"], by_name["b"]
    falls = a < 0 and b < 0 and by_name["A"] > 0 and by_name["B"] > 0
    if not falls or found.covariance is None:
        why = "no frontier: y does not fall with both terms, so that no compute is best spent"
        return replace(found, warnings=(*found.warnings, why))
    # With q = log |A| - log |B| + log(a/b):  log N = (b log(N D) - q) / (a + b).
    s, rest = a + b, np.log(most)
    log_n = (b * rest - np.log(by_name["A"] / by_name["B"] * a / b)) / s
    by_a = -(log_n + 1 / a) / s
    by_b = (rest - log_n + 1 / b) / s
    slopes = np.array([
        [0, 0, -b / s**2, 0, a / s**2],
        [0, 0, b / s**2, 0, -a / s**2],
        [0, -1 / s, by_a, 1 / s, by_b],
        [0, 1 / s, -by_a, -1 / s, -by_b],
    ])  # fmt: skip
    centres = [b / s, a / s, log_n, rest - log_n]
    halves = _halves(found, slopes, n_points, level)
    made = []
    for name, centre, some in zip(FRONTIER, centres, halves, strict=True):
        ends = [(centre - h, centre + h) for h in some]
        value = centre
        if name.endswith("opt"):
            with np.errstate(over="ignore"):
                ends = [(float(np.exp(x)), float(np.exp(y))) for x, y in ends]
                value = np.exp(centre)
        low, high = outer(ends)
        seeds = ends[1] if len(ends) > 1 else None
        made.append(Parameter(name, float(value), low, high, ends[0], seeds))
    evidence = {**found.evidence, "compute": most * k}
    return replace(found, parameters=(*found.parameters, *made), evidence=evidence)


def _halves(found: Found, slopes: Array, n_points: int, level: float) -> list[list[float]]:
    """Half widths of each function of the parameters: by the scatter, and by the seeds."""
    from scipy.special import stdtrit

    assert found.n_parameters is not None
    assert found.covariance is not None
    sources = [(found.covariance, n_points - found.n_parameters)]
    if found.seed_covariance is not None and found.seed_laws is not None:
        sources.append((found.seed_covariance, found.seed_laws - 1))
    columns = []
    for covariance, dof in sources:
        variance = np.einsum("ij,jk,ik->i", slopes, covariance, slopes)
        t = float(stdtrit(dof, (1 + level) / 2))
        columns.append(t * np.sqrt(np.maximum(variance, 0.0)))
    return [[float(h) for h in row] for row in np.stack(columns, axis=1)]
