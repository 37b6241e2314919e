"""Memory of this process: its peak run by run, the share a run may plan with, and letting go."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# How torch's CPU allocator, the CUDA runtime and the CUDA libraries say it in a RuntimeError.
NO_ROOM = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
_PEAK = re.compile(rb"VmHWM:\s*(\d+) kB")
_open: dict[int, tuple[int, int]] = {}  # process id: files kept open, as runs may be very short


def _files() -> tuple[int, int]:
    """Descriptors of this process's ``clear_refs`` and ``status``.  Raises OSError."""
    pid = os.getpid()  # a child that was forked has inherited its parent's files
    if pid not in _open:
        reset = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(reset)
            raise
        _open[pid] = (reset, status)
    return _open[pid]


def reset_peak_memory() -> bool:
    """Begin to measure the peak; False where the system does not allow it."""
    try:
        return os.write(_files()[0], b"5") == 1
    except OSError:
        return False


def peak_memory_bytes() -> int | None:
    """Peak since the reset, what the process held before included; None where it is not told."""
    try:
        found = _PEAK.search(os.pread(_files()[1], 8192, 0))
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


# As in shards.py: a process executes one run at a time, so a plain stack.
_shares: list[float] = []


def memory_share() -> float:
    """The part of the free memory that a run should plan with: 1, less after it ran out once.

    For an experiment that has a choice: a method that holds less, or smaller blocks where these
    do not change the result beyond rounding::

        room = 0.5 * memory_share() * psutil.virtual_memory().available
    """
    return _shares[-1] if _shares else 1.0


@contextmanager
def planned_share(share: float) -> Iterator[None]:
    """Within the context ``memory_share()`` is ``share``."""
    _shares.append(share)
    try:
        yield
    finally:
        _shares.pop()


def release_memory() -> None:
    """Give back what a run that ran out of memory has left: cycles, and torch's CUDA cache.

    A cache of blocks of that run would fail the next one on the same device.  torch is not
    imported for it: a process that has not loaded it has no such cache.
    """
    gc.collect()
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None:
        with suppress(Exception):  # a device in a bad state says so to the next run
            if cuda.is_initialized():
                cuda.empty_cache()


def is_out_of_memory(failure: Exception) -> bool:
    """Whether an exception says that there was no room, whoever raised it."""
    # torch's exception is known by name: nothing here imports torch.
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
        return True
    if not isinstance(failure, RuntimeError):
        return False
    with suppress(Exception):  # its message may be one that cannot be read
        return any(words in str(failure) for words in NO_ROOM)
    return False
