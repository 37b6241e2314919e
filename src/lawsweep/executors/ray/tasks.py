"""Execute on Ray: tasks that carry a batch of runs and stream their outcomes back.

Ray places and isolates; backlog, order, batches and retries stay with the runner: every task has
``max_retries=0``, a lost worker is news, and Ray's endless retry out of memory never happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawsweep.core.code.clashes import refuse_clashes
from lawsweep.core.experiment import Experiment
from lawsweep.core.outcome import Event, Loss, Lost, Task
from lawsweep.core.protocols import Executor
from lawsweep.core.secrets import learn_settings
from lawsweep.executors.ray.boot import booted
from lawsweep.executors.ray.cards import Began, Cards
from lawsweep.executors.ray.early import EarlyNews
from lawsweep.executors.ray.manners import deaf_to_interrupts, import_path
from lawsweep.executors.ray.needs import Needs
from lawsweep.executors.ray.options import ClusterOptions, LocalOptions, RayOptions, read_shards
from lawsweep.executors.ray.placement import Placement
from lawsweep.executors.ray.session import RaySession, loss_of

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.grid.plan import Plan

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DRAIN_S = 1.0  # how long outcomes that are there are taken in when no time is given to wait
APART_PATIENCE_S = 60.0  # that others hold a node which a run is to have to itself


class RayExecutor(Executor):
    """Runs tasks on a Ray.  ``shards`` lets one run spread over several tasks' worth of it."""

    def __init__(self, options: RayOptions, session: RaySession):
        super().__init__(options)
        self._shards = None if options.shards is None else read_shards(options.shards)
        n_shards = 1 if self._shards is None else self._shards.n
        self._needs = Needs(options.cpus_per_task, options.gpus_per_task)
        self._session = session
        self._placement = Placement(self._needs, n_shards, session, options.gpu_memory_bytes)
        self.runtime_env = dict(options.runtime_env or {})
        learn_settings({"runtime_env": self.runtime_env})
        self.device = "cuda" if self._needs.gpus > 0 else "cpu"
        self._ray: Any = None
        self._flights: dict[Any, Task] = {}
        self._killed = set[int]()
        self._apart: set[Any] = set()  # waiting for a node to themselves
        self._cards, self._early = Cards(), EarlyNews(session.head_answers)
        self._card_of: dict[int, str] = {}  # by task: the GPU that it began on
        self._lost_some, self._last_news = False, time.monotonic()

    def start(self, experiment: Experiment) -> None:
        """Start or join Ray and ship the experiment once."""
        self.options.refuse_hidden()
        refuse_clashes(Path.cwd())  # Ray has its workers import from there
        self._needs.bind(experiment)
        self._experiment = experiment
        # Only what all tasks need alike, and no user's environment has a say in.
        alike = not self.runtime_env and not self._needs.threads_by_point
        self._ray = self._session.open(self._variables() if alike else {})
        if not alike:
            self._ship(by_ray=True)
        elif self._session.born_with == self._variables():
            self._ship(by_ray=False, variables={})
        else:
            # Only workers of this launch are sure to have loaded nothing yet.
            by_ray = not self._session.own
            self._ship(by_ray=by_ray, variables={} if by_ray else self._variables())
        asks = self.fuse_by_memory and experiment.fused is not None
        self._placement.bind(self._ray, ask_cards=asks)

    def _ship(self, *, by_ray: bool, variables: Mapping[str, str] | None = None) -> None:
        """Make the remote function: Ray gives its workers their environment, or it does itself."""
        self._by_ray = by_ray
        options: dict[str, Any] = {
            "name": "run_batch",  # in Ray's dashboard, and as the worker's title
            "num_cpus": self._needs.cpus,
            "num_gpus": self._needs.gpus,
            "max_retries": 0,
            "max_calls": 0,  # keep the process: Ray ends a GPU worker after each call by default
            "num_returns": "streaming",
            "runtime_env": self._task_env(),
        }
        function = booted(variables or {}, self._packed(self._experiment))
        self._remote = self._ray.remote(**options)(function)

    def _packed(self, value: Any) -> bytes:
        """Unpacked in a worker, once it knows where to import from."""
        return bytes(self._ray.cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))

    def _variables(self) -> dict[str, str]:
        """What a worker's environment has to say."""
        threads = str(max(1, int(self._needs.cpus)))
        env = dict.fromkeys(THREADS, threads)
        if "working_dir" not in self.runtime_env:
            # Ray passes on the working folder alone; a user's experiment may come from elsewhere.
            env["PYTHONPATH"] = os.pathsep.join(import_path())
        return env

    def _task_env(self) -> dict[str, Any] | None:
        if not self._by_ray:
            return None
        theirs = self.runtime_env.get("env_vars", {})
        return {**self.runtime_env, "env_vars": {**self._variables(), **theirs}}

    def needs_of(self, plan: Plan, runs: Iterable[int]) -> np.ndarray | None:
        """For each point a number, (n_points,): those that share it may share a task.

        None where all runs need the same.  Raises a LawsweepError where an expression gives an odd
        answer for one of ``runs``; where one fits on no node, here or in ``start``, whichever
        comes last: in the middle of a launch it would end it.
        """
        return self._placement.kinds_of(plan, runs)

    @property
    def n_slots(self) -> int:
        """Tasks the nodes can run at once.  Raises ExecutorError when Ray's head is gone."""
        n = self._placement.n_slots
        return max(1, n - self._cards.n_held) if n else 0

    def lanes(self) -> Mapping[int, int]:
        """Runs that have a GPU, and those that have none."""
        return self._placement.lanes()

    def slots_in(self, lane: int) -> int:
        """Tasks on GPUs, or on the CPUs that these leave."""
        n = self._placement.slots_in(lane)
        return max(1, n - self._cards.n_held) if lane else n

    @property
    def slot_memory_bytes(self) -> float:
        """A slot's share of the memory that its node gives to tasks, on the poorest node."""
        return self._placement.slot_memory_bytes

    def card_memory_bytes(self, kind: int = 0) -> float | None:
        """A task's part of a GPU, beside its context."""
        return self._placement.card_room(kind)

    def gpus_at(self, plan: Plan, runs: Iterable[int], card_bytes: float) -> np.ndarray:
        """As ``needs_of`` would have it there; 1 where it is 0 for all."""
        return self._needs.gpus_at(plan, runs, self.options.gpu_memory_bytes or card_bytes)

    def submit(self, task: Task) -> None:
        """Hand a task to Ray."""
        options = self._placement.options(task)
        if self._needs.threads_by_point:
            options["runtime_env"] = self._task_env()  # its threads follow its CPUs
        remote = self._remote.options(**options) if options else self._remote
        per_card = max(1, int(1 / (self._needs.gpus or 1)))
        runs = (
            task.runs,
            task.groups,
            task.timeout_s,
            "cuda" if self._needs.gpus else "cpu",
            self._shards,
            task.memory_share,
            self._cards.avoided(task, self._placement.n_on_gpus, per_card) if task.avoid else (),
            self._early.place(task),
        )
        generator = remote.remote(self._packed(runs))
        self._flights[generator] = task
        if task.whole_node:
            self._apart.add(generator)
            self._last_news = time.monotonic()

    def _give_up_whole_nodes(self) -> None:
        """Tasks that wait for a node which others never leave go where there is room.

        Only where they are all that is left: until then it may be our own runs that they wait for.
        """
        waited = time.monotonic() - self._last_news
        if not self._apart or len(self._apart) < len(self._flights) or waited < APART_PATIENCE_S:
            return
        for generator in list(self._apart):
            self._ray.cancel(generator, force=True)
            self._apart.remove(generator)
            self.submit(dataclasses.replace(self._flights.pop(generator), whole_node=False))

    def poll(self, timeout_s: float) -> list[Event]:
        """Outcomes of all tasks that have some; in order of completion, without copies waiting."""
        if not self._flights:
            return []
        if timeout_s > 0:  # else what is there is wanted, whatever became of Ray
            self._session.check_processes()
        end = time.monotonic() + (timeout_s or DRAIN_S)
        self._give_up_whole_nodes()
        self._end_held()
        events: list[Event] = list(self._early.look(self._flights.values()))
        wait_s = 0 if events else timeout_s
        ready, _ = self._ray.wait(list(self._flights), num_returns=1, timeout=wait_s)
        while ready:
            events.extend(filter(None, map(self._next_event, ready)))
            if not self._flights or time.monotonic() > end:
                break  # a steady stream must not keep the runner from its other duties
            flying = list(self._flights)
            ready, _ = self._ray.wait(flying, num_returns=len(flying), timeout=0)
        return self._early.before(events)

    def _end_held(self) -> None:
        """End workers that held a GPU long enough after it failed them."""
        if self._cards.n_held:
            for generator in self._cards.due(self._placement.n_on_gpus):
                self._ray.cancel(generator, force=True)

    def _next_event(self, generator: Any) -> Event | None:
        task = self._flights[generator]
        self._apart.discard(generator)  # it has begun, or ended
        self._last_news = time.monotonic()
        try:
            found = self._ray.get(next(generator))
        except StopIteration:
            del self._flights[generator]
            self._card_of.pop(task.id, None)
            return Event(task.id, done=True)
        except self._ray.exceptions.RayError as error:
            self._lost_some = True
            del self._flights[generator]
            return Event(task.id, lost=self._loss(task, error))
        if isinstance(found, Began):
            return self._began(generator, task, found)
        if isinstance(found, Lost):
            # It waits for this; that it ends says nothing about its runs, and leaves no logs.
            del self._flights[generator]
            self._card_of.pop(task.id, None)
            if found.card:
                self._cards.lost(generator, found.card)
            else:
                self._ray.cancel(generator, force=True)
            return Event(task.id, lost=found)
        if found is None:
            # Workers of this Ray load numerical libraries by themselves: then Ray has to say with
            # how many threads, before they start.
            del self._flights[generator]
            if not self._by_ray:
                self._ship(by_ray=True)
            self.submit(task)
            return None  # it has not begun
        if any(o.status == "ok" for o in found):
            self._cards.went_well(self._card_of.get(task.id, ""))
        return Event(task.id, found)

    def _began(self, generator: Any, task: Task, found: Began) -> Event | None:
        if found.turned_away or found.stale:
            del self._flights[generator]
            if found.turned_away:
                self._cards.turned_away(generator, task, found.card)
            else:
                # Ray hands a warm worker any free GPU, and CUDA keeps to the one it began with.
                self._ray.cancel(generator, force=True)
            self.submit(task)
            return None
        self._cards.begun(task, found.card)
        self._card_of[task.id] = found.card
        return Event(task.id, ())

    def _loss(self, task: Task, error: Exception) -> Lost:
        if task.id in self._killed:
            return Lost(Loss.TIMEOUT, "it did not stop at its deadline and was killed")
        return loss_of(self._ray, error)

    def kill(self, task_id: int) -> None:
        """Kill the worker of a task that went past its deadline."""
        for generator, task in self._flights.items():
            if task.id == task_id:
                self._killed.add(task_id)
                self._ray.cancel(generator, force=True)

    def stop_run(self, task_id: int, run: int, why: str) -> None:
        """By the same way as it tells."""
        self._early.stop_run(task_id, run, why)

    def describe(self) -> Mapping[str, Any]:
        """Facts for the provenance record."""
        return {
            "kind": self.name,
            **self._needs.given,
            "device": None if self._placement.is_mixed else self.device,
            "fuse": self.fuse,
            "max_fused": self.max_fused if self.device == "cpu" else self.options.max_fused,
            "n_threads": None if self._needs.threads_by_point else max(1, int(self._needs.cpus)),
        }

    def notes(self) -> tuple[str, ...]:
        """GPUs that were set aside."""
        return self._cards.notes()

    def close(self) -> None:
        """Cancel what is in flight, and stop Ray if this executor started it."""
        if self._ray is None and not self._session.own:
            return
        with deaf_to_interrupts():
            if self._session.whole:  # of what is lost nothing can be asked
                self._early.close()
            for generator in [*self._flights, *self._cards.workers] if self._session.whole else ():
                with contextlib.suppress(Exception):
                    self._ray.cancel(generator, force=True)
            self._flights.clear()
            self._apart.clear()
            self._session.close(keep_logs=self._lost_some)


class RayLocalExecutor(RayExecutor):
    """A Ray of our own on this machine, started for the launch and stopped after it."""

    name = "ray_local"
    Options = LocalOptions

    def __init__(self, options: LocalOptions | None = None):
        options = options or LocalOptions()
        super().__init__(options, RaySession(self.name, None, options.n_cpus, options.n_gpus))

    def cpus_here(self, n_cpus: int) -> int:
        """Those of its Ray."""
        return self.options.n_cpus or n_cpus


class RayClusterExecutor(RayExecutor):
    """A Ray cluster that is running."""

    name = "ray_cluster"
    Options = ClusterOptions

    def __init__(self, options: ClusterOptions | None = None):
        options = options or ClusterOptions()
        super().__init__(options, RaySession(self.name, options.address, None, None))
