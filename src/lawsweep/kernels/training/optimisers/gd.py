"""Plain gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.training.layout import LayerMajor
from lawsweep.kernels.training.optimisers import Optimiser


class GradientDescent(Optimiser):
    """w <- w - lr g.

    Where the rates differ the gradient is multiplied by a vector of them, which rounds as one
    number does (addcmul and add with alpha both fuse the product with the sum).
    """

    n_numbers: ClassVar[int] = 1

    def __init__(self, flat: Tensor, layout: LayerMajor, rates: np.ndarray) -> None:
        super().__init__(flat, layout, rates)
        self._factor = 1.0
        self._minus = None if self.alike else self._vector(flat)

    def _vector(self, flat: Tensor) -> Tensor:
        minus = torch.from_numpy(-self.rates * self._factor).to(flat)[:, None, None]
        return self.layout.flat([minus.expand(shape) for shape in self.layout.shapes])

    def step(self, flat: Tensor, grad: Tensor, factor: float = 1.0) -> None:
        """Move ``flat`` in place, with ``factor`` times the learning rates."""
        if self._minus is None:
            flat.add_(grad, alpha=-float(self.rates[0]) * factor)
            return
        if factor != self._factor:
            self._factor = factor
            self._minus = self._vector(flat)
        flat.addcmul_(grad, self._minus)

    def numbers(self, factor: float) -> np.ndarray:
        """What multiplies the gradient."""
        return np.asarray(-(self.rates[:1] if self.alike else self.rates) * factor)[None]

    def move(self, flat: Tensor, grad: Tensor, numbers: Sequence[Tensor]) -> None:
        """Move ``flat`` in place."""
        if self.alike:
            flat.addcmul_(grad, numbers[0])
            return
        for w, g in zip(self.layout.views(flat), self.layout.views(grad), strict=True):
            w.addcmul_(g, numbers[0])


OPTIMISER = GradientDescent
