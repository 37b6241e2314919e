"""Batched trust-region Newton: many restarts of one smooth problem held as one tensor.

At each step the model f + g.p + p.Hp/2 is minimised within |p| <= radius, the step is kept if the
loss really falls, and the radius follows how well the model foretold it (Conn, Gould and Toint,
Trust-Region Methods, 2000, chapter 6).  The model is a method's (``methods``): ``newton`` solves it
exactly from the Hessian's eigenvectors and so also certifies the curvature; ``newton_cg`` needs
only products with it, ``lbfgs`` only gradients.

Nothing unconverged is returned as converged: every restart carries the reason it stopped for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.optimise import methods
from lawsweep.kernels.optimise.methods import Ask, Ends, Method
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


@dataclass(frozen=True)
class Result(Ended):
    """Where each of R restarts ended, and the evidence.

    ``curvature_min`` is the smallest Hessian eigenvalue at ``x`` (NaN where not computed: always
    with newton_cg and lbfgs, whose CONVERGED speaks of the gradient alone).
    """

    x: Tensor
    loss: Tensor
    grad_norm: Tensor
    n_iterations: Tensor
    reason: tuple[Reason, ...]
    curvature_min: Tensor

    @property
    def converged(self) -> Tensor:
        """Boolean, shape (R,), on the CPU."""
        return torch.tensor([r is MinimiseReason.CONVERGED for r in self.reason])

    @property
    def verdict(self) -> Reason:
        """Converged where a restart did, else the end of the first."""
        return next((r for r in self.reason if r.ok), self.reason[0])

    def part(self, which: slice) -> Result:
        """Some of the restarts."""
        return Result(
            x=self.x[which],
            loss=self.loss[which],
            grad_norm=self.grad_norm[which],
            n_iterations=self.n_iterations[which],
            reason=self.reason[which],
            curvature_min=self.curvature_min[which],
        )


def joined(parts: list[Result]) -> Result:
    """The restarts of several batches as one result, in order."""
    if len(parts) == 1:
        return parts[0]
    return Result(
        x=torch.cat([p.x for p in parts]),
        loss=torch.cat([p.loss for p in parts]),
        grad_norm=torch.cat([p.grad_norm for p in parts]),
        n_iterations=torch.cat([p.n_iterations for p in parts]),
        reason=tuple(r for p in parts for r in p.reason),
        curvature_min=torch.cat([p.curvature_min for p in parts]),
    )


def split(result: Result, counts: list[int]) -> list[Result]:
    """A result of several runs' restarts, run by run."""
    parts, end = [], 0
    for count in counts:
        part = slice(end, end := end + count)
        parts.append(result.part(part))
    return parts


@dataclass(frozen=True)
class Agreement:
    """The best restart, how many share its loss, and how many distinct minima were found.

    ``best`` is the first of the converged restarts that share the lowest loss (which of them is
    lower is rounding, and would differ from batch to batch); the lowest where none converged.
    The counts are over converged restarts alone.
    """

    best: int
    n_agreeing: int
    n_minima: int


def agreement(loss: Tensor, converged: Tensor, tolerance: float) -> Agreement:
    """Compare restarts: losses (R,) closer than ``tolerance`` (absolute) are the same minimum."""
    loss, converged = loss.detach().cpu(), converged.cpu()
    if not bool(converged.any()):
        finite = torch.where(loss.isfinite(), loss, torch.inf)
        return Agreement(int(finite.argmin()), 0, 0)
    ranked = loss[converged].sort().values
    best = int((converged & (loss - ranked[0] <= tolerance)).int().argmax())
    n_minima = 1 + int((ranked.diff() > tolerance).sum())
    return Agreement(best, int((ranked - ranked[0] <= tolerance).sum()), n_minima)


def loss_noise(loss: Tensor, x: Tensor, scale: float | Tensor) -> Tensor:
    """What rounding leaves unknown of losses (R,) at points x (R, n): NOISE_EPS eps of their terms.

    ``scale`` as for ``minimise``: a loss has terms of size scale |x| however much they cancel.
    """
    eps = torch.finfo(x.dtype).eps
    return NOISE_EPS * eps * torch.maximum(loss.abs(), scale * x.norm(dim=-1))


