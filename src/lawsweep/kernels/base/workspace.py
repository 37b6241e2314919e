"""Memory for large arrays that are needed again and again: K and its factor, run after run.

Untouched memory is dear: for each page the system clears it first, and on a virtual machine the
host may have to find it.  For K at N = 3000 that took between a twentieth and two thirds of the
time of the products that fill it.  So on the CPU a large array's memory, once nothing refers to
it, is kept for the next array of about its size.  (Below SMALLEST malloc does that by itself.)
A GPU's memory torch keeps already.
"""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

from lawsweep.kernels.base import devices

SMALLEST, LARGEST, KEPT = devices.WORKSPACE
LOOSE = 1.25  # a kept array serves for one smaller by at most this factor

_free: list[np.ndarray] = []
_lock = threading.RLock()  # the garbage collector may give back while this thread takes


def empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uninitialised tensor of ``like``'s dtype and device.

    On the CPU numpy allocates it: numpy asks the kernel for huge pages, which halves the price of
    touching fresh memory.
    """
    if like.device.type != "cpu":
        return like.new_empty(shape)
    dtype = torch.empty(0, dtype=like.dtype).numpy().dtype
    size = math.prod(shape) * dtype.itemsize
    if not SMALLEST <= size <= LARGEST:
        return torch.from_numpy(np.empty(shape, dtype))
    buffer = _taken(size)
    array = buffer[:size].view(dtype).reshape(shape)
    # The tensor holds ``array``, and nothing else does: when it goes the buffer is free.
    weakref.finalize(array, _give, buffer).atexit = False
    return torch.from_numpy(array)


def kept_bytes() -> int:
    """Bytes that are kept and not in use."""
    return sum(buffer.nbytes for buffer in _free)


def release() -> None:
    """Return to the system what is kept and not in use."""
    with _lock:
        _free.clear()


def _taken(size: int) -> np.ndarray:
    """A buffer of at least ``size`` bytes: the least that is kept and fits, else a new one."""
    with _lock:
        fitting = [i for i, b in enumerate(_free) if size <= b.nbytes <= LOOSE * size]
        if fitting:
            return _free.pop(min(fitting, key=lambda i: _free[i].nbytes))
        _free.clear()  # so that the peak is no higher than without a store
    return np.empty(size, np.uint8)


def _give(buffer: np.ndarray) -> None:
    with _lock:
        if kept_bytes() + buffer.nbytes <= KEPT:
            _free.append(buffer)
