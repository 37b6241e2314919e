"""Full-batch training of bias-free fully connected networks, many seeds at once.

The loss of a seed is the mean squared error over its N samples, (1/N) sum_i (f(x_i) - y_i)^2.
Seeds are independent: each stops for its own reason, and is then taken out of the batch, so that
its numbers are those of a run alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.networks import n_params
from lawsweep.kernels.train_gradient import blocks
from lawsweep.kernels.train_optimizers import OPTIMIZERS, LayerMajor, Optimizer
from lawsweep.kernels.train_stop import CHECK_EVERY, Monitor, StopReason, StopRule

OptimizerName = Literal["adam", "gd"]


@dataclass(frozen=True)
class Training:
    """What training S seeds gave.  Arrays are float64 numpy over the seeds, shape (S,).

    ``final_loss``, ``grad_norm`` (Euclidean, over all weights) and ``weights`` (a list of
    (S, n_{l-1}, n_l) tensors) belong to the state after ``n_steps`` updates.  For a seed that
    ``diverged``, ``n_steps`` is the first step whose loss is not finite, ``final_loss`` is that
    loss (inf or NaN), ``grad_norm`` is NaN and its weights mean nothing.  ``best_loss`` is the
    smallest loss of any step.  ``window_loss`` is the mean loss over the last window of
    CHECK_EVERY steps that the stop rule accepted, NaN where no window was completed.

    ``curve_loss`` (S, K) holds the losses after ``curve_steps`` (K,) updates, about 40 a decade;
    NaN after the seed stopped.
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


class _Batch:
    """The seeds still in training: data, weights, gradients, and the blocks that compute them."""

    def __init__(self, x: Tensor, y: Tensor, weights: Sequence[Tensor], act: Activation) -> None:
        self.x, self.y, self.act = x.contiguous(), y.contiguous(), act
        self.layout = LayerMajor([tuple(w.shape) for w in weights])
        self.flat = self.layout.flat(weights)
        self.grad = torch.zeros_like(self.flat)
        self.weights = self.layout.views(self.flat)
        self.grads = self.layout.views(self.grad)
        self.losses = x.new_empty((CHECK_EVERY + 1, len(x), 1, 1))
        self._blocks = blocks(self.x, self.y, self.weights, self.grads, self.losses, act)

    def evaluate(self, slot: int) -> None:
        """Squared error summed over samples, into ``losses[slot]``; gradient, into ``grads``."""
        for block in self._blocks:
            block.evaluate(slot)

    def grad_norm(self) -> np.ndarray:
        """Euclidean norm of each seed's gradient, (S,), scaled so that squares cannot underflow.

        Zero if and only if every entry is zero.
        """
        rows = torch.cat([g.flatten(1) for g in self.grads], 1).to(torch.float64)
        largest = rows.abs().amax(1, keepdim=True)
        safe = torch.where(largest > 0, largest, 1.0)
        norm = largest[:, 0] * torch.linalg.vector_norm(rows / safe, dim=1)
        return norm.cpu().numpy()  # type: ignore[no-any-return]

    def select(self, keep: Tensor) -> _Batch:
        """The batch of the seeds at positions ``keep``, with their gradient and first loss."""
        weights = [w[keep] for w in self.weights]
        other = _Batch(self.x[keep], self.y[keep], weights, self.act)
        other.grad.copy_(self.layout.select(self.grad, keep))
        other.losses[0].copy_(self.losses[0, keep])
        return other


def train(
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    act: Activation,
    *,
    learning_rate: float | Sequence[float],
    optimizer: OptimizerName = "adam",
    max_steps: int = 10_000,
    stop_rule: StopRule = "paper",
    target_loss: float = 0.0,
) -> Training:
    """Train S networks, one a seed, each on its own data.  Inputs are left unchanged.

    ``x`` (S, N, n_0), ``y`` (S, N), ``weights`` L tensors (S, n_{l-1}, n_l) with n_L = 1, all of
    one floating dtype and device; ``learning_rate`` is one number for all seeds or one a seed.
    Adam is that of Kingma and Ba with betas 0.9 and 0.999 and eps 1e-8; ``gd`` is plain gradient
    descent.  The rules of stopping, and what ``stop_rule`` means, are in ``train_stop``; a
    non-finite loss, a dead network or an overflow ends the seed with a reason and raises nothing.

    Raises ValueError for shapes, dtypes or settings that do not fit, or data that is not finite.
    """
    _check_tensors(x, y, weights)
    rates = _rates(learning_rate, x.shape[0])
    _check_settings(optimizer, max_steps, stop_rule, target_loss)
    monitor = Monitor(x.shape[0], x.shape[1], max_steps, stop_rule, target_loss)
    with torch.no_grad():
        final = [w.detach().clone() for w in weights]
        batch = _Batch(x.detach(), y.detach().unsqueeze(-1), final, act)
        method = OPTIMIZERS[optimizer](batch.flat, batch.layout, rates)
        _loop(batch, method, monitor, final, max_steps)
    return _result(monitor, final)


