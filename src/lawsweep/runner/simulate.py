"""How long would it take there?  List scheduling of expected seconds, as the engine does it."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass

import numpy as np

from lawsweep.core.errors import InvalidValueError, unknown_name

# Float64 matrix-product rates that a large problem reaches; a guess until rows were measured.
GPU_FLOPS_PER_S = {"H200": 4e13, "H100": 4e13, "A100": 1.2e13, "V100": 5e12}
_ON = re.compile(r"(cpus|gpus)=(\d+)(?::([A-Za-z0-9]+))?\Z")


@dataclass(frozen=True)
class Machine:
    """What ``plan --on`` asks about: so many CPUs or GPUs of a kind."""

    kind: str
    n: int
    model: str | None = None

    @property
    def device(self) -> str:
        """The device of rows that tell how fast it is."""
        return "cuda" if self.kind == "gpus" else "cpu"


def read_machine(text: str) -> Machine:
    """``cpus=64`` or ``gpus=8:H100``.  Raises a LawsweepError for anything else."""
    match = _ON.match(text.strip())
    if not match or int(match[2]) < 1 or (match[1] == "cpus" and match[3]):
        raise InvalidValueError(f"--on takes cpus=64 or gpus=8:H100, got {text!r}.")
    model = match[3].upper() if match[3] else None
    if match[1] == "gpus" and model is not None and model not in GPU_FLOPS_PER_S:
        raise unknown_name("GPU model", match[3], GPU_FLOPS_PER_S, "--on")
    return Machine(match[1], int(match[2]), model or ("H100" if match[1] == "gpus" else None))


@dataclass(frozen=True)
class Schedule:
    """A simulated schedule: its makespan, the work in it and the least that could be."""

    makespan_s: float
    work_s: float
    longest_s: float
    n_slots: int

    @property
    def bound_s(self) -> float:
        """No schedule is shorter: all slots always busy, and the longest run is whole."""
        return max(self.work_s / self.n_slots, self.longest_s)

    @property
    def device_hours(self) -> float:
        """Slots held, in hours, from the start to the end."""
        return self.makespan_s * self.n_slots / 3600.0


def simulate(seconds: np.ndarray, n_slots: int) -> Schedule:
    """Hand runs to slots as these fall free, longest first; ``seconds`` has shape (n_runs,)."""
    if n_slots < 1:
        raise InvalidValueError(f"A schedule needs at least one slot, got {n_slots}.")
    order = np.sort(np.asarray(seconds, dtype=np.float64))[::-1]
    work, longest = float(order.sum()), float(order[0]) if len(order) else 0.0
    free = [0.0] * min(n_slots, max(1, len(order)))
    for one in order.tolist():
        heapq.heapreplace(free, free[0] + one)
    return Schedule(max(free), work, longest, n_slots)
