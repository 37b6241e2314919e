"""Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.training.layout import LayerMajor
from lawsweep.kernels.training.optimisers import Optimiser

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8  # those of the paper's algorithm 1


class Adam(Optimiser):
    """Adam with torch.optim's defaults (no weight decay, no AMSGrad).

    With bias corrections c_1 = 1 - beta_1^t and c_2 = 1 - beta_2^t,
    (m/c_1) / (sqrt(v/c_2) + eps) = (sqrt(c_2)/c_1) m / (sqrt(v) + eps sqrt(c_2)),
    which saves one pass over the weights.  Where the learning rates differ, m is first multiplied
    by each seed's, as addcdiv does with one number.

    An overflow of g^2 makes v infinite and the update zero for ever: the loss would stay finite
    and constant, which is why ``finite`` looks at the state.
    """

    vectors: ClassVar[tuple[str, ...]] = ("first", "second")
    n_numbers: ClassVar[int] = 2
    first: Tensor
    second: Tensor

    def __init__(self, flat: Tensor, layout: LayerMajor, rates: np.ndarray) -> None:
        super().__init__(flat, layout, rates)
        self._denominator = torch.empty_like(flat)
        if not self.alike or flat.device.type != "cpu":
            self._scaled = torch.zeros_like(flat)  # its padding stays zero
            self._scaled_views = layout.views(self._scaled)
            self._first_views = layout.views(self.first)

    def _corrections(self) -> tuple[float, float]:
        """c_1 and sqrt(c_2) of the next update, which counts."""
        self.n_steps += 1
        return 1.0 - BETA_1**self.n_steps, sqrt(1.0 - BETA_2**self.n_steps)

    def step(self, flat: Tensor, grad: Tensor, factor: float = 1.0) -> None:
        """Move ``flat`` in place, with ``factor`` times the learning rates."""
        c1, c2 = self._corrections()
        self._moments(grad)
        torch.sqrt(self.second, out=self._denominator).add_(EPS * c2)
        if self.alike:
            rate = float(self.rates[0]) * factor
            flat.addcdiv_(self.first, self._denominator, value=-rate * c2 / c1)
            return
        self._scale(torch.from_numpy(-self.rates * factor * c2 / c1).to(flat)[:, None, None])
        flat.addcdiv_(self._scaled, self._denominator)

    def numbers(self, factor: float) -> np.ndarray:
        """What multiplies m, and what is added to sqrt(v)."""
        c1, c2 = self._corrections()
        rates = self.rates[:1] if self.alike else self.rates
        return np.stack([-rates * factor * c2 / c1, np.full(len(rates), EPS * c2)])

    def move(self, flat: Tensor, grad: Tensor, numbers: Sequence[Tensor]) -> None:
        """Move ``flat`` in place."""
        factors, eps = numbers
        self._moments(grad)
        torch.sqrt(self.second, out=self._denominator).add_(eps if self.alike else eps[0, 0])
        if self.alike:
            torch.mul(self.first, factors, out=self._scaled)
        else:
            self._scale(factors)
        flat.addcdiv_(self._scaled, self._denominator)

    def _moments(self, grad: Tensor) -> None:
        self.first.lerp_(grad, 1.0 - BETA_1)
        self.second.mul_(BETA_2).addcmul_(grad, grad, value=1.0 - BETA_2)

    def _scale(self, factors: Tensor) -> None:
        """m times each seed's factor, (S, 1, 1)."""
        for m, scaled in zip(self._first_views, self._scaled_views, strict=True):
            torch.mul(m, factors, out=scaled)


OPTIMISER = Adam
