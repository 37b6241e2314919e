"""Levenberg-Marquardt for least squares on a fully connected network, on the NTK Gram matrix.

Each step solves a damped linear system (``gauss_newton``), as closely as it matters
(``gauss_newton_inexact``), whose damping mu is proportional to the loss: where the residual can
reach zero and the kernel K stays positive, such steps converge quadratically (N. Yamashita,
M. Fukushima, "On the rate of convergence of the Levenberg-Marquardt method", 2001).  Setting:
arXiv 2205.10217, where K at initialisation has full rank once p exceeds N up to logarithms.

Creases.  The loss of a network with a kinked activation has creases, and a sample whose unit lies
on one makes the linear model wrong at every length of step.  Insisting on descent, or halving the
step, creeps along a crease for hundreds of steps however positive K is; the full step leaves it
again.  So there a loss that rises up to RISE times is accepted.  (N = p / 2, depth 4, width 22,
ReLU, 8 draws: 21 to 25 steps to 1e-20 with full steps; 32 to 50 with descent alone; best of 1,
1/2, 1/4, 1/8 of a step with fixed damping: 36 to 58, and three draws not after 150.)  A smooth
activation has no creases but saturates: there only descent is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.optimise.gauss_newton import Sent, State, Step, System, norm
from lawsweep.kernels.optimise.gauss_newton_inexact import Experience, system_for

DAMPING = 0.1  # mu over the system's mean diagonal, at the loss that the iteration began with
RISE = 4.0
REJECTED = 10.0  # what the damping is multiplied by after a step that is not accepted
ACCEPTED = 3.0  # what is taken back of that after one that is
# A step that turns all of a ReLU layer off for some sample, which then has no gradient, is damped
# up to this many times before it is taken.  (Never taking it can end at a boundary of that region.)
KILLING = 100.0
PATIENCE = 40  # systems solved, in which the best loss has to fall by GAIN
GAIN = 0.2
SLOW = 4.0  # a step that lowers the loss less than this many times is not one of fast convergence
# Forcing term of an inexact step: FORCING times the square of the factor by which the last step
# lowered |r| (Eisenstat and Walker 1996, choice 2 with alpha = 2), at most LARGEST_FORCING, and at
# least the root of eps.  (Twice to half of either makes a tenth of difference in time.)
FORCING, LARGEST_FORCING = 0.9, 0.5
OVERSOLVE = 0.25  # and never less than this share of the factor that is left to the target
TIGHTER = 0.1  # what it is multiplied by after a step that is not accepted
AT_ROUNDING = 100.0  # times State.rounding_level: 10 times in the residual


class LeastSquaresReason(Reason):
    """Why the iteration ended, and what to do about it.

    Answers are weights at which the loss is at most target_loss, those at which the residual is
    what rounding them leaves and no longer falls (an exact fit), and a local minimum.
    """

    TARGET_REACHED = "target_reached"
    ROUNDING_LEVEL = "rounding_level"
    STATIONARY = (
        "stationary",
        "no step promises to lower the loss beyond its rounding: a local minimum of a poor fit",
        True,
    )
    STALLED = (
        "stalled",
        f"the best loss hardly fell for {PATIENCE} steps (a crease, a plateau) or no damping "
        "helped; take other weights to start from",
    )
    MAX_STEPS = "max_steps", "the budget was spent; a larger max_steps may lower the loss"
    ZERO_GRADIENT = (
        "zero_gradient",
        "the gradient is exactly zero, as where all ReLUs are off; take other weights to start "
        "from",
    )
    DIVERGED = (
        "diverged",
        "the loss or the Jacobian at the start is not finite; rescale the data or the weights",
    )


@dataclass(frozen=True, eq=False)
class LeastSquares(Ended):
    """What the iteration gave.

    ``loss`` is the mean squared error after every step taken, loss[0] at the start; it may rise on
    the way.  ``weights`` are those of the smallest, ``best_loss``, and so are ``grad_norm``, the
    Euclidean norm of its gradient, ``distance`` from the initial weights and ``rounding_loss``,
    the loss that rounding alone leaves (``State.rounding_level``); NaN where it diverged.
    ``init_norm``: norm of the initial weights.  ``n_systems`` counts linear systems solved,
    ``n_factorised`` Cholesky factors made for it, in whatever type, and ``n_products`` products
    with K; ``worst_residual`` is the largest residual, relative to the right-hand side, of those
    solved by iteration (0 if there were none).  ``damping`` is the last mu over the mean diagonal.
    """

    weights: list[Tensor]
    loss: np.ndarray
    best_loss: float
    grad_norm: float
    n_steps: int
    n_systems: int
    n_factorised: int
    n_products: int
    worst_residual: float
    damping: float
    reason: LeastSquaresReason
    distance: float
    init_norm: float
    rounding_loss: float


@full_precision()
def least_squares(
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    act: Activation,
    *,
    max_steps: int = 200,
    target_loss: float = 0.0,
    damping: float = DAMPING,
    exact: bool = False,
) -> LeastSquares:
    """Minimise (1/N) sum_i (f(x_i) - y_i)^2 over a network's weights, by Levenberg-Marquardt.

    ``x`` (N, d), ``y`` (N,), ``weights`` L tensors (n_{l-1}, n_l) with n_L = 1, left unchanged.
    Where p >= N and N is a thousand or more, a step is solved for by some ten iterations of
    conjugate gradients, of 4 N p flops each, as closely as it matters (``gauss_newton_inexact``);
    else, where that fails, once the loss has stalled, or for all steps if ``exact``, by a Cholesky
    factor: N^2 sum_l (n_{l-1} + n_l) + N^3 / 3 flops where p >= N, N p^2 + p^3 / 3 else, and memory
    for two matrices of that system.  ``damping``: mu over the system's mean diagonal, at the
    initial loss.

    A start whose loss is not finite, a dead network and a stall are reasons, not errors.  Raises
    ValueError for settings or shapes that do not fit.
    """
    _check(x, y, weights, max_steps, target_loss, damping)
    with torch.no_grad():
        network = Network.of(weights, act)
        start = State(network, [w.detach().clone() for w in weights], x, y)
        search = Iteration(start, damping, max_steps, target_loss, exact)
        reason = search.run()
        return _result(search, weights, reason)


class Iteration:
    """Where it is, the best it met, the system at hand and how much the damping is ``raised``.

    ``exact``: systems are solved by factors alone; ``forcing``: how closely the last one that was
    not had to be, relative to |r|; ``target``: the loss to reach.
    """

    def __init__(
        self, start: State, damping: float, max_steps: int, target: float, exact: bool = False
    ) -> None:
        self.state = self.best = start
        self._max_steps, self.target, self.exact = max_steps, target, exact
        self.losses, self.n_systems, self.n_exact = [start.loss], 0, 0
        self.experience, self.worst_residual = Experience(), 0.0
        self.forcing = LARGEST_FORCING
        self.damping, self._start_damping, self.raised = damping, damping, 1.0
        self._eps = float(torch.finfo(start.x.dtype).eps)
        self._size = max(start.loss, float(start.y @ start.y) / len(start.y))
        self._rise = RISE if start.network.act.kinked else 1.0
        self.system: System | None = None

    def run(self) -> LeastSquaresReason:
        """Iterate to the end; why it ended."""
        if not self.state.in_range:
            return LeastSquaresReason.DIVERGED
        bests = [self.best.loss]
        while self.wants_more:
            reason = self.step()
            if reason is not None and self.best.loss > self.target:
                return reason
            bests.append(self.best.loss)
            if len(bests) > PATIENCE and bests[-1] > (1.0 - GAIN) * bests[-1 - PATIENCE]:
                if self.exact:
                    return LeastSquaresReason.STALLED
                # Perhaps for want of a better solution of the systems: not on that evidence.
                self.exact, self.system, bests = True, None, [self.best.loss]
        reached = self.best.loss <= self.target
        return LeastSquaresReason.TARGET_REACHED if reached else LeastSquaresReason.MAX_STEPS

    def step(self) -> LeastSquaresReason | None:
        """Solve one system and take its step if it is good; why it was the last, if it was."""
        if self.system is None:
            forcing = None if self.exact else self.next_forcing()
            self.system = system_for(self.state, forcing, self.experience)
        system = self.system
        if system.is_known and not system.gradient_norm > 0:
            return LeastSquaresReason.ZERO_GRADIENT
        share = min(1.0, self.state.loss / self._size)
        self.damping = self.raised * max(self._eps, self._start_damping * share)
        if not self.damping * self._eps < 1.0:
            return LeastSquaresReason.STALLED
        step, trial = self._tried(system)
        if not system.gradient_norm > 0:
            return LeastSquaresReason.ZERO_GRADIENT
        self._count(step)
        if step is None or trial is None:  # K is singular to rounding
            self.raised *= REJECTED
            return None
        if self.raised <= KILLING and self.is_stationary(step.promised + step.missed):
            if system.eta is None or step.residual is None:
                return LeastSquaresReason.STATIONARY
            # An inexact step promises less than there is: it is no ground for such a claim.
            self.system = system_for(self.state, None, self.experience)
            return None
        before = self.state.loss
        if self.accepts(trial):
            self.state, self.system = trial, None
            self.raised = max(1.0, self.raised / ACCEPTED)
            self.losses.append(trial.loss)
            self.best = min(self.best, trial, key=lambda s: s.loss)
        else:
            self.raised *= REJECTED
            if system.eta is not None:  # the step may have been too rough
                system.eta = max(TIGHTER * system.eta, math.sqrt(self._eps))
        slow = not trial.loss < before / SLOW
        near = self.best.loss <= self._eps * self._size
        if slow and near and self.best.loss <= AT_ROUNDING * self.best.rounding_level():
            return LeastSquaresReason.ROUNDING_LEVEL
        return None

    def _tried(self, system: System) -> tuple[Step | None, State | None]:
        """The system's step and the state it leads to, of which one answer tells."""
        sent = system.send(self.damping)
        if not isinstance(sent, Sent):
            return sent, None if sent is None else self.state.moved(sent.parts)
        trial = self.state.moved(sent.parts, tell=False)
        told: list[float] = torch.cat([sent.asked, trial.asked]).tolist()
        step = sent.told(told[: len(sent.asked)])
        if step is None:
            return None, None
        trial.told(told[len(sent.asked) :])
        return step, trial

    def _count(self, step: Step | None) -> None:
        self.n_systems += 1
        if step is None or step.residual is None:
            self.n_exact += 1
        else:
            self.worst_residual = max(self.worst_residual, step.residual)

    def next_forcing(self) -> float:
        """How closely the next system need be solved."""
        if len(self.losses) > 1:
            found = FORCING * self.losses[-1] / self.losses[-2]
            # Their safeguard: a forcing term that was large does not become small at once.
            kept = FORCING * self.forcing**2
            self.forcing = max(found, kept) if kept > 0.1 else found
        enough = OVERSOLVE * math.sqrt(self.target / self.state.loss)
        self.forcing = min(max(self.forcing, enough, math.sqrt(self._eps)), LARGEST_FORCING)
        return self.forcing

    @property
    def wants_more(self) -> bool:
        """Whether neither the target nor the budget is reached."""
        return self.best.loss > self.target and len(self.losses) <= self._max_steps

    def is_stationary(self, promised: float) -> bool:
        """Whether a decrease of |r|^2 by ``promised`` is lost in the rounding of the loss.

        (With what an imprecise solve may have missed: a useless step is no ground for the claim.)
        Of its sum, eps of it; and of the residuals, |r|^2 being off by 2 |r| |rounding of r|.
        """
        loss = self.state.loss
        # sqrt(level) is at most a tenth of sqrt(loss) where it matters: mostly no question.
        if promised > (4.0 * self._eps + 0.2) * loss * len(self.state.residual):
            return False
        level = self.state.rounding_level()
        noise = 4.0 * self._eps * loss + 2.0 * math.sqrt(loss) * math.sqrt(level)
        return loss > AT_ROUNDING * level and promised <= noise * len(self.state.residual)

    def accepts(self, trial: State) -> bool:
        """Whether to go there."""
        if not (trial.loss < self._rise * self.state.loss and trial.in_range):
            return False
        if not self.state.network.act.rectifies or self.raised >= KILLING:
            return True
        return trial.n_dead <= self.state.n_dead


