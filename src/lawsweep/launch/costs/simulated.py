"""A cluster that exists on paper: the executor protocol over a simulated clock.

The real Loop drives it (its backlog, cost model, retries and committer), so what a cluster of
this size would do to them can be seen in minutes: how near the makespan comes to the bound, what
lost nodes cost, and how much the driver holds and computes.  ``simulate.py`` answers the plainer
question of ``lawsweep plan --on``: how long, with nothing in the way.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Loss, Lost, Outcome, RunSpec, Task
from lawsweep.core.protocols import Executor

REPORT_S = 0.25  # a simulated worker reports as often as a real one (worker/reporting)
_REPORT, _LOSS, _BACK, _BEGIN = range(4)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Nodes of equal slots.  Every ``loss_every_s`` one is lost; it is back after ``away_s``.

    ``latency_s`` passes between something and the driver's knowing of it.
    """

    n_nodes: int
    slots_per_node: int
    latency_s: float = 0.01
    loss_every_s: float = math.inf
    away_s: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.n_nodes, self.slots_per_node) < 1 or self.loss_every_s <= 0:
            raise InvalidValueError(
                "A cluster has nodes and slots from 1, and loses a node after more than 0 s; "
                f"got {self}."
            )


@dataclass(slots=True)
class _Running:
    """A task under way: when it reports, and how many runs each time."""

    task: Task
    node: int
    reports: deque[tuple[float, int]]
    n_told: int = 0
    since: float = 0.0  # the last report: what was done after it is lost with the node


@dataclass(slots=True)
class _Node:
    free: int
    up: bool = True
    tasks: set[int] = field(default_factory=set)


