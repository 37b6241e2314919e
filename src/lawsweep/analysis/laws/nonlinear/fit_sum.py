"""Fits a sum of powers: every start at once, then intervals by profile and by seeds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.fitted import Found, Interval, Parameter, count
from lawsweep.analysis.laws.nonlinear.ends import Ends
from lawsweep.analysis.laws.nonlinear.own_laws import own_laws
from lawsweep.analysis.laws.nonlinear.profiles import optimum
from lawsweep.analysis.laws.nonlinear.seeds import Moves, first_order, moved_ends, seed_moves
from lawsweep.analysis.laws.nonlinear.shape import Shape
from lawsweep.analysis.laws.nonlinear.solver import Problem, minimise
from lawsweep.analysis.laws.nonlinear.sums import Regular, Sum
from lawsweep.analysis.laws.points import Points
from lawsweep.analysis.laws.regress import ROUNDING_ULPS

# Exponents that starts take, as powers of e over the whole range of a term's x: from nearly a
# logarithm to nearly a step.
STARTS = np.array([-12.0, -6.0, -3.5, -2.0, -1.0, -0.4, 0.4, 1.0, 2.0, 3.5, 6.0, 12.0])
FOLLOWED = 12  # of the starts, the best
TOO_CLOSE = 0.1  # exponents apart by less, as powers of e over the range, are one

TWO_LAWS = (
    "each seed follows a law of its own, and the mean of those is not the law of the means: "
    "the intervals hold both"
)


def fit_sum(shape: Shape, points: Points, weights: Array, log: bool, level: float) -> Found:
    """Estimates, intervals and warnings; a reason where these points determine no such law."""
    if not len(points):
        return Found(reason=f"0 distinct points, {len(shape.names) + 1} needed for an interval")
    # In units of about the data's size, so that no square of it leaves the floats.
    if log:
        size = float(points.y.mean())
        scaled = replace(points, y=points.y - size, replicates=points.replicates - size)
        return _in_units(shape, _fit(shape, scaled, weights, log, level), size, 1.0)
    unit = float(np.max(abs(points.y))) or 1.0
    scaled = replace(points, y=points.y / unit, replicates=points.replicates / unit)
    return _in_units(shape, _fit(shape, scaled, weights, log, level), float(np.log(unit)), unit)


def _in_units(shape: Shape, found: Found, size: float, unit: float) -> Found:
    """From units of e^size to those of y; ``unit`` is that of the residuals."""
    if not found.parameters:
        return found
    with np.errstate(over="ignore", under="ignore"):
        factor = float(np.exp(size))

    def scaled(parameter: Parameter) -> Parameter:
        def ends(some: Interval | None) -> Interval | None:
            return None if some is None else (some[0] * factor, some[1] * factor)

        low, high = parameter.low * factor, parameter.high * factor
        value = parameter.estimate * factor
        return Parameter(
            parameter.name, value, low, high, ends(parameter.scatter), ends(parameter.seeds)
        )

    along = np.ones(len(shape.names))
    along[: shape.first] = factor

    def in_units(covariance: Array | None) -> Array | None:
        with np.errstate(over="ignore", invalid="ignore"):
            made = None if covariance is None else covariance * along * along[:, None]
        return made if made is None or np.all(np.isfinite(made)) else None

    assert found.rms is not None
    assert found.rss is not None
    parameters = tuple(
        q if k in shape.exponents else scaled(q) for k, q in enumerate(found.parameters)
    )
    if not all(np.isfinite(q.estimate) for q in parameters):
        return Found(reason="a coefficient is too large for a number; take x in other units")
    return replace(
        found,
        parameters=parameters,
        rms=found.rms * unit,
        rss=found.rss * unit**2,
        covariance=in_units(found.covariance),
        seed_covariance=in_units(found.seed_covariance),
    )


def _fit(shape: Shape, points: Points, weights: Array, log: bool, level: float) -> Found:
    from scipy.special import stdtrit

    n, p = len(points), len(shape.names)
    if n < p + 1:
        return Found(reason=f"{count(n, 'distinct point')}, {p + 1} needed for an interval")
    for name, values in zip(shape.names[shape.first :: 2], shape.u, strict=True):
        need = 2 if len(shape.u) > 1 and not shape.same_x else p
        if len(np.unique(values)) < need + (1 if need == 2 else 0):
            return Found(reason=f"the term {name} has too few distinct values for its exponent")
    if _rounding(points.y, points.y.mean(), log):
        return Found(reason="y is the same at every point: no exponent is determined")
    order = (1, 3) if shape.same_x else None
    centred = Regular(shape.u - shape.middle[:, None], shape.offset)
    regular = Problem(centred, points.y, weights, log, order)
    theta, rss = _least(shape, regular)
    if theta is None:
        return Found(reason="no positive law of this kind was found at these points")
    theta = _ordered(shape, theta)
    best = optimum(regular, theta, rss, n - p)
    apart = shape.same_x and abs(theta[3] - theta[1]) * shape.spans[0] < TOO_CLOSE
    if best is None or apart or (shape.same_x and _one_is_rounding(regular, theta)):
        return Found(reason=_degenerate(shape), condition=None if best is None else best.condition)
    whole, signs = shape.natural(theta)
    natural = Problem(Sum(shape.u, signs, shape.offset), points.y, weights, log, order)
    best_natural = optimum(natural, whole, rss, n - p) if np.all(np.isfinite(whole)) else None
    quantile = float(stdtrit(n - p, (1 + level) / 2))
    fitted = _fitted(regular, theta)
    exact = _rounding(points.y, fitted, log)
    moves = seed_moves(points, fitted, p)
    seeds, two = None, False
    own = None if exact else own_laws(regular, theta, points, shape.reader(theta, moved=False))
    if moves is not None and moves.rows is not None:
        tau = float(stdtrit(moves.dof, (1 + level) / 2))
        down, up = moved_ends(regular, theta, moves, tau, shape.reader(theta))
        with np.errstate(invalid="ignore"):
            low, high = (np.where(np.isnan(e), s * np.inf, e)
                         for e, s in ((whole - down, -1), (whole + up, 1)))  # fmt: skip
        both = None if own is None else own.ends(level)
        if both is not None:
            two = bool(np.any((whole < both[0]) | (whole > both[1])))
            low, high = np.minimum(low, both[0]), np.maximum(high, both[1])
        seeds = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    ends = Ends(shape, regular, natural, best, best_natural, seeds, quantile, exact)
    parameters = ends.parameters(whole, signs)
    total = float(np.sum(weights * (points.y - np.average(points.y, weights=weights)) ** 2))
    wider = any(q.seeds is not None and (q.low, q.high) != q.scatter for q in parameters)
    return Found(
        parameters=parameters,
        rms=float(np.sqrt(rss / float(np.sum(weights)))),
        r2=1 - rss / total,
        condition=best.condition,
        n_seeds=moves.n_seeds if moves is not None and wider and not exact else None,
        warnings=(*ends.warnings(parameters), *_unknown(moves), *((TWO_LAWS,) if two else ())),
        evidence={} if own is None else {"own_laws_of_seeds": own.verdict},
        rss=rss,
        n_parameters=p,
        covariance=None if best_natural is None else best_natural.unscaled * best_natural.s2,
        seed_covariance=None
        if best_natural is None
        else first_order(best_natural.slope, moves, weights),
        seed_laws=None if seeds is None or moves is None else 1 + max(round(moves.dof), 1),
    )


def _least(shape: Shape, problem: Problem) -> tuple[Array | None, float]:
    """The best of all starts: linear coefficients at each set of exponents, then all free."""
    grids = [STARTS / span for span in shape.spans]
    sets = np.array([s for s in itertools.product(*grids) if not shape.same_x or s[0] < s[1]])
    n = len(problem.z)
    columns = [np.ones((len(sets), n, 1))] if shape.offset else []
    model = problem.model
    assert isinstance(model, Regular)
    for j, v in enumerate(model.v):
        columns.append(model.basis(sets[:, j, None], v)[0][:, :, None])
    design = np.concatenate(columns, axis=2)
    # Of logarithms by relative errors, which are the same to first order.
    y = np.exp(problem.z - problem.z.max()) if problem.log else problem.z
    root = np.sqrt(problem.weights) / (y if problem.log else 1.0)
    weighted = design * root[:, None]
    norms = np.linalg.norm(weighted, axis=1)
    norms = np.where((norms > 0) & np.isfinite(norms), norms, 1.0)
    u, s, vt = np.linalg.svd(weighted / norms[:, None, :], full_matrices=False)
    inverse = np.where(s > 1e-10 * s[:, :1], 1 / np.where(s > 0, s, 1.0), 0.0)
    along = np.einsum("gnk,n->gk", u, y * root) * inverse
    linear = np.einsum("gkp,gk->gp", vt, along) / norms
    if problem.log:
        linear *= np.exp(problem.z.max())
    theta = np.zeros((len(sets), len(shape.names)))
    places = [k for k in range(len(shape.names)) if k not in shape.exponents]
    theta[:, places], theta[:, shape.exponents] = linear, sets
    total = problem.residuals(theta)[0]
    chosen = np.argsort(total, kind="stable")[:FOLLOWED]
    chosen = chosen[np.isfinite(total[chosen])]
    if not len(chosen):
        return None, np.inf
    theta, total, _ = minimise(problem, theta[chosen])
    k = int(np.argmin(total))
    polished, least, _ = minimise(problem, theta[k : k + 1], None, 200)
    return (polished[0], float(least[0])) if np.isfinite(least[0]) else (None, np.inf)


def _ordered(shape: Shape, theta: Array) -> Array:
    """Terms of one x in the order of their exponents."""
    if not shape.same_x or theta[1] <= theta[3]:
        return theta
    return theta[[2, 3, 0, 1]]


def _fitted(problem: Problem, theta: Array) -> Array:
    value = problem.model.at(theta[None])[0][0]
    return np.asarray(np.log(value) if problem.log else value)


def _rounding(y: Array, fitted: Array | float, log: bool) -> bool:
    """Whether what is left of y is rounding: of y itself, or of the y that y is the log of."""
    size = np.finfo(float).eps * (float(np.max(abs(y))) + (1.0 if log else 0.0))
    return bool(np.max(abs(y - fitted)) <= ROUNDING_ULPS * size)


def _one_is_rounding(problem: Problem, theta: Array) -> bool:
    """Whether one of two terms is nowhere more than rounding of the other."""
    model = problem.model
    assert isinstance(model, Regular)
    sizes = [abs(theta[k] * model.basis(theta[k + 1], v)[0])
             for k, v in zip((0, 2), model.v, strict=True)]  # fmt: skip
    ratio = sizes[0] / np.maximum(sizes[1], np.finfo(float).tiny)
    limit = ROUNDING_ULPS * np.finfo(float).eps
    return bool(np.max(ratio) < limit or np.min(ratio) > 1 / limit)


def _degenerate(shape: Shape) -> str:
    if shape.same_x:
        return "the two exponents coalesce: these points do not tell two powers from one"
    return "the parameters depend on each other at these points; spread them, or drop a term"


def _unknown(moves: Moves | None) -> tuple[str, ...]:
    return () if moves is None or not moves.unknown else (moves.unknown,)
