"""Adam and gradient descent on one flat vector that holds the weights of many seeds."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sqrt
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.names import check_name
from lawsweep.kernels.base.threads import aligned_size

BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-8  # Kingma and Ba (arXiv 1412.6980), algorithm 1

Schedule = Literal["constant", "cosine"]
"""How the learning rate changes over the updates t = 0, ..., max_steps - 1.

``cosine``: rate (1 + cos(pi t / max_steps)) / 2, one period of Loshchilov and Hutter
    (arXiv 1608.03983), eq. 5, falling to zero.  It depends on max_steps alone: a run that stops
    early has not seen the end of it.
"""


def schedule_factor(schedule: Schedule, step: int, max_steps: int) -> float:
    """The learning rate of update ``step`` (from 0) over that of the first."""
    check_name("schedule", schedule, get_args(Schedule))
    return 1.0 if schedule == "constant" else (1.0 + cos(pi * step / max_steps)) / 2.0


class LayerMajor:
    """One flat vector as L blocks (S, n_{l-1}, n_l), layer after layer, then padding of zeros.

    Each block is contiguous, so batched products can write into it, and an optimiser needs one
    call for all layers and seeds.  What is left over at the end of an elementwise operation, or
    of a thread's share of it, is computed by scalar code, which need not round as the vector code
    does (with torch 2.13 and float64 it does): so the vector is padded to whole ones, lest a
    weight's last bits depend on the other seeds or on the threads.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.shapes = list(shapes)
        sizes = [s * a * b for s, a, b in self.shapes]
        self._sizes = [*sizes, aligned_size(sum(sizes)) - sum(sizes)]

    def flat(self, blocks: Sequence[Tensor]) -> Tensor:
        """A new flat vector of the blocks' values."""
        padding = blocks[0].new_zeros(self._sizes[-1])
        return torch.cat([*(b.reshape(-1) for b in blocks), padding])

    def views(self, flat: Tensor) -> list[Tensor]:
        """The blocks, sharing memory with ``flat``."""
        parts = torch.split(flat, self._sizes)[:-1]
        return [t.view(s) for t, s in zip(parts, self.shapes, strict=True)]

    def selected(self, n_seeds: int) -> LayerMajor:
        """The layout of ``n_seeds`` seeds."""
        return LayerMajor([(n_seeds, a, b) for _, a, b in self.shapes])

    def select(self, flat: Tensor, keep: Tensor) -> Tensor:
        """The flat vector of the seeds at positions ``keep`` alone (a copy)."""
        return self.selected(len(keep)).flat([v[keep] for v in self.views(flat)])


class Optimizer(Protocol):
    """An update rule with its state."""

    def step(self, flat: Tensor, grad: Tensor, factor: float = 1.0) -> None:
        """Move ``flat`` in place, with ``factor`` times the learning rates."""

    def finite(self) -> Tensor:
        """Whether each seed's state is finite, (S,) bool."""

    def select(self, flat: Tensor, keep: Tensor) -> Optimizer:
        """The optimiser of the seeds at positions ``keep``, whose weights are ``flat``."""


class GradientDescent:
    """w <- w - lr g.  ``rates`` has one number for all seeds, or one a seed.

    Where they differ the gradient is multiplied by a vector of them, which rounds as one number
    does (addcmul and add with alpha both fuse the product with the sum).
    """

    def __init__(self, flat: Tensor, layout: LayerMajor, rates: np.ndarray) -> None:
        self._rates, self._layout, self._device = rates, layout, flat.device
        self._factor = 1.0
        self._minus = self._vector(flat) if len(set(rates.tolist())) > 1 else None

    def _vector(self, flat: Tensor) -> Tensor:
        minus = torch.from_numpy(-self._rates * self._factor).to(flat)[:, None, None]
        return self._layout.flat([minus.expand(shape) for shape in self._layout.shapes])

    def step(self, flat: Tensor, grad: Tensor, factor: float = 1.0) -> None:
        """Move ``flat`` in place, with ``factor`` times the learning rates."""
        if self._minus is None:
            flat.add_(grad, alpha=-float(self._rates[0]) * factor)
            return
        if factor != self._factor:
            self._factor = factor
            self._minus = self._vector(flat)
        flat.addcmul_(grad, self._minus)

    def finite(self) -> Tensor:
        """Always: there is no state."""
        return torch.ones(len(self._rates), dtype=torch.bool, device=self._device)

    def select(self, flat: Tensor, keep: Tensor) -> GradientDescent:
        """The same rule for the seeds at positions ``keep``, whose weights are ``flat``."""
        return GradientDescent(flat, self._layout.selected(len(keep)), self._rates[_numpy(keep)])


