"""What is minimised: a loss over many restarts at once, its derivatives, and how points move.

Only ``value_gradient`` has to be written.  What a method needs beside it (``methods``) has a
default by differentiation of the gradient, which a class overrides where it knows better.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


class Turn(Protocol):
    """How directions (R, n) at points turn as the points move; a rotation, linear."""

    def forth(self, p: Tensor) -> Tensor:
        """Directions p at the points, as they are where these went."""
        ...

    def back(self, p: Tensor) -> Tensor:
        """The inverse of ``forth``."""
        ...

    def take(self, index: Tensor) -> Turn:
        """Of those restarts alone."""
        ...


@dataclass(frozen=True)
class Move:
    """Where steps lead: ``point`` (R, n), and the ``turn`` of a loss whose valleys turn with it."""

    point: Tensor
    turn: Turn | None = None


class Objective(ABC):
    """A loss over restarts x, shape (R, n), twice differentiable near its minima.

    Restart r of every answer depends on row r of x alone.  The defaults differentiate
    ``value_gradient`` by ``torch.func.vjp``: it must be made of operations that allow this
    (``torch.func.grad`` inside of it does).
    """

    @abstractmethod
    def value_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (R,) and gradient (R, n)."""

    def hessian_product(self, x: Tensor) -> Product:
        """The map p -> H(x) p on (R, n).

        By default the pull-back of the gradient, H being symmetric: some two gradients a product.
        """
        pull = torch.func.vjp(lambda y: self.value_gradient(y)[1], x)[1]
        return lambda p: pull(p)[0]

    def hessian(self, x: Tensor) -> Tensor:
        """Second derivatives, (R, n, n); by default from n products."""
        product = self.hessian_product(x)
        basis = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        columns = torch.stack([product(e.expand_as(x).contiguous()) for e in basis], -1)
        return 0.5 * (columns + columns.mT)

    def move(self, x: Tensor, step: Tensor) -> Move:
        """Where the steps (R, n) lead: to x + step, unless the domain forbids it."""
        return Move(x + step)

    def take(self, index: Tensor) -> Objective:
        """The same loss for those restarts alone; by default all share it."""
        return self


class Function(Objective):
    """The loss f of one point (n,), a scalar, in operations that ``torch.func`` can follow."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        self._both = torch.func.vmap(torch.func.grad_and_value(f))

    def value_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f and its gradient at every row of x."""
        gradient, value = self._both(x)
        return value, gradient
