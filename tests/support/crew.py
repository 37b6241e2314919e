"""``executor=crew``: a process for each task, without Ray.  It stands for another package."""

from __future__ import annotations

import multiprocessing
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Annotated

from lawsweep import Field
from lawsweep.core.outcome import Event, Loss, Lost
from lawsweep.core.protocols import Executor, ExecutorOptions
from lawsweep.worker.execute import Batch
from lawsweep.worker.process_state import ProcessState


@dataclass(frozen=True, kw_only=True)
class CrewOptions(ExecutorOptions):
    n_workers: Annotated[int, Field("processes at the same time", ge=1)] = 2


class CrewExecutor(Executor):
    name = "crew"
    Options = CrewOptions

    def start(self, experiment):
        self._experiment = experiment
        self._context = multiprocessing.get_context("forkserver")
        # Whatever the experiment's module imports is imported once, and not by each task's process.
        here = ["lawsweep.worker.execute", "numpy", experiment.function.__module__]
        self._context.set_forkserver_preload(here)
        self._waiting, self._flying, self._killed = deque(), {}, set()

    @property
    def n_slots(self):
        return self.options.n_workers

    def cpus_here(self, n_cpus):
        return self.options.n_workers

    def submit(self, task):
        self._waiting.append(task)
        self._fill()

    def _fill(self):
        while self._waiting and len(self._flying) < self.n_slots:
            task = self._waiting.popleft()
            ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(target=work, args=(theirs, self._experiment, task))
            process.start()
            theirs.close()
            self._flying[ours] = (task.id, process)

    def poll(self, timeout_s):
        events = [self._heard(pipe) for pipe in wait(list(self._flying), timeout_s)]
        self._fill()
        return events

    def _heard(self, pipe):
        task_id, process = self._flying[pipe]
        try:
            event = pipe.recv()
        except EOFError:
            why = Loss.TIMEOUT if task_id in self._killed else Loss.CRASHED
            process.join()
            event = Event(task_id, lost=Lost(why, f"its process ended with {process.exitcode}"))
        if event.done or event.lost:
            del self._flying[pipe]
            pipe.close()
        return event

    def kill(self, task_id):
        for flying, process in self._flying.values():
            if flying == task_id:
                self._killed.add(task_id)
                process.kill()

    def describe(self):
        return {"kind": self.name, "device": "cpu", "n_workers": self.options.n_workers}

    def close(self):
        for pipe, (_, process) in self._flying.items():
            process.kill()
            process.join()
            pipe.close()
        self._waiting.clear()
        self._flying.clear()


def work(pipe, experiment, task):
    """Say that the task has begun, execute its runs, and tell each as it is done."""
    batch = Batch(experiment, task.runs, task.groups, "cpu", task.timeout_s, task.memory_share)
    pipe.send(Event(task.id))
    experiment.load()
    state = ProcessState()
    while batch and batch.spoiled is None:
        pipe.send(Event(task.id, batch.step(state)))
    pipe.send(Event(task.id, done=batch.spoiled is None, lost=batch.spoiled))
