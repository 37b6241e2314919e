"""The linear systems of Gauss-Newton on a fully connected network with one output.

With the residual r = f(W) - y of N samples and its Jacobian J (N, p), the damped step minimises
|r + J delta|^2 + mu |delta|^2 and has two equal forms:

    delta = -J^T u,  (K + mu I) u = r,  K = J J^T         (p >= N: a system of N unknowns)
    (J^T J + mu I) delta = -J^T r                         (p <  N: a system of p unknowns)

In the first, K is the layerwise Gram of ``ntk`` and J^T u two products a layer, so that J is never
formed; in the second it is, some rows at a time.  Setting: arXiv 2205.10217.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.linalg.cholesky import Cholesky
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk.gram import gram
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.ntk.linearisation import Linearisation, OutOfRangeError, passes

# The share of |r| that a factor's solution may leave of its system: a step that leaves more is a
# worse one than a larger damping gives (and no inexact solve is let off with it).
USABLE = 0.5


class State:
    """Weights with their residual, and the factors of their Jacobian where they are in range.

    ``x`` (N, d), ``y`` (N,), ``weights`` L tensors (n_{l-1}, n_l) with n_L = 1.  ``loss`` is the
    mean squared residual.
    """

    def __init__(self, network: Network, weights: list[Tensor], x: Tensor, y: Tensor) -> None:
        self.network, self.weights, self.x, self.y = network, weights, x, y
        # The Jacobian's factors at once: nearly every state's is wanted, and they give the output.
        passed = passes(network, weights, x)
        self.lin: Linearisation | None = passed.lin
        """The factors F_{l-1}, B_l; None where they leave the floating-point range."""
        self.residual = passed.lin.outputs - y
        asked = [self.residual @ self.residual, self._dead(), passed.in_range.to(x.dtype)]
        told: list[float] = torch.stack(asked).tolist()
        square, dead, in_range = told
        if not in_range:
            try:
                passed.settle()
            except OutOfRangeError:
                self.lin = None
        self.loss, self.n_dead = square / len(y), int(dead)
        """The loss; the samples with a layer of exact zeros, whose output and gradient are 0."""

    @property
    def in_range(self) -> bool:
        """Whether the loss and the Jacobian are finite."""
        return math.isfinite(self.loss) and self.lin is not None

    @property
    def n_params(self) -> int:
        """Number of weights p."""
        return sum(w.numel() for w in self.weights)

    @cached_property
    def jacobian(self) -> Jacobian:
        """J, where it is in range."""
        return Jacobian.of(self._factors())

    def moved(self, step: Sequence[Tensor]) -> State:
        """The state at the weights plus ``step``."""
        weights = [w + s for w, s in zip(self.weights, step, strict=True)]
        return State(self.network, weights, self.x, self.y)

    def _dead(self) -> Tensor:
        """How many samples are dead, counted in the residual's type; 0 where no unit can be off."""
        features = () if self.lin is None else self.lin.features
        if len(features) < 2 or not self.network.act.rectifies:
            return self.residual.new_zeros(())
        # Numbers of samples are exact in float32 too, up to 2^24 of them.
        return (features[-1].abs().amax(1) == 0).sum().to(self.residual.dtype)

    def rounding_level(self) -> float:
        """The mean squared residual that rounding alone leaves, to first order.

        Weights rounded to their type, W_jk (1 + u e_jk) with independent |e_jk| <= 1, move the
        output of sample i by sum_l sum_jk F_ij B_ik W_jk u e_jk, whose mean square is at most

            u^2 sum_l sum_jk F_ij^2 W_jk^2 B_ik^2;

        the roundings of the inner products F W are of the same form and as large.  No weights of
        this type can be expected to fit better.  (Losses where the iteration stands still were
        1.0 to 3.1 times this mean, over ten problems in float64 and float32.)  O(N p).
        """
        unit = tolerances(self.x.dtype).unit
        lin = self._factors()
        parts = zip(lin.every, self.weights, strict=True)
        total = sum(((f.features**2) @ (w * w) * f.back**2).sum(1) for f, w in parts)
        assert isinstance(total, Tensor)
        return unit**2 * float((total + self.y * self.y).mean())

    def _factors(self) -> Linearisation:
        assert self.lin is not None
        return self.lin


def norm(parts: Sequence[Tensor]) -> float:
    """Euclidean norm over all entries, scaled so that squares neither overflow nor underflow."""
    asked: list[float] = torch.stack(_scaled_norm(parts)).tolist()
    largest, scaled = asked
    return largest * scaled if largest > 0 and math.isfinite(largest) else largest


