"""How many tasks are on their way: one more than there are slots, in each lane."""

from __future__ import annotations

from collections import Counter

import numpy as np

from lawsweep.core.outcome import Task
from lawsweep.core.protocols import Executor


class Lanes:
    """Windows of tasks in flight.

    One more than there are slots waits at the executor, so that a free slot never waits for us.
    Tasks that need no GPU run beside those that do: where a plan has both, each kind has a window
    of its own, and neither waits behind the other.  ``kinds`` is what ``Executor.needs_of`` says.
    """

    def __init__(self, executor: Executor, kinds: np.ndarray | None, n_seeds: int):
        self._executor, self._kinds, self._n_seeds = executor, kinds, n_seeds
        lanes = {} if kinds is None else dict(executor.lanes())
        self._lanes = lanes if len(set(lanes.values())) > 1 else {}
        self._n: Counter[int] = Counter()
        self._lane_of: dict[int, int] = {}  # by task

    def full(self, n_flights: int, n_slots: int) -> frozenset[int] | None:
        """The kinds of which no task is to be sent now; None where none is at all."""
        if not self._lanes:
            return None if n_flights > n_slots else frozenset()
        full = {
            lane
            for lane in set(self._lanes.values())
            if self._n[lane] > self._executor.slots_in(lane)
        }
        if len(full) == len(set(self._lanes.values())):
            return None
        return frozenset(kind for kind, lane in self._lanes.items() if lane in full)

    def sent(self, task: Task) -> None:
        """A task is on its way."""
        if self._lanes and self._kinds is not None:
            kind = int(self._kinds[task.runs[0].index // self._n_seeds])
            self._lane_of[task.id] = self._lanes[kind]
            self._n[self._lanes[kind]] += 1

    def ended(self, task_id: int) -> None:
        """A task is over."""
        lane = self._lane_of.pop(task_id, None)
        if lane is not None:
            self._n[lane] -= 1
