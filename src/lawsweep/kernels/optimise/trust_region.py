"""The trust-region iteration of ``minimise``: all restarts step by step, and why each ended.

At each step the model f + g.p + p.Hp/2 is minimised within |p| <= radius, the step is kept if the
loss really falls, and the radius follows how well the model foretold it (Conn, Gould and Toint,
Trust-Region Methods, 2000, chapter 6).

What is decided comes back from the device in one answer a step.  On a CPU, where an answer costs
nothing, there are three: the models are made of restarts that moved, and the curvatures looked at
of those that seem to be at a minimum.  On a GPU the models are made of all that run before it is
known which of them moved, and whether a restart ends at a minimum is told with the next step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.answers import Where, positions, put, together, waits
from lawsweep.kernels.base.reasons import Reason
from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.optimise.methods import Ahead, Ask, Ends, Method
from lawsweep.kernels.optimise.objective import Objective

# Where losses no longer tell points apart, so many shorter and shorter steps may fail to lower the
# gradient before a restart counts as stalled.
BLIND_TRIES = 8
# A loss is known to this many eps of its terms (``loss_noise``).
NOISE_EPS = 32


class MinimiseReason(Reason):
    """Why a restart stopped; only CONVERGED is an answer."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "max_iterations", "raise max_iterations"
    STALLED = "stalled", "the rounding level was reached above tol; raise tol, or take float64"
    NON_FINITE = "non_finite", "the loss or its derivatives overflowed; rescale the problem"
    COLLAPSED = "collapsed", "a row shrank to zero, where the loss has a kink; take fewer rows"


def loss_noise(loss: Tensor, x: Tensor, scale: float | Tensor) -> Tensor:
    """What rounding leaves unknown of losses (R,) at points x (R, n): NOISE_EPS eps of their terms.

    ``scale`` as for ``minimise``: a loss has terms of size scale |x| however much they cancel.
    """
    eps = torch.finfo(x.dtype).eps
    return NOISE_EPS * eps * torch.maximum(loss.abs(), scale * x.norm(dim=-1))


@dataclass(eq=False)
class Look:
    """New models of the restarts ``index``, and what is asked about them: truth values (R,).

    Whether the gradient is small, and (methods that need Hessians) whether the Hessian is finite,
    then what the method wants to know (``Method.foresee``).
    """

    index: Tensor
    asked: list[Tensor]
    hessian: Tensor | None = None
    ahead: Ahead | None = None


