"""The updates between two looks at the losses: from the host, or from numbers on the device.

On a CPU an update gets its numbers (a learning rate, a bias correction) as it is called.  On a
device all of a window's are sent before it, and a counter there says which are the step's: so a
step reads nothing, sends nothing, and is the same calls each time, which can be replayed
(``base.replay``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base.replay import Replayed
from lawsweep.kernels.training.optimisers import Optimiser
from lawsweep.kernels.training.stop import CHECK_EVERY


class Evaluated(Protocol):
    """What is trained: flat weights and gradient, and the losses of a window."""

    flat: Tensor
    grad: Tensor
    losses: Tensor  # (CHECK_EVERY + 1, S, 1, 1)

    def evaluate(self, slot: int) -> None:
        """Loss into ``losses[slot]``, gradient into ``grad``."""

    def evaluate_here(self) -> Tensor:
        """The same with the losses in a tensor (1, S, 1, 1), always the same one."""


class Steps(Protocol):
    """A window's updates.  ``how`` they are sent: ``calls``, ``graph``, or why no graph."""

    @property
    def how(self) -> str:
        """See the class."""

    def __call__(self, factors: Sequence[float]) -> None:
        """An update for each factor of the rate, and the losses after it, into slots from 1 on."""


def steps_of(batch: Evaluated, method: Optimiser) -> Steps:
    """The way that suits the device and the optimiser."""
    if batch.flat.device.type == "cpu" or not method.n_numbers:
        return FromHost(batch, method)
    return OnDevice(batch, method)


class FromHost:
    """Each update is called with its numbers."""

    how = "calls"

    def __init__(self, batch: Evaluated, method: Optimiser) -> None:
        self._batch, self._method = batch, method

    def __call__(self, factors: Sequence[float]) -> None:
        """See ``Steps``."""
        for slot, factor in enumerate(factors, 1):
            self._method.step(self._batch.flat, self._batch.grad, factor)
            self._batch.evaluate(slot)


class OnDevice:
    """The numbers of all updates of a window go there once, and every step is the same calls."""

    def __init__(self, batch: Evaluated, method: Optimiser) -> None:
        self._method, flat = method, batch.flat
        rates = 1 if method.alike else len(method.rates)
        self._numbers = flat.new_zeros((CHECK_EVERY, method.n_numbers, rates, 1, 1))
        self._slot = torch.zeros(1, dtype=torch.int64, device=flat.device)
        now = torch.empty_like(self._numbers[:1])
        # Not a method: a circle of references would keep the batch's memory when it is done.
        own = [one.view(1) if method.alike else one for one in now[0]]
        step = partial(_step, batch, method, self._numbers, self._slot, now, own)
        self._step = Replayed(step, flat.device)

    @property
    def how(self) -> str:
        """See ``Steps``."""
        return self._step.how

    def __call__(self, factors: Sequence[float]) -> None:
        """See ``Steps``."""
        sent = np.stack([self._method.numbers(factor) for factor in factors])
        self._numbers[: len(sent)].copy_(torch.from_numpy(sent)[..., None, None])
        self._slot.zero_()
        self._step(len(factors))


def _step(
    batch: Evaluated,
    method: Optimiser,
    numbers: Tensor,
    slot: Tensor,
    now: Tensor,
    own: Sequence[Tensor],
) -> None:
    """An update by ``numbers[slot]``, which become ``now`` (``own``: each), and what follows it."""
    torch.index_select(numbers, 0, slot, out=now)
    method.move(batch.flat, batch.grad, own)
    slot.add_(1)
    batch.losses.index_copy_(0, slot, batch.evaluate_here())
