"""What the nodes of a Ray hold, in tasks: none spans two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


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
