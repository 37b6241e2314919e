"""Execute in processes of this machine: all its cores, workers that can be ended, and no Ray.

A worker is a fresh Python that imports what the experiment needs and then executes one batch after
another; it starts in the time of that import.  One that dies, or is killed at a deadline, is
replaced.  For GPUs, several machines and runs that spread there is Ray.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Annotated, Any

from lawsweep.core.code.clashes import refuse_clashes
from lawsweep.core.errors import ExecutorError
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Loss, Lost, Task
from lawsweep.core.protocols import Executor, ExecutorOptions
from lawsweep.core.schema import Field
from lawsweep.executors.processes.worker import STOP

_BOOT = "from lawsweep.executors.processes.worker import main; main()"
# A worker imports from where this process does, in the same order: with PYTHONPATH a file of the
# user's would come before Python's own modules.
_PATH = "import sys; sys.path[:] = {path!r}; "
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MEMORY_SHARE = 0.8  # of what is free when they start, for all workers together
FAILED_STARTS = 3  # workers in a row that die before they have begun anything


@dataclass(frozen=True, kw_only=True)
class ProcessesOptions(ExecutorOptions):
    """Options of ``executor=processes``."""

    n_workers: Annotated[
        int | None, Field("processes; null: as many as CPUs and threads allow", ge=1)
    ] = None
    threads: Annotated[int, Field("of numerical libraries, in each process", ge=1)] = 1


class _Worker:
    """A process, the pipe to it, and the task it is at."""

    def __init__(self, experiment: bytes, environment: Mapping[str, str]):
        self.wire, theirs = Pipe()
        try:
            # A group of its own: a Ctrl-C is ours to answer, and what it starts ends with it.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _boot(), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # stdout is the answer of a verb
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            self.wire.close()
            raise ExecutorError(
                f"Cannot start a process: {error}. Lower executor.n_workers, or free memory and "
                "processes of this machine."
            ) from None
        finally:
            theirs.close()
        self.task: Task | None = None
        self.killed = self.has_begun = False
        with contextlib.suppress(OSError):  # one that is dead already is heard of in time
            self.wire.send_bytes(experiment)

    def give(self, task: Task) -> None:
        self.task = task
        batch = (task.runs, task.groups, task.timeout_s, task.memory_share)
        packed = pickle.dumps((task.id, batch), protocol=pickle.HIGHEST_PROTOCOL)
        with contextlib.suppress(OSError):
            self.wire.send_bytes(packed)

    def end(self) -> None:
        """Kill it, and what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.end()
        self.wire.close()
        self.process.wait()


