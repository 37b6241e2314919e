"""The provenance record of a launch: what ran, from which code, on what."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import os
import platform
import subprocess
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lawsweep.core.code.source import Source
from lawsweep.core.experiment import Experiment
from lawsweep.core.identity import SCHEME
from lawsweep.core.secrets import hide, hide_overrides
from lawsweep.grid.plan import Plan
from lawsweep.grid.sweep import Sweep
from lawsweep.worker.execute import n_threads
from lawsweep.worker.hardware import hardware

PACKAGES = (
    "lawsweep", "ray", "hydra-core", "omegaconf", "torch", "numpy", "scipy", "pandas", "pyarrow",
    "matplotlib", "duckdb",
)  # fmt: skip
THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip


def new_launch_id() -> str:
    """A sortable, unique name: UTC time and 32 random bits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def launch_record(
    launch_id: str,
    sweep: Sweep,
    plan: Plan,
    command: str,
    executor: Mapping[str, Any],
    source: Source | None = None,
) -> dict[str, Any]:
    """Facts that a reader needs years later to run this launch again."""
    return {
        "launch_id": launch_id,
        "sweep": sweep.name,
        "command": hide(command),
        "overrides": hide_overrides(sweep.overrides),
        "config": sweep.record(),
        "n_planned": len(plan),
        "code": None if source is None else source.record(),
        "executor": dict(executor),
        **circumstances(plan.experiment),
    }


def circumstances(experiment: Experiment) -> dict[str, Any]:
    """The code, the packages and the machine of this process, now."""
    return {
        "experiment": experiment.name,
        "experiment_version": experiment.version,
        "experiment_source": source_state(experiment),
        "id_scheme": SCHEME,
        "started_at": datetime.now(UTC).isoformat(),
        "git": git_state(Path.cwd()),
        "packages": package_versions(),
        "hardware": hardware(),
        "blas": blas(),
        "n_threads": n_threads(),
        "pid": os.getpid(),
    }


def source_state(experiment: Experiment) -> dict[str, Any] | None:
    """The experiment's module and the hash of its file; None where there is no file to read.

    A user's file is often in no git checkout, and code that changes under one version makes rows
    that look alike and are not.
    """
    module = experiment.function.__module__
    try:
        path = Path(inspect.getsourcefile(experiment.function) or "")
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except (TypeError, OSError):
        return None
    return {"module": module, "file": path.name, "hash": digest}


def blas() -> dict[str, Any]:
    """The linear algebra that numpy was built with, and the threads it was told to use.

    Its name and version decide the last bits of a result; None where numpy does not say.
    """
    import numpy as np

    try:
        found: Any = np.show_config(mode="dicts")
        built = found["Build Dependencies"]["blas"]
    except (TypeError, KeyError, AttributeError):
        built = {}
    return {
        "name": built.get("name"),
        "version": built.get("version"),
        "configuration": built.get("openblas configuration"),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
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
