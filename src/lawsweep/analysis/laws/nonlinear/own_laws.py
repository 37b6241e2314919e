"""Whether each seed follows a law of its own of the same kind, and what the mean of those is.

Where seeds differ in an exponent, y = E + A x^(a_s), the mean of their logarithms is no law of the
kind: it is to first order in the differences, and of second order it bends, by an E that no seed
has, which no residual need show.  The parameters that one would ask for then are the means of the
seeds' own, E_s, log A_s and a_s.  Where seeds differ otherwise (all of y by a power of x, say),
single seeds do not follow the law, but their mean does.  Both are told by the residuals: seeds'
own laws count where they leave no more than the law of the means does, by an F test, and where
they differ by more than what they leave.  Their mean has the interval ± t(S - 1) sd / sqrt(S); an
interval "of the seeds" holds it as well as that of the law of the means, for few seeds cannot say
which of the two readings is meant, and where seeds differ little the two are one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.nonlinear.seeds import one_step
from lawsweep.analysis.laws.nonlinear.solver import Problem, minimise
from lawsweep.analysis.laws.points import Points, SeedTable

LEVEL = 0.95  # of the two tests
ALIKE = "not told from noise"
UNLIKE = "do not fit"
OPEN = "not determined by single seeds"
HOLD = "hold"


@dataclass(frozen=True)
class OwnLaws:
    """Parameters of single seeds' laws, (n_seeds, p), and whether they are to count."""

    verdict: str
    values: Array | None = None

    def ends(self, level: float) -> tuple[Array, Array] | None:
        """Of the mean of the seeds' parameters, (p,) each; None where their laws do not count."""
        from scipy.special import stdtrit

        if self.values is None or self.verdict != HOLD:
            return None
        n = len(self.values)
        mean, sd = self.values.mean(axis=0), self.values.std(axis=0, ddof=1)
        half = float(stdtrit(n - 1, (1 + level) / 2)) * sd / np.sqrt(n)
        return mean - half, mean + half


def own_laws(
    problem: Problem, theta: Array, points: Points, read: Callable[[Array], Array]
) -> OwnLaws | None:
    """The laws of single seeds from the common one on; None where no two points share a seed."""
    from scipy.special import fdtrc

    table = points.by_seed
    if table is None or not table.shared or len(table.mean) < 2:
        return None
    p = len(theta)
    n_own = table.there.sum(axis=1)
    if np.any(n_own < p + 1):
        return OwnLaws(OPEN)
    _, left, _ = problem.residuals(theta[None])
    weights = np.where(table.there, problem.weights, 0.0)
    fitted = problem.z - left[0] / np.sqrt(problem.weights)
    z = np.where(table.there, table.mean, fitted)
    found, rss, settled = _fits(replace(problem, z=z, weights=weights), theta, table)
    values = read(found)
    if not (settled.all() and np.all(np.isfinite(values))):
        return OwnLaws(OPEN)
    dof, n_seeds, n = int((n_own - p).sum()), len(z), len(fitted)
    within = float(rss.sum()) / dof
    of_means = float(table.there.sum(axis=0) @ left[0] ** 2) / (n - p)
    apart = float((weights * (z - fitted) ** 2).sum() - rss.sum()) / ((n_seeds - 1) * p)
    least = np.finfo(float).tiny
    if fdtrc(dof, n - p, within / max(of_means, least)) < 1 - LEVEL:
        return OwnLaws(UNLIKE, values)
    if not fdtrc((n_seeds - 1) * p, dof, apart / max(within, least)) < 1 - LEVEL:
        return OwnLaws(ALIKE, values)
    return OwnLaws(HOLD, values)


def _fits(problem: Problem, theta: Array, table: SeedTable) -> tuple[Array, Array, Array]:
    """The best of two starts each: the common law, and one linear step from it."""
    n = len(table.there)
    start = np.concatenate([np.repeat(theta[None], n, axis=0), one_step(problem, theta)])
    twice = problem.of(np.tile(np.arange(n), 2))
    found, rss, settled = minimise(twice, start, None, 200)
    first = (rss[:n] <= rss[n:]) | np.isnan(rss[n:])
    at = np.where(first, np.arange(n), n + np.arange(n))
    return found[at], rss[at], settled[at]