class SimulatedExecutor(Executor):
    """Runs take ``seconds[index]`` and answer nothing but that they are done.

    ``clock`` is to be given to the Loop: it tells the simulated time, which passes in ``poll``.
    Afterwards ``n_losses`` and ``destroyed_s`` (work that was lost with a node) tell what befell
    it, and ``bound_s`` the least any scheduler could have needed.
    """

    name = "simulated"

    def __init__(self, cluster: Cluster, seconds: np.ndarray):
        self.cluster, self.seconds = cluster, np.asarray(seconds, dtype=np.float64)
        self.now, self.destroyed_s, self.n_losses = 0.0, 0.0, 0
        self._rng = np.random.default_rng(cluster.seed)
        self._nodes = [_Node(cluster.slots_per_node) for _ in range(cluster.n_nodes)]
        self._n_free = self._n_up = cluster.n_nodes * cluster.slots_per_node
        self._next_node = 0
        self._capacity = [(0.0, self._n_up)]  # since when there were how many slots
        self._waiting: deque[Task] = deque()
        self._running: dict[int, _Running] = {}
        self._agenda: list[tuple[float, int, int, int]] = []
        self._n_entries = 0
        if math.isfinite(cluster.loss_every_s):
            self._note(cluster.loss_every_s, _LOSS, 0)

    def clock(self) -> float:
        """Simulated seconds since the start."""
        return self.now

    def start(self, experiment: Experiment) -> None:
        """Nothing to start."""

    @property
    def n_slots(self) -> int:
        """Slots of the nodes that are up."""
        return max(1, self._n_up)

    def submit(self, task: Task) -> None:
        """Take a task; it starts now where a slot is free."""
        self._waiting.append(task)
        self._place(self.now)

    def poll(self, timeout_s: float) -> list[Event]:
        """The next news and all that follow within the latency; the clock moves on to then."""
        if timeout_s <= 0:
            return []
        end = self.now + timeout_s
        if not self._agenda or self._agenda[0][0] > end:
            self.now = end
            return []
        end = self._agenda[0][0] + self.cluster.latency_s
        events: list[Event] = []
        while self._agenda and self._agenda[0][0] <= end:
            at, _, kind, which = heapq.heappop(self._agenda)
            if kind == _REPORT:
                events += self._report(at, which)
            elif kind == _BEGIN:
                events += [Event(which)] if which in self._running else []
            elif kind == _LOSS:
                events += self._lose_a_node(at)
            else:
                self._bring_back(at, which)
        self.now = end
        return events

    def kill(self, task_id: int) -> None:
        """Runs here end by themselves."""

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record."""
        return {"kind": self.name, "device": "cpu", "n_threads": 1}

    def close(self) -> None:
        """Nothing to stop."""

    def bound_s(self, *, destroyed: bool = True) -> float:
        """No schedule is shorter: all slots that were up are always busy, each run is whole.

        ``destroyed``: what went with lost nodes is counted as work too.  A scheduler cannot know
        which node goes next, but it may choose how much is at stake there.
        """
        work, longest = float(self.seconds.sum()), float(self.seconds.max())
        work += self.destroyed_s if destroyed else 0.0
        done = 0.0
        until = [*(at for at, _ in self._capacity[1:]), math.inf]
        for (since, slots), end in zip(self._capacity, until, strict=True):
            if slots and done + slots * (end - since) >= work:
                return max(longest, since + (work - done) / slots)
            done += slots * (end - since)
        return math.inf

    def _note(self, at: float, kind: int, which: int) -> None:
        self._n_entries += 1
        heapq.heappush(self._agenda, (at, self._n_entries, kind, which))

    def _place(self, at: float) -> None:
        """Start what waits on free slots, going round the nodes."""
        while self._waiting and self._n_free:
            while not (self._nodes[self._next_node].up and self._nodes[self._next_node].free):
                self._next_node = (self._next_node + 1) % len(self._nodes)
            task, node = self._waiting.popleft(), self._nodes[self._next_node]
            node.free -= 1
            self._n_free -= 1
            node.tasks.add(task.id)
            reports = self._reports(task, at)
            self._running[task.id] = _Running(task, self._next_node, reports, since=at)
            self._note(at, _BEGIN, task.id)
            self._note(reports[0][0], _REPORT, task.id)
            self._next_node = (self._next_node + 1) % len(self._nodes)

    def _reports(self, task: Task, at: float) -> deque[tuple[float, int]]:
        """As a worker does it: after a run if the last report is REPORT_S ago, and at the end."""
        reports: deque[tuple[float, int]] = deque()
        last = at
        for n, run in enumerate(task.runs, 1):
            at += float(self.seconds[run.index])
            if at - last >= REPORT_S or n == len(task.runs):
                reports.append((at, n))
                last = at
        return reports

    def _report(self, at: float, task_id: int) -> list[Event]:
        running = self._running.get(task_id)
        if running is None:
            return []  # its node was lost
        _, n = running.reports.popleft()
        runs = running.task.runs[running.n_told : n]
        running.n_told, running.since = n, at
        done = not running.reports
        if done:
            self._end(task_id, running)
            self._place(at)
        else:
            self._note(running.reports[0][0], _REPORT, task_id)
        return [Event(task_id, tuple(self._outcome(run, at) for run in runs), done=done)]

    def _outcome(self, run: RunSpec, at: float) -> Outcome:
        seconds = float(self.seconds[run.index])
        return Outcome(
            run.index, "ok", wall_s=seconds, attempt=run.attempt, started_at=at - seconds
        )

    def _end(self, task_id: int, running: _Running) -> None:
        del self._running[task_id]
        node = self._nodes[running.node]
        node.tasks.discard(task_id)
        if node.up:
            node.free += 1
            self._n_free += 1

    def _lose_a_node(self, at: float) -> list[Event]:
        """A node that is up goes, and with it what its tasks did since they last reported."""
        self._note(at + self.cluster.loss_every_s, _LOSS, 0)
        up = [i for i, node in enumerate(self._nodes) if node.up]
        if len(up) < 2:
            return []  # the last one stays: a cluster of nothing needs for ever
        which = int(self._rng.choice(up))
        node = self._nodes[which]
        self.n_losses += 1
        self._n_free -= node.free
        node.up, node.free = False, 0
        self._change_capacity(at, -self.cluster.slots_per_node)
        events = []
        for task_id in sorted(node.tasks):
            running = self._running[task_id]
            self.destroyed_s += at - running.since
            self._end(task_id, running)
            events.append(Event(task_id, lost=Lost(Loss.NODE, "it is gone")))
        self._note(at + self.cluster.away_s, _BACK, which)
        return events

    def _bring_back(self, at: float, which: int) -> None:
        node = self._nodes[which]
        node.up, node.free = True, self.cluster.slots_per_node
        self._n_free += node.free
        self._change_capacity(at, self.cluster.slots_per_node)
        self._place(at)

    def _change_capacity(self, at: float, n: int) -> None:
        self._n_up += n
        self._capacity.append((at, self._n_up))
