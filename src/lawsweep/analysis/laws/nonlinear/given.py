"""Two powers whose exponents are given: only their coefficients are fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Found, Parameter, count, outer
from lawsweep.analysis.laws.nonlinear import errors
from lawsweep.analysis.laws.nonlinear.own_laws import own_laws
from lawsweep.analysis.laws.nonlinear.profiles import optimum, profile_ends
from lawsweep.analysis.laws.nonlinear.seeds import first_order, moved_ends, seed_moves
from lawsweep.analysis.laws.nonlinear.solver import Problem, minimise
from lawsweep.analysis.laws.points import Points

if TYPE_CHECKING:
    from lawsweep.analysis.laws.fit_specs import FitSpec
    from lawsweep.analysis.laws.nonlinear.law import SumOfPowers


@dataclass(frozen=True)
class Linear:
    """f = design c."""

    design: Array  # (n, p)

    def at(self, theta: Array) -> tuple[Array, Array]:
        """Values (g, n) and derivatives (g, n, p) at parameter vectors (g, p)."""
        slope = np.repeat(self.design[None], len(theta), axis=0)
        return theta @ self.design.T, slope


def fit_given(
    law: SumOfPowers, spec: FitSpec, points: Points, exponents: tuple[float, ...]
) -> Found:
    """A x^a + B x^b with a and b given."""
    p = 2
    if len(points) < p + 1:
        return Found(
            reason=f"{count(len(points), 'distinct point')}, {p + 1} needed for an interval"
        )
    u = np.log(points.inputs[law.over(spec)[0]])
    with np.errstate(over="ignore"):
        design = np.exp(np.outer(u, exponents))
    if not np.all(np.isfinite(design)):
        return Found(reason="x to these exponents is no finite number; take x in other units")
    log = law.of_logs(spec)
    y = np.exp(points.y) if log else points.y

    def solved(weights: Array) -> Array:
        """Coefficients by weights of y itself."""
        root = np.sqrt(weights)[:, None]
        norms = np.linalg.norm(design * root, axis=0)
        found = np.linalg.lstsq(design * root / norms, y * root[:, 0], rcond=None)[0]
        return np.asarray(found / norms)

    kind = str(spec.own.get("errors", errors.RELATIVE))
    weights, evidence = errors.weigh(points, kind, lambda w: design @ solved(w))
    problem = Problem(Linear(design), points.y, weights, log)
    start = solved(weights / y**2 if log else weights)
    theta, total, _ = minimise(problem, start[None])
    if not np.isfinite(total[0]):
        return Found(reason="no sum of these two powers is positive at every point")
    found = _with_intervals(problem, points, theta[0], float(total[0]), spec.level)
    if not found.parameters:
        return found
    (a, b), (low, high) = found.parameters, exponents
    fixed = [Parameter(name, value, value, value)
             for name, value in (("a", low), ("b", high))]  # fmt: skip
    return replace(
        found,
        parameters=(a, fixed[0], b, fixed[1]),
        evidence={**evidence, **found.evidence},
        covariance=_whole(found.covariance, theta[0]),
        seed_covariance=_whole(found.seed_covariance, theta[0]),
    )


def _with_intervals(
    problem: Problem, points: Points, theta: Array, rss: float, level: float
) -> Found:
    from scipy.special import stdtrit

    n, p = len(points), len(theta)
    best = optimum(problem, theta, rss, n - p)
    if best is None:
        return Found(reason="the two powers depend on each other at these points; spread them")
    quantile, se = float(stdtrit(n - p, (1 + level) / 2)), best.errors()
    model = problem.model.at(theta[None])[0][0]
    moves = seed_moves(points, np.log(model) if problem.log else model, p)
    down = up = None
    if moves is not None and moves.rows is not None:
        tau = float(stdtrit(moves.dof, (1 + level) / 2))
        down, up = moved_ends(problem, theta, moves, tau, lambda many: many)
    own = own_laws(problem, theta, points, lambda many: many) if np.any(se > 0) else None
    both = None if own is None else own.ends(level)
    parameters = []
    for k, name in enumerate("AB"):
        value = float(theta[k])
        ends = profile_ends(problem, best, [(k, quantile)]) if se[k] > 0 else [(value, value)]
        if down is not None and up is not None:
            low, high = float(value - down[k]), float(value + up[k])
            if both is not None:
                low, high = min(low, float(both[0][k])), max(high, float(both[1][k]))
            ends.append((low, high))
        low, high = outer(ends)
        seeds = ends[1] if len(ends) > 1 else None
        parameters.append(Parameter(name, value, low, high, ends[0], seeds))
    weights = problem.weights
    total = float(weights @ (points.y - np.average(points.y, weights=weights)) ** 2)
    wider = any(q.seeds is not None and (q.low, q.high) != q.scatter for q in parameters)
    return Found(
        parameters=tuple(parameters),
        rms=float(np.sqrt(rss / float(weights.sum()))),
        r2=1 - rss / total if total > 0 else None,
        condition=best.condition,
        n_seeds=moves.n_seeds if moves is not None and wider else None,
        warnings=() if moves is None or not moves.unknown else (moves.unknown,),
        rss=rss,
        n_parameters=p,
        evidence={} if own is None else {"own_laws_of_seeds": own.verdict},
        covariance=best.unscaled * best.s2,
        seed_covariance=first_order(best.slope, moves, weights),
        seed_laws=None if moves is None or down is None else 1 + max(round(moves.dof), 1),
    )


def _whole(covariance: Array | None, theta: Array) -> Array | None:
    """That of log |A|, a, log |B|, b, the given ones being certain."""
    if covariance is None or not np.all(theta):
        return None
    found = np.zeros((4, 4))
    found[::2, ::2] = covariance / np.outer(theta, theta)
    return found
