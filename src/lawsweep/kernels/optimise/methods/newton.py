"""Newton's step from dense Hessians, exactly, and with it a certificate of the curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from lawsweep.kernels.base.answers import Where, put, waits
from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.optimise.methods import Ahead, Ask, Ends, Method, Need

if TYPE_CHECKING:
    from lawsweep.kernels.optimise.objective import Move, Objective

# Steps of the secular equation: at most, and after how many each it is asked whether all are there.
# On a GPU that is not asked: 8 were the most in 5,000 steps of minimisations (compression,
# Rosenbrock, wells of scales 1 to 1e6), 9 in 20,000 drawn with values and parts over 12 decades.
SECULAR, ASKED, UNASKED = 60, 4, 12
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
        self._hessian = put(self._hessian, self.where(index, hessian), hessian)
        self._known[index] = False

    def extremes(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest eigenvalue, and largest in absolute value, of those restarts."""
        self._decompose(index)
        values = self._values[self.where(index, self._values)]
        return values[:, 0], values.abs().amax(-1)

    def _decompose(self, index: Tensor) -> None:
        assert self._hessian is not None
        todo = index[~self._known[index]]
        if len(todo):
            at = self.where(todo, self._hessian)
            values, vectors = torch.linalg.eigh(self._hessian[at])
            self._values = put(self._values, at, values)
            self._vectors = put(self._vectors, at, vectors)
            self._known[todo] = True

    def foresee(self, ask: Ask, hessian: Tensor) -> Ahead:
        """Newton's step of all, and of which it is the answer."""
        step, predicted, whole = self._newton(hessian, ask.x, ask.gradient, ask.radius)
        return Ahead(ask.index, whole, (step, predicted))

    def solve(self, ask: Ask) -> tuple[Tensor, Tensor]:
        """Step and predicted fall: Newton's where it is the answer, else by eigenvectors."""
        index, x, gradient, radius, ahead = ask.index, ask.x, ask.gradient, ask.radius, ask.ahead
        if ahead is None or ahead.told is None:
            assert self._hessian is not None
            hessian = self._hessian[self.where(index, x)]
            step, predicted, asked = self._newton(hessian, x, gradient, radius)
            whole = asked.cpu()
        else:
            (step, predicted), whole = ahead.parts, ahead.told
        rest = (~whole).nonzero().squeeze(-1)
        if len(rest):
            those, at = index[rest], Where(len(index))(rest, x)
            self._decompose(those)
            found = self._exact(those, x[at], gradient[at], radius[at])
            step, predicted = put(step, at, found[0]), put(predicted, at, found[1])
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
        known = self._known[ask.index]
        if not bool(known.any()):
            return ends
        grew = ends.gradient.norm(dim=-1) > GROWN * ask.gradient.norm(dim=-1)
        grew &= ends.loss.isfinite()
        # On a GPU of all whose eigenvectors are at hand.
        own = (known if waits(grew) else known & grew).nonzero().squeeze(-1)
        if not len(own):
            return ends
        at = Where(len(known))(own, grew)
        few, turn = part.take(own), move.turn if isinstance(at, slice) else move.turn.take(at)
        stiff = self._stiff_step(ask.index[own], turn.back(ends.gradient[at]))
        there = few.move(ends.point[at], turn.forth(stiff)).point
        new_loss, new_gradient = few.value_gradient(there)
        lower = grew[at] & (new_loss < ends.loss[at])

        def better(old: Tensor, new: Tensor) -> Tensor:
            kept = torch.where(lower if new.ndim == 1 else lower.unsqueeze(-1), new, old[at])
            return put(old if isinstance(at, slice) else old.clone(), at, kept)

        return Ends(
            better(ends.point, there),
            better(ends.loss, new_loss),
            better(ends.gradient, new_gradient),
        )

    def _stiff_step(self, index: Tensor, gradient: Tensor) -> Tensor:
        """-H^-1 g over the stiff eigenvalues alone, of restarts whose eigenvectors are at hand."""
        at = self.where(index, gradient)
        values, vectors = self._values[at], self._vectors[at]
        stiff = values > self.STIFF * values.abs().amax(-1, keepdim=True)
        c = (vectors.mT @ gradient.unsqueeze(-1)).squeeze(-1)
        c = torch.where(stiff, -c / values, torch.zeros_like(c))
        return (vectors @ c.unsqueeze(-1)).squeeze(-1)

    def _newton(
        self, h: Tensor, x: Tensor, gradient: Tensor, radius: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-H^-1 g, g.H^-1 g/2, and where that solves the model: H > ``margin`` and |p| <= radius.

        The margin is that below which ``_exact`` lifts eigenvalues, with |H|_F in place of the
        largest one, which is no smaller.
        """
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
        at = self.where(index, x)
        values, vectors = self._values[at], self._vectors[at]
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
    monotonically to it.  A hundredth of the radius is accuracy enough.  Where all are there the
    rest changes nothing.
    """
    mu, alone = least.clone(), waits(c)
    for count in range(UNASKED if alone else SECULAR):
        shifted = values + mu.unsqueeze(-1)
        p = c / shifted
        length = p.norm(dim=-1)
        outside = length > 1.01 * radius
        if not alone and count % ASKED == ASKED - 1 and not bool(outside.any()):
            break
        slope = (p * p / shifted).sum(-1)
        newton = (length**2 / slope) * (length - radius) / radius
        mu = torch.where(outside, mu + newton, mu)
    return mu


METHOD = Newton
