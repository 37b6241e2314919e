"""Execute in this process, one run after the other: for debugging, notebooks and tests."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from lawsweep.core.execute import execute_run, n_threads
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Outcome, RunSpec, Task


class SerialExecutor:
    """Runs tasks inside ``poll``; a debugger set in an experiment stops there."""

    name = "serial"

    def __init__(self, device: str = "cpu"):
        self.device = device
        self._experiment: Experiment | None = None
        self._queue: deque[tuple[Task, deque[RunSpec]]] = deque()

    def start(self, experiment: Experiment) -> None:
        """Remember the experiment; there is nothing to start."""
        self._experiment = experiment

    @property
    def n_slots(self) -> int:
        """One: this process."""
        return 1

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append((task, deque(task.runs)))

    def poll(self, timeout_s: float) -> list[Event]:
        """Execute runs of the first task until ``timeout_s`` has passed (at least one run)."""
        if not self._queue or timeout_s <= 0 or self._experiment is None:
            return []
        task, runs = self._queue[0]
        end = time.monotonic() + timeout_s
        outcomes: list[Outcome] = []
        while runs and (not outcomes or time.monotonic() < end):
            run = runs.popleft()
            try:
                outcome = execute_run(self._experiment, run, self.device, task.timeout_s)
            except SystemExit as exit_:  # on Ray it would end a worker; here it must not end us
                error = f"SystemExit: the experiment called exit({exit_.code!r})"
                outcome = Outcome(run.index, "failed", error=error, attempt=run.attempt)
            outcomes.append(outcome)
        if not runs:
            self._queue.popleft()
        return [Event(task.id, tuple(outcomes), done=not runs)]

    def kill(self, task_id: int) -> None:
        """Drop what is left of a task."""
        self._queue = deque((t, r) for t, r in self._queue if t.id != task_id)

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record."""
        return {"kind": self.name, "device": self.device, "n_threads": n_threads()}

    def close(self) -> None:
        """Forget what is queued."""
        self._queue.clear()
