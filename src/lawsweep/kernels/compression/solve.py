"""Minimise a loss of rows from given starts, and compare where the restarts ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.compression.choice import DENSE_UNKNOWNS
from lawsweep.kernels.compression.objective import HomogeneousObjective
from lawsweep.kernels.optimise.minimise import (
    Agreement,
    MinimiseReason,
    Result,
    agreement,
    loss_noise,
    minimise,
)
from lawsweep.kernels.optimise.objective import Objective

# Losses of restarts closer than this part of |J| are the same minimum: a minimum found to a
# gradient of 1e-10 of its scale is off in loss by about 1e-20/(smallest curvature), far less.
# In float32 rounding is what counts: losses nearer than their noise cannot be told apart.
SAME_LOSS = 1e-9


@dataclass(frozen=True)
class Compression(Ended):
    """All restarts, which is best and how many agree with it.

    Of the best: rows ``v`` (M, d) and ``outputs`` (M, K), which are signs where absorbed.
    """

    result: Result
    agreement: Agreement
    v: Tensor
    outputs: Tensor

    @property
    def value(self) -> float:
        """J at the best restart."""
        return float(self.result.loss[self.agreement.best])

    @property
    def signs(self) -> Tensor:
        """Of the one output, (M,); of several outputs all +1."""
        one = self.outputs[:, 0]
        return one.sign() if self.outputs.shape[1] == 1 else torch.ones_like(one)

    @property
    def reason(self) -> Reason:
        """Why the best restart stopped."""
        return self.result.reason[self.agreement.best]


def solve(
    objective: HomogeneousObjective,
    starts: Tensor,
    *,
    scale: float | Tensor,
    tol: float,
    max_iterations: int,
    method: str | None = None,
) -> Compression:
    """Minimise from ``starts`` (R, M, d) and compare the restarts.

    ``scale`` = sum_i |alpha_i||w_i| is the size of the gradient's terms; a restart converges at
    |gradient| <= tol * scale.  ``method`` None: newton up to DENSE_UNKNOWNS, else newton_cg.
    A restart that lost a row (COLLAPSED) is never an answer: there J has a kink, and that it is a
    minimum has not been shown.
    """
    result = minimise_rows(
        objective,
        starts.flatten(1),
        n_rows=starts.shape[1],
        scale=scale,
        tol=tol,
        max_iterations=max_iterations,
        method=method,
    )
    return choose(result, starts[0].shape, objective.signs.unsqueeze(-1), scale)


def minimise_rows(
    objective: Objective,
    points: Tensor,
    *,
    n_rows: int,
    scale: float | Tensor,
    tol: float,
    max_iterations: int,
    method: str | None = None,
) -> Result:
    """``minimise`` from points (R, n) that begin with ``n_rows`` rows; see ``solve``.

    ``scale`` is a number or one a restart (R,), whose targets may differ.
    """
    unknowns = points.shape[1]
    chosen = method or ("newton" if unknowns <= DENSE_UNKNOWNS else "newton_cg")
    result = minimise(
        objective, points, scale=scale, tol=tol, max_iterations=max_iterations, method=chosen
    )
    rows = result.x[:, : unknowns - unknowns % n_rows].reshape(len(points), n_rows, -1)
    lost = (rows.norm(dim=-1) == 0).any(-1).tolist()
    reason = tuple(
        MinimiseReason.COLLAPSED if gone and r is not MinimiseReason.NON_FINITE else r
        for r, gone in zip(result.reason, lost, strict=True)
    )
    return replace(result, reason=reason)


def choose(
    result: Result, shape: Sequence[int], outputs: Tensor, scale: float | Tensor
) -> Compression:
    """Compare the restarts of a result, whose points begin with rows of ``shape``.

    ``outputs`` (R, M, K): those of the restarts, unless they are unknowns, after the rows.
    """
    compared = agreement(result.loss, result.converged, _same_loss(result, scale))
    best, size = compared.best, math.prod(shape)
    rows, rest = result.x[best, :size].reshape(*shape), result.x[best, size:]
    own = rest.reshape(shape[0], -1) if len(rest) else outputs[best].to(rest)
    return Compression(result, compared, rows, own)


def _same_loss(result: Result, scale: float | Tensor) -> float:
    """How far apart two losses of one minimum may lie: SAME_LOSS |J|, or the noise of both."""
    size = result.loss.abs()
    noise = 2.0 * loss_noise(result.loss, result.x, scale)
    return float(torch.maximum(SAME_LOSS * size, noise).nan_to_num(0.0, 0.0, 0.0).max())
