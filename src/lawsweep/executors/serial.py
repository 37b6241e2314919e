"""Execute in this process, one run after the other: for debugging, notebooks and tests."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from lawsweep.core.during.under_way import listened, stop_run
from lawsweep.core.errors import ExecutorError, InvalidValueError, refuse_deadline
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Loss, Lost, Outcome, Task, Told
from lawsweep.core.protocols import Executor, ExecutorOptions
from lawsweep.core.schema import Field
from lawsweep.worker import ahead
from lawsweep.worker.cards import CARD_MARGIN, card_name, free_bytes, usable
from lawsweep.worker.execute import Batch, n_threads
from lawsweep.worker.process_state import ProcessState, borrowed
from lawsweep.worker.visible import check_visible

_DEVICE = re.compile(r"(cpu|cuda(:\d+)?|mps)\Z")


@dataclass(frozen=True, kw_only=True)
class SerialOptions(ExecutorOptions):
    """Options of ``executor=serial``."""

    device: Annotated[str, Field("where runs compute: cpu, cuda, cuda:N or mps")] = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _DEVICE.match(self.device):
            raise InvalidValueError(
                f"executor.device must be cpu, cuda, cuda:N or mps, got {self.device!r}."
            )


class SerialExecutor(Executor):
    """Runs tasks inside ``poll``; a debugger set in an experiment stops there.

    This is the caller's own process.  What runs change in it is set back after each, but a run that
    was cut off anywhere could not be: a task with a deadline is refused.
    """

    name = "serial"
    in_process = True
    Options = SerialOptions

    def __init__(self, options: SerialOptions | None = None):
        super().__init__(options)
        self.device: str = self.options.device
        self._experiment: Experiment | None = None
        self._queue: deque[tuple[Task, Batch]] = deque()
        self._events: list[Event] = []
        self._n_handed = 0  # of these, to a launch that attends
        self._handed: list[Event] = []
        self._spoiled: Lost | None = None
        self._hand: Callable[[Event], None] | None = None
        self._called_off: Callable[[], bool] = lambda: True

    def attend(self, hand: Callable[[Event], None], called_off: Callable[[], bool]) -> None:
        """Tell a launch of each run as it ends, and ask it whether an interrupt is a person's."""
        self._hand, self._called_off = hand, called_off

    def start(self, experiment: Experiment) -> None:
        """Remember the experiment; there is nothing to start.

        Raises ExecutorError where this process has lost its GPU in a launch before, and
        InvalidValueError where CUDA_VISIBLE_DEVICES hides it.
        """
        check_visible(self.device)
        self._experiment = experiment
        if not usable(self.device):
            self._spoiled = Lost(Loss.CARD, "it does not answer", card_name(self.device))
            self._refuse()

    def _refuse(self) -> None:
        """Raise ExecutorError: after such an error every call to the GPU fails in this process."""
        assert self._spoiled is not None
        group = self._spoiled.why is Loss.CARD_GROUP
        rest = ", in a group of fused runs (executor.fuse=false does them one by one)"
        raise ExecutorError(
            f"{self._spoiled.card or 'The GPU'} failed in this process{rest if group else ''}: "
            f"{self._spoiled.detail}. Nothing more can be computed on it here. What had finished "
            "is in the table; start anew and run the same command to go on, or use "
            "executor=ray_local executor.gpus_per_task=1, which replaces such a worker."
        )

    @property
    def n_slots(self) -> int:
        """One: this process."""
        return 1

    @property
    def slot_memory_bytes(self) -> float:
        """Half of what the machine has free: the process itself, and others, need some."""
        import psutil

        return 0.5 * float(psutil.virtual_memory().available)

    def card_memory_bytes(self, kind: int = 0) -> float | None:
        """Of what the GPU has free, what is left beside blocks that torch keeps."""
        if not self.device.startswith("cuda") or self._experiment is None:
            return None
        with suppress(Exception):  # no torch, or no card: the runs themselves will tell
            self._experiment.load()
            return free_bytes(self.device) / CARD_MARGIN
        return math.inf

    def submit(self, task: Task) -> None:
        """Queue a task.  Raises InvalidValueError for one with a deadline."""
        assert self._experiment is not None
        if task.timeout_s is not None:
            raise refuse_deadline(self.name, task.timeout_s)
        batch = Batch(
            self._experiment,
            task.runs,
            task.groups,
            self.device,
            memory_share=task.memory_share,
            called_off=self._called_off,
        )
        self._queue.append((task, batch))

    def poll(self, timeout_s: float) -> list[Event]:
        """Execute runs of the first task until ``timeout_s`` has passed (at least one run).

        ``poll(0)`` also repeats what the last call gave: a Ctrl-C may have come between its
        ``return`` and the caller, and would have taken up to ``timeout_s`` of finished runs along.
        """
        end = time.monotonic() + timeout_s
        if timeout_s > 0:
            self._handed = []  # who asks for more has had them
            if self._spoiled is not None:
                self._refuse()
        if self._queue and timeout_s > 0:
            assert self._experiment is not None
            self._experiment.load()
            with borrowed() as state:
                self._work(state, end)
        # Kept on self until here, so that an interrupt in a run leaves those before it to be had.
        self._handed = [*self._handed, *self._events]
        self._events, self._n_handed = [], 0
        return self._handed

    def _work(self, state: ProcessState, end: float) -> None:
        while self._queue and self._spoiled is None:
            task, batch = self._queue[0]
            if batch:
                self._execute(task, batch, state)
            if not batch:
                self._queue.popleft()
                self._events.append(Event(task.id, done=True))
            self._hand_over()
            if time.monotonic() >= end:
                return

    def _hand_over(self) -> None:
        """They are returned all the same: one that is told twice does no harm."""
        while self._hand is not None and self._n_handed < len(self._events):
            self._hand(self._events[self._n_handed])
            self._n_handed += 1

    def _tell(self, task_id: int, told: Told) -> None:
        """What the run under way reports, perhaps from a thread of its own."""
        if self._hand is not None:
            self._hand(Event(task_id, told=told))

    def stop_run(self, task_id: int, run: int, why: str) -> None:
        """Its report, which this answers, raises."""
        stop_run(run, why)

    def _execute(self, task: Task, batch: Batch, state: ProcessState) -> None:
        run = batch.next_run()
        try:
            with listened(partial(self._tell, task.id)):
                outcomes = batch.step(state)
        except KeyboardInterrupt:
            raise
        except BaseException as end:  # noqa: BLE001  (exit: on Ray it ends a worker, here not us)
            error = f"{type(end).__name__}: the experiment ended its process ({end})"
            outcomes = (Outcome(run.index, "failed", error=error, attempt=run.attempt),)
        self._events.append(Event(task.id, outcomes))
        self._spoiled = batch.spoiled

    def kill(self, task_id: int) -> None:
        """Drop what is left of a task."""
        if any(task.id == task_id for task, _ in self._queue):
            self._queue = deque((t, b) for t, b in self._queue if t.id != task_id)
            self._events.append(
                Event(task_id, lost=Lost(Loss.TIMEOUT, "what was left of it was dropped"))
            )

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record."""
        on_card = self.device.startswith("cuda")
        return {
            "kind": self.name,
            "device": self.device,
            "fuse": self.fuse,
            "max_fused": self.options.max_fused if on_card else self.max_fused,
            "n_threads": n_threads(),
        }

    def close(self) -> None:
        """Forget what is queued, and what was drawn ahead for it."""
        self._queue.clear()
        self._handed, self._hand = [], None
        ahead.forget()