class _State:
    """Arrays over all restarts; ``running`` are the indices not yet stopped."""

    def __init__(self, objective: Objective, x: Tensor, radius: float | None):
        self.x = x.clone()
        loss, gradient = objective.value_gradient(self.x)
        self.loss, self.gradient = loss.clone(), gradient.clone()  # may be views or expanded
        n = x.shape[0]
        size = x.norm(dim=-1)
        first = torch.where(size > 0, 0.3 * size, torch.ones_like(size))
        self.radius = first if radius is None else torch.full_like(size, radius)
        self.n_iterations = torch.zeros(n, dtype=torch.long)
        self.curvature = torch.full_like(self.loss, math.nan)
        self.reason: list[Reason | None] = [None] * n
        self.n_blind = torch.zeros(n, dtype=torch.long)  # rejected in a row at rounding level

    def running(self) -> list[int]:
        return [i for i, r in enumerate(self.reason) if r is None]

    def stop(self, which: Tensor, reason: Reason) -> None:
        for i in which.tolist():
            self.reason[i] = reason


@full_precision()
def minimise(
    objective: Objective,
    start: Tensor,
    *,
    scale: float | Tensor = 1.0,
    tol: float = 1e-10,
    max_iterations: int = 200,
    method: str | type[Method] = "newton",
    radius: float | None = None,
) -> Result:
    """Minimise from every row of ``start``, shape (R, n).

    ``method``: one of the folder ``methods``, or a class of one's own.  ``scale`` is a typical size
    of the gradient away from a minimum, a number or one a restart (R,): a restart has converged
    when |gradient| <= tol * scale and (methods that need Hessians) no Hessian eigenvalue is below
    minus ``Tolerances.curvature`` of the largest.  ``radius``: first trust radius, by default 0.3
    |start|, or 1 at zero.

    Raises ValueError for an unknown method, a start that is not (R, n) or not finite, or a tol or
    scale that is not positive.
    """
    make = methods.method(method) if isinstance(method, str) else method
    if start.ndim != 2 or start.shape[0] < 1 or start.shape[1] < 1:
        raise ValueError(f"expected starts of shape (R, n), got {tuple(start.shape)}; reshape them")
    if not bool(start.isfinite().all()):
        raise ValueError("expected finite starts, got NaN or inf; draw them again")
    scale = torch.as_tensor(scale, dtype=start.dtype, device=start.device).expand(len(start))
    if not (tol > 0 and bool(((scale > 0) & scale.isfinite()).all())):
        raise ValueError(
            f"expected tol > 0 and a finite scale > 0, got {tol} and {scale.tolist()}; change them"
        )
    state, model = _State(objective, start, radius), make(len(start))
    stale = torch.arange(start.shape[0])  # restarts whose model is of an older point
    _check_finite(state)
    for iteration in range(max_iterations + 1):
        stale = _keep(stale, state)
        if len(stale):
            _stop_or_model(objective, state, model, stale, tol * scale[stale])
        index = torch.tensor(state.running(), dtype=torch.long)
        if not len(index):
            break
        if iteration == max_iterations:
            state.stop(index, MinimiseReason.MAX_ITERATIONS)
            break
        stale = _step(objective, state, model, index, scale[index])
    if "hessian" in model.needs:
        _last_curvatures(objective, state)
    return Result(
        x=state.x,
        loss=state.loss,
        grad_norm=state.gradient.norm(dim=-1),
        n_iterations=state.n_iterations,
        reason=tuple(r if r is not None else MinimiseReason.MAX_ITERATIONS for r in state.reason),
        curvature_min=state.curvature,
    )


def _keep(index: Tensor, state: _State) -> Tensor:
    return torch.tensor([i for i in index.tolist() if state.reason[i] is None], dtype=torch.long)


def _check_finite(state: _State) -> None:
    index = torch.tensor(state.running(), dtype=torch.long)
    good = state.loss[index].isfinite() & state.gradient[index].isfinite().all(-1)
    state.stop(index[~good.cpu()], MinimiseReason.NON_FINITE)


