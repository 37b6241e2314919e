"""Experiments that strain an executor: memory, logs, places.  Importable by Ray's workers."""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from lawsweep import Array, Cost, Field, experiment
from lawsweep.worker.memory import memory_share


class OutOfMemoryError(RuntimeError):
    """As torch calls its own, of which core knows but the name."""


@dataclass(frozen=True, kw_only=True)
class HungryParams:
    """Params of ``hungry``."""

    i: int
    at: int = 2
    how: Literal["none", "python", "cuda", "cublas", "limit", "never"] = "none"
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HungryMetrics:
    """Metrics of ``hungry``."""

    share: float


def _gulp():
    """A gigabyte, where the process may have half of one more than it holds: really refused."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + 2**29, before[1]))
    try:
        np.ones(2**27)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _hungry(params: HungryParams, seed: int) -> HungryMetrics:
    time.sleep(params.pause_s)
    share = memory_share()
    if params.i != params.at or (share < 1 and params.how != "never"):
        return HungryMetrics(share=share)
    match params.how:
        case "python" | "never":
            raise MemoryError("no room")
        case "cuda":
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        case "cublas":
            raise RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")
        case "limit":
            _gulp()
    return HungryMetrics(share=share)


@experiment(version=1)
def hungry(params: HungryParams, seed: int) -> HungryMetrics:
    """Runs out of memory at ``i == at`` until it is told to plan with a smaller share."""
    return _hungry(params, seed)


@experiment(version=1, cost=lambda p: Cost(flops=1e6 * 4.0 ** (p.i % 2), memory_bytes=1e9))
def priced(params: HungryParams, seed: int) -> HungryMetrics:
    """As ``hungry``, with a cost that puts odd and even points into bins of their own."""
    return _hungry(params, seed)


@dataclass(frozen=True, kw_only=True)
class LoudParams:
    """Params of ``loud``."""

    i: int
    n_bytes: int = 0
    n_numbers: int = 0


@dataclass(frozen=True, kw_only=True)
class LoudMetrics:
    """Metrics of ``loud``."""

    y: float
    numbers: Annotated[Array | None, Field("many of them")]


@experiment(version=1)
def loud(params: LoudParams, seed: int) -> LoudMetrics:
    """Says ``n_bytes`` on both streams, and returns ``n_numbers``."""
    line = f"{params.i} " + "x" * 198 + "\n"
    for _ in range(params.n_bytes // len(line)):
        sys.stdout.write(line)
        sys.stderr.write(line)
    return LoudMetrics(y=float(params.i), numbers=np.full(params.n_numbers, float(params.i)))


@dataclass(frozen=True, kw_only=True)
class PlacedParams:
    """Params of ``placed``."""

    i: int
    pause_s: float = 0.2
    meet: str = ""  # a folder: runs from meet_from on wait until two of them were in one place
    meet_from: int = 0
    meet_to: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PlacedMetrics:
    """Metrics of ``placed``: where and when, by the clock of this machine."""

    node: str
    gpus: str
    pid: int
    begun: float
    ended: float
    n_cpus: float
    threads: str


def _meet(folder: Path, place: str, i: int) -> None:
    """Wait until two runs are in one place: none of them ends before, however slow a start is."""
    folder.mkdir(exist_ok=True)
    (folder / f"{place}.{i}").touch()
    end = time.monotonic() + 600
    while not (folder / "met").exists():
        if len(list(folder.glob(f"{place}.*"))) > 1:
            (folder / "met").touch()
        if time.monotonic() > end:
            raise TimeoutError(f"nobody came to {place}")
        time.sleep(0.05)


@experiment(version=1)
def placed(params: PlacedParams, seed: int) -> PlacedMetrics:
    """Says where it ran and what it was given."""
    import ray

    here, begun = ray.get_runtime_context(), time.monotonic()
    time.sleep(params.pause_s)
    if params.meet and params.meet_from <= params.i < params.meet_to:
        place = f"{here.get_node_id()}_{os.environ.get('CUDA_VISIBLE_DEVICES', '')}"
        _meet(Path(params.meet), place, params.i)
    return PlacedMetrics(
        node=here.get_node_id(),
        gpus=os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        pid=os.getpid(),
        begun=begun,
        ended=time.monotonic(),
        n_cpus=float(here.get_assigned_resources().get("CPU", 0.0)),
        threads=os.environ.get("OMP_NUM_THREADS", ""),
    )


@dataclass(frozen=True, kw_only=True)
class ShakyParams:
    """Params of ``shaky``."""

    i: int
    at: int = 7
    met: str = ""  # a file: where the run at ``at`` lost its card, once


@dataclass(frozen=True, kw_only=True)
class ShakyMetrics:
    """Metrics of ``shaky``."""

    pid: int
    card: str
    y: float


_POISONED: list[int] = []


@experiment(version=1)
def shaky(params: ShakyParams, seed: int, device: str) -> ShakyMetrics:
    """Adds up on a card that is pretended.  Loses it at ``i == at``; after that all fails here."""
    import torch
    from pretending import Card

    card = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    once = params.i == params.at and not Path(params.met).exists()
    if once:
        Path(params.met).write_text(f"{os.getpid()} {card}", encoding="utf-8")
    if once or _POISONED:
        _POISONED.append(params.i)
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")
    with Card():
        y = (2.0 * torch.arange(params.i + 1, dtype=torch.float64, device=device)).sum()
        assert y.is_cuda
        return ShakyMetrics(pid=os.getpid(), card=card, y=y.item())
