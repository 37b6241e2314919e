"""Tasks at the executor: which of their runs have not answered, and when each was last heard of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lawsweep.core.outcome import RunSpec, Task


class UnderWay(NamedTuple):
    """A run a worker is at, or the first of ``n`` that answer together, for ``since`` seconds.

    ``n_behind``: runs of the same task that follow.  A worker tells of short runs now and then, so
    where there are some it may be at one of these.
    """

    run: int
    n: int
    since: float
    n_behind: int


class Flight:
    """A task on its way, handed out at ``now``.

    ``waiting`` are its runs without an answer, by index; ``longest`` is how many of them answer
    together at most.  ``heard``: the worker said that it began.
    """

    def __init__(self, task: Task, now: float):
        self.waiting = {run.index: run for run in task.runs}
        self._groups, self._n_runs = task.groups, len(task.runs)
        self.longest = max(task.groups, default=1)
        self.memory_bytes, self.whole_node = task.memory_bytes, task.whole_node
        self.last_news = now
        self.heard = False

    def under_way(self, now: float) -> tuple[UnderWay, ...]:
        """What the worker is at, if it has begun."""
        if not self.waiting or not self.heard:
            return ()
        n, run = 1, next(iter(self.waiting))
        if self.longest > 1:
            n = self.groups_left()[0]
        return (UnderWay(run, n, now - self.last_news, len(self.waiting) - n),)

    def groups_left(self) -> tuple[int, ...]:
        """The lengths of the groups of ``waiting``, where all that stood before have answered.

        What is left of a group that was begun one by one goes on so.
        """
        answered = self._n_runs - len(self.waiting)
        for i, n in enumerate(self._groups):
            if answered < n:
                begun = (1,) * (n - answered) if answered else (n,)
                return (*begun, *self._groups[i + 1 :])
            answered -= n
        return ()


class Flights(dict[int, Flight]):
    """All of them, by the id of the task."""

    @property
    def n_waiting(self) -> int:
        """Tasks of which not all runs have answered."""
        return sum(1 for flight in self.values() if flight.waiting)

    def begun(self) -> list[tuple[float, RunSpec]]:
        """Of each task that a worker is at: when it was last heard of, and its next run."""
        flying = [f for f in self.values() if f.waiting and f.heard]
        return [(f.last_news, next(iter(f.waiting.values()))) for f in flying]

    def under_way(self, now: float) -> list[UnderWay]:
        """What the workers are at, one for each task that has begun."""
        return [one for flight in self.values() for one in flight.under_way(now)]

    def late(self, now: float, limit_s: float, grace_s: float) -> Iterator[tuple[int, Flight]]:
        """Those silent far past the deadline of a run.

        A task that has not said that it began waits for a slot: it is not late.
        """
        for task_id, flight in list(self.items()):
            if flight.heard and now - flight.last_news > limit_s * flight.longest + grace_s:
                yield task_id, flight
