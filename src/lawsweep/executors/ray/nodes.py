"""What the nodes of a Ray hold, in tasks: none spans two of them.  And what their GPUs hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lawsweep.core.errors import ExecutorError
from lawsweep.worker.cards import CARD_MARGIN

AUTO = "auto"
# What a worker holds on its card before it computes (CUDA's context, libraries' workspaces).
# Unverified on a card.
CONTEXT_BYTES = 0.75 * 2.0**30
# Kernels of several processes take turns on a card: with a few workers one draws its inputs while
# another computes, and more would only have more contexts.
MOST_WORKERS = 4
STEPS = 4  # classes of memory an octave: runs that share a batch need the same to a fifth
ASK_S = 60.0


class Room(NamedTuple):
    """``n_slots`` tasks at once; ``slot_memory`` bytes for each, on the poorest node.

    ``node_memory`` and ``node_cpus`` are of the node with the most memory: what a run gets that is
    to have one to itself.
    """

    n_slots: int
    slot_memory: float
    node_memory: float
    node_cpus: float


def room_of(nodes: Iterable[Mapping[str, Any]], cpus: float, gpus: float) -> Room:
    """The room for tasks of so many CPUs and GPUs, by ``ray.nodes()``."""
    fit = []
    for node in nodes:
        if node.get("Alive"):
            has = node.get("Resources", {})
            n = _fits(has, cpus, gpus)
            if n:
                fit.append((float(has.get("memory", 0.0)), float(has.get("CPU", 0.0)), n))
    memory, its_cpus, _ = max(fit, default=(0.0, cpus, 0))
    shares = (m / n for m, _, n in fit if m)
    return Room(sum(n for *_, n in fit), min(shares, default=float("inf")), memory, its_cpus)


def _fits(has: Mapping[str, float], cpus: float, gpus: float) -> int:
    fits = [has.get(name, 0.0) / need for name, need in (("CPU", cpus), ("GPU", gpus)) if need > 0]
    return int(min(fits)) if fits else 1


class NodeCard(NamedTuple):
    """A GPU as its driver tells of it."""

    name: str
    memory_bytes: float


def classes(n_bytes: np.ndarray) -> np.ndarray:
    """Bytes of runs, (n,), rounded up to a class; 0 stays 0 (not known)."""
    some = np.maximum(n_bytes, 2.0**20)
    return np.where(n_bytes > 0, 2.0 ** (np.ceil(STEPS * np.log2(some)) / STEPS), 0.0)


def share_of(n_bytes: float, card_bytes: float) -> float:
    """The part of a card for a worker whose runs hold so much: 1, 1/2, 1/3 or 1/4.

    All of it where nothing is known of the runs, or of the card yet.
    """
    if n_bytes <= 0 or card_bytes == float("inf"):
        return 1.0
    fit = int(card_bytes // (CONTEXT_BYTES + CARD_MARGIN * n_bytes))
    return 1.0 / max(1, min(MOST_WORKERS, fit))


def room_in(share: float, card_bytes: float) -> float:
    """What runs may hold of a worker's part of a card."""
    return max(0.0, (share * card_bytes - CONTEXT_BYTES) / CARD_MARGIN)


def least_memory(ray: Any, nodes: Iterable[Mapping[str, Any]], given: float | None) -> float:
    """Bytes of the smallest card of the nodes, or what is ``given``.

    Raises ExecutorError where neither is known.
    """
    if given is not None:
        return given
    found = [card.memory_bytes for card in cards_of(ray, nodes)]
    if not found:
        raise ExecutorError(
            "executor.gpus_per_task=auto shares a GPU by what it holds, and no node tells that. "
            "Give executor.gpu_memory_bytes, or a number for executor.gpus_per_task."
        )
    return min(found)


def cards_of(ray: Any, nodes: Iterable[Mapping[str, Any]]) -> list[NodeCard]:
    """The GPUs of the nodes that tell; each is asked by a task of its own, once."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # The process has asked CUDA what it may see, and is of no use for another list: it ends.
    ask = ray.remote(num_cpus=0, max_calls=1, max_retries=0)(_asking())
    calls = [
        ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in nodes
        if node.get("Alive") and node.get("Resources", {}).get("GPU", 0) > 0
    ]
    ready, late = ray.wait(calls, num_returns=len(calls), timeout=ASK_S) if calls else ([], [])
    for call in late:
        ray.cancel(call, force=True)
    found: list[NodeCard] = []
    for call in ready:
        try:
            found += [NodeCard(*card) for card in ray.get(call)]
        except ray.exceptions.RayError:  # a node that goes, or has no driver
            continue
    return found


def _asking() -> Callable[[], list[tuple[str, float]]]:
    # Nested, so that it travels by its code: a node may not find this package yet.
    def cards() -> list[tuple[str, float]]:
        """Name and bytes of each GPU or slice that a process here may see; none without a driver.

        By the driver itself: no context is made on any of them, and no library loaded for it.
        """
        import ctypes
        import os

        if not os.environ.get("CUDA_VISIBLE_DEVICES", "all"):
            del os.environ["CUDA_VISIBLE_DEVICES"]  # by Ray, for a task that holds none
        try:
            cuda = ctypes.CDLL("libcuda.so.1")
        except OSError:
            return []
        n = ctypes.c_int()
        if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(n)):
            return []
        found = []
        for i in range(n.value):
            device, total = ctypes.c_int(), ctypes.c_size_t()
            name = ctypes.create_string_buffer(256)
            failed = (
                cuda.cuDeviceGet(ctypes.byref(device), i)
                or cuda.cuDeviceGetName(name, 256, device)
                or cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device)
            )
            if not failed:
                found.append((name.value.decode(errors="replace"), float(total.value)))
        return found

    return cards
