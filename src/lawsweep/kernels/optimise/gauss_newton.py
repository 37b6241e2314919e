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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lawsweep.kernels.base import devices, workspace
from lawsweep.kernels.base.answers import plus, waits
from lawsweep.kernels.base.rounding import tolerances
from lawsweep.kernels.linalg.cholesky import Cholesky, factorise_ahead, load, solve
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

    def __init__(
        self, network: Network, weights: list[Tensor], x: Tensor, y: Tensor, *, tell: bool = True
    ) -> None:
        self.network, self.weights, self.x, self.y = network, weights, x, y
        # The Jacobian's factors at once: nearly every state's is wanted, and they give the output.
        self._passed = passes(network, weights, x)
        self.lin: Linearisation | None = self._passed.lin
        """The factors F_{l-1}, B_l; None where they leave the floating-point range."""
        self.residual = self._passed.lin.outputs - y
        self._level: float | None = None
        asked = [self.residual @ self.residual, self._dead(), self._passed.in_range]
        if waits(x):  # an answer of its own would take longer
            asked.append(self._rounding_level())
        self.asked = torch.stack([a.to(torch.float64) for a in asked])
        """What the state has to be told of itself (``told``), on the device."""
        if tell:
            self.told(self.asked.tolist())

    def told(self, answer: Sequence[float]) -> None:
        """Take in what ``asked`` came to; before that there is no loss."""
        square, dead, in_range, *level = answer
        if not in_range:
            try:
                self._passed.settle()
            except OutOfRangeError:
                self.lin = None
        self._level = level[0] if level else None
        self.loss, self.n_dead = square / len(self.y), int(dead)
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

    def moved(self, step: Sequence[Tensor], *, tell: bool = True) -> State:
        """The state at the weights plus ``step``; ``tell``: whether it is told of itself."""
        weights = [w + s for w, s in zip(self.weights, step, strict=True)]
        return State(self.network, weights, self.x, self.y, tell=tell)

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
        if self._level is None:
            self._level = float(self._rounding_level())
        return tolerances(self.x.dtype).unit ** 2 * self._level

    def _rounding_level(self) -> Tensor:
        """That over u^2."""
        parts = zip(self._factors().every, self.weights, strict=True)
        total = sum(((f.features**2) @ (w * w) * f.back**2).sum(1) for f, w in parts)
        assert isinstance(total, Tensor)
        return (total + self.y * self.y).mean()

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


@dataclass(frozen=True, eq=False)
class Sent:
    """A step of which nothing is known yet: ``told`` makes it of what ``asked`` came to.

    None where it is no step: the factor broke down, or is of no use.
    """

    parts: list[Tensor]
    asked: Tensor
    told: Callable[[Sequence[float]], Step | None]


class System(ABC):
    """One damped linear system at a state, solved for any damping.

    ``eta``: the relative residual that a step is solved to, None where that is rounding.
    """

    eta: float | None = None

    def __init__(self, facts: Tensor) -> None:
        self.facts = facts
        """(mean diagonal, and the largest size in J^T r and its norm over that), on the device."""
        self._facts: tuple[float, float] | None = None

    @property
    def is_known(self) -> bool:
        """Whether asking for the next two waits for nothing."""
        return self._facts is not None or not waits(self.facts)

    @property
    def scale(self) -> float:
        """The mean diagonal."""
        return self._known()[0]

    @property
    def gradient_norm(self) -> float:
        """|J^T r|."""
        return self._known()[1]

    def learn(self, facts: Sequence[float]) -> None:
        """Take in what ``facts`` came to."""
        scale, most, relative = facts
        whole = most * relative if most > 0 and math.isfinite(most) else most
        self._facts = scale, whole

    def _known(self) -> tuple[float, float]:
        if self._facts is None:
            self.learn(self.facts.tolist())
        assert self._facts is not None
        return self._facts

    @abstractmethod
    def send(self, damping: float) -> Sent | Step | None:
        """The step for mu = ``damping`` times the mean diagonal; None where there is none."""

    def solve(self, damping: float) -> Step | None:
        """``send``, and what came of it."""
        sent = self.send(damping)
        return sent.told(sent.asked.tolist()) if isinstance(sent, Sent) else sent

    def _sent(
        self, parts: list[Tensor], asked: Sequence[Tensor], told: Callable[..., Step | None]
    ) -> Sent:
        """``told`` is given the numbers ``asked``; the facts come along with them."""

        def both(answer: Sequence[float]) -> Step | None:
            self.learn(answer[:3])
            return told(*answer[3:])

        return Sent(
            parts, torch.cat([self.facts, torch.stack(list(asked)).to(torch.float64)]), both
        )


