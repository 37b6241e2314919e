"""Bytes of tensors that are alive, and their peak: on the card that is pretended, or on the CPU."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Memory:
    """Tensors' memory, each counted once however many views it has, until the last is gone.

    ``size``: what there is; beyond it is torch's own OutOfMemoryError.
    """

    def __init__(self, size: float = float("inf")) -> None:
        self.size = size
        self.live = self.peak = 0
        self.refused = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}  # by address

    def hold(self, tensor: torch.Tensor) -> None:
        """Count a tensor that was made."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        n_bytes = storage.nbytes()
        if self.live + n_bytes > self.size:
            self.refused += 1
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {n_bytes} bytes. GPU 0 has a total "
                f"capacity of {self.size} bytes of which {self.size - self.live} bytes is free."
            )
        self._known[key] = weakref.ref(storage, lambda _: self._let_go(key, n_bytes))
        self.live += n_bytes
        self.peak = max(self.peak, self.live)

    def _let_go(self, key: int, n_bytes: int) -> None:
        del self._known[key]
        self.live -= n_bytes

    @property
    def free(self) -> int:
        """Bytes that are left."""
        return int(self.size - self.live)


class Held(TorchDispatchMode):
    """Counts what is made on the CPU within it (not what one operation makes for itself)."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, torch.Tensor):
                self.memory.hold(one)
        return out


def patched(memory: Memory) -> dict[str, Any]:
    """What torch.cuda says of a card with this memory; nothing is kept of what was let go."""
    return {
        "mem_get_info": lambda *_: (memory.free, int(memory.size)),
        "memory_reserved": lambda *_: memory.live,
        "memory_allocated": lambda *_: memory.live,
        "max_memory_allocated": lambda *_: memory.peak,
    }
