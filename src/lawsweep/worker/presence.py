"""Who a launch is, so that others can tell whether it lives: its process, host and person."""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

STARTED_S = 2.0  # start times of one process agree to within this: clocks are set now and then

RUNNING: set[str] = set()  # ids of the launches of this process


def who() -> str:
    """``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


def presence() -> dict[str, Any]:
    """This process, for a launch's sign of life."""
    import psutil

    return {
        "host": platform.node(),
        "by": who(),
        "machine": _machine(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
    }


def is_dead(sign: Mapping[str, Any]) -> bool:
    """Whether the process that left a sign is known to be gone; never of another machine's."""
    import psutil

    pid, started = sign.get("pid"), sign.get("process_started")
    if sign.get("machine") != _machine() or not isinstance(pid, int) or pid <= 0:
        return False
    if pid == os.getpid():
        return sign.get("launch_id") not in RUNNING
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        same = isinstance(started, int | float) and (
            abs(process.create_time() - started) < STARTED_S
        )
        return not same
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


@functools.cache
def _machine() -> str:
    """A hash that two processes share where one sees the other by its number.

    Of this boot of this machine and, in a container, of its processes: a host's name is not
    enough, which containers may share.
    """
    facts = [platform.node()]
    with suppress(OSError, ValueError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        facts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115
    return hashlib.blake2b("\n".join(facts).encode(), digest_size=8).hexdigest()