class Adam:
    """Adam with torch.optim's defaults (no weight decay, no AMSGrad).

    With bias corrections c_1 = 1 - beta_1^t and c_2 = 1 - beta_2^t,
    (m/c_1) / (sqrt(v/c_2) + eps) = (sqrt(c_2)/c_1) m / (sqrt(v) + eps sqrt(c_2)),
    which saves one pass over the weights.  ``rates`` has one learning rate a seed; where they
    differ, m is first multiplied by each seed's, as addcdiv does with one number.
    """

    def __init__(self, flat: Tensor, layout: LayerMajor, rates: np.ndarray) -> None:
        self._rates, self._layout, self._t = rates, layout, 0
        self._m, self._v = torch.zeros_like(flat), torch.zeros_like(flat)
        self._denominator = torch.empty_like(flat)
        self._alike = len(set(rates.tolist())) == 1
        if not self._alike:
            self._scaled = torch.zeros_like(flat)  # its padding stays zero
            self._scaled_views = layout.views(self._scaled)
            self._m_views = layout.views(self._m)

    def step(self, flat: Tensor, grad: Tensor, factor: float = 1.0) -> None:
        """Move ``flat`` in place, with ``factor`` times the learning rates."""
        self._t += 1
        c1, c2 = 1.0 - BETA_1**self._t, sqrt(1.0 - BETA_2**self._t)
        self._m.lerp_(grad, 1.0 - BETA_1)
        self._v.mul_(BETA_2).addcmul_(grad, grad, value=1.0 - BETA_2)
        torch.sqrt(self._v, out=self._denominator).add_(EPS * c2)
        if self._alike:
            rate = float(self._rates[0]) * factor
            flat.addcdiv_(self._m, self._denominator, value=-rate * c2 / c1)
            return
        factors = torch.from_numpy(-self._rates * factor * c2 / c1).to(flat)[:, None, None]
        for m, scaled in zip(self._m_views, self._scaled_views, strict=True):
            torch.mul(m, factors, out=scaled)
        flat.addcdiv_(self._scaled, self._denominator)

    def finite(self) -> Tensor:
        """Whether each seed's second moments are finite.

        An overflow of g^2 makes v infinite and the update zero for ever: the loss would stay
        finite and constant, so it has to be looked for here.
        """
        ok = [torch.isfinite(v).flatten(1).all(1) for v in self._layout.views(self._v)]
        return torch.stack(ok).all(0)

    def select(self, flat: Tensor, keep: Tensor) -> Adam:
        """The optimiser of the seeds at positions ``keep``, with their moments and step count."""
        other = Adam(flat, self._layout.selected(len(keep)), self._rates[_numpy(keep)])
        other._m.copy_(self._layout.select(self._m, keep))
        other._v.copy_(self._layout.select(self._v, keep))
        other._t = self._t
        return other


def _numpy(keep: Tensor) -> np.ndarray:
    return keep.cpu().numpy()  # type: ignore[no-any-return]


OPTIMIZERS: dict[str, type[Adam] | type[GradientDescent]] = {"adam": Adam, "gd": GradientDescent}
