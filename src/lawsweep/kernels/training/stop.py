"""When a training run ends, and why.

Losses are looked at every CHECK_EVERY steps, so that a device is not waited for at each step.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from lawsweep.kernels.base.names import check_name
from lawsweep.kernels.base.reasons import Reason

CHECK_EVERY = 100
# Where ``Training.early_loss`` is taken: close at first, where any processor has the same loss.
EARLY_STEPS = (1, 3, 10, 30, 100, 300, 1000, 3000)
_CURVE_PER_DECADE = 40

StopRule = Literal["paper", "checks", "none"]
"""When a rising loss ends training; looked at after 100, 200, ... steps, not after the last step.

``paper``: the loss summed over the last 100 steps exceeds that of the 100 steps before.  The
    protocol of Fig. 2 of [M] (arXiv 2205.10217) as in the script the authors published for it
    (github.com/simone-bombari/smallest-eigenvalue-NTK, main_optimization.py).  Sums are float64.
``checks``: the loss now exceeds the loss 100 steps ago: the other meaning that the words "stop
    if the summed loss rose, every 100 steps" can have (summed over samples).  It ends runs earlier.
``none``: never.
"""


class StopReason(Reason):
    """Why a seed's training ended, and what to do about it; only a divergence left no weights.

    The target is reached where the loss is at most target_loss (for one of 0: exactly zero).
    """

    MAX_STEPS = "max_steps", "the budget was spent; a larger max_steps may lower the loss", True
    LOSS_ROSE = (
        "loss_rose",
        "the loss went up, where the stop rule ends; a smaller learning rate or stop_rule=none "
        "goes on",
        True,
    )
    TARGET_REACHED = "target_reached"
    ZERO_GRADIENT = (
        "zero_gradient",
        "the gradient is exactly zero and the loss no longer moves, as where all ReLUs are off",
        True,
    )
    DIVERGED = (
        "diverged",
        "a loss, or the optimiser's state, is not finite; lower the learning rate",
    )


def curve_steps(max_steps: int) -> np.ndarray:
    """Steps at which the curve is kept: 0, max_steps and about 40 a decade between."""
    n = int(np.ceil(np.log10(max(max_steps, 2)) * _CURVE_PER_DECADE)) + 1
    spread = np.rint(np.geomspace(1, max_steps, n)).astype(np.int64)
    return np.unique(np.concatenate([[0], spread, [max_steps]]))


class Monitor:
    """The losses of S seeds as they train: what is kept, and who stops when.

    ``target_loss``: one number, or (S,).
    """

    def __init__(
        self, n_seeds: int, n_samples: int, max_steps: int, rule: StopRule, target_loss: Any
    ) -> None:
        check_name("stop_rule", rule, get_args(StopRule))
        self._n_samples, self._max_steps = n_samples, max_steps
        self._rule = rule
        self._target = np.broadcast_to(np.asarray(target_loss, dtype=np.float64), (n_seeds,))
        nan = np.full(n_seeds, np.nan)
        self.initial_loss, self.final_loss, self.grad_norm = nan.copy(), nan.copy(), nan.copy()
        self.window_loss, self.best_loss = nan.copy(), np.full(n_seeds, np.inf)
        self.n_steps = np.zeros(n_seeds, dtype=np.int64)
        self.curve_steps = curve_steps(max_steps)
        self.curve_loss = np.full((n_seeds, len(self.curve_steps)), np.nan)
        self.early_loss = np.full((n_seeds, len(EARLY_STEPS)), np.nan)
        self._reasons: list[StopReason | None] = [None] * n_seeds

    def reasons(self) -> tuple[StopReason, ...]:
        """Why each seed stopped; all must have."""
        done = tuple(r for r in self._reasons if r is not None)
        if len(done) < len(self._reasons):
            raise RuntimeError("a seed ended without a reason: a bug in train")
        return done

    def check(
        self,
        step: int,
        live: np.ndarray,
        sums: np.ndarray,
        grad_norm: np.ndarray,
        state_finite: np.ndarray,
    ) -> np.ndarray:
        """Look at the live seeds after ``step`` updates; which of them go on, (S_live,) bool.

        ``live`` (S_live,) their indices; ``sums`` (S_live, m+1) the squared error summed over
        samples after ``step - m``, ..., ``step`` updates; ``grad_norm`` now; ``state_finite``
        whether the optimiser's state is.
        """
        stays = np.ones(len(live), dtype=bool)
        for i, seed in enumerate(live):
            reason = self._one(step, seed, sums[i] / self._n_samples, grad_norm[i], state_finite[i])
            self._reasons[seed] = reason
            stays[i] = reason is None
        return stays

    def _one(
        self, step: int, seed: int, losses: np.ndarray, grad_norm: float, state_finite: bool
    ) -> StopReason | None:
        finite = np.isfinite(losses)
        first_bad = len(losses) if finite.all() else int(np.argmin(finite))
        at = step - len(losses) + 1 + min(first_bad, len(losses) - 1)
        self._keep(seed, at, losses[: first_bad + 1])
        if first_bad < len(losses) or not state_finite:
            self.grad_norm[seed] = np.nan
            return StopReason.DIVERGED
        self.grad_norm[seed] = grad_norm
        now = losses[-1]
        rose = self._rose(step, seed, losses)
        if now <= self._target[seed]:
            return StopReason.TARGET_REACHED
        # After a whole window of zero gradients Adam's momentum is spent (0.9^100 = 3e-5).
        if grad_norm == 0 and bool((losses == now).all()):
            return StopReason.ZERO_GRADIENT
        if step == self._max_steps:
            return StopReason.MAX_STEPS
        return StopReason.LOSS_ROSE if rose else None

    def _keep(self, seed: int, at: int, losses: np.ndarray) -> None:
        """Record the losses of the steps up to ``at``, the last of them."""
        start = at - len(losses) + 1
        if start == 0:
            self.initial_loss[seed] = losses[0]
        finite = losses[np.isfinite(losses)]
        self.best_loss[seed] = min(self.best_loss[seed], finite.min(initial=np.inf))
        self.final_loss[seed], self.n_steps[seed] = losses[-1], at
        kept = (self.curve_steps, self.curve_loss), (np.array(EARLY_STEPS), self.early_loss)
        for steps, curve in kept:
            lo, hi = np.searchsorted(steps, (start, at + 1))
            curve[seed, lo:hi] = losses[steps[lo:hi] - start]

    def _rose(self, step: int, seed: int, losses: np.ndarray) -> bool:
        """Whether the stop rule ends this seed; else the window is accepted."""
        if len(losses) <= CHECK_EVERY or step == self._max_steps:
            return False
        window = float(losses[:-1].mean())
        if self._rule == "paper" and window > self.window_loss[seed]:  # False for NaN, at first
            return True
        self.window_loss[seed] = window
        return self._rule == "checks" and bool(losses[-1] > losses[0])