def _stop_or_model(
    objective: Objective, state: _State, model: Method, stale: Tensor, threshold: Tensor
) -> None:
    """Build the models of moved restarts; stop those at a minimum."""
    there = stale.to(state.x.device)
    asked = [state.gradient[there].norm(dim=-1) <= threshold]
    if "hessian" in model.needs:
        hessian = objective.take(stale).hessian(state.x[there])
        asked.append(hessian.isfinite().flatten(1).all(-1))
    small, *goods = torch.stack(asked).cpu()
    for good in goods:
        state.stop(stale[~good], MinimiseReason.NON_FINITE)
        model.update(stale[good], hessian if bool(good.all()) else hessian[good.to(there.device)])
        small &= good
    candidates = stale[small]
    known = model.extremes(candidates) if len(candidates) else None
    if known is None:
        state.stop(candidates, MinimiseReason.CONVERGED)
        return
    low, high = known
    state.curvature[candidates] = low
    # Newton's step solves the model to rounding only; at a saddle (small gradient, negative
    # curvature) the restart goes on, along the lowest eigenvector.
    allowed = tolerances(low.dtype).curvature
    state.stop(candidates[(low >= -allowed * high).cpu()], MinimiseReason.CONVERGED)


def _last_curvatures(objective: Objective, state: _State) -> None:
    """Of the restarts that ended elsewhere than at a minimum, where they can be computed."""
    ends = [i for i, r in enumerate(state.reason) if r is not MinimiseReason.CONVERGED]
    if not ends:
        return
    index = torch.tensor(ends)
    hessian = objective.take(index).hessian(state.x[index])
    good = hessian.isfinite().flatten(1).all(-1)
    values = torch.linalg.eigvalsh(hessian[good])
    state.curvature[index] = math.nan  # of an earlier, smaller gradient's point at a saddle
    state.curvature[index[good.cpu()]] = values[:, 0]


def _step(
    objective: Objective, state: _State, model: Method, index: Tensor, scale: Tensor
) -> Tensor:
    """One trust-region step of the restarts ``index``; returns those that moved.

    What the step decides comes back from the device in one answer.
    """
    part, there = objective.take(index), index.to(state.x.device)
    x, loss, gradient = state.x[there], state.loss[there], state.gradient[there]
    radius = state.radius[there]
    product = part.hessian_product(x) if "hessian_product" in model.needs else None
    ask = Ask(index, x, gradient, radius, product)
    step, predicted = model.solve(ask)
    move = part.move(x, step)
    ends = model.correct(part, ask, move, Ends(move.point, *part.value_gradient(move.point)))
    trial, new_loss, new_gradient = ends.point, ends.loss, ends.gradient
    eps = torch.finfo(x.dtype).eps
    # Below this the difference of two losses is rounding, and the gradient judges instead.
    noise = loss_noise(loss, x, scale)
    blind = predicted <= noise
    ratio = (loss - new_loss) / predicted.clamp_min(torch.finfo(x.dtype).tiny)
    better = new_gradient.norm(dim=-1) < gradient.norm(dim=-1)
    # Blind steps may not raise the loss beyond its rounding either.
    accept = torch.where(blind, better & (new_loss - loss <= noise), ratio > 1e-4)
    accept &= new_loss.isfinite()
    length = step.norm(dim=-1)
    edge = length >= 0.9 * radius
    shrink = ~accept | (~blind & (ratio < 0.25))
    grow = accept & ~blind & (ratio > 0.75) & edge
    state.radius[there] = torch.where(
        shrink, 0.25 * torch.minimum(length, radius), torch.where(grow, 2.5 * radius, radius)
    )
    asked = [accept, blind, length.isfinite(), length <= eps * x.norm(dim=-1)]
    asked.append(new_gradient.isfinite().all(-1))
    accepted, unseen, finite, still, sound = torch.stack(asked).cpu()
    state.n_iterations[index] += 1
    moved = index[accepted]
    if len(moved):
        whole = len(moved) == len(index)
        to = there if whole else moved.to(there.device)
        at = slice(None) if whole else accepted.nonzero().squeeze(-1).to(there.device)
        state.x[to], state.loss[to] = trial[at], new_loss[at]
        state.gradient[to] = new_gradient[at]
    state.n_blind[index] = torch.where(~accepted & unseen, state.n_blind[index] + 1, 0)
    tired = state.n_blind[index] >= BLIND_TRIES
    stuck = ~accepted & finite & (tired | still)
    state.stop(index[~finite | (accepted & ~sound)], MinimiseReason.NON_FINITE)
    state.stop(index[stuck], MinimiseReason.STALLED)
    return moved
