"""Execute on Ray: tasks that carry a batch of runs and stream their outcomes back.

Ray places and isolates; the backlog, the order, batching and retries stay with the runner.  So
every task has ``max_retries=0``: a lost worker is news for the runner, and Ray's own endless
retry after running out of memory never happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import ExecutorError
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Task
from lawsweep.core.protocols import MAX_FUSED
from lawsweep.executors import sharded
from lawsweep.executors.ray_needs import Kind, Needs
from lawsweep.executors.ray_nodes import room_of
from lawsweep.executors.ray_session import (
    deaf_to_interrupts,
    import_path,
    inherited,
    own_sigterm,
    probe,
    silence_raylet,
)
from lawsweep.executors.ray_worker import run_batch
from lawsweep.executors.reaper import MARK, Reaper

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.core.plan import Plan

DRAIN_S = 1.0  # how long outcomes that are there are taken in when no time is given to wait
LEAST_MEMORY = 2.0**30  # bytes; tasks that need less are placed by their CPUs alone
APART_PATIENCE_S = 60.0  # that others hold a node which a run is to have to itself
SLOTS_FOR_S = 5.0  # nodes come and go: the number of slots is asked again after this long


class RayExecutor:
    """Runs tasks on a local Ray that it starts and stops, or on a cluster it connects to.

    ``cpus_per_task`` and ``gpus_per_task`` are what one task holds: numbers, or expressions over
    the params (``4 if n_samples > 5000 else 1``).  Threads of numerical libraries follow the CPUs.
    ``address`` is for a cluster: default ``RAY_ADDRESS`` or ``auto``.  ``shards`` lets one run
    spread over several tasks' worth of resources (``sharded``).
    """

    in_process = False

    def __init__(
        self,
        kind: str = "ray_local",
        *,
        n_cpus: int | None = None,
        n_gpus: int | None = None,
        cpus_per_task: float | str = 1,
        gpus_per_task: float | str = 0,
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
        self._needs = Needs(cpus_per_task, gpus_per_task)
        self._kinds: list[Kind] = []
        self.address, self.fuse, self.max_fused = address, fuse, max_fused
        self.runtime_env = dict(runtime_env or {})
        self.device = "cuda" if self._needs.gpus > 0 else "cpu"
        self._ray: Any = None
        self._own = False
        self._flights: dict[Any, int] = {}
        self._killed: dict[int, str] = {}
        self._reaper: Reaper | None = None
        self._lost_some = False
        self._has_env = False
        self._apart: dict[Any, Task] = {}  # waiting for a node to themselves
        self._last_news = time.monotonic()
        self._slots, self._slots_at = 0, float("-inf")
        self._room = room_of((), self._needs.cpus, self._needs.gpus)
        self._unsilence: Callable[[], None] = lambda: None

    def start(self, experiment: Experiment) -> None:
        """Start or join Ray and ship the experiment once."""
        self._needs.bind(experiment)
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
            "num_cpus": self._needs.cpus,
            "num_gpus": self._needs.gpus,
            "max_retries": 0,
            "max_calls": 0,  # keep the process: Ray ends a GPU worker after each call by default
            "num_returns": "streaming",
            "runtime_env": self._task_env(),
        }
        self._remote = ray.remote(**options)(run_batch)
        self._experiment = ray.put(experiment)
        if self._needs.by_point:
            self._check_room(self._kinds)
        else:
            self._check_room([Kind(self._needs.cpus, self._needs.gpus, "")])

    def needs_of(self, plan: Plan, runs: Iterable[int]) -> np.ndarray | None:
        """For each point a number, (n_points,): those that share it may share a task.

        None where all runs need the same.  Raises a LawsweepError where an expression gives an odd
        answer for one of ``runs``; where one fits on no node, here or in ``start``, whichever
        comes last: in the middle of a launch it would end it.
        """
        if not self._needs.by_point:
            return None
        kinds, self._kinds = self._needs.over(plan, runs)
        if self._ray is not None:
            self._check_room(self._kinds)
        return kinds

    def _check_room(self, kinds: Iterable[Kind]) -> None:
        """Raise ExecutorError for what no node can hold.  Only before anything runs: a node that
        goes later may come back, and what it alone can hold waits for it.
        """
        nodes = self._ray.nodes()
        for kind in kinds:
            if room_of(nodes, kind.cpus, kind.gpus).n_slots < 1:
                found = self._ray.cluster_resources()
                where = f", which {kind.point} needs" if kind.point else ""
                raise ExecutorError(
                    f"No node of this Ray can hold a task of {kind.cpus:g} CPUs and "
                    f"{kind.gpus:g} GPUs{where} (all together have {found.get('CPU', 0):g} and "
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
                # Ray starts a worker a CPU at once.  With what tasks need in their environment
                # from birth these serve; else each task's first worker would be started anew.
                self._has_env = not self.runtime_env and not self._needs.by_point
                with inherited(self._variables() if self._has_env else {}):
                    ray.init(
                        address="local",
                        num_cpus=self.n_cpus or len(os.sched_getaffinity(0)),
                        num_gpus=self.n_gpus,
                        include_dashboard=False,
                        **quiet,
                    )
        except ExecutorError:
            raise
        except Exception as error:  # noqa: BLE001  (Ray tells by a bare one of a node that is slow)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            advice = (
                "Check executor.address and RAY_ADDRESS (a cluster that asks for a token: set "
                "RAY_AUTH_MODE=token), or use executor=ray_local."
                if self.name == "ray_cluster"
                else "Try lawsweep doctor, or use executor=serial."
            )
            raise ExecutorError(f"Cannot start on Ray ({self.name}): {reason} {advice}") from None

    def _variables(self) -> dict[str, str]:
        """What a worker's environment has to say."""
        threads = str(max(1, int(self._needs.cpus)))
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env = dict.fromkeys(names, threads)
        if "working_dir" not in self.runtime_env:
            # Ray passes on the working folder alone; a user's experiment may come from elsewhere.
            env["PYTHONPATH"] = os.pathsep.join(import_path())
        return env

    def _task_env(self) -> dict[str, Any] | None:
        if self._has_env:
            return None
        theirs = self.runtime_env.get("env_vars", {})
        return {**self.runtime_env, "env_vars": {**self._variables(), **theirs}}

    @property
    def n_slots(self) -> int:
        """Tasks the nodes can run at once, by the CPUs and GPUs of each: none spans two nodes."""
        now = time.monotonic()
        if now - self._slots_at > SLOTS_FOR_S:
            self._check_head()
            self._room = room_of(self._ray.nodes(), self._needs.cpus, self._needs.gpus)
            slots = self._room.n_slots or self._slots_of_others()
            # Shards may span nodes.  At least one: too small a Ray is said by the run itself.
            self._slots = max(min(slots, 1), slots // self._n_shards)
            self._slots_at = now
        return self._slots

    def _slots_of_others(self) -> int:
        """Where the node is gone that the last task needs: it waits there, others need not."""
        nodes = self._ray.nodes() if self._kinds else ()
        return max((room_of(nodes, k.cpus, k.gpus).n_slots for k in self._kinds), default=0)

    @property
    def slot_memory_bytes(self) -> float:
        """A slot's share of the memory that its node gives to tasks, on the poorest node."""
        return self._room.slot_memory if self.n_slots else float("inf")

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
        options: dict[str, Any] = self._by_point(task) if self._needs.by_point else {}
        if task.whole_node:
            options |= self._whole_node()
            self._last_news = time.monotonic()
        elif task.memory_bytes > LEAST_MEMORY:
            # Whole steps: each distinct request is a class of its own to Ray's scheduler.
            steps = -(-task.memory_bytes // LEAST_MEMORY) * LEAST_MEMORY
            # More than any node has would wait for ever: it gets a node to itself.
            options["memory"] = int(min(steps, self._room.node_memory))
        remote = self._remote.options(**options) if options else self._remote
        generator = remote.remote(
            self._experiment,
            task.runs,
            task.groups,
            task.timeout_s,
            self.device,
            self._shards,
            task.memory_share,
        )
        self._flights[generator] = task.id
        if task.whole_node:
            self._apart[generator] = task

    def _give_up_whole_nodes(self) -> None:
        """Tasks that wait for a node which others never leave go where there is room.

        Only where they are all that is left: until then it may be our own runs that they wait for.
        """
        waited = time.monotonic() - self._last_news
        if not self._apart or len(self._apart) < len(self._flights) or waited < APART_PATIENCE_S:
            return
        for generator, task in list(self._apart.items()):
            self._ray.cancel(generator, force=True)
            del self._apart[generator], self._flights[generator]
            self.submit(dataclasses.replace(task, whole_node=False))

    def _by_point(self, task: Task) -> dict[str, Any]:
        """Ray's options for what the runs of this task need, and the slots for its like."""
        before = self._needs.cpus, self._needs.gpus
        cpus, gpus = self._needs.of(task.runs)
        if (cpus, gpus) != before:
            self._slots_at = float("-inf")
        return {"num_cpus": cpus, "num_gpus": gpus, "runtime_env": self._task_env()}

    def _whole_node(self) -> dict[str, Any]:
        """Ray's options for a task that nothing runs beside.

        Threads stay as they are: with another number of them its result would differ.  On GPUs the
        device is what has to be its own, and the other GPUs of the node go on; shards need the
        CPUs that the task does not hold.
        """
        options: dict[str, Any] = (
            {"memory": int(self._room.node_memory)} if self._room.node_memory else {}
        )
        if self._needs.gpus:
            options["num_gpus"] = max(1, self._needs.gpus)
        elif self._n_shards == 1:
            options["num_cpus"] = max(self._needs.cpus, self._room.node_cpus)
        return options

    def poll(self, timeout_s: float) -> list[Event]:
        """Outcomes of all tasks that have some; in order of completion, without copies waiting."""
        if not self._flights:
            return []
        end = time.monotonic() + (timeout_s or DRAIN_S)
        self._give_up_whole_nodes()
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
        self._apart.pop(generator, None)  # it has begun, or ended
        self._last_news = time.monotonic()
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
        if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError):
            return f"node: its node was lost ({type(error).__name__})"
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
            **self._needs.given,
            "device": self.device,
            "fuse": self.fuse,
            "max_fused": self.max_fused,
            "n_threads": None if self._needs.by_point else max(1, int(self._needs.cpus)),
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
            self._apart.clear()
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
