"""Execute in this process, one run after the other: for debugging, notebooks and tests."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from lawsweep.core.errors import InvalidValueError
from lawsweep.core.execute import execute_run, n_threads
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Outcome, RunSpec, Task

_DEVICE = re.compile(r"(cpu|cuda(:\d+)?|mps)\Z")


class SerialExecutor:
    """Runs tasks inside ``poll``; a debugger set in an experiment stops there."""

    name = "serial"

    def __init__(self, device: str = "cpu"):
        if not _DEVICE.match(device):
            raise InvalidValueError(
                f"executor.device must be cpu, cuda, cuda:N or mps, got {device!r}."
            )
        self.device = device
        self._experiment: Experiment | None = None
        self._queue: deque[tuple[Task, deque[RunSpec]]] = deque()
        self._events: list[Event] = []

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
        end = time.monotonic() + timeout_s
        while self._queue and timeout_s > 0 and self._experiment is not None:
            task, runs = self._queue[0]
            if runs:
                self._execute(task, runs)
            if not runs:
                self._queue.popleft()
                self._events.append(Event(task.id, done=True))
            if time.monotonic() >= end:
                break
        # Kept on self until here, so that an interrupt in a run leaves those before it to be had.
        events, self._events = self._events, []
        return events

    def _execute(self, task: Task, runs: deque[RunSpec]) -> None:
        assert self._experiment is not None
        run = runs.popleft()
        try:
            outcome = execute_run(self._experiment, run, self.device, task.timeout_s)
        except KeyboardInterrupt:
            raise
        except BaseException as end:  # noqa: BLE001  (exit: on Ray it ends a worker, here not us)
            error = f"{type(end).__name__}: the experiment ended its process ({end})"
            outcome = Outcome(run.index, "failed", error=error, attempt=run.attempt)
        self._events.append(Event(task.id, (outcome,)))

    def kill(self, task_id: int) -> None:
        """Drop what is left of a task."""
        if any(task.id == task_id for task, _ in self._queue):
            self._queue = deque((t, r) for t, r in self._queue if t.id != task_id)
            self._events.append(Event(task_id, lost="killed"))

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record."""
        return {"kind": self.name, "device": self.device, "n_threads": n_threads()}

    def close(self) -> None:
        """Forget what is queued."""
        self._queue.clear()