class ProcessesExecutor(Executor):
    """Runs tasks in worker processes of this machine, each at one task at a time."""

    name = "processes"
    Options = ProcessesOptions

    def __init__(self, options: ProcessesOptions | None = None):
        super().__init__(options)
        self._workers: list[_Worker] = []
        self._queue: deque[Task] = deque()
        self._said: list[Event] = []  # of tasks that were dropped
        self._experiment = b""
        self._environment: dict[str, str] = {}
        self._n = self.options.n_workers or self.cpus_here(_cpus())
        self._slot_memory = float("inf")
        self._failed_starts, self._oom_kills = 0, _oom_kills()

    def start(self, experiment: Experiment) -> None:
        """Start the workers.  Raises ExecutorError where the experiment cannot be sent to them."""
        import cloudpickle
        import psutil

        refuse_clashes(Path.cwd())  # workers import from there
        try:
            self._experiment = cloudpickle.dumps(experiment, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001  (whatever the user's objects raise)
            raise ExecutorError(
                f"{experiment.name} cannot be sent to another process ({error}). Keep open files, "
                "locks and the like out of what it holds, or use executor=serial."
            ) from None
        threads = str(self.options.threads)
        self._environment = {**os.environ, **dict.fromkeys(_THREADS, threads)}
        self._slot_memory = MEMORY_SHARE * psutil.virtual_memory().available / self._n
        for _ in range(self._n):
            self._hire()

    def cpus_here(self, n_cpus: int) -> int:
        """Its workers, each with as many threads."""
        n_workers: int | None = self.options.n_workers
        return n_workers or max(1, n_cpus // int(self.options.threads))

    @property
    def n_slots(self) -> int:
        """One a worker."""
        return self._n

    @property
    def slot_memory_bytes(self) -> float:
        """A worker's share of the memory that was free when they started."""
        return self._slot_memory

    def submit(self, task: Task) -> None:
        """Queue a task; a free worker takes it at once."""
        self._queue.append(task)
        self._hand_out()

    def _hand_out(self) -> None:
        """Queued tasks to free workers, in order; one that is to be alone waits for all others."""
        busy = [w.task for w in self._workers if w.task is not None]
        while self._queue and not any(task.whole_node for task in busy):
            free = next((w for w in self._workers if w.task is None), None)
            if free is None or (busy and self._queue[0].whole_node):
                return
            task = self._queue.popleft()
            free.give(task)
            busy.append(task)

    def poll(self, timeout_s: float) -> list[Event]:
        """What workers have sent; each message at most once, in the order of arrival."""
        events, self._said = self._said, []
        if not any(w.task for w in self._workers):
            return events
        end = time.monotonic() + max(timeout_s, 0.05)
        ready = wait([w.wire for w in self._workers], 0 if events else timeout_s)
        while ready:
            by_wire = {w.wire: w for w in self._workers}
            for wire in ready:
                assert isinstance(wire, Connection)
                events += self._hear(by_wire[wire])
            self._hand_out()
            if time.monotonic() > end:
                break  # a steady stream must not keep the launch from its other duties
            ready = wait([w.wire for w in self._workers], 0)
        events, self._said = [*events, *self._said], []
        return events

    def _hear(self, worker: _Worker) -> list[Event]:
        """The next message of a worker, or its end."""
        try:
            task_id, outcomes, *ended = pickle.loads(worker.wire.recv_bytes())
        except (EOFError, OSError):
            return self._gone(worker)
        if not ended:  # a run that is under way tells of itself
            return [Event(task_id, told=outcomes)]
        done, lost = ended
        worker.has_begun, self._failed_starts = True, 0
        if lost is None:
            if done:
                worker.task = None
            return [Event(task_id, outcomes, done=done)]
        self._replace(worker)
        said = [Event(task_id, outcomes)] if outcomes else []
        return [*said, Event(task_id, lost=lost)]

    def _gone(self, worker: _Worker) -> list[Event]:
        code = worker.process.wait()
        task = worker.task
        if not worker.has_begun and not worker.killed:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS * self._n:
                raise ExecutorError(
                    f"Worker processes die as they start ({_how(code)}); what they said stands "
                    "above. Try executor=serial."
                )
        self._replace(worker)
        if task is not None and not worker.has_begun and not worker.killed:
            self._queue.appendleft(task)  # it died of its start, and not of a run
            task = None
        if task is None:
            return []
        if worker.killed:
            late = "it did not stop at its deadline and was killed"
            return [Event(task.id, lost=Lost(Loss.TIMEOUT, late))]
        kills = _oom_kills()
        if code == -signal.SIGKILL and kills > self._oom_kills:
            self._oom_kills = kills
            why = "the system was out of memory and killed it"
            return [Event(task.id, lost=Lost(Loss.OUT_OF_MEMORY, why))]
        return [Event(task.id, lost=Lost(Loss.CRASHED, _how(code)))]

    def _hire(self) -> None:
        self._workers.append(_Worker(self._experiment, self._environment))

    def _replace(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.close()
        self._hire()

    def kill(self, task_id: int) -> None:
        """Kill the worker of a task, or drop the task where it waits."""
        for worker in self._workers:
            if worker.task is not None and worker.task.id == task_id:
                worker.killed = True
                worker.end()
        if any(task.id == task_id for task in self._queue):
            self._queue = deque(task for task in self._queue if task.id != task_id)
            why = Lost(Loss.TIMEOUT, "it was dropped before it began")
            self._said.append(Event(task_id, lost=why))

    def stop_run(self, task_id: int, run: int, why: str) -> None:
        """Tell the worker of the task, in the middle of it."""
        for worker in self._workers:
            if worker.task is not None and worker.task.id == task_id:
                with contextlib.suppress(OSError):
                    worker.wire.send_bytes(STOP + pickle.dumps((run, why)))

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record."""
        return {
            "kind": self.name,
            "device": "cpu",
            "n_workers": self._n,
            "fuse": self.fuse,
            "max_fused": self.max_fused,
            "n_threads": self.options.threads,
        }

    def close(self) -> None:
        """Kill the workers, and forget what is queued."""
        self._queue.clear()
        self._said.clear()
        while self._workers:
            self._workers.pop().close()


def _boot() -> str:
    """The program of a worker.  An empty entry of the path is the working folder."""
    return _PATH.format(path=[os.path.abspath(p) for p in sys.path]) + _BOOT  # noqa: PTH100


def _cpus() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _how(code: int) -> str:
    """How a process ended, from its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _oom_kills() -> int:
    """How often the kernel has killed for memory, as far as it says."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