class TrustRegion:
    """R restarts at ``x`` (R, n) with losses, gradients and radii; ``reason``: None while running.

    ``scale`` (R,) and ``tol`` as for ``minimise``.
    """

    def __init__(
        self,
        objective: Objective,
        start: Tensor,
        model: Method,
        scale: Tensor,
        tol: float,
        radius: float | None,
    ) -> None:
        self.objective, self.model = objective, model
        self.scale, self.threshold = scale, tol * scale
        self.x = start.clone()
        loss, gradient = objective.value_gradient(self.x)
        self.loss, self.gradient = loss.clone(), gradient.clone()  # may be views or expanded
        n, size = len(start), start.norm(dim=-1)
        first = torch.where(size > 0, 0.3 * size, torch.ones_like(size))
        self.radius = first if radius is None else torch.full_like(size, radius)
        self.n_iterations = torch.zeros(n, dtype=torch.long)
        self.curvature = torch.full_like(self.loss, math.nan)
        self.reason: list[Reason | None] = [None] * n
        self._running = torch.arange(n)
        self._where = Where(n)
        self._n_blind = torch.zeros(n, dtype=torch.long)  # rejected in a row at rounding level
        self._ahead: Ahead | None = None
        # Of restarts that seem to have ended at a minimum: which do, not asked yet.
        self._minima: tuple[Tensor, Tensor] | None = None

    def run(self, max_iterations: int) -> None:
        """Step until every restart has stopped."""
        sound = self.loss.isfinite() & self.gradient.isfinite().all(-1)
        look = self._look(self._running)
        finite, *told = together(sound, *look.asked)
        self._stop(look.index[~finite], MinimiseReason.NON_FINITE)
        self._judge(look, told, look.index[finite])
        for iteration in range(max_iterations + 1):
            if not len(self._running):
                return
            if iteration == max_iterations:
                self._ask_minima()
                self._stop(self._running, MinimiseReason.MAX_ITERATIONS)
                return
            self._step(self._running)

    def last_curvatures(self) -> None:
        """Of the restarts that ended elsewhere than at a minimum, where they can be computed."""
        ends = [i for i, r in enumerate(self.reason) if r is not MinimiseReason.CONVERGED]
        if not ends:
            return
        index = torch.tensor(ends)
        at = index.to(self.x.device)
        hessian = self.objective.take(index).hessian(self.x[at])
        good = hessian.isfinite().flatten(1).all(-1)
        some = good.cpu().nonzero().squeeze(-1).to(at.device)
        values = torch.linalg.eigvalsh(hessian[some])
        self.curvature[at] = math.nan  # of an earlier, smaller gradient's point at a saddle
        self.curvature[at[some]] = values[:, 0]

    def _stop(self, which: Tensor, reason: Reason) -> None:
        if not len(which):
            return
        for i in which.tolist():
            self.reason[i] = self.reason[i] or reason
        self._running = torch.tensor(
            [i for i, r in enumerate(self.reason) if r is None], dtype=torch.long
        )

    def _ask(self, index: Tensor) -> Ask:
        at = self._where(index, self.x)
        return Ask(index, self.x[at], self.gradient[at], self.radius[at], None)

    def _look(self, index: Tensor) -> Look:
        """The models of the restarts ``index``, which may be as they were."""
        ask, at = self._ask(index), self._where(index, self.x)
        look = Look(index, [ask.gradient.norm(dim=-1) <= self.threshold[at]])
        if "hessian" in self.model.needs:
            look.hessian = self.objective.take(index).hessian(ask.x)
            look.asked.append(look.hessian.isfinite().flatten(1).all(-1))
            if waits(self.x):
                look.ahead = self.model.foresee(ask, look.hessian)
        if look.ahead is not None:
            look.asked.append(look.ahead.asked)
        return look

    def _judge(self, look: Look, told: list[Tensor], moved: Tensor) -> None:
        """Take in the models of those that moved; stop those at a minimum."""
        index, small = look.index, told[0]
        fresh = positions(moved, index)
        if look.hessian is not None:
            good = told[1][fresh]
            self._stop(moved[~good], MinimiseReason.NON_FINITE)
            fresh, moved = fresh[good], moved[good]
            whole = len(fresh) == len(index)
            if len(fresh):
                part = look.hessian if whole else look.hessian[fresh.to(self.x.device)]
                self.model.update(moved, part)
        if look.ahead is not None:
            look.ahead.told = told[2]
        self._ahead = look.ahead
        candidates = moved[small[fresh]]
        known = self.model.extremes(candidates) if len(candidates) else None
        if known is None:
            self._stop(candidates, MinimiseReason.CONVERGED)
            return
        low, high = known
        at = self._where(candidates, self.x)
        self.curvature = put(self.curvature, at, low)
        # Newton's step solves the model to rounding only; at a saddle (small gradient, negative
        # curvature) the restart goes on, along the lowest eigenvector.
        allowed = tolerances(low.dtype).curvature
        self._minima = (candidates, low >= -allowed * high)
        # Where no other restart runs, nothing is sent beside which it could be told.
        if not waits(self.x) or len(candidates) == len(self._running):
            self._ask_minima()

    def _ask_minima(self) -> None:
        if self._minima is not None:
            which, ends = self._minima
            self._minima = None
            self._stop(which[ends.cpu()], MinimiseReason.CONVERGED)

    def _ended(self, index: Tensor, like: Tensor) -> Tensor:
        """Which of ``index`` ended at a minimum before this step, for all that is known here."""
        ended = torch.zeros_like(like)
        if self._minima is not None:
            which, ends = self._minima
            ended = put(ended, Where(len(index))(positions(which, index), like), ends)
        return ended

    def _step(self, index: Tensor) -> None:
        """One trust-region step of the restarts ``index``, and the models where it led them."""
        part, at, ask = self.objective.take(index), self._where(index, self.x), self._ask(index)
        x, loss, gradient, radius = ask.x, self.loss[at], ask.gradient, ask.radius
        product = part.hessian_product(x) if "hessian_product" in self.model.needs else None
        ahead = None if self._ahead is None else self._ahead.take(index)
        ask = Ask(index, x, gradient, radius, product, ahead)
        step, predicted = self.model.solve(ask)
        move = part.move(x, step)
        ends = Ends(move.point, *part.value_gradient(move.point))
        ends = self.model.correct(part, ask, move, ends)
        new_loss, new_gradient = ends.loss, ends.gradient
        eps = torch.finfo(x.dtype).eps
        # Below this the difference of two losses is rounding, and the gradient judges instead.
        noise = loss_noise(loss, x, self.scale[at])
        blind = predicted <= noise
        ratio = (loss - new_loss) / predicted.clamp_min(torch.finfo(x.dtype).tiny)
        better = new_gradient.norm(dim=-1) < gradient.norm(dim=-1)
        # Blind steps may not raise the loss beyond its rounding either.
        accept = torch.where(blind, better & (new_loss - loss <= noise), ratio > 1e-4)
        accept &= new_loss.isfinite()
        ended = self._ended(index, accept)
        accept &= ~ended
        length = step.norm(dim=-1)
        edge = length >= 0.9 * radius
        shrink = ~accept | (~blind & (ratio < 0.25))
        grow = accept & ~blind & (ratio > 0.75) & edge
        radius = torch.where(
            shrink, 0.25 * torch.minimum(length, radius), torch.where(grow, 2.5 * radius, radius)
        )
        asked = [accept, blind, length.isfinite(), length <= eps * x.norm(dim=-1)]
        asked += [new_gradient.isfinite().all(-1), ended]
        taken = accept.unsqueeze(-1)
        self.radius = put(self.radius, at, radius)
        self.x = put(self.x, at, torch.where(taken, ends.point, x))
        self.loss = put(self.loss, at, torch.where(accept, new_loss, loss))
        self.gradient = put(self.gradient, at, torch.where(taken, new_gradient, gradient))
        look = self._look(index) if waits(x) else None
        told = together(*asked, *(look.asked if look else []))
        moved = self._settle(index, *told[: len(asked)])
        if look is not None:
            self._judge(look, told[len(asked) :], moved)
        elif len(moved):
            look = self._look(moved)
            self._judge(look, together(*look.asked), moved)

    def _settle(
        self,
        index: Tensor,
        accepted: Tensor,
        unseen: Tensor,
        finite: Tensor,
        still: Tensor,
        sound: Tensor,
        ended: Tensor,
    ) -> Tensor:
        """Stop the restarts that the step ended; returns those that moved and go on."""
        self._minima = None
        self._stop(index[ended], MinimiseReason.CONVERGED)
        self.n_iterations[index[~ended]] += 1
        self._n_blind[index] = torch.where(~accepted & unseen, self._n_blind[index] + 1, 0)
        tired = self._n_blind[index] >= BLIND_TRIES
        stuck = ~accepted & finite & (tired | still)
        self._stop(index[~finite | (accepted & ~sound)], MinimiseReason.NON_FINITE)
        self._stop(index[stuck], MinimiseReason.STALLED)
        return index[accepted & finite & sound]
