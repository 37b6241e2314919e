"""A step that is taken again and again: on a CUDA card its launches are recorded and replayed.

A step of a small problem is some thirty launches, and on a card each costs its host more than the
work it starts.  A CUDA graph sends all of them in one call.  A step can be one if it makes the same
calls with the same numbers each time, writes where it wrote before, and neither reads a value nor
sends one: what changes from step to step lies on the device, and is counted on there.

Unverified on a card: recorded and replayed here on one that is pretended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

# The libraries make their handles and load their code in the first calls, which no graph allows.
CALLED_FIRST = 2
OFF = "LAWSWEEP_CUDA_GRAPHS"  # 0: never
_off: list[None] = []


@contextmanager
def without_graphs() -> Iterator[None]:
    """Within the context steps are called one by one."""
    _off.append(None)
    try:
        yield
    finally:
        _off.pop()


def has_graphs(device: torch.device) -> bool:
    """Whether torch can record on this device."""
    return device.type == "cuda" and bool(torch.cuda.is_available())


class Replayed:
    """``step``, which takes and returns nothing, so often as asked; as a CUDA graph where possible.

    ``how``: ``calls``, ``graph``, or why a graph could not be made; the calls do the same then.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step, self._device = step, device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._n_called = 0
        self._tries = has_graphs(device) and not _off and os.environ.get(OFF) != "0"
        self.how = "calls"

    def __call__(self, times: int) -> None:
        """Take so many steps."""
        for _ in range(times):
            if self._tries and self._n_called == CALLED_FIRST:
                self._record()
            if self._graph is None:
                self._step()
                self._n_called += 1
            else:
                self._graph.replay()

    def _record(self) -> None:
        """Record a step, which executes nothing: where it fails nothing has happened."""
        self._tries = False
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(self._device), torch.cuda.graph(graph):
                self._step()
        except RuntimeError as refused:
            self.how = f"calls: {(str(refused).splitlines() or ['?'])[0]}"
            return
        self._graph, self.how = graph, "graph"
