"""Peak resident memory of this process, run by run, as Linux counts it."""

from __future__ import annotations

import os
import re

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
