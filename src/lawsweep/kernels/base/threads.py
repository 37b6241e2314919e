"""Threads of torch's own operations: where several would round otherwise, or only cost time."""

from __future__ import annotations

import torch
from torch import Tensor

# torch shares an elementwise operation or a sum of at least so many elements among its threads
# (at::internal::GRAIN_SIZE).
PARALLEL_FROM = 32768
VECTOR = 64  # elements: a multiple of what any processor's vector code takes at once


class OneThread:
    """A context in which torch computes with one thread, if ``apply``; about 1 us.

    May be entered within another.  Made where torch has one thread, it does nothing.  Not for two
    threads of Python at once.
    """

    def __init__(self, apply: bool) -> None:
        self._apply, self._before = apply and torch.get_num_threads() > 1, 0

    def __enter__(self) -> None:
        if self._apply:
            self._before = torch.get_num_threads()
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self._apply:
            torch.set_num_threads(self._before)


def parts(a: Tensor, split: bool) -> tuple[Tensor, ...]:
    """The seeds one by one, or all together."""
    return a.split(1) if split else (a,)


def aligned_size(n: int) -> int:
    """The smallest size from ``n`` on of which each thread's share is whole vectors.

    torch cuts ``size`` elements in t = min(threads, ceil(size / PARALLEL_FROM)) shares.
    """
    threads, size = torch.get_num_threads(), n
    while True:
        shares = min(threads, -(-size // PARALLEL_FROM))
        if size % (VECTOR * max(shares, 1)) == 0:
            return size
        size += -size % (VECTOR * max(shares, 1))


def evenly_shared(n: int) -> bool:
    """Whether each thread's share of ``n`` elements, if threads share them, is whole vectors."""
    return n < PARALLEL_FROM or aligned_size(n) == n
