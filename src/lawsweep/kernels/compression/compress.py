"""Compress a target: from several starts, until no further start is worth its price."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.compression.choice import by_risk, dense_pays
from lawsweep.kernels.compression.objective import HomogeneousObjective
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.search import (
    Absorbed,
    Free,
    How,
    Outputs,
    Search,
    Signs,
    turned,
)
from lawsweep.kernels.compression.simplified import ReducedLoss, SimplifiedLoss
from lawsweep.kernels.compression.solve import Compression, minimise_rows
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import frame_holds
from lawsweep.kernels.compression.trained import TrainedLoss
from lawsweep.kernels.gaussian.homogeneous import HomogeneousKernel
from lawsweep.kernels.optimise.minimise import Result, split
from lawsweep.kernels.optimise.objective import Objective

DENSE_REDUCED = 2000


@full_precision()
def compress(
    target: Target,
    n_compressed: int,
    rng: np.random.Generator,
    *,
    outputs: Outputs = "absorbed",
    signs: Signs = "auto",
    n_restarts: int | None = None,
    method: str | None = None,
    tol: float | None = None,
    max_iterations: int = 300,
) -> Compression:
    """Fit M = ``n_compressed`` nodes to the target by its population loss E |f - g|^2 = T + J.

    The answer has J and its evidence; T is ``target.norm``.  ``rng`` draws the starts; the other
    choices are explained at ``How``.  Setting: arXiv 2205.08199.

    Raises ValueError for a target that is zero, for an unknown name, and for absorbed outputs where
    the target has several or sigma is not homogeneous.
    """
    how = How(
        outputs=outputs,
        signs=signs,
        n_restarts=n_restarts,
        method=method,
        tol=tol,
        max_iterations=max_iterations,
    )
    return compress_all([target], n_compressed, [rng], how)[0]


@full_precision()
def compress_all(
    targets: Sequence[Target],
    n_compressed: int,
    rngs: Sequence[np.random.Generator],
    how: How,
) -> list[Compression]:
    """Each of several targets of one shape: absorbed outputs share one tensor of all restarts."""
    if any(target.is_zero for target in targets):
        raise ValueError("expected a target that is not zero, got one; leave it out")
    absorbed = how.outputs == "absorbed"
    if absorbed and not all(isinstance(t.profile, HomogeneousKernel) for t in targets):
        raise ValueError(
            "absorbed outputs need a homogeneous activation, got another; take outputs='trained'"
        )
    if not absorbed:
        pairs = zip(targets, rngs, strict=True)
        return [_search([Free(t, n_compressed, rng, how)], how)[0] for t, rng in pairs]
    pairs = zip(targets, rngs, strict=True)
    return _search([Absorbed(t, n_compressed, rng, how) for t, rng in pairs], how)


def _search(searches: Sequence[Search], how: How) -> list[Compression]:
    def batch(live: list[int], size: int) -> None:
        some = [searches[i] for i in live]
        drawn = [one.draw(size) for one in some]
        result = _minimise_together(some, drawn, how)
        parts = split(result, [len(rows) for rows, _ in drawn])
        for one, part in zip(some, parts, strict=True):
            one.parts.append(part)

    by_risk([one.sizes for one in searches], batch, lambda i: searches[i].is_enough())
    return [one.found() for one in searches]


def _minimise_together(
    searches: Sequence[Search], drawn: Sequence[tuple[Tensor, Tensor]], how: How
) -> Result:
    """One batch of restarts (rows and outputs) of each search."""
    targets, m = [one.target for one in searches], searches[0].m
    group = torch.arange(len(targets)).repeat_interleave(
        torch.tensor([len(rows) for rows, _ in drawn])
    )
    rows = torch.cat([rows for rows, _ in drawn]).to(targets[0].rows)
    outputs = torch.cat([outputs for _, outputs in drawn]).to(rows)
    if how.outputs != "absorbed":
        free = TrainedLoss(targets[0], outputs, how.outputs == "trained")
        points = turned(free, free.join(rows, outputs), m, rows.shape[-1])
        return _minimise(free, points, targets, group, m, how, how.method)
    signs = outputs[..., 0]
    loss = _loss(targets, signs, group, how)
    points = turned(loss, rows.flatten(1), m, rows.shape[-1])
    if how.start == "reduced":
        warm = nearest_reduced(targets, signs, points, how, group)
        points = torch.where(warm.converged.to(points.device)[:, None], warm.x, points)
    return _minimise(loss, points, targets, group, m, how, method_for(targets[0], m, how))


@full_precision()
def nearest_reduced(
    targets: Sequence[Target],
    signs: Tensor,
    points: Tensor,
    how: How,
    group: Tensor | None = None,
) -> Result:
    """The minima of the reduced objectives (``simplified.py``) near points (R, M d) of ``signs``.

    Beside the population loss it is theory's own problem, not what ``how.method`` speaks of.  Its
    orientation is soft by differences of E_N's eigenvalues, so conjugate gradients need very many
    products.
    """
    group = torch.arange(len(targets)) if group is None else group
    loss, method = ReducedLoss(targets, signs, group=group), how.method
    if how.objective == "population":
        method = "newton" if points.shape[1] <= DENSE_REDUCED else "newton_cg"
    return _minimise(loss, points, targets, group, signs.shape[1], how, method)


def _loss(
    targets: Sequence[Target], signs: Tensor, group: Tensor, how: How
) -> HomogeneousObjective:
    if how.objective == "population":
        return PopulationLoss(targets, signs, group=group)
    if how.objective == "reduced":
        return ReducedLoss(targets, signs, group=group)
    linear = how.objective == "simplified_mean"
    return SimplifiedLoss(targets, signs, group=group, linear=linear)


def method_for(target: Target, m: int, how: How) -> str | None:
    """The method that suits absorbed outputs, or that was asked for; None: by the unknowns."""
    if how.method is not None:
        return how.method
    if how.objective == "population":
        return "newton" if dense_pays(len(target.rows), m, target.dim) else "newton_cg"
    # For a frame that exists the bound L* proves an optimum; no Hessian's eigenvalues are needed.
    known = how.objective == "simplified" and frame_holds(m, target.dim, target.kernel)
    return "newton_cg" if known else None


def _minimise(
    loss: Objective,
    points: Tensor,
    targets: Sequence[Target],
    group: Tensor,
    m: int,
    how: How,
    method: str | None,
) -> Result:
    scale = torch.tensor([t.scale for t in targets], dtype=torch.float64)[group].to(points)
    return minimise_rows(
        loss,
        points,
        n_rows=m,
        scale=scale,
        tol=targets[0].tolerance if how.tol is None else how.tol,
        max_iterations=how.max_iterations,
        method=method,
    )