def _loop(
    batch: _Batch, method: Optimizer, monitor: Monitor, final: list[Tensor], max_steps: int
) -> None:
    """Step until every seed has stopped; the weights of those that did go to ``final``."""
    live, slot = np.arange(final[0].shape[0]), 0
    for step in range(max_steps + 1):
        batch.evaluate(slot)
        if slot == CHECK_EVERY or step in (0, max_steps):
            stays = _check(monitor, batch, method, live, step, slot)
            for i in np.flatnonzero(~stays):
                for whole, part in zip(final, batch.weights, strict=True):
                    whole[live[i]] = part[i]
            if not stays.any():
                return
            batch.losses[0].copy_(batch.losses[slot])  # the next window begins with it
            slot = 0
            if not stays.all():
                keep = torch.from_numpy(np.flatnonzero(stays)).to(batch.x.device)
                batch, live = batch.select(keep), live[stays]
                method = method.select(batch.flat, keep)
        method.step(batch.flat, batch.grad)
        slot += 1


def _check(
    monitor: Monitor, batch: _Batch, method: Optimizer, live: np.ndarray, step: int, slot: int
) -> np.ndarray:
    """Feed the monitor; which of the live seeds go on, (S_live,) bool."""
    sums = batch.losses[: slot + 1, :, 0, 0].to(device="cpu", dtype=torch.float64).numpy().T
    return monitor.check(step, live, sums, batch.grad_norm(), method.finite().cpu().numpy())


def _result(monitor: Monitor, weights: list[Tensor]) -> Training:
    return Training(
        weights=weights,
        initial_loss=monitor.initial_loss,
        final_loss=monitor.final_loss,
        best_loss=monitor.best_loss,
        window_loss=monitor.window_loss,
        grad_norm=monitor.grad_norm,
        n_steps=monitor.n_steps,
        stop_reason=monitor.reasons(),
        curve_steps=monitor.curve_steps,
        curve_loss=monitor.curve_loss,
    )


def flops_per_step(n_samples: int, widths: Sequence[int]) -> int:
    """Floating-point operations of the matrix products of one step of one seed, 2N(3p - n_0 n_1).

    Three products a layer (forward, weight gradient, backward) but no backward below the first.
    """
    return 2 * n_samples * (3 * n_params(widths) - widths[0] * widths[1])


def _check_tensors(x: Tensor, y: Tensor, weights: Sequence[Tensor]) -> None:
    if x.ndim != 3 or 0 in x.shape or tuple(y.shape) != tuple(x.shape[:2]):
        raise ValueError(
            "expected x of shape (S, N, d) and y of shape (S, N), none of them empty, got "
            f"{tuple(x.shape)} and {tuple(y.shape)}; add a leading axis for one seed"
        )
    width = x.shape[2]
    for layer, w in enumerate(weights, 1):
        if w.ndim != 3 or w.shape[0] != x.shape[0] or w.shape[1] != width:
            raise ValueError(
                f"expected W_{layer} of shape ({x.shape[0]}, {width}, n_{layer}), got "
                f"{tuple(w.shape)}; give one (S, n_in, n_out) tensor a layer"
            )
        width = w.shape[2]
    if not weights or width != 1:
        raise ValueError(f"expected weights that end in one output, got {width}; n_L must be 1")
    tensors = (x, y, *weights)
    if {t.dtype for t in tensors} not in ({torch.float64}, {torch.float32}):
        raise ValueError(
            "expected x, y and weights all float64 or all float32, got "
            f"{', '.join(sorted({str(t.dtype) for t in tensors}))}; convert them first"
        )
    if not all(bool(torch.isfinite(t).all()) for t in tensors):
        raise ValueError("expected finite x, y and weights, got NaN or inf; check the data")


def _rates(learning_rate: float | Sequence[float], n_seeds: int) -> np.ndarray:
    """One learning rate a seed, float64 (S,)."""
    given = np.asarray(learning_rate, dtype=np.float64)
    if given.shape not in ((), (n_seeds,)):
        raise ValueError(
            f"expected one learning_rate or {n_seeds}, one a seed, got shape {given.shape}"
        )
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    return np.broadcast_to(given, (n_seeds,)).copy()


def _check_settings(optimizer: str, max_steps: int, stop_rule: str, target_loss: float) -> None:
    for name, value, valid in (
        ("optimizer", optimizer, tuple(OPTIMIZERS)),
        ("stop_rule", stop_rule, get_args(StopRule)),
    ):
        if value not in valid:
            raise ValueError(f"unknown {name} {value!r}; valid: {', '.join(valid)}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps!r}")
    if not target_loss >= 0:
        raise ValueError(f"target_loss must be at least 0 (0 is off), got {target_loss!r}")
