"""Full-batch training of bias-free fully connected networks, many seeds at once.

The loss of a seed is the mean over its N samples of a loss of ``losses``; by default the
mean squared error, (1/N) sum_i (f(x_i) - y_i)^2.
Seeds are independent: each stops for its own reason, and is then taken out of the batch (on a
device: once half of the batch has stopped), so that its numbers are those of a run alone, but for
rounding.  Training amplifies that: after a few tens
of updates two processors, or a seed alone and in a batch, agree to 1e-9 and better; after a
thousand they may agree in no digit of the loss (``early_loss`` shows from where on).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.base.precision import full_precision
from lawsweep.kernels.base.reasons import Ended, Reason
from lawsweep.kernels.network.forward import forward
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.training.checked import (
    as_rates,
    as_targets_of_loss,
    check_settings,
    check_tensors,
)
from lawsweep.kernels.training.gradient import blocks
from lawsweep.kernels.training.layout import LayerMajor
from lawsweep.kernels.training.losses import LossName, as_targets, n_wrong
from lawsweep.kernels.training.optimisers import (
    Optimiser,
    Schedule,
    optimiser,
    schedule_factor,
)
from lawsweep.kernels.training.stepping import steps_of
from lawsweep.kernels.training.stop import CHECK_EVERY, Monitor, StopReason, StopRule

# A device's step takes hardly less for fewer seeds, and a smaller batch is made and recorded anew:
# so it is made where less than this share of its seeds is still in training.
KEPT_SHARE = 0.5 + 1e-9


@dataclass(frozen=True)
class Training(Ended):
    """What training S seeds gave.  Arrays are float64 numpy over the seeds, shape (S,).

    ``final_loss``, ``grad_norm`` (Euclidean, over all weights) and ``weights`` (a list of
    (S, n_{l-1}, n_l) tensors) belong to the state after ``n_steps`` updates.  For a seed that
    ``diverged``, ``n_steps`` is the first step whose loss is not finite, ``final_loss`` is that
    loss (inf or NaN), ``grad_norm`` is NaN and its weights mean nothing.  ``best_loss`` is the
    smallest loss of any step.  ``window_loss`` is the mean loss over the last window of
    CHECK_EVERY steps that the stop rule accepted, NaN where no window was completed.

    ``curve_loss`` (S, K) holds the losses after ``curve_steps`` (K,) updates, about 40 a decade;
    NaN after the seed stopped.  ``early_loss`` (S, 8) holds those after EARLY_STEPS updates.

    ``distance`` is the Euclidean norm of (final - initial weights) over all weights, NaN for a
    seed that diverged, and ``init_norm`` that of the initial weights.  ``n_wrong`` counts the
    training samples misclassified at the last weights (a tie is wrong; NaN for a seed that
    diverged, or whose targets are no classes); it is None where nobody's are.  They are always for
    the logistic loss, and for the squared loss where all are -1 or +1 (one output) or one-hot.

    ``stepped``: how the last seeds' steps were sent, ``calls``, on a CUDA card ``graph`` (one
    launch a step), or why no graph could be made; the numbers are the same.
    """

    weights: list[Tensor]
    initial_loss: np.ndarray
    final_loss: np.ndarray
    best_loss: np.ndarray
    window_loss: np.ndarray
    grad_norm: np.ndarray
    n_steps: np.ndarray
    stop_reason: tuple[StopReason, ...]
    curve_steps: np.ndarray
    curve_loss: np.ndarray
    early_loss: np.ndarray
    distance: np.ndarray
    init_norm: np.ndarray
    n_wrong: np.ndarray | None
    stepped: str = "calls"

    @property
    def verdict(self) -> Reason:
        """The end of the first seed that is no answer, else of the first."""
        return next((r for r in self.stop_reason if not r.ok), self.stop_reason[0])


class _Batch:
    """The seeds still in training: data, weights, gradients, and the blocks that compute them."""

    def __init__(
        self, x: Tensor, y: Tensor, weights: Sequence[Tensor], act: Activation, loss: LossName
    ) -> None:
        self.x, self.y, self.act, self.loss = x.contiguous(), y, act, loss
        self.layout = LayerMajor([tuple(w.shape) for w in weights])
        self.flat = self.layout.flat(weights)
        self.grad = torch.zeros_like(self.flat)
        self.weights = self.layout.views(self.flat)
        self.grads = self.layout.views(self.grad)
        self.losses = x.new_empty((CHECK_EVERY + 1, len(x), 1, 1))
        self._on_cpu = x.device.type == "cpu"
        # On a device a step writes its losses to the same place each time (``stepping``).
        self._here = self.losses if self._on_cpu else x.new_empty((1, *self.losses.shape[1:]))
        self._blocks = blocks(self.x, y, self.weights, self.grads, self._here, act, loss)

    def evaluate(self, slot: int) -> None:
        """Loss summed over samples, into ``losses[slot]``; gradient, into ``grads``."""
        if not self._on_cpu:
            self.losses[slot].copy_(self.evaluate_here()[0])
            return
        for block in self._blocks:
            block.evaluate(slot)

    def evaluate_here(self) -> Tensor:
        """The same with the losses in a tensor (1, S, 1, 1), on a device: always the same one."""
        for block in self._blocks:
            block.evaluate(0)
        return self._here

    def grad_norm(self) -> Tensor:
        """Euclidean norm of each seed's gradient, (S,), scaled so that squares cannot underflow.

        Zero if and only if every entry is zero.
        """
        layers = [g.flatten(1) for g in self.grads]
        largest = torch.stack([g.abs().amax(1) for g in layers]).amax(0).to(torch.float64)
        safe = torch.where(largest > 0, largest, 1.0)[:, None]
        norms = [torch.linalg.vector_norm(g.to(torch.float64) / safe, dim=1) for g in layers]
        return largest * torch.linalg.vector_norm(torch.stack(norms), dim=0)

    def select(self, keep: Tensor) -> _Batch:
        """The batch of the seeds at positions ``keep``, with their gradient and first loss.

        This one is done with: its features and errors go first.
        """
        self._blocks = []
        weights = [w[keep] for w in self.weights]
        other = _Batch(self.x[keep], self.y[keep], weights, self.act, self.loss)
        other.grad.copy_(self.layout.select(self.grad, keep))
        other.losses[0].copy_(self.losses[0, keep])
        return other


@full_precision()
def train(
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    act: Activation,
    *,
    learning_rate: float | Sequence[float],
    optimizer: str | type[Optimiser] = "adam",
    loss: LossName = "squared",
    schedule: Schedule = "constant",
    max_steps: int = 10_000,
    stop_rule: StopRule = "paper",
    target_loss: float | Sequence[float] = 0.0,
) -> Training:
    """Train S networks, one a seed, each on its own data.  Inputs are left unchanged.

    ``x`` (S, N, n_0), ``y`` (S, N), ``weights`` L tensors (S, n_{l-1}, n_l), all of one floating
    dtype and device; ``learning_rate`` is one number for all seeds or one a seed, and so is
    ``target_loss``, at which a seed ends.  With one output
    (n_L = 1) the targets are any numbers for ``squared`` and -1 or +1 for ``logistic``; with
    n_L = C outputs they are (S, N, C) for ``squared``, whose error is summed over outputs, and
    int64 class numbers (S, N) in [0, C) for ``logistic``, which is then softmax cross-entropy.

    ``optimizer``: one of the folder ``optimisers``, or a class of one's own.  ``adam`` is that of
    Kingma and Ba with betas 0.9 and 0.999 and eps 1e-8, ``gd`` plain gradient descent;
    ``schedule`` multiplies the rate (``optimisers.Schedule``).  The rules of stopping, and what
    ``stop_rule`` means, are in ``stop``; a non-finite loss, a dead network or an overflow ends the
    seed with a reason and raises nothing.

    Raises ValueError for shapes, dtypes or settings that do not fit, or data that is not finite.
    """
    make = optimiser(optimizer) if isinstance(optimizer, str) else optimizer
    names = {"loss": loss, "schedule": schedule, "stop_rule": stop_rule}
    check_settings(max_steps, **names)
    check_tensors(x, y, weights, loss)
    rates = as_rates(learning_rate, x.shape[0])
    monitor = Monitor(
        x.shape[0], x.shape[1], max_steps, stop_rule, as_targets_of_loss(target_loss, len(x))
    )
    with torch.no_grad():
        initial = [w.detach() for w in weights]
        final = [w.clone() for w in initial]
        targets = as_targets(loss, y, initial[-1].shape[-1])
        factors = [schedule_factor(schedule, t, max_steps) for t in range(max_steps)]
        how = _loop(
            _Batch(x.detach(), targets, final, act, loss), make, rates, monitor, final, factors
        )
        wrong = _n_wrong(x.detach(), y.detach(), final, act, loss)
    return _result(monitor, initial, final, wrong, how)


def _loop(
    batch: _Batch,
    make: type[Optimiser],
    rates: np.ndarray,
    monitor: Monitor,
    final: list[Tensor],
    factors: Sequence[float],
) -> str:
    """Step until every seed has stopped; the weights of those that did go to ``final``.

    ``factors`` (max_steps,) multiply the learning rate of each update.  How steps were sent.
    """
    n_seeds, max_steps = final[0].shape[0], len(factors)
    method: Optimiser = make(batch.flat, batch.layout, rates)
    # The seed at each place of the batch, and whether it is still in training.
    here, live = np.arange(n_seeds), np.ones(n_seeds, dtype=bool)
    kept = 1.0 if batch.x.device.type == "cpu" else KEPT_SHARE
    steps = steps_of(batch, method)
    batch.evaluate(0)
    done = slot = 0
    while True:
        stays = live.copy()
        stays[live] = _check(monitor, batch, method, here, live, done, slot)
        _keep(final, batch.weights, here, live & ~stays)
        live = stays
        if not live.any():
            return steps.how
        batch.losses[0].copy_(batch.losses[slot])  # the next window begins with it
        if live.mean() < kept:
            keep = torch.from_numpy(np.flatnonzero(live)).to(batch.x.device)
            batch, here = batch.select(keep), here[live]
            method, live = method.select(batch.flat, keep), live[live]
            steps = steps_of(batch, method)
        slot = min(CHECK_EVERY, max_steps - done)
        steps(factors[done : done + slot])
        done += slot


def _keep(final: list[Tensor], weights: list[Tensor], here: np.ndarray, ended: np.ndarray) -> None:
    """Copy the weights at the places that ``ended`` to where their seeds' belong."""
    if ended.any():
        device = final[0].device
        seeds, places = (torch.from_numpy(k).to(device) for k in (here[ended], ended.nonzero()[0]))
        for whole, part in zip(final, weights, strict=True):
            whole.index_copy_(0, seeds, part.index_select(0, places))


