"""What a kernel asks of its device, and how seldom.

On a CPU an answer costs nothing and work in vain does: rows are chosen by asking first.  On a GPU
an answer waits for all that was sent before, and what is sent beside it costs little: there more is
computed than is known to be wanted, and one answer decides about all of it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor

Places: TypeAlias = Tensor | slice
EVERYTHING = slice(None)


def waits(tensor: Tensor) -> bool:
    """Whether an answer of the tensor's device waits for what was sent there."""
    kind: str = tensor.device.type
    return kind != "cpu"


def together(*asked: Tensor) -> list[Tensor]:
    """Truth values of one shape, on the CPU, by one answer of their device."""
    return list(torch.stack(asked).cpu())


def numbers(*asked: Tensor) -> list[float]:
    """Numbers of one type by one answer of their device."""
    told: list[float] = torch.stack(asked).tolist()
    return told


def plus(y: Tensor, x: Tensor, by: Tensor) -> Tensor:
    """y + by x, ``by`` a number on their device, which is not asked for it."""
    return torch.addcmul(y, x, by) if waits(y) else y.add(x, alpha=by.item())


def put(whole: Tensor, at: Places, part: Tensor) -> Tensor:
    """``whole`` with ``part`` at those places, written into it unless they are everything."""
    if isinstance(at, slice):
        return part
    whole[at] = part
    return whole


class Where:
    """Where some of n rows, sorted numbers on the CPU, lie in arrays over all on a device.

    Everything where all are meant; else the numbers, carried over once for as long as the same few
    tensors of them are asked for.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._known: list[tuple[Tensor, Tensor]] = []

    def __call__(self, index: Tensor, like: Tensor) -> Places:
        """The places of ``index`` on the device of ``like``."""
        if len(index) == self.n:
            return EVERYTHING
        for given, there in self._known:
            if given is index and there.device == like.device:
                return there
        there = index.to(like.device)
        self._known = [*self._known[-2:], (index, there)]
        return there


def positions(some: Tensor, index: Tensor) -> Tensor:
    """Where ``some`` of the sorted numbers ``index`` stand in it; both on the CPU."""
    return torch.searchsorted(index, some)


class Kept:
    """Answers for the last two arguments: for sets of rows that are asked for by turns."""

    def __init__(self) -> None:
        self._kept: list[tuple[list[int], Any]] = []

    def get(self, key: list[int]) -> Any:
        """The answer that is kept for ``key``, or None."""
        return next((value for known, value in self._kept if known == key), None)

    def put(self, key: list[int], value: Any) -> Any:
        """Keep ``value``, in place of the older."""
        self._kept = [*self._kept[-1:], (key, value)]
        return value
