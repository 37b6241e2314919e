"""The provenance record of a launch: what ran, from which code, on what."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lawsweep.core.execute import n_threads
from lawsweep.core.identity import SCHEME
from lawsweep.core.plan import Plan
from lawsweep.core.sweep import Sweep

PACKAGES = (
    "lawsweep", "ray", "hydra-core", "omegaconf", "torch", "numpy", "scipy", "pandas", "pyarrow",
)  # fmt: skip


def new_launch_id() -> str:
    """A sortable, unique name: UTC time and 32 random bits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def launch_record(
    launch_id: str, sweep: Sweep, plan: Plan, command: str, executor: Mapping[str, Any]
) -> dict[str, Any]:
    """Facts that a reader needs years later to run this launch again."""
    return {
        "launch_id": launch_id,
        "sweep": sweep.name,
        "experiment": plan.experiment.name,
        "experiment_version": plan.experiment.version,
        "id_scheme": SCHEME,
        "command": command,
        "overrides": list(sweep.overrides),
        "config": sweep.record(),
        "n_planned": len(plan),
        "started_at": datetime.now(UTC).isoformat(),
        "executor": dict(executor),
        "git": git_state(Path.cwd()),
        "packages": package_versions(),
        "hardware": hardware(),
        "n_threads": n_threads(),
        "pid": os.getpid(),
    }


def package_versions() -> dict[str, str | None]:
    """Versions of what computes, without importing it; None where it is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def hardware() -> dict[str, Any]:
    """Host, processor, cores, memory and NVIDIA devices, from the operating system."""
    import psutil

    gpus = sorted(p.name for p in Path("/proc/driver/nvidia/gpus").glob("*"))
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": _processor(),
        "n_cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpus,
        "executable_prefix": Path(sys.prefix).name,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, and whether (and by which diff) the work tree differs; None outside git."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=folder, capture_output=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    diff = git("diff", "HEAD") or ""
    untracked = git("ls-files", "--others", "--exclude-standard") or ""
    return {
        "commit": commit.strip(),
        "dirty": bool(diff or untracked),
        "diff_hash": hashlib.blake2b(diff.encode(), digest_size=16).hexdigest() if diff else None,
        "n_untracked": len(untracked.splitlines()),
    }
