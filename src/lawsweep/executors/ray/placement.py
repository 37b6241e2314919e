"""Where tasks go: what each asks of Ray, and how many of them the nodes hold at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lawsweep.core.errors import ExecutorError
from lawsweep.core.outcome import Task
from lawsweep.executors.ray.needs import Kind, Needs
from lawsweep.executors.ray.nodes import cards_of, least_memory, room_in, room_of, share_of
from lawsweep.executors.ray.session import RaySession

if TYPE_CHECKING:
    import numpy as np

    from lawsweep.grid.plan import Plan

LEAST_MEMORY = 2.0**30  # bytes; tasks that need less are placed by their CPUs alone
SLOTS_FOR_S = 5.0  # nodes come and go: the number of slots is asked again after this long


class Placement:
    """CPUs, GPUs and memory of tasks, against those of the nodes.

    ``needs`` says what a task holds, and ``n_shards`` over how many tasks' worth a run spreads.
    ``session`` is asked for signs of life, and raises where the head or this node are gone.
    ``card_bytes`` is the memory of a GPU, where that has been said.
    """

    def __init__(
        self, needs: Needs, n_shards: int, session: RaySession, card_bytes: float | None = None
    ):
        self._needs, self._n_shards, self._session = needs, n_shards, session
        self._card_bytes = card_bytes
        self._asked_bytes = float("inf")
        self._ray: Any = None
        self._kinds: list[Kind] = []
        self._last: dict[int, Kind] = {}  # by lane: what its latest task needs
        self._lane_slots: dict[int, tuple[float, int]] = {}  # likewise, when asked and the answer
        self._slots, self._slots_at = 0, float("-inf")
        self._room = room_of((), needs.cpus, needs.gpus)

    def bind(self, ray: Any, *, ask_cards: bool = False) -> None:
        """Place on this Ray from now on; ``ask_cards``: know what a GPU holds, if a node tells.

        Raises ExecutorError for what no node can hold.
        """
        self._ray = ray
        if self._needs.by_memory:
            self._needs.card_bytes = least_memory(ray, ray.nodes(), self._card_bytes)
            self._kinds = [
                kind._replace(gpus=share_of(kind.card_bytes, self._needs.card_bytes))
                for kind in self._kinds
            ]
        elif ask_cards and self._card_bytes is None and self._needs.gpus > 0:
            cards = cards_of(ray, ray.nodes())
            self._asked_bytes = min((c.memory_bytes for c in cards), default=float("inf"))
        if self._needs.by_point:
            self._check_room(self._kinds)
        else:
            self._check_room([Kind(self._needs.cpus, self._needs.gpus, "")])

    def kinds_of(self, plan: Plan, runs: Iterable[int]) -> np.ndarray | None:
        """See ``RayExecutor.needs_of``."""
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

    def lanes(self) -> dict[int, int]:
        """By kind: 1 for those on GPUs, 0 for the others."""
        return {k: int(kind.gpus > 0) for k, kind in enumerate(self._kinds)}

    @property
    def is_mixed(self) -> bool:
        """Whether some runs have a GPU and others none."""
        return len({kind.gpus > 0 for kind in self._kinds}) > 1

    def slots_in(self, lane: int) -> int:
        """Tasks of a lane that run at once; those on CPUs have what those on GPUs leave."""
        now = time.monotonic()
        at, n = self._lane_slots.get(lane, (float("-inf"), 1))
        if now - at <= SLOTS_FOR_S:
            return n
        nodes = self._ray.nodes()
        cpu, gpu = (self._kind_in(k) for k in (0, 1))
        on_gpus = room_of(nodes, gpu.cpus, gpu.gpus).n_slots
        n = on_gpus if lane else room_of(nodes, cpu.cpus, 0.0).n_slots
        if not lane:
            n -= -int(-on_gpus * gpu.cpus // cpu.cpus)
        self._lane_slots[lane] = now, max(1, n // self._n_shards)
        return self._lane_slots[lane][1]

    def _kind_in(self, lane: int) -> Kind:
        first = next(kind for kind in self._kinds if int(kind.gpus > 0) == lane)
        return self._last.get(lane, first)

    @property
    def n_slots(self) -> int:
        """Tasks the nodes can run at once, by the CPUs and GPUs of each: none spans two nodes."""
        now = time.monotonic()
        if now - self._slots_at > SLOTS_FOR_S:
            self._session.check_processes()
            if not self._session.head_answers():
                self._slots_at = now
                return self._slots
            nodes = self._ray.nodes()
            self._session.check_own_node(nodes)
            self._room = room_of(nodes, self._needs.cpus, self._needs.gpus)
            slots = self._room.n_slots or self._slots_of_others()
            if self.is_mixed:
                slots = self._n_shards * (self.slots_in(0) + self.slots_in(1))
            # Shards may span nodes.  At least one: too small a Ray is said by the run itself.
            self._slots = max(min(slots, 1), slots // self._n_shards)
            self._slots_at = now
        return self._slots

    @property
    def n_on_gpus(self) -> int:
        """Tasks on GPUs that run at once."""
        return self.slots_in(1) if self.is_mixed else self.n_slots

    def _slots_of_others(self) -> int:
        """Where the node is gone that the last task needs: it waits there, others need not."""
        nodes = self._ray.nodes() if self._kinds else ()
        return max((room_of(nodes, k.cpus, k.gpus).n_slots for k in self._kinds), default=0)

    @property
    def slot_memory_bytes(self) -> float:
        """A slot's share of the memory that its node gives to tasks, on the poorest node.

        On a GPU whose memory is known it is a task's part of that, where that is less.
        """
        found = self._room.slot_memory if self.n_slots else float("inf")
        card = self._card_bytes or self._needs.card_bytes
        return min(found, room_in(self._needs.gpus, card)) if self._needs.gpus else found

    def card_room(self, kind: int) -> float | None:
        """What runs of a kind may hold on their GPU, by the smallest there is; None without one."""
        gpus = self._kinds[kind].gpus if self._kinds else self._needs.gpus
        known = self._needs.card_bytes if self._needs.by_memory else self._asked_bytes
        return room_in(min(1.0, gpus), self._card_bytes or known) if gpus else None

    def options(self, task: Task) -> dict[str, Any]:
        """Ray's options for a task, where they differ from those of all tasks."""
        found = self._by_point(task) if self._needs.by_point else {}
        if task.whole_node:
            return found | self._whole_node()
        # Runs on a GPU hold there what their cost function states, and not in the node's memory.
        if task.memory_bytes > LEAST_MEMORY and not self._needs.gpus:
            # Whole steps: each distinct request is a class of its own to Ray's scheduler.
            steps = -(-task.memory_bytes // LEAST_MEMORY) * LEAST_MEMORY
            # More than any node has would wait for ever: it gets a node to itself.
            found["memory"] = int(min(steps, self._room.node_memory))
        return found

    def _by_point(self, task: Task) -> dict[str, Any]:
        """What the runs of this task need; the slots are from now on those for its like."""
        before = self._needs.cpus, self._needs.gpus
        cpus, gpus = self._needs.of(task.runs)
        if (cpus, gpus) != before:
            self._slots_at = float("-inf")
        if self.is_mixed:
            self._last[int(gpus > 0)] = Kind(cpus, gpus, "")
        return {"num_cpus": cpus, "num_gpus": gpus}

    def _whole_node(self) -> dict[str, Any]:
        """What keeps everything else off the task's node.

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
