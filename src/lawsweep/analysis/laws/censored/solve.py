"""What a straight law finds where some rows are bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.censored.fit import BoundFit, fit_bounds
from lawsweep.analysis.laws.fitted import Found, Interval, Parameter, count, outer
from lawsweep.analysis.laws.points import Points
from lawsweep.analysis.laws.regress import Curvature, Student
from lawsweep.analysis.laws.seed_spread import ONE_SEED

Solve = Callable[[Array, Points], Found]  # the law's fit of values


def solve_bounds(
    v: Array, names: Sequence[str], points: Points, level: float, values: Solve
) -> Found:
    """The line in ``v`` (n_points,); ``values`` fits points of values alone.

    Where these lie on the law to rounding, and every bound agrees with it, theirs is the answer:
    there is no noise to say how far a bound is from its value.
    """
    assert points.bound is not None
    design = np.stack([np.ones_like(v), v], axis=1)
    seen = np.isin(np.arange(len(points)), points.point_of[points.bound == 0])
    need = len(names) + 1
    if seen.sum() < need:
        known = "no point has" if not seen.any() else f"{_points(int(seen.sum()))}"
        reason = (
            f"{known} a value that is more than a bound, of {count(len(points), 'point')}: "
            f"{need} needed for an interval"
        )
        return Found(reason=reason)
    exact = _of_values(design, points, values)
    if exact is not None:
        return exact
    fit = fit_bounds(design, points, _place(v))
    parameters, wider = _parameters(fit, names, level)
    found = Found(
        parameters=parameters,
        rms=float(np.sqrt(fit.variance * fit.dof / seen.sum())),
        condition=float(np.linalg.cond(design / np.linalg.norm(design, axis=0))),
        n_seeds=fit.n_seeds if wider else None,
        warnings=(ONE_SEED,) if _one_seed(points) else (),
        rss=fit.variance * fit.dof,
        n_parameters=len(names),
        covariance=fit.phi * fit.covariance,
        seed_covariance=fit.seeds,
        seed_laws=None if fit.seeds is None else fit.n_seeds,
        dof=fit.dof,
        evidence={"row_sd": fit.size[1] / fit.best.theta},
    )
    return replace(found, curvature=_bend(fit, v, points) if seen.sum() > need else None)


def _points(n: int) -> str:
    return f"{count(n, 'point')} {'has' if n == 1 else 'have'}"


def _one_seed(points: Points) -> bool:
    table = points.by_seed
    return table is not None and table.shared and len(table.mean) == 1


def _place(v: Array) -> Array:
    """``v`` from -1 to 1."""
    return np.asarray(2 * (v - v.min()) / np.ptp(v) - 1)


def _of_values(design: Array, points: Points, values: Solve) -> Found | None:
    """The law of the values alone where they lie on it to rounding, and bounds agree; else None."""
    assert points.bound is not None
    rows = points.bound == 0
    kept, at = np.unique(points.point_of[rows], return_inverse=True)
    at = at.reshape(-1)
    y = points.replicates[rows]
    own = Points(
        inputs={text: value[kept] for text, value in points.inputs.items()},
        y=np.bincount(at, weights=y) / np.bincount(at),
        replicates=y,
        point_of=at,
        seeds=None if points.seeds is None else points.seeds[rows],
    )
    law = np.linalg.lstsq(design[kept], own.y, rcond=None)[0]
    size = 64 * np.finfo(float).eps * max(1.0, float(np.max(abs(design) @ abs(law))))
    if np.any(abs(y - (design[kept] @ law)[at]) > size):
        return None
    beyond = points.bound * (points.replicates - (design @ law)[points.point_of])
    return values(design[kept], own) if np.all(beyond <= size) else None


def _parameters(
    fit: BoundFit, names: Sequence[str], level: float
) -> tuple[tuple[Parameter, ...], bool]:
    """The parameters, and whether the seeds' interval is the wider one of any."""
    from scipy.special import stdtrit

    tail = (1 + level) / 2
    scatter = float(stdtrit(fit.dof, tail)) * np.sqrt(fit.phi)
    found, wider = [], False
    for k, name in enumerate(names):
        taus = [scatter]
        if fit.seeds is not None:
            share = np.sqrt(fit.seeds[k, k] / fit.covariance[k, k])
            taus.append(float(stdtrit(fit.n_seeds - 1, tail)) * float(share))
        ends: list[Interval] = fit.ends(k, taus)
        value = float(fit.coefficients[k])
        if name == "C":
            with np.errstate(over="ignore"):
                value = float(np.exp(value))
                ends = [(float(np.exp(a)), float(np.exp(b))) for a, b in ends]
        low, high = outer(ends)
        wider |= len(taus) > 1 and taus[1] > taus[0]
        found.append(Parameter(name, value, low, high, ends[0], ends[1] if taus[1:] else None))
    return tuple(found), wider


def _bend(fit: BoundFit, v: Array, points: Points) -> Curvature | None:
    """The quadratic term of the same likelihood: by the scatter, and by the seeds; the larger p."""
    centred = v - v.mean()
    design = np.stack([np.ones_like(v), centred, centred**2], axis=1)
    bent = fit_bounds(design, points, _place(v), like=fit)
    _, b1, b2 = (float(c) for c in bent.coefficients)
    error = float(np.sqrt(bent.phi * bent.covariance[2, 2]))
    tests = {"points": Student(b2, error, bent.dof)}
    if bent.seeds is not None:
        error = float(np.sqrt(bent.seeds[2, 2]))
        tests["seeds"] = Student(b2, error, bent.n_seeds - 1)
    if any(test.error == 0 for test in tests.values()):
        return None
    p_values = {name: test.p_value for name, test in tests.items()}
    name = max(p_values, key=lambda name: p_values[name])
    first, last = (b1 + 2 * b2 * float(end) for end in (centred.min(), centred.max()))
    return Curvature(b2, p_values[name], first, last, (tests[name],), name, p_values)
