"""``lawsweep doctor``: what is installed, which devices, can Ray start, is the store writable."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lawsweep.core.errors import ExecutorError, InvalidValueError, LawsweepError, StoreError

RAY_WAIT_S = 60.0


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, whether it is well, what was seen."""

    name: str
    ok: bool
    text: str
    exit_code: int = 1


def examine(results_dir: str, *, try_ray: bool) -> list[Check]:
    """All findings, in the order a person would ask."""
    return list(_checks(results_dir, try_ray))


def _checks(results_dir: str, try_ray: bool) -> Iterator[Check]:
    from lawsweep.core.code.clashes import clashes
    from lawsweep.core.registry import experiment_names
    from lawsweep.launch.record.provenance import package_versions
    from lawsweep.worker.hardware import hardware

    facts = hardware()
    memory = facts["memory_bytes"] / 2**30
    yield Check("python", True, f"{platform.python_version()} on {facts['platform']}")
    for name, version in package_versions().items():
        if name != "python":
            yield Check(name, version is not None, version or "not installed: pip install it")
    yield Check(
        "processor", True, f"{facts['processor']}, {facts['n_cpus']} cores, {memory:.1f} GiB"
    )
    yield _devices()
    names = sorted(experiment_names())
    yield Check("experiments", bool(names), ", ".join(names) or "none: reinstall lawsweep")
    yield _store(results_dir)
    hides = clashes(Path.cwd())
    for name, whose in hides:
        text = f"{name} hides a module of {whose}: rename it, or start from another folder"
        yield Check("working folder", False, text, InvalidValueError.exit_code)
    if try_ray and not hides:  # Ray would not start, after 40 s
        yield _ray()


def _devices() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check("devices", False, f"torch cannot be imported: {error}")
    n = torch.cuda.device_count()
    found = ", ".join(torch.cuda.get_device_name(i) for i in range(n))
    return Check("devices", True, found or "cpu only (torch sees no CUDA device)")


def _store(results_dir: str) -> Check:
    from lawsweep.store.places.find import open_folder

    try:
        open_folder(results_dir).check_writable()
    except StoreError as error:
        return Check("store", False, str(error), error.exit_code)
    return Check("store", True, f"{results_dir} is writable")


def _ray() -> Check:
    from lawsweep.cli.probe import probe
    from lawsweep.core.outcome import RunSpec, Task
    from lawsweep.executors.make import make_executor

    def bad(text: str) -> Check:
        return Check("ray", False, text, ExecutorError.exit_code)

    start = time.monotonic()
    try:
        with contextlib.closing(make_executor("ray_local")) as executor:
            executor.start(probe)
            executor.submit(Task(0, (RunSpec(0, "", {}, 0),)))
            while time.monotonic() - start < RAY_WAIT_S:
                for event in executor.poll(1.0):
                    if event.lost:
                        return bad(f"a task was lost: {event.lost}")
                    if event.outcomes and event.outcomes[0].error:
                        return bad(f"a task failed: {event.outcomes[0].error}")
                    if event.outcomes:
                        took, slots = time.monotonic() - start, executor.n_slots
                        text = f"starts and runs a task ({took:.1f} s), {slots} slots"
                        return Check("ray", True, text)
    except LawsweepError as error:
        return bad(str(error))
    return bad(f"started, but no answer within {RAY_WAIT_S:.0f} s")
