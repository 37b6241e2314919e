"""Shards of one run as Ray actors: for a run larger than one device or one node.

The task that asks is itself shard 0, on the CPUs or the GPU it holds already, and n - 1 actors
hold the others.  So the task's CPU does its part of the work instead of waiting, and a run of n
shards takes n times the resources of a task, no more.

Placing the actors goes by turns: two runs that each held half of what they need would wait for
each other for ever.  The turn is an actor with a fixed name, which only one can have; it belongs to
the task, so whatever ends the task frees the name (a placement group, the usual way to place all or
nothing, would stay until the whole launch ends).  Who waits, waits in ``ray.get``: a task blocked
there lends its CPU to those who have the turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from lawsweep.core.errors import ExecutorError
from lawsweep.executors.ray.options import ShardOptions
from lawsweep.worker import shards as seam
from lawsweep.worker.shards import Here, HerePool, Maker, ShardLostError

# Arguments larger than this go to the object store once, not to every actor with its call.
SHARED_BYTES = 100_000
LOOK_S = 5.0  # an actor whose process died is known to be gone within this
# One turn for all drivers of a cluster: they compete for the same room.
TURN, SPACE = "place_shards", "lawsweep"


class _Holder:
    """The actor: one shard."""

    _shard: Any

    def ready(self) -> bool:
        return True

    def make(self, make: Maker, index: int, n_shards: int) -> None:
        self._shard = make(index, n_shards)

    def call(self, method: str, *args: Any) -> Any:
        return getattr(self._shard, method)(*args)


class _Turn:
    """The actor whose name is the right to place shards."""

    async def wait(self) -> None:
        """Never returns: the caller is told when this actor ends."""
        await asyncio.Event().wait()


class RayShards:
    """Open shards: the first here, the others in actors."""

    in_process = False

    def __init__(
        self, ray: Any, own: Any, actors: Sequence[Any], meet_at: str = "", timeout_s: float = 120.0
    ):
        self._ray, self._own, self._actors = ray, own, list(actors)
        self.meet_at, self.timeout_s = meet_at, timeout_s

    def each(self, method: str, *args: Any) -> list[Any]:
        """Call ``method(*args)`` on every shard, at the same time; answers in their order.

        Raises what a shard raised, ShardLostError where its process is gone.
        """
        shared = [self._ray.put(a) if _n_bytes(a) > SHARED_BYTES else a for a in args]
        calls = [actor.call.remote(method, *shared) for actor in self._actors]
        try:
            own = getattr(self._own, method)(*args)
        except Exception as error:
            # Among themselves they wait for each other: where one is gone, that is the reason.
            self._find_lost(calls)
            if getattr(error, "is_lost_peer", False):  # alive, and of no use
                raise ShardLostError(str(error)) from None
            raise
        return [own, *self.answers(calls)]

    def _find_lost(self, calls: Sequence[Any]) -> None:
        """Raise ShardLostError where the process of a shard is gone."""
        for place, call in enumerate(calls, 1):
            try:
                self._ray.get(call, timeout=LOOK_S)
            except (self._ray.exceptions.RayTaskError, self._ray.exceptions.GetTimeoutError):
                continue  # it lives
            except self._ray.exceptions.RayError as error:
                raise self._lost(place, len(calls), error) from None

    @staticmethod
    def _lost(place: int, n_actors: int, error: Exception) -> ShardLostError:
        return ShardLostError(f"shard {place} of {n_actors + 1} was lost: {_first_line(error)}")

    def answers(self, calls: Sequence[Any]) -> list[Any]:
        """What the actors answered, in their order."""
        exceptions = self._ray.exceptions
        found = []
        for place, call in enumerate(calls, 1):
            try:
                found.append(self._ray.get(call))
            except exceptions.RayTaskError as error:
                if getattr(error.cause, "is_lost_peer", False):
                    raise ShardLostError(str(error.cause)) from None
                raise error.cause from error  # the kernel's own error, as if it were here
            except exceptions.RayError as error:
                raise self._lost(place, len(calls), error) from None
        return found


class RayPool:
    """A pool of ``n`` shards; each of the n - 1 actors holds ``cpus``, ``gpus``, ``memory_bytes``.

    Threads of numerical libraries in an actor follow its CPUs.
    """

    def __init__(self, options: ShardOptions):
        self.n_shards, self._patience_s = options.n, options.patience_s
        self._timeout_s = options.timeout_s
        self._together = options.exchange == "collective"
        needs = {"CPU": options.cpus, "GPU": options.gpus, "memory": options.memory_bytes}
        self._needs = {name: float(need) for name, need in needs.items() if need}

    @contextlib.contextmanager
    def open(self, make: Maker) -> Iterator[RayShards | Here]:
        """Place the actors, build every shard where it lives; all end with the context."""
        if self.n_shards == 1:
            with HerePool().open(make) as here:
                yield here
            return
        import ray

        if not ray.is_initialized():
            raise ExecutorError(
                "Shards need a Ray that runs; use executor=ray_local, or leave out executor.shards."
            )
        self._check_room(ray)
        with contextlib.ExitStack() as stack:
            actors = self._placed(ray, stack)
            recipe = ray.put(make)
            calls = [
                actor.make.remote(recipe, index, self.n_shards)
                for index, actor in enumerate(actors, 1)
            ]
            meet_at = str(ray.util.get_node_ip_address()) if self._together else ""
            own = make(0, self.n_shards)
            opened = RayShards(ray, own, actors, meet_at, self._timeout_s)
            opened.answers(calls)
            yield opened

    def _check_room(self, ray: Any) -> None:
        """Raise ExecutorError where the whole Ray is too small."""
        own = ray.get_runtime_context().get_assigned_resources()
        have = ray.cluster_resources()
        for name, need in self._needs.items():
            total = need * (self.n_shards - 1) + own.get(name, 0.0)
            if total > have.get(name, 0.0):
                raise ExecutorError(
                    f"{self.n_shards} shards need {total:g} {name} in all, this Ray has "
                    f"{have.get(name, 0.0):g}. Lower executor.shards, or add nodes."
                )

    def _placed(self, ray: Any, stack: contextlib.ExitStack) -> list[Any]:
        """The actors, all of them up; ``stack`` ends them.  Raises ExecutorError for no room."""
        end = time.monotonic() + self._patience_s
        try:
            turn = _take_turn(ray, end)
            try:
                actors = []
                for _ in range(1, self.n_shards):
                    actors.append(self._actor(ray))
                    stack.callback(ray.kill, actors[-1])
                ray.get([a.ready.remote() for a in actors], timeout=_left(end))
            finally:
                ray.kill(turn)
        except ray.exceptions.GetTimeoutError:
            raise ExecutorError(
                f"No room for {self.n_shards - 1} more shards of {self._needs} within "
                f"{self._patience_s:g} s. Lower executor.shards, or run fewer at the same time."
            ) from None
        except ray.exceptions.RayError as error:
            raise ShardLostError(f"placing the shards failed: {_first_line(error)}") from None
        return actors

    def _actor(self, ray: Any) -> Any:
        threads = str(max(1, int(self._needs.get("CPU", 1.0))))
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        env = dict.fromkeys(names, threads)
        if "PYTHONPATH" in os.environ:  # what is sharded may be of a user's own module
            env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        options = {
            "num_cpus": self._needs.get("CPU", 0.0),
            "num_gpus": self._needs.get("GPU", 0.0),
            "memory": self._needs.get("memory"),
            "max_restarts": 0,
            "runtime_env": {"env_vars": env},
        }
        return ray.remote(**options)(_Holder).remote()


def _take_turn(ray: Any, end: float) -> Any:
    """The turn, once nobody else has it; GetTimeoutError after ``end``."""
    while True:
        try:
            return ray.remote(name=TURN, namespace=SPACE, num_cpus=0)(_Turn).remote()
        except ValueError:  # the name is taken
            pass
        try:
            holder = ray.get_actor(TURN, namespace=SPACE)
            ray.get(holder.wait.remote(), timeout=_left(end))
        except (ValueError, ray.exceptions.RayActorError):
            if time.monotonic() > end:
                raise ray.exceptions.GetTimeoutError from None
            time.sleep(0.05)


def _left(end: float) -> float:
    """Seconds until ``end``, a little at least: 0 would mean not to wait at all."""
    return max(end - time.monotonic(), 0.1)


def installed(options: ShardOptions | None) -> AbstractContextManager[None]:
    """Within the context runs may spread over shards as ``options`` say; None installs nothing."""
    return contextlib.nullcontext() if options is None else seam.installed(RayPool(options))


def _n_bytes(value: Any) -> int:
    return int(getattr(value, "nbytes", 0))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