def promised(residual: Tensor, image: Tensor) -> Tensor:
    """|r|^2 - |r - ``image``|^2 without cancellation, image = -J delta."""
    return image @ (2.0 * residual - image)


class GramSystem(System):
    """(K + mu I) u = r: for p >= N.  Memory: K and one factor."""

    def __init__(self, state: State) -> None:
        assert state.lin is not None
        self.state, self.matrix = state, gram(state.lin)
        super().__init__(facts_of(self.matrix.diagonal(), state.jacobian.rmv(state.residual)))
        self._work = workspace.empty(self.matrix, tuple(self.matrix.shape))

    def send(self, damping: float) -> Sent | None:
        """The step for mu = ``damping`` times the mean diagonal; None where the Cholesky fails.

        Or where it completes with a factor of no use, as it may for mu below the rounding of K.
        """
        mu, r = damping * self.facts[0], self.state.residual
        u = factored(self.matrix, mu, r, self._work)
        if u is None:
            return None
        image = self.matrix @ u
        missed = plus(r - image, u, -mu)
        asked = [missed.norm(), r.norm(), image @ (2.0 * r - image), missed @ missed]
        parts = self.state.jacobian.split(self.state.jacobian.rmv(u).neg_())

        def told(left: float, size: float, promise: float, square: float) -> Step | None:
            # A solution that is not finite leaves NaN, which is no less than anything.
            return Step(parts, promise, missed=square) if left <= USABLE * size else None

        return self._sent(parts, asked, told)


class NormalSystem(System):
    """(J^T J + mu I) delta = -J^T r: for p < N, with J in blocks of rows."""

    def __init__(self, state: State) -> None:
        n, p = state.jacobian.shape
        self.state = state
        matrix = state.x.new_zeros((p, p))
        sizes = devices.on(state.x.device)
        rows = max(1, sizes.jacobian_bytes // (p * state.x.element_size()))
        for begin in range(0, n, rows):
            j = state.jacobian.rows(slice(begin, begin + rows))
            # The lower triangle, which is all that is read.
            for left in range(0, p, sizes.normal_columns):
                right = min(left + sizes.normal_columns, p)
                matrix[left:, left:right].addmm_(j[:, left:].mT, j[:, left:right])
        self.matrix, self.gradient = matrix, state.jacobian.rmv(state.residual)
        super().__init__(facts_of(matrix.diagonal(), self.gradient))
        self._work = workspace.empty(matrix, tuple(matrix.shape))

    def send(self, damping: float) -> Sent | None:
        """The step for mu = ``damping`` times the mean diagonal; None where the Cholesky fails."""
        mu = damping * self.facts[0]
        step = factored(self.matrix, mu, -self.gradient, self._work)
        if step is None:
            return None
        parts = self.state.jacobian.split(step)

        def told(square: float, inner: float) -> Step | None:
            # -2 g.delta - |J delta|^2, with |J delta|^2 = -g.delta - mu |delta|^2.
            sound = math.isfinite(square) and math.isfinite(inner)
            return Step(parts, damping * self.scale * square - inner) if sound else None

        return self._sent(parts, [step @ step, self.gradient @ step], told)


def facts_of(diagonal: Tensor, gradient: Tensor) -> Tensor:
    """``System.facts``."""
    return torch.stack([diagonal.mean().to(torch.float64), *_scaled_norm([gradient])])


def system_of(state: State) -> System:
    """The smaller of the two systems."""
    return GramSystem(state) if state.n_params >= len(state.residual) else NormalSystem(state)


def factored(matrix: Tensor, shift: Tensor, right: Tensor, work: Tensor) -> Tensor | None:
    """(A + shift I)^{-1} ``right`` by a Cholesky factor in ``work``.

    Where it breaks down None on the CPU, NaN on a GPU, which is not asked.  Whether it is finite is
    for the caller to see, with what else it asks of the device.
    """
    if not waits(matrix):
        factor = Cholesky.of(matrix, shift=shift.item(), work=work)
        return None if factor is None else factor.solve(right)
    load(matrix, work)
    work.diagonal().add_(shift)
    completed = factorise_ahead(work)
    return torch.where(completed, solve(work, right), torch.nan)
