"""How long would it take there?  List scheduling of expected seconds, as the engine does it."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError

_ON = re.compile(r"(cpus|gpus)=(\d{1,7})(?::([A-Za-z0-9][A-Za-z0-9 _-]*))?\Z")
CARD = "H100"  # where none is named
PARTS = 60  # of a card: shares of 1 to 1/6, 1/10 and so on are whole numbers of them
MOST_SHARED = 20_000  # runs that are laid out one by one on shared cards


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


def read_machines(text: str) -> tuple[Machine, ...]:
    """``cpus=64``, ``gpus=8:H100``, or several with commas.

    Raises InvalidValueError for anything else; which cards there are is not asked here.
    """
    found = []
    for part in text.split(","):
        match = _ON.match(part.strip())
        if not match or int(match[2]) < 1 or (match[1] == "cpus" and match[3]):
            raise InvalidValueError(
                "--on takes cpus=64, gpus=8:H100 or several of these with commas "
                f"(gpus=4:A100,gpus=4:H100), got {text!r}."
            )
        model = (match[3] or CARD) if match[1] == "gpus" else None
        found.append(Machine(match[1], int(match[2]), model))
    return tuple(found)


@dataclass(frozen=True)
class Schedule:
    """A simulated schedule: its makespan, the work in it and the least that could be.

    ``chain_s`` is the longest that runs which wait for one another take.  ``least_s``: the least
    that all slots take together, where they are of several kinds.
    """

    makespan_s: float
    work_s: float
    longest_s: float
    n_slots: int
    chain_s: float = 0.0
    least_s: float | None = None

    @property
    def bound_s(self) -> float:
        """No schedule is shorter: all slots always busy, and the longest run (chain) is whole."""
        least = self.work_s / self.n_slots if self.least_s is None else self.least_s
        return max(least, self.longest_s, self.chain_s)

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


def simulate_shared(seconds: Any, shares: np.ndarray, n_cards: int) -> Schedule:
    """``simulate`` on cards of which each run holds a share, (n_runs,): a part of one, or several.

    Each goes where its share is free first.  Of very many runs the work alone is summed.
    """
    seconds, shares = np.asarray(seconds, dtype=np.float64), np.minimum(shares, n_cards)
    work, longest = float(seconds @ shares), float(seconds.max(initial=0.0))
    if len(seconds) > MOST_SHARED:
        return Schedule(max(work / n_cards, longest), work, longest, n_cards)
    free = np.zeros((n_cards, PARTS))  # when each part of a card is free, sorted
    for i in np.argsort(-seconds, kind="stable").tolist():
        n_whole = max(1, int(shares[i]))
        width = PARTS if shares[i] >= 1.0 else PARTS // max(1, int(1.0 / shares[i] + 1e-9))
        cards = np.argsort(free[:, width - 1], kind="stable")[:n_whole]
        end = float(free[cards, width - 1].max()) + float(seconds[i])
        free[cards, :width] = end
        free[cards] = np.sort(free[cards], axis=1)
    return Schedule(float(free.max(initial=0.0)), work, longest, n_cards)


def simulate_kinds(seconds: Sequence[np.ndarray], slots: Sequence[int]) -> Schedule:
    """As ``simulate``, on slots of several kinds: a run goes where it would end first.

    ``seconds``: of each kind, (n_runs,).
    """
    if len(seconds) == 1:
        return simulate(seconds[0], slots[0])
    table = np.stack([np.asarray(s, dtype=np.float64) for s in seconds])
    if min(slots) < 1:
        raise InvalidValueError(f"A schedule needs at least one slot of each kind, got {slots}.")
    if not table.shape[1]:
        return Schedule(0.0, 0.0, 0.0, sum(slots))
    fastest = table.min(axis=0)
    free = [[0.0] * min(n, table.shape[1]) for n in slots]
    work = 0.0
    for each in table[:, np.argsort(-fastest, kind="stable")].T.tolist():
        kind = min(range(len(each)), key=lambda k: free[k][0] + each[k])
        heapq.heapreplace(free[kind], free[kind][0] + each[kind])
        work += each[kind]
    # A price y of a second on each kind, all slots together 1, bounds any schedule: each run costs
    # its cheapest kind at least, and no schedule of length T has more than T to spend (LP duality).
    price = 1.0 / np.maximum(table.sum(axis=1), 1e-300)
    price /= float(np.array(slots) @ price)
    least = float((price[:, None] * table).min(axis=0).sum())
    end = max(max(one) for one in free)
    return Schedule(end, work, float(fastest.max()), sum(slots), least_s=least)


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
