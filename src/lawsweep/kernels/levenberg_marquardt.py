"""Levenberg-Marquardt for least squares on a fully connected network, on the NTK Gram matrix.

With the residual r = f(W) - y of N samples and its Jacobian J (N, p), the damped Gauss-Newton
step minimises |r + J delta|^2 + mu |delta|^2 and has two equal forms:

    delta = -J^T u,  (K + mu I) u = r,  K = J J^T         (p >= N: a system of N unknowns)
    (J^T J + mu I) delta = -J^T r                         (p <  N: a system of p unknowns)

In the first, K is the layerwise Gram of ``ntk`` and J^T u = (F_{l-1}^T (diag(u) B_l))_l, so that J
is never formed.  The damping follows the gain (K. Madsen, H. B. Nielsen, O. Tingleff, "Methods for
non-linear least squares problems", 2004, section 3.2).  Setting: arXiv 2205.10217, where K at
initialisation has full rank once p exceeds N up to logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.activations import Activation
from lawsweep.kernels.networks import forward
from lawsweep.kernels.ntk import Linearisation, OutOfRangeError, gram, linearise

# Of the mean diagonal of the system.  Small: what is damped is only what rounding would decide;
# larger values turn the step towards the gradient, which feeds a few directions of K.
DAMPING = 1e-4
FRACTIONS = (1.0, 0.5, 0.25, 0.125)
PATIENCE = 40  # steps without a new best loss
BLOCK_BYTES = 2**26  # of Jacobian rows held at once where p < N


class LeastSquaresReason(StrEnum):
    """Why the iteration ended, and what to do about it."""

    TARGET_REACHED = "target_reached"
    """The loss is at most target_loss."""
    MAX_STEPS = "max_steps"
    """The budget was spent; a larger max_steps may lower the loss."""
    STALLED = "stalled"
    """No new best loss for PATIENCE steps: a local minimum, a crease, or rounding level."""
    ZERO_GRADIENT = "zero_gradient"
    """The gradient is exactly zero, as where all ReLUs are off."""
    DIVERGED = "diverged"
    """The loss at the start is not finite; rescale the data or the weights."""


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """What the iteration gave.

    ``loss`` is the mean squared error after every step, loss[0] at the start; it may rise on the
    way.  ``weights`` are those of the smallest, ``best_loss``, and ``grad_norm`` the Euclidean
    norm of its gradient there.  ``n_systems`` counts linear systems solved, ``damping`` is the
    last mu over the mean diagonal of the system.
    """

    weights: list[Tensor]
    loss: np.ndarray
    best_loss: float
    grad_norm: float
    n_steps: int
    n_systems: int
    damping: float
    reason: LeastSquaresReason


def levenberg_marquardt(
    x: Tensor,
    y: Tensor,
    weights: Sequence[Tensor],
    act: Activation,
    *,
    max_steps: int = 200,
    target_loss: float = 0.0,
    damping: float = DAMPING,
) -> LeastSquares:
    """Minimise (1/N) sum_i (f(x_i) - y_i)^2 over the weights of one network.

    ``x`` (N, d), ``y`` (N,), ``weights`` L tensors (n_{l-1}, n_l) with n_L = 1, left unchanged.
    A step costs N^2 sum_l (n_{l-1} + n_l) + N^3 / 3 flops where p >= N, N p^2 + p^3 / 3 else, and
    memory for two matrices of that system.  ``damping``: mu over the mean diagonal of the system.

    A start whose loss is not finite, a dead network and a stall are reasons, not errors.  Raises
    ValueError for settings or shapes that do not fit.
    """
    _check(x, y, weights, max_steps, target_loss, damping)
    with torch.no_grad():
        state = _State([w.detach().clone() for w in weights], x, y, act)
        if not math.isfinite(state.loss) or state.lin is None:
            return _result(state, [state.loss], 0, damping, LeastSquaresReason.DIVERGED)
        return _iterate(state, max_steps, target_loss, damping)


class _State:
    """Weights with their residual, and the factors of their Jacobian where they are in range."""

    def __init__(self, weights: list[Tensor], x: Tensor, y: Tensor, act: Activation) -> None:
        self.weights, self.x, self.y, self.act = weights, x, y, act
        features, _ = forward(x, weights, act)
        self.residual = features[-1].squeeze(-1) - y
        self.loss = float(self.residual @ self.residual) / len(y)
        self._lin: Linearisation | None = None

    @property
    def lin(self) -> Linearisation | None:
        """The factors F_{l-1}, B_l; None where they leave the floating-point range."""
        if self._lin is None:
            try:
                self._lin = linearise(self.x, self.weights, self.act)
            except OutOfRangeError:
                return None
        return self._lin

    def pull_back(self, u: Tensor) -> list[Tensor]:
        """J^T u as one tensor a layer."""
        assert self.lin is not None
        pairs = zip(self.lin.features, self.lin.backprops, strict=True)
        return [f.mT @ (u.unsqueeze(-1) * b) for f, b in pairs]

    def moved(self, step: Sequence[Tensor]) -> _State:
        weights = [w + s for w, s in zip(self.weights, step, strict=True)]
        return _State(weights, self.x, self.y, self.act)


def _iterate(state: _State, max_steps: int, target: float, damping: float) -> LeastSquares:
    best, since, losses, n_systems = state, 0, [state.loss], 0
    reason = LeastSquaresReason.MAX_STEPS
    limit = 1.0 / float(torch.finfo(state.x.dtype).eps)
    while best.loss > target and len(losses) <= max_steps:
        system = _system(state)
        if not system.gradient_norm > 0:
            reason = LeastSquaresReason.ZERO_GRADIENT
            break
        solved = None
        while solved is None and damping < limit:
            n_systems += 1
            solved = system.solve(damping)
            damping *= 1.0 if solved else 10.0  # no Cholesky: K is singular to rounding
        trial = None if solved is None else _shortened(state, solved)
        if trial is None or since >= PATIENCE:
            reason = LeastSquaresReason.STALLED
            break
        state = trial
        losses.append(state.loss)
        since = 0 if state.loss < best.loss else since + 1
        best = state if state.loss < best.loss else best
    if best.loss <= target:
        reason = LeastSquaresReason.TARGET_REACHED
    return _result(best, losses, n_systems, damping, reason)


def _shortened(state: _State, step: list[Tensor]) -> _State | None:
    """The best of a few fractions of the step; None where all of them leave the range.

    The best may be worse than where we are.  A ReLU network's loss has creases, into which a
    descent method that insists on descent creeps with ever shorter steps and stays, however
    positive K; a step of no less than an eighth leaves them (N = p / 2, depth 4, width 22: 40 to
    75 steps to 1e-20, where insisting ended at 6e-3 with steps of 1e-9).
    """
    trials = [state.moved([t * s for s in step]) for t in FRACTIONS]
    trials = [t for t in trials if math.isfinite(t.loss) and t.lin is not None]
    return min(trials, key=lambda t: t.loss, default=None)


class _GramSystem:
    """(K + mu I) u = r: for p >= N."""

    def __init__(self, state: _State) -> None:
        assert state.lin is not None
        self.state, self.matrix = state, gram(state.lin)
        self.scale = float(self.matrix.diagonal().mean())
        gradient = state.pull_back(state.residual)
        self.gradient_norm = math.sqrt(sum(float((g * g).sum()) for g in gradient))

    def solve(self, damping: float) -> list[Tensor] | None:
        """The step, one tensor a layer; None where the Cholesky fails."""
        u = _solve(self.matrix, damping * self.scale, self.state.residual)
        return None if u is None else [-s for s in self.state.pull_back(u)]


class _NormalSystem:
    """(J^T J + mu I) delta = -J^T r: for p < N, with J in blocks of rows."""

    def __init__(self, state: _State) -> None:
        lin = state.lin
        assert lin is not None
        self.state, n = state, lin.n_samples
        self.shapes = [tuple(w.shape) for w in state.weights]
        p = sum(a * b for a, b in self.shapes)
        matrix = state.x.new_zeros((p, p))
        rows = max(1, BLOCK_BYTES // (p * state.x.element_size()))
        for begin in range(0, n, rows):
            cut = slice(begin, min(begin + rows, n))
            pairs = zip(lin.features, lin.backprops, strict=True)
            j = torch.cat([(f[cut, :, None] * b[cut, None, :]).flatten(1) for f, b in pairs], 1)
            matrix.addmm_(j.mT, j)
        self.matrix = matrix
        self.scale = float(matrix.diagonal().mean())
        self.gradient = torch.cat([g.flatten() for g in state.pull_back(state.residual)])
        self.gradient_norm = float(self.gradient.norm())

    def solve(self, damping: float) -> list[Tensor] | None:
        """The step, one tensor a layer; None where the Cholesky fails."""
        step = _solve(self.matrix, damping * self.scale, -self.gradient)
        if step is None:
            return None
        parts = step.split([a * b for a, b in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


def _system(state: _State) -> _GramSystem | _NormalSystem:
    n_weights = sum(w.numel() for w in state.weights)
    return _GramSystem(state) if n_weights >= len(state.residual) else _NormalSystem(state)


def _solve(matrix: Tensor, shift: float, right: Tensor) -> Tensor | None:
    shifted = matrix.clone()
    shifted.diagonal().add_(shift)
    factor, info = torch.linalg.cholesky_ex(shifted)
    if int(info) != 0:
        return None
    found = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
    return found if bool(found.isfinite().all()) else None


def _result(
    state: _State,
    losses: list[float],
    n_systems: int,
    damping: float,
    reason: LeastSquaresReason,
) -> LeastSquares:
    norm = math.nan
    if state.lin is not None and math.isfinite(state.loss):
        gradient = state.pull_back(state.residual)
        norm = 2.0 / len(state.residual) * math.sqrt(sum(float((g * g).sum()) for g in gradient))
    return LeastSquares(
        weights=state.weights,
        loss=np.array(losses),
        best_loss=state.loss,
        grad_norm=norm,
        n_steps=len(losses) - 1,
        n_systems=n_systems,
        damping=damping,
        reason=reason,
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
