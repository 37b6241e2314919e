"""What a machine is, from the operating system: processor, memory, NVIDIA devices."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any


def hardware() -> dict[str, Any]:
    """Host, processor, cores, memory and NVIDIA devices of this machine."""
    return {
        **machine(),
        "platform": platform.platform(),
        "nvidia_driver": _nvidia_driver(),
        "executable_prefix": Path(sys.prefix).name,
    }


def machine() -> dict[str, Any]:
    """What a launch record says of each host that computed; asked once a process.

    ``processor`` is the model's name, which virtual machines make vague; ``vendor`` and
    ``processor_id`` (family, model, stepping) tell which it is.
    """
    return {**_machine(), "n_cpus": len(os.sched_getaffinity(0))}


@cache
def _machine() -> dict[str, Any]:
    facts = dict(_facts(Path("/proc/cpuinfo")))
    ids = ("cpu family", "model", "stepping", "CPU architecture", "CPU variant", "CPU part")
    return {
        "host": platform.node(),
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "vendor": facts.get("vendor_id") or facts.get("CPU implementer"),
        "processor_id": ", ".join(f"{n} {facts[n]}" for n in ids if n in facts) or None,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """Models of the NVIDIA devices, as the driver lists them; a bus address where it is mute."""
    found = []
    for folder in sorted(Path("/proc/driver/nvidia/gpus").glob("*")):
        facts = dict(_facts(folder / "information"))
        found.append(facts.get("Model") or folder.name)
    return found


def _nvidia_driver() -> str | None:
    return next(
        (v for k, v in _facts(Path("/proc/driver/nvidia/version")) if k == "NVRM version"), None
    )


def _facts(path: Path) -> Iterator[tuple[str, str]]:
    """``name: value`` lines of a file of the kernel; none where it cannot be read.

    Up to the first empty line: one core says what hundreds would repeat, slowly.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in takewhile(str.strip, lines):
                name, colon, value = line.partition(":")
                if colon:
                    yield name.strip(), value.strip()
    except OSError:
        return
