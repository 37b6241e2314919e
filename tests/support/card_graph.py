"""A CUDA graph on the card that is pretended: calls are recorded unexecuted, then replayed.

As on a card, a call in place does nothing while it is recorded, what a call makes keeps its memory,
and a replay repeats every call with the very tensors and numbers of the recording.  What reads a
value, sends one or waits cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch


class Graph:
    """Stands for ``torch.cuda.CUDAGraph``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.n_replays = 0

    def record(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Note a call on plain tensors, and what it will have made."""
        schema = func._schema
        written = [a for a in schema.arguments if a.alias_info and a.alias_info.is_write]
        if written:
            self.calls.append((func, args, kwargs, None))
            names = [a.name for a in schema.arguments]
            found = [
                kwargs[a.name] if a.name in kwargs else args[names.index(a.name)] for a in written
            ]
            return found[0] if len(schema.returns) == 1 else tuple(found)
        out = func(*args, **kwargs)
        if not any(r.alias_info for r in schema.returns):  # no view: it is made in each replay
            self.calls.append((func, args, kwargs, out))
        return out

    def replay(self) -> None:
        """Every call again."""
        self.n_replays += 1
        for func, args, kwargs, into in self.calls:
            out = func(*args, **kwargs)
            if into is not None:
                for old, new in zip(_tensors(into), _tensors(out), strict=True):
                    old.copy_(new)


def _tensors(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def with_graphs(card: Any, monkeypatch: Any) -> list[Graph]:
    """Let torch.cuda record on ``card``; the graphs as they are made."""
    made: list[Graph] = []

    def new() -> Graph:
        made.append(Graph())
        return made[-1]

    @contextmanager
    def recording(graph: Graph) -> Iterator[None]:
        card.graph = graph
        try:
            with card.counting() as counts:
                yield
        finally:
            card.graph = None
        if (counts.reads + counts.waits + counts.uploads).total():
            raise RuntimeError(
                f"CUDA error: operation not permitted when stream is capturing\n{counts}"
            )

    monkeypatch.setattr(torch.cuda, "CUDAGraph", new)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr("lawsweep.kernels.base.replay.has_graphs", lambda d: d.type == "cuda")
    return made
