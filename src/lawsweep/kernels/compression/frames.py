"""Frames under the true loss, and how far h is from its mean over the sphere.

A frame is v_j = t S_j Q: S the simplex of M unit rows (``simplex_frame``), Q (M-1, d) of
orthonormal rows, its orientation.  J(t, Q) = -2 t H(Q) + t^2 C with H = sum_j h(S_j Q) and C the
double sum of the simplex, so the best t is H/C and J = -H^2/C: the best frame is where H is
largest over the Stiefel manifold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.compression.objective import Rows
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.compression.theory import frame_constant, frame_norm, simplex_frame
from lawsweep.kernels.optimise.minimise import Result, minimise
from lawsweep.kernels.optimise.objective import Move, Objective

MOST_UNKNOWNS = 1000  # of a frame's orientation


def _symmetric(a: Tensor) -> Tensor:
    return 0.5 * (a + a.mT)


class OrientedFrames(Objective):
    """-H(Q) over R orientations Q (R, n, d); points are Q flattened.

    Derivatives are those on the Stiefel manifold of the embedded metric: with P(Z) = Z -
    sym(Z Q^T) Q, the gradient is P(G) and the Hessian Z -> P(E[Z] - sym(G Q^T) Z) on tangent Z
    (Absil, Mahony and Sepulchre 2008, section 5), and ``size`` times the identity off them.
    With M = 2 and the half of a simplex this is the sphere: see ``sphere_error``.
    """

    def __init__(self, loss: PopulationLoss, simplex: Tensor, sign: float = 1.0):
        self.loss, self.simplex, self.sign = loss, simplex, sign
        self.shape = (simplex.shape[1], loss.d)
        self.size = float(loss.size.max())

    def move(self, x: Tensor, step: Tensor) -> Move:
        """The orthonormal rows nearest to Q + step."""
        left, _, right = torch.linalg.svd((x + step).reshape(-1, *self.shape), full_matrices=False)
        return Move((left @ right).flatten(1))

    def _rows(self, q: Tensor) -> Rows:
        v = self.simplex @ q
        return Rows(v.flatten(1), (len(self.simplex), self.loss.d))

    def _for(self, n: int) -> PopulationLoss:
        part = self.loss.take(torch.zeros(n, dtype=torch.long))
        assert isinstance(part, PopulationLoss)
        return part

    def value_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """-H (R,) and its gradient on the manifold."""
        q = x.reshape(-1, *self.shape)
        rows = self._rows(q)
        cross = self._for(len(q)).cross(rows)
        euclid = -self.sign * self.simplex.T @ cross
        tangent = euclid - _symmetric(euclid @ q.mT) @ q
        return -self.sign * (rows.v * cross).sum((-2, -1)), tangent.flatten(1)

    def hessian(self, x: Tensor) -> Tensor:
        """On the manifold, (R, n d, n d)."""
        q = x.reshape(-1, *self.shape)
        n, d = self.shape
        rows, loss = self._rows(q), self._for(len(q))
        euclid = -self.sign * self.simplex.T @ loss.cross(rows)
        whole = -self.sign * torch.einsum(
            "ja,jb,rjde->radbe", self.simplex, self.simplex, loss.cross_hessian(rows)
        )
        eye = torch.eye(d, dtype=q.dtype, device=q.device)
        whole = whole - torch.einsum("rab,de->radbe", _symmetric(euclid @ q.mT), eye)
        whole = whole.reshape(-1, n * d, n * d)
        basis = torch.eye(n * d, dtype=q.dtype, device=q.device).reshape(-1, n, d)
        turned = torch.einsum("kad,rbd->rkab", basis, q)
        normal = torch.einsum("rkab,rbd->rkad", _symmetric(turned), q).flatten(2)
        across = torch.eye(n * d, dtype=q.dtype, device=q.device) - normal
        return across @ whole @ across.mT + self.size * normal

    def hessian_product(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """p -> Hessian p, the Hessian formed once."""
        whole = self.hessian(x)
        return lambda p: (whole @ p.unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class FrameLosses:
    """J of frames, whose limit is min J of the simplified problem.

    ``turned``: the simplified optimum in random orientations, mean and standard deviation over
    them.  ``spectral``: turned to the leading eigenvectors of E_N.  ``best``: least over
    orientation and size, near the given rows; None where that search did not converge.
    """

    turned: float
    turned_sd: float
    spectral: float
    best: float | None


def frame_losses(
    target: Target, v: Tensor, rng: np.random.Generator, n_turns: int = 16, tol: float = 1e-8
) -> FrameLosses:
    """J of ETFs of the sign of A_N; ``v`` (M, d), M >= 2, the optimum the best frame is near to.

    Raises ValueError for M = 1, M > d + 1, or more than 1,000 unknowns (M-1) d of the orientation.
    """
    m, d = v.shape
    if not frames_fit(m, d):
        raise ValueError(
            f"expected 2 <= M <= d + 1 and (M - 1) d <= {MOST_UNKNOWNS}, got M = {m}, d = {d}; "
            "leave the comparison with frames out"
        )
    scale, vectors = target.moments.scale, target.moments.eigenvectors
    sign = -1.0 if scale < 0 else 1.0
    loss = PopulationLoss(target, torch.full((1, m), sign).to(v))
    simplex = simplex_frame(m, torch.eye(m - 1, dtype=v.dtype)).to(v)
    draws = rng.standard_normal((n_turns, d, m - 1))
    turns = torch.linalg.qr(torch.from_numpy(draws).to(v)).Q.mT
    turns = torch.cat([turns, vectors[:, : m - 1].T.unsqueeze(0)])
    points = (frame_norm(abs(scale), d, m, loss.kernel) * simplex @ turns).flatten(1)
    values, _ = loss.take(torch.zeros(len(points), dtype=torch.long)).value_gradient(points)
    left, _, right = torch.linalg.svd(torch.linalg.pinv(simplex) @ v, full_matrices=False)
    frames = OrientedFrames(loss, simplex, sign)
    found = minimise(
        frames, (left @ right).reshape(1, -1), scale=frames.size, tol=tol, max_iterations=200
    )
    constant = m * m * frame_constant(m, loss.kernel) / (2.0 * math.pi)
    best = -(float(found.loss[0]) ** 2) / constant if bool(found.converged[0]) else None
    return FrameLosses(float(values[:-1].mean()), float(values[:-1].std()), float(values[-1]), best)


def frames_fit(m: int, d: int) -> bool:
    """Whether ``frame_losses`` has an answer for M rows in R^d."""
    return 2 <= m <= d + 1 and (m - 1) * d <= MOST_UNKNOWNS


def sphere_error(target: Target, starts: Tensor, tol: float = 1e-8) -> tuple[float | None, int]:
    """sup_{|v| = 1} |h(v) - A_N D_d| and how many searches agree with it.

    h is maximised and minimised from each of ``starts`` (R, d), of any length; None (and 0) where
    none of the searches for one of the two converged.  A sup found from R starts is a lower
    bound of the true one.
    """
    level = target.moments.scale * target.kernel.mean_factor(target.dim)
    points = starts / starts.norm(dim=-1, keepdim=True)
    single = points.new_ones(1, 1)
    loss, ends = PopulationLoss(target, single), []
    for sign in (1.0, -1.0):
        search = OrientedFrames(loss, single, sign)
        found = minimise(search, points, scale=search.size, tol=tol, max_iterations=200)
        if not bool(found.converged.any()):
            return None, 0
        ends.append(_errors(found, sign, level))
    errors = torch.cat(ends)
    most = float(errors.max())
    return most, int((errors >= most * (1.0 - 1e-6)).sum())


def _errors(found: Result, sign: float, level: float) -> Tensor:
    return (-sign * found.loss[found.converged.to(found.loss.device)] - level).abs()