def _check(
    monitor: Monitor,
    batch: _Batch,
    method: Optimiser,
    here: np.ndarray,
    live: np.ndarray,
    step: int,
    slot: int,
) -> np.ndarray:
    """Feed the monitor; which of the live seeds go on, (S_live,) bool.  One copy to the host."""
    finite = method.finite()
    norm = batch.grad_norm()
    facts = [*batch.losses[: slot + 1, :, 0, 0].to(torch.float64), norm]
    facts.append(torch.ones_like(norm) if finite is None else finite.to(torch.float64))
    *sums, norms, ok = torch.stack(facts).cpu().numpy()[:, live]
    return monitor.check(step, here[live], np.stack(sums, 1), norms, ok > 0)


def _n_wrong(
    x: Tensor, y: Tensor, weights: list[Tensor], act: Activation, loss: LossName
) -> np.ndarray | None:
    """Misclassified samples at ``weights``, seed by seed to spare memory; NaN for no classes."""
    counts = []
    for i in range(len(x)):
        alone = [w[i] for w in weights]
        outputs = forward(Network.of(alone, act), alone, x[i])[1][-1]
        count = n_wrong(loss, outputs, y[i])
        counts.append(np.nan if count is None else float(count))
    return None if np.isnan(counts).all() else np.array(counts)


