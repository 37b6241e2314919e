"""How long would it take there?  List scheduling of expected seconds, as the engine does it."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
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
    """A simulated schedule: its makespan, the work in it and the least that could be.

    ``chain_s`` is the longest that runs which wait for one another take.
    """

    makespan_s: float
    work_s: float
    longest_s: float
    n_slots: int
    chain_s: float = 0.0

    @property
    def bound_s(self) -> float:
        """No schedule is shorter: all slots always busy, and the longest run (chain) is whole."""
        return max(self.work_s / self.n_slots, self.longest_s, self.chain_s)

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


Chain = Sequence[Sequence[float]]  # seconds of the runs of each round


def simulate_rounds(chains: Sequence[Chain], n_slots: int) -> Schedule:
    """As ``simulate``, of runs in rounds: one of a chain begins when the one before has ended."""
    if n_slots < 1:
        raise InvalidValueError(f"A schedule needs at least one slot, got {n_slots}.")
    coming = [[list(r) for r in reversed(chain) if len(r)] for chain in chains]
    each = [s for chain in coming for r in chain for s in r]
    ready: list[tuple[float, int]] = []  # longest first
    running: list[tuple[float, int]] = []
    n_left = [0] * len(coming)
    now = 0.0

    def begin(chain: int) -> None:
        if coming[chain]:
            round_ = coming[chain].pop()
            n_left[chain] = len(round_)
            for seconds in round_:
                heapq.heappush(ready, (-seconds, chain))

    longest_chain = max((sum(max(r) for r in chain) for chain in coming), default=0.0)
    for chain in range(len(coming)):
        begin(chain)
    while ready or running:
        while ready and len(running) < n_slots:
            negative, chain = heapq.heappop(ready)
            heapq.heappush(running, (now - negative, chain))
        now, chain = heapq.heappop(running)
        n_left[chain] -= 1
        if not n_left[chain]:
            begin(chain)
    return Schedule(now, sum(each), max(each, default=0.0), n_slots, longest_chain)
