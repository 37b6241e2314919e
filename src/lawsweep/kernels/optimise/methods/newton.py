"""Newton's step from dense Hessians, exactly, and with it a certificate of the curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.optimise.methods import Ask, Ends, Method, Need

if TYPE_CHECKING:
    from lawsweep.kernels.optimise.objective import Move, Objective

# A step that makes the gradient so many times longer has climbed.  Below so many unknowns another
# Hessian costs no more than the correction (measured).
GROWN, LEAST_UNKNOWNS = 2.0, 100


class Newton(Method):
    """Exact: from dense Hessians, decomposed where needed and kept while a restart stands still.

    A Hessian that is positive definite by a margin, and whose Newton step fits within the radius,
    needs only a Cholesky factor (an eighth of the time); that step is the exact answer.
    """

    # Where |g| is below this part of (largest eigenvalue) |x|, a restart is near its minimum.
    NEAR = 1e-3
    # Eigenvalues above this part of the largest are stiff (``correct``).
    STIFF = 1e-2

    needs: ClassVar[frozenset[Need]] = frozenset({"hessian"})

    def __init__(self, n_restarts: int) -> None:
        super().__init__(n_restarts)
        self._hessian: Tensor | None = None
        self._values: Tensor
        self._vectors: Tensor
        self._known: Tensor

    def update(self, index: Tensor, hessian: Tensor) -> None:
        """Take the Hessians (len(index), n, n) of those restarts."""
        n, n_restarts = hessian.shape[-1], self.n_restarts
        if self._hessian is None:
            self._hessian = hessian.new_zeros(n_restarts, n, n)
            self._values = hessian.new_zeros(n_restarts, n)
            self._vectors = hessian.new_zeros(n_restarts, n, n)
            self._known = torch.zeros(n_restarts, dtype=torch.bool)
        self._hessian[index] = hessian
        self._known[index] = False

    def extremes(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest eigenvalue, and largest in absolute value, of those restarts."""
        self._decompose(index)
        values = self._values[index]
        return values[:, 0], values.abs().amax(-1)

    def _decompose(self, index: Tensor) -> None:
        assert self._hessian is not None
        todo = index[~self._known[index]]
        if len(todo):
            self._values[todo], self._vectors[todo] = torch.linalg.eigh(self._hessian[todo])
            self._known[todo] = True

    def solve(self, ask: Ask) -> tuple[Tensor, Tensor]:
        """Step and predicted fall: Newton's where it is the answer, else by eigenvectors."""
        index, x, gradient, radius = ask.index, ask.x, ask.gradient, ask.radius
        step, predicted, whole = self._newton(index, x, gradient, radius)
        rest = (~whole).cpu().nonzero().squeeze(-1)
        if len(rest):
            those, at = index[rest], rest.to(x.device)
            self._decompose(those)
            step[at], predicted[at] = self._exact(those, x[at], gradient[at], radius[at])
        return step, predicted

    def correct(self, part: Objective, ask: Ask, move: Move, ends: Ends) -> Ends:
        """A second step, down the walls of a valley, where the first climbed them and it is lower.

        A long step along a soft, curved valley climbs its walls a little, and a whole Newton step
        is then spent on coming down: seen from outside, the gradient jumps up and down by a factor
        of a hundred.  The walls hardly change along the valley but for turning with the points, so
        the Hessian at hand, turned, gives that step at the price of a gradient.  Half of all
        Hessians are saved (measured).  For moves that turn, and where eigenvectors are at hand.
        """
        if move.turn is None or ask.x.shape[1] < LEAST_UNKNOWNS:
            return ends
        grew = ends.gradient.norm(dim=-1) > GROWN * ask.gradient.norm(dim=-1)
        own = (grew & ends.loss.isfinite()).cpu().nonzero().squeeze(-1)
        own = own[self._known[ask.index[own]]]
        if not len(own):
            return ends
        few, turn = part.take(own), move.turn.take(own)
        fix = turn.forth(self._stiff_step(ask.index[own], turn.back(ends.gradient[own])))
        there = few.move(ends.point[own], fix).point
        new_loss, new_gradient = few.value_gradient(there)
        lower = (new_loss < ends.loss[own]).cpu().nonzero().squeeze(-1)
        where, lower = own[lower].to(there.device), lower.to(there.device)
        point, loss, gradient = ends.point.clone(), ends.loss.clone(), ends.gradient.clone()
        point[where], loss[where] = there[lower], new_loss[lower]
        gradient[where] = new_gradient[lower]
        return Ends(point, loss, gradient)

    def _stiff_step(self, index: Tensor, gradient: Tensor) -> Tensor:
        """-H^-1 g over the stiff eigenvalues alone, of restarts whose eigenvectors are at hand."""
        values, vectors = self._values[index], self._vectors[index]
        stiff = values > self.STIFF * values.abs().amax(-1, keepdim=True)
        c = (vectors.mT @ gradient.unsqueeze(-1)).squeeze(-1)
        c = torch.where(stiff, -c / values, torch.zeros_like(c))
        return (vectors @ c.unsqueeze(-1)).squeeze(-1)

    def _newton(
        self, index: Tensor, x: Tensor, gradient: Tensor, radius: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-H^-1 g, g.H^-1 g/2, and where that solves the model: H > ``margin`` and |p| <= radius.

        The margin is that below which ``_exact`` lifts eigenvalues, with |H|_F in place of the
        largest one, which is no smaller.
        """
        assert self._hessian is not None
        h = self._hessian[index]
        tiny = torch.finfo(h.dtype).tiny
        largest = h.flatten(1).norm(dim=-1).clamp_min(tiny)
        flat = gradient.norm(dim=-1) / x.norm(dim=-1).clamp_min(tiny)
        flat = torch.where(flat <= self.NEAR * largest, flat, torch.zeros_like(flat))
        margin = torch.maximum(tolerances(h.dtype).rank * largest, flat)
        eye = torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)
        _, above = torch.linalg.cholesky_ex(h - margin[:, None, None] * eye)
        factor, sound = torch.linalg.cholesky_ex(h)
        whole = (above == 0) & (sound == 0)
        factor = torch.where(whole[:, None, None], factor, eye)
        step = -torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        whole &= step.norm(dim=-1) <= radius
        return step, -0.5 * (gradient * step).sum(-1), whole

    def _exact(
        self, index: Tensor, x: Tensor, gradient: Tensor, radius: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Step and predicted fall by Moré and Sorensen's conditions, in the eigenbasis.

        p(mu) = -Q (Q^T g)/(lambda + mu) with the least mu >= max(0, -lambda_1) that fits within
        the radius.  Where even that mu leaves room (the hard case: g has no part along the lowest
        eigenvector of an indefinite H), the lowest eigenvector fills it.

        A manifold of minima (rotations) that is met at distance |g|/largest has eigenvalues of
        about +-|g|/|x| along itself, which say nothing: near a minimum those are lifted to that.
        """
        values, vectors = self._values[index], self._vectors[index]
        c = (vectors.mT @ gradient.unsqueeze(-1)).squeeze(-1)
        largest = values.abs().amax(-1).clamp_min(torch.finfo(c.dtype).tiny)
        flat = gradient.norm(dim=-1) / x.norm(dim=-1).clamp_min(torch.finfo(c.dtype).tiny)
        flat = torch.where(flat <= self.NEAR * largest, flat, torch.zeros_like(flat))
        floor = tolerances(c.dtype).rank * largest
        lifted = torch.maximum(floor, flat).unsqueeze(-1)
        values = torch.where(values.abs() < lifted, lifted, values)
        least = (floor - values[:, 0]).clamp_min(0.0)
        mu = _secular(values, c, radius, least)
        p = -c / (values + mu.unsqueeze(-1))
        room = (radius**2 - (p * p).sum(-1)).clamp_min(0.0).sqrt()
        hard = (values[:, 0] < -floor) & (mu <= least) & (room > 0)
        push = torch.where(c[:, 0] > 0, -room, room)
        p[:, 0] = torch.where(hard, p[:, 0] + push, p[:, 0])
        predicted = -(c * p + 0.5 * values * p * p).sum(-1)
        return (vectors @ p.unsqueeze(-1)).squeeze(-1), predicted.clamp_min(0.0)


def _secular(values: Tensor, c: Tensor, radius: Tensor, least: Tensor) -> Tensor:
    """The mu >= least with |c/(values + mu)| = radius, or least where that is within it.

    Newton's method on 1/|p(mu)| - 1/radius, which is concave: from the left of the root it climbs
    monotonically to it.  A hundredth of the radius is accuracy enough.  Whether all are there is
    asked every fourth time: where they are, the rest changes nothing.
    """
    mu = least.clone()
    for count in range(60):
        shifted = values + mu.unsqueeze(-1)
        p = c / shifted
        length = p.norm(dim=-1)
        outside = length > 1.01 * radius
        if count % 4 == 3 and not bool(outside.any()):
            break
        slope = (p * p / shifted).sum(-1)
        newton = (length**2 / slope) * (length - radius) / radius
        mu = torch.where(outside, mu + newton, mu)
    return mu


METHOD = Newton
