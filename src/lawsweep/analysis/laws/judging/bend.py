"""Whether a straight law bends, judged by what the replicates and the seeds show of the noise.

The quadratic term of the means is q = c'y.  Its variance may be had in three ways:

- from the scatter of the points about the parabola, t(n − 3).  Right where points are
  independent and alike; blind to what seeds add to several points at once.
- from the replicates of each point: V = Σ c_i² σ_i² / m_i for m_i replicates, with σ_i² log-linear
  along x (``noise.py``) and some n (S − 1) degrees of freedom.  The scatter about the parabola
  that weighs points by those variances adds its n − 3.  Right where replicates are independent
  between points.
- from the quadratic term of each seed's own values, t(S − 1): exact whatever seeds share.  With
  three seeds it finds little: the quantile is 4.3.

The last two p-values are averaged by how likely it is, given how the seeds differ, that they move
several points together (``coupling.py``): p = (1 − w) p_replicates + w p_seeds.  The deviations of
seeds, which w is made of, are independent of the means, so looking at them spoils neither test.
A bend that few seeds cannot tell from one of their own stays a matter of that average: no test
that finds what independent replicates show with three seeds can be right in 95 % where each seed
has a bend of its own (``benchmarks/coverage.py`` has the bound).

Where the points miss the parabola by more than the replicates allow (F test at .5 %), the scatter
must agree: that about the parabola, or that about a cubic, as a law with an offset bends at one
end more than a parabola.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.judging.coupling import coupling
from lawsweep.analysis.laws.judging.noise import LACK_OF_FIT, Noise, noise_of, weighed
from lawsweep.analysis.laws.points import Points
from lawsweep.analysis.laws.regress import Curvature, Regression, Student, curvature
from lawsweep.analysis.laws.seed_spread import seed_laws

ENOUGH = 6  # points from which their scatter about a parabola or a cubic can overrule replicates


def bend(v: Array, points: Points, straight: Regression) -> Curvature | None:
    """The quadratic term along ``v`` (n_points,) of the points' means, with its p-value.

    None below four points.  Where the line fits to rounding the p-value is 1.
    """
    found = curvature(v, points.y, straight)
    if found is None or straight.exact or found.std_error == 0:
        return found
    by_points = found.parts[0]
    noise = noise_of(v, points)
    if noise is None:
        return found
    centred = v - v.mean()
    design = np.stack([np.ones_like(v), centred, centred**2], axis=1)
    by_replicates, misses = _by_replicates(found.quadratic, design, points.y, noise)
    tests = {"points": found.p_value, "replicates": by_replicates.p_value}
    parts: tuple[Student, ...] = (by_replicates,)
    share = 0.0
    table = points.by_seed
    if table is not None and table.shared:
        share = coupling(v, table, noise.variance)
        # Seeds without terms of their own: the more careful of the others stands for them.
        by_seeds = max(by_points, by_replicates, key=lambda s: s.p_value)
        terms = seed_laws(design, table)[:, 2]
        if len(terms) > 1:
            error = float(np.std(terms, ddof=1)) / np.sqrt(len(terms))
            by_seeds = Student(float(terms.mean()), error, len(terms) - 1)
            tests["seeds"] = by_seeds.p_value
        parts = (replace(by_replicates, share=1 - share), replace(by_seeds, share=share))
    p_value = sum(s.share * s.p_value for s in parts)
    told = "seeds" if share > 0.5 and "seeds" in tests else "replicates"
    if misses and len(v) >= ENOUGH:
        by_scatter = min(found.p_value, _smooth(design, points.y))
        if by_scatter > p_value:
            p_value, parts, told = by_scatter, (by_points,), "points"
    return replace(found, p_value=p_value, parts=parts, test=told, p_values=tests, coupled=share)


def _by_replicates(q: float, design: Array, y: Array, noise: Noise) -> tuple[Student, bool]:
    """The test by the variance of replicates, and whether the points miss the parabola."""
    shares = np.linalg.pinv(design)[2] ** 2 * noise.of_means
    variance = float(shares.sum())
    n_dof, left = float(noise.dof.sum()), len(design) - 3
    ratio, chance = weighed(design, y, noise)
    dof = noise.dof_of(shares / variance) * (n_dof + left) / n_dof
    error = float(np.sqrt(variance * (n_dof + left * ratio) / (n_dof + left)))
    return Student(q, error, dof), chance < LACK_OF_FIT


def _smooth(design: Array, y: Array) -> float:
    """p-value of the quadratic and cubic terms together by the scatter about the cubic."""
    from scipy.special import fdtrc

    basis, _ = np.linalg.qr(np.column_stack([design, design[:, 1] ** 3]))
    parts = basis.T @ y
    left = len(y) - 4
    rss = float(np.sum((y - basis @ parts) ** 2))
    bent = float(np.sum(parts[2:] ** 2))
    return float(fdtrc(2, left, bent / 2 / (rss / left))) if rss > 0 else 0.0