def _norms(weights: Sequence[Tensor]) -> np.ndarray:
    """Euclidean norm over all weights of each seed, (S,), computed in float64."""
    squares = [w.to(torch.float64).square().sum((1, 2)) for w in weights]
    return torch.stack(squares).sum(0).sqrt().cpu().numpy()  # type: ignore[no-any-return]


def _result(
    monitor: Monitor,
    initial: list[Tensor],
    final: list[Tensor],
    wrong: np.ndarray | None,
    how: str,
) -> Training:
    reasons = monitor.reasons()
    diverged = np.array([reason is StopReason.DIVERGED for reason in reasons])
    moved = [f.to(torch.float64) - i.to(torch.float64) for f, i in zip(final, initial, strict=True)]
    return Training(
        weights=final,
        initial_loss=monitor.initial_loss,
        final_loss=monitor.final_loss,
        best_loss=monitor.best_loss,
        window_loss=monitor.window_loss,
        grad_norm=monitor.grad_norm,
        n_steps=monitor.n_steps,
        stop_reason=reasons,
        curve_steps=monitor.curve_steps,
        curve_loss=monitor.curve_loss,
        early_loss=monitor.early_loss,
        distance=np.where(diverged, np.nan, _norms(moved)),
        init_norm=_norms(initial),
        n_wrong=None if wrong is None else np.where(diverged, np.nan, wrong),
        stepped=how,
    )


def flops_per_step(n_samples: int, network: Network) -> int:
    """Floating-point operations of the matrix products of one step of one seed, 2N(3p - n_0 n_1).

    Three products a layer (forward, weight gradient, backward) but no backward below the first.
    """
    first, _ = network.shapes[0]
    return int(2 * n_samples * (3 * network.n_weights - first * network.widths[1]))