def _scaled_norm(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(largest entry's size, norm over it) in float64, still on the device."""
    largest = torch.stack([t.abs().amax() for t in parts]).amax()
    squares = [(t / largest).square().sum(dtype=torch.float64) for t in parts]
    return largest.to(torch.float64), torch.stack(squares).sum().sqrt()


@dataclass(frozen=True, eq=False)
class Step:
    """A damped Gauss-Newton step: a tensor a layer; ``promised``: the linear model's decrease.

    ``promised`` is |r|^2 - |r + J delta|^2 of this very step.  ``residual`` is that of the
    linear system, relative to its right-hand side, where it was solved by iteration; None where
    by a factor, to rounding.  ``missed``: |e|^2, e what rounding left of (K + mu I) u = r.  The
    exact solution promises at most 2 (promised + missed): with the damping's term, which is half
    of a promise at most, it lowers the model by e^T K (K + mu I)^{-1} e more than u.
    """

    parts: list[Tensor]
    promised: float
    residual: float | None = None
    missed: float = 0.0


def promised(residual: Tensor, image: Tensor) -> float:
    """|r|^2 - |r - ``image``|^2 without cancellation, image = -J delta."""
    return float(image @ (2.0 * residual - image))


class System(ABC):
    """One damped linear system at a state, solved for any damping.

    ``scale``: its mean diagonal; ``gradient_norm``: |J^T r|; ``eta``: the relative residual that a
    step is solved to, None where that is rounding.
    """

    scale: float
    gradient_norm: float
    eta: float | None = None

    @abstractmethod
    def solve(self, damping: float) -> Step | None:
        """The step for mu = ``damping`` times the mean diagonal; None where there is none."""


class GramSystem(System):
    """(K + mu I) u = r: for p >= N.  Memory: K and one factor."""

    def __init__(self, state: State) -> None:
        assert state.lin is not None
        self.state, self.matrix = state, gram(state.lin)
        self.scale, self.gradient_norm = _facts(self.matrix, state.jacobian.rmv(state.residual))
        self._work = workspace.empty(self.matrix, tuple(self.matrix.shape))

    def solve(self, damping: float) -> Step | None:
        """The step for mu = ``damping`` times the mean diagonal; None where the Cholesky fails.

        Or where it completes with a factor of no use, as it may for mu below the rounding of K.
        """
        mu, r = damping * self.scale, self.state.residual
        u = factored(self.matrix, mu, r, self._work)
        if u is None:
            return None
        image = self.matrix @ u
        missed = (r - image).sub_(u, alpha=mu)
        asked = torch.stack([missed.norm(), r.norm(), image @ (2.0 * r - image), missed @ missed])
        left, size, promise, square = asked.tolist()
        # A solution that is not finite leaves NaN, which is no less than anything.
        if not left <= USABLE * size:
            return None
        parts = self.state.jacobian.split(self.state.jacobian.rmv(u).neg_())
        return Step(parts, promise, missed=square)


class NormalSystem(System):
    """(J^T J + mu I) delta = -J^T r: for p < N, with J in blocks of rows."""

    def __init__(self, state: State) -> None:
        n, p = state.jacobian.shape
        self.state = state
        matrix = state.x.new_zeros((p, p))
        rows = max(1, devices.JACOBIAN_BYTES // (p * state.x.element_size()))
        for begin in range(0, n, rows):
            j = state.jacobian.rows(slice(begin, begin + rows))
            # The lower triangle, which is all that is read.
            for left in range(0, p, devices.NORMAL_COLUMNS):
                right = min(left + devices.NORMAL_COLUMNS, p)
                matrix[left:, left:right].addmm_(j[:, left:].mT, j[:, left:right])
        self.matrix, self.gradient = matrix, state.jacobian.rmv(state.residual)
        self.scale, self.gradient_norm = _facts(matrix, self.gradient)
        self._work = workspace.empty(matrix, tuple(matrix.shape))

    def solve(self, damping: float) -> Step | None:
        """The step for mu = ``damping`` times the mean diagonal; None where the Cholesky fails."""
        mu = damping * self.scale
        step = factored(self.matrix, mu, -self.gradient, self._work)
        if step is None:
            return None
        # -2 g.delta - |J delta|^2, with |J delta|^2 = -g.delta - mu |delta|^2.
        square, inner = torch.stack([step @ step, self.gradient @ step]).tolist()
        if not (math.isfinite(square) and math.isfinite(inner)):
            return None
        return Step(self.state.jacobian.split(step), mu * square - inner)


def _facts(matrix: Tensor, gradient: Tensor) -> tuple[float, float]:
    """(mean diagonal of a system, norm of the gradient), by one answer of the device."""
    largest, scaled = _scaled_norm([gradient])
    asked = torch.stack([matrix.diagonal().mean().to(torch.float64), largest, scaled])
    told: list[float] = asked.tolist()
    scale, most, relative = told
    return scale, most * relative if most > 0 and math.isfinite(most) else most


def system_of(state: State) -> System:
    """The smaller of the two systems."""
    return GramSystem(state) if state.n_params >= len(state.residual) else NormalSystem(state)


def factored(matrix: Tensor, shift: float, right: Tensor, work: Tensor) -> Tensor | None:
    """(A + shift I)^{-1} ``right`` by a Cholesky factor in ``work``; None where it breaks down.

    Whether it is finite is for the caller to see, with what else it asks of the device.
    """
    factor = Cholesky.of(matrix, shift=shift, work=work)
    return None if factor is None else factor.solve(right)