def _result(
    search: Iteration, initial: Sequence[Tensor], reason: LeastSquaresReason
) -> LeastSquares:
    best = search.best
    gradient = level = math.nan
    if best.in_range:
        gradient = 2.0 / len(best.residual) * norm([best.jacobian.rmv(best.residual)])
        level = best.rounding_level()
    return LeastSquares(
        weights=best.weights,
        loss=np.array(search.losses),
        best_loss=best.loss,
        grad_norm=gradient,
        n_steps=len(search.losses) - 1,
        n_systems=search.n_systems,
        n_factorised=search.n_exact + search.experience.n_factorised,
        n_products=search.experience.n_products,
        worst_residual=search.worst_residual,
        damping=search.damping,
        reason=reason,
        distance=norm([a - b for a, b in zip(best.weights, initial, strict=True)]),
        init_norm=norm(initial),
        rounding_loss=level,
    )


def _check(
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    max_steps: int,
    target_loss: float,
    damping: float,
) -> None:
    if x.ndim != 2 or 0 in x.shape or tuple(y.shape) != (len(x),):
        raise ValueError(
            "expected x of shape (N, d) and y of shape (N,), none of them empty, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not all(bool(t.isfinite().all()) for t in (x, y, *weights)):
        raise ValueError("expected finite x, y and weights, got NaN or inf; check the data")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps!r}")
    if not target_loss >= 0:
        raise ValueError(f"target_loss must be at least 0, got {target_loss!r}")
    if not (damping > 0 and math.isfinite(damping)):
        raise ValueError(f"damping must be positive and finite, got {damping!r}")
