"""Execute on Ray: tasks that carry a batch of runs and stream their outcomes back.

Ray places and isolates; the backlog, the order, batching and retries stay with the runner.  So
every task has ``max_retries=0``: a lost worker is news for the runner, and Ray's own endless
retry after running out of memory never happens.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lawsweep.core.errors import ExecutorError
from lawsweep.core.execute import Batch
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Outcome, RunSpec, Task
from lawsweep.core.protocols import MAX_FUSED
from lawsweep.executors import sharded
from lawsweep.executors.ray_session import (
    deaf_to_interrupts,
    import_path,
    own_sigterm,
    probe,
    silence_raylet,
)
from lawsweep.executors.reaper import MARK, Reaper

REPORT_S = 0.25  # a worker sends what it finished at least this often (after each longer run)
REPORT_BYTES = 16 * 2**20  # of large arrays, likewise
DRAIN_S = 1.0  # how long outcomes that are there are taken in when no time is given to wait
LEAST_MEMORY = 2.0**30  # bytes; tasks that need less are placed by their CPUs alone
SLOTS_FOR_S = 5.0  # nodes come and go: the number of slots is asked again after this long


def run_batch(
    experiment: Experiment,
    runs: tuple[RunSpec, ...],
    groups: tuple[int, ...],
    timeout_s: float | None,
    device: str,
    shards: Mapping[str, Any] | None = None,
) -> Iterator[tuple[Outcome, ...]]:
    """What a worker does: say that it began, then execute and report."""
    yield ()
    with sharded.installed(shards):
        yield from _outcomes(experiment, runs, groups, timeout_s, device)


def _outcomes(
    experiment: Experiment,
    runs: tuple[RunSpec, ...],
    groups: tuple[int, ...],
    timeout_s: float | None,
    device: str,
) -> Iterator[tuple[Outcome, ...]]:
    batch = Batch(experiment, runs, groups, device, timeout_s)
    ready: list[Outcome] = []
    last, n_bytes = time.monotonic(), 0
    while batch:
        found = batch.step()
        ready += found
        n_bytes += sum(a.nbytes for o in found for a in (o.arrays or {}).values())
        # No outcome: a fused form failed.  That is said at once, as a sign of life.
        if time.monotonic() - last >= REPORT_S or n_bytes >= REPORT_BYTES or not found:
            yield tuple(ready)
            ready, last, n_bytes = [], time.monotonic(), 0
    if ready:
        yield tuple(ready)


class RayExecutor:
    """Runs tasks on a local Ray that it starts and stops, or on a cluster it connects to.

    ``cpus_per_task`` and ``gpus_per_task`` are what one task holds; threads of numerical
    libraries follow the CPUs.  ``address`` is for a cluster: default ``RAY_ADDRESS`` or ``auto``.
    ``shards`` lets one run spread over several tasks' worth of resources (``sharded``).
    """

    in_process = False

    def __init__(
        self,
        kind: str = "ray_local",
        *,
        n_cpus: int | None = None,
        n_gpus: int | None = None,
        cpus_per_task: float = 1,
        gpus_per_task: float = 0,
        address: str | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        fuse: bool = True,
        max_fused: int = MAX_FUSED,
        shards: Mapping[str, Any] | None = None,
    ):
        self.name = kind
        # Checked here, used in the workers.
        self._n_shards = 1 if shards is None else sharded.make_pool(shards).n_shards
        self._shards = shards
        self.n_cpus, self.n_gpus = n_cpus, n_gpus
        self.cpus_per_task, self.gpus_per_task = cpus_per_task, gpus_per_task
        self.address, self.fuse, self.max_fused = address, fuse, max_fused
        self.runtime_env = dict(runtime_env or {})
        self.device = "cuda" if gpus_per_task > 0 else "cpu"
        self._ray: Any = None
        self._own = False
        self._flights: dict[Any, int] = {}
        self._killed: dict[int, str] = {}
        self._reaper: Reaper | None = None
        self._lost_some = False
        self._slots, self._slots_at = 0, float("-inf")
        self._node_memory, self._slot_memory = 0.0, float("inf")
        self._unsilence: Callable[[], None] = lambda: None

    def start(self, experiment: Experiment) -> None:
        """Start or join Ray and ship the experiment once."""
        # Before the import: Ray reads these when it is loaded.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise ExecutorError(
                f"Ray cannot be imported ({error}). Install it, or use executor=serial."
            ) from None
        self._ray = ray
        if not ray.is_initialized():
            self._own = True
            with own_sigterm():
                self._init(ray)
            self._unsilence = silence_raylet(ray)
            if self._reaper is not None and (folder := self._session_folder()):
                self._reaper.watch(folder)
        options: dict[str, Any] = {
            "num_cpus": self.cpus_per_task,
            "num_gpus": self.gpus_per_task,
            "max_retries": 0,
            "max_calls": 0,  # keep the process: Ray ends a GPU worker after each call by default
            "num_returns": "streaming",
            "runtime_env": self._task_env(),
        }
        self._remote = ray.remote(**options)(run_batch)
        self._experiment = ray.put(experiment)
        if self.n_slots < 1:
            found = ray.cluster_resources()
            raise ExecutorError(
                f"No node of this Ray can hold a task of {self.cpus_per_task:g} CPUs and "
                f"{self.gpus_per_task:g} GPUs (all together have {found.get('CPU', 0):g} and "
                f"{found.get('GPU', 0):g}). Lower executor.cpus_per_task or gpus_per_task."
            )

    def _init(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.name == "ray_cluster":
                address = self.address or os.environ.get("RAY_ADDRESS") or "auto"
                if address.startswith("ray://"):
                    raise ExecutorError(
                        f"{address} is a Ray Client address, which cannot stream outcomes. "
                        "Start lawsweep on a node of the cluster with executor.address=auto."
                    )
                probe(address)
                ray.init(address=address, **quiet)
            else:
                os.environ[MARK] = uuid.uuid4().hex  # inherited by every process of this Ray
                self._reaper = Reaper(os.environ[MARK])
                ray.init(
                    address="local",
                    num_cpus=self.n_cpus or len(os.sched_getaffinity(0)),
                    num_gpus=self.n_gpus,
                    include_dashboard=False,
                    **quiet,
                )
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            advice = (
                "Check executor.address and RAY_ADDRESS (a cluster that asks for a token: set "
                "RAY_AUTH_MODE=token), or use executor=ray_local."
                if self.name == "ray_cluster"
                else "Try lawsweep doctor, or use executor=serial."
            )
            raise ExecutorError(f"Cannot start on Ray ({self.name}): {reason} {advice}") from None

    def _task_env(self) -> dict[str, Any]:
        threads = str(max(1, int(self.cpus_per_task)))
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env = dict.fromkeys(names, threads)
        if "working_dir" not in self.runtime_env:
            # Ray passes on the working folder alone; a user's experiment may come from elsewhere.
            env["PYTHONPATH"] = os.pathsep.join(import_path())
        return {**self.runtime_env, "env_vars": {**env, **self.runtime_env.get("env_vars", {})}}

    @property
    def n_slots(self) -> int:
        """Tasks the nodes can run at once, by the CPUs and GPUs of each: none spans two nodes."""
        now = time.monotonic()
        if now - self._slots_at > SLOTS_FOR_S:
            self._check_head()
            nodes = [n.get("Resources", {}) for n in self._ray.nodes() if n.get("Alive")]
            slots = sum(self._fits(node) for node in nodes)
            # Shards may span nodes.  At least one: too small a Ray is said by the run itself.
            self._slots = max(min(slots, 1), slots // self._n_shards)
            fit = [(node.get("memory", 0.0), self._fits(node)) for node in nodes]
            self._node_memory = max((memory for memory, n in fit if n), default=0.0)
            shares = (memory / n for memory, n in fit if n and memory)
            self._slot_memory = min(shares, default=float("inf"))
            self._slots_at = now
        return self._slots

    @property
    def slot_memory_bytes(self) -> float:
        """A slot's share of the memory that its node gives to tasks, on the poorest node."""
        return self._slot_memory if self.n_slots else float("inf")

    def _fits(self, node: Mapping[str, float]) -> int:
        needs = (("CPU", self.cpus_per_task), ("GPU", self.gpus_per_task))
        fits = [node.get(name, 0.0) / need for name, need in needs if need > 0]
        return int(min(fits)) if fits else 1

    def _check_head(self) -> None:
        """Raise ExecutorError when Ray's head is gone.

        Ray itself would try to reach it for a minute and then end this process, with whatever
        rows it holds.
        """
        try:
            probe(str(self._ray.get_runtime_context().gcs_address))
        except (OSError, AttributeError) as error:
            if isinstance(error, AttributeError):
                return  # this Ray names its address otherwise: no check
            raise ExecutorError(
                f"Ray's head is gone ({error}). What had finished is in the table; start Ray "
                "again and run the same command to go on."
            ) from None

    def submit(self, task: Task) -> None:
        """Hand a task to Ray."""
        remote = self._remote
        if task.memory_bytes > LEAST_MEMORY:
            # Whole steps: each distinct request is a class of its own to Ray's scheduler.
            steps = -(-task.memory_bytes // LEAST_MEMORY) * LEAST_MEMORY
            # More than any node has would wait for ever: it gets a node to itself.
            remote = remote.options(memory=int(min(steps, self._node_memory)))
        generator = remote.remote(
            self._experiment, task.runs, task.groups, task.timeout_s, self.device, self._shards
        )
        self._flights[generator] = task.id

    def poll(self, timeout_s: float) -> list[Event]:
        """Outcomes of all tasks that have some; in order of completion, without copies waiting."""
        if not self._flights:
            return []
        end = time.monotonic() + (timeout_s or DRAIN_S)
        ready, _ = self._ray.wait(list(self._flights), num_returns=1, timeout=timeout_s)
        events: list[Event] = []
        while ready:
            events.extend(self._next_event(generator) for generator in ready)
            if not self._flights or time.monotonic() > end:
                break  # a steady stream must not keep the runner from its other duties
            flying = list(self._flights)
            ready, _ = self._ray.wait(flying, num_returns=len(flying), timeout=0)
        return events

    def _next_event(self, generator: Any) -> Event:
        task_id = self._flights[generator]
        try:
            return Event(task_id, self._ray.get(next(generator)))
        except StopIteration:
            del self._flights[generator]
            return Event(task_id, done=True)
        except self._ray.exceptions.RayError as error:
            self._lost_some = True
            del self._flights[generator]
            return Event(task_id, lost=self._killed.pop(task_id, None) or self._reason(error))

    def _reason(self, error: Exception) -> str:
        exceptions = self._ray.exceptions
        if isinstance(error, exceptions.OutOfMemoryError):
            return "oom: the node ran out of memory"
        if isinstance(error, exceptions.RayTaskError):
            last = str(error).strip().splitlines()[-1]
            return f"the worker could not run the batch: {last}"
        if isinstance(error, exceptions.WorkerCrashedError):
            return "crashed: the worker process died (killed, aborted or exited)"
        return f"crashed: {type(error).__name__}"

    def kill(self, task_id: int) -> None:
        """Kill the worker of a task that went past its deadline."""
        for generator, known in self._flights.items():
            if known == task_id:
                self._killed[task_id] = "timeout: it did not stop at its deadline and was killed"
                self._ray.cancel(generator, force=True)

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record."""
        return {
            "kind": self.name,
            "cpus_per_task": self.cpus_per_task,
            "gpus_per_task": self.gpus_per_task,
            "device": self.device,
            "fuse": self.fuse,
            "max_fused": self.max_fused,
            "n_threads": max(1, int(self.cpus_per_task)),
        }

    def close(self) -> None:
        """Cancel what is in flight, and stop Ray if this executor started it."""
        if self._ray is None:
            return
        with deaf_to_interrupts():
            for generator in self._flights:
                with contextlib.suppress(Exception):
                    self._ray.cancel(generator, force=True)
            self._flights.clear()
            if self._own:
                self._stop_ray()
            self._own = False

    def _stop_ray(self) -> None:
        folder = self._session_folder()
        self._ray.shutdown()
        self._unsilence()
        if self._reaper is not None:
            self._reaper.release()
            self._reaper = None
            os.environ.pop(MARK, None)
            # Ray keeps the logs of every session; ours are of use only where a worker was lost.
            if folder and not self._lost_some:
                shutil.rmtree(folder, ignore_errors=True)

    def _session_folder(self) -> str | None:
        """Where this Ray keeps its logs; None where the private name that says it moved."""
        try:
            return str(self._ray._private.worker.global_worker.node.get_session_dir_path())
        except AttributeError:
            return None
