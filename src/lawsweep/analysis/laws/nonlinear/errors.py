"""Which mean of its replicates a nonlinear law is about, and how its points weigh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lawsweep.analysis.frames import Array
from lawsweep.analysis.laws.points import Points

RELATIVE, ABSOLUTE, REPLICATES = "relative", "absolute", "replicates"
KINDS = (RELATIVE, ABSOLUTE, REPLICATES)


def replicate_model(points: Points) -> tuple[bool | None, dict[str, Any]]:
    """Whether the replicates' sd goes with their mean; None where nothing can say; the evidence.

    A point's own variance from a few seeds is too noisy a weight (with 3 seeds it is off by a
    factor of ten every tenth time), so one number is pooled over all points, and only the form is
    chosen: sd constant, or sd in proportion to |mean|.  With s_i² on nu_i degrees of freedom and
    var = s² g_i, the Gaussian likelihood at its best s² is -2 log L = Σ nu_i log g_i + nu log s²,
    nu = Σ nu_i, s² = Σ nu_i s_i² / g_i / nu (Davidian & Carroll 1987): the lower one is taken.
    """
    n, sd = points.n, points.sd
    several = (n > 1) & (points.y != 0)
    dof = (n[several] - 1).astype(float)
    if not dof.sum() > 1 or not np.any(sd[several] > 0):
        return None, {}
    g = points.y[several] ** 2
    variance = sd[several] ** 2
    nu = float(dof.sum())
    constant = nu * np.log(float(dof @ variance) / nu)
    relative = float(dof @ np.log(g)) + nu * np.log(float(dof @ (variance / g)) / nu)
    goes = bool(relative < constant)
    told = {
        "replicate_sd": "in proportion to the mean" if goes else "constant",
        "pooled": float(np.sqrt((dof @ (variance / g) if goes else dof @ variance) / nu)),
        "log_likelihood_gain": float(abs(relative - constant) / 2),
    }
    return goes, told


def weigh(
    points: Points, kind: str, fitted: Callable[[Array], Array]
) -> tuple[Array, dict[str, Any]]:
    """Weights of the points and what to say of them; ``fitted`` gives the law's y for weights."""
    evidence: dict[str, Any] = {"errors": kind}
    equal = np.ones(len(points))
    if kind != REPLICATES:
        return equal, evidence
    goes, told = replicate_model(points)
    evidence |= told
    if goes is None:
        evidence["replicate_sd"] = "unknown: no point has two different replicates"
        return equal, evidence
    weights = points.n / points.n.mean()
    if goes:
        # By the law's own values: by the means, those that chance made small would weigh more.
        size = abs(fitted(weights / np.maximum(abs(points.y), np.finfo(float).tiny) ** 2))
        if np.all(np.isfinite(size)) and np.all(size > 0):
            weights = weights * (size.mean() / size) ** 2
    return weights, evidence
