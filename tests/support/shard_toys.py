"""An experiment whose runs spread over shards, with faults: importable by Ray's workers."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from lawsweep import Field, experiment, stream
from lawsweep.executors.ray.options import ShardOptions
from lawsweep.executors.ray.sharded import installed
from lawsweep.worker.shards import current


class Pieces:
    """Shard ``index``: holds a few numbers, and may fail."""

    def __init__(self, index: int, n_shards: int, fault: str, marker: str):
        self.index, self.n_shards, self.fault, self.marker = index, n_shards, fault, marker
        if fault == "make" and index == n_shards - 1:
            raise ValueError("this shard cannot be made")

    def where(self) -> int:
        return os.getpid()

    def threads(self) -> str:
        return os.environ["OMP_NUM_THREADS"]

    def add(self, numbers: np.ndarray) -> np.ndarray:
        if self.fault == "raise" and self.index == self.n_shards - 1:
            raise ValueError("a shard said no")
        last = self.index == self.n_shards - 1
        if self.fault == "exit" and last and not Path(self.marker).exists():
            Path(self.marker).touch()
            os._exit(7)
        if self.fault == "deaf" and self.index == 0:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            Path(self.marker).touch()
            time.sleep(3600)
        return numbers * (self.index + 1)


@dataclass(frozen=True)
class Make:
    """What is shipped."""

    fault: str
    marker: str

    def __call__(self, index: int, n_shards: int) -> Pieces:
        return Pieces(index, n_shards, self.fault, self.marker)


@dataclass(frozen=True, kw_only=True)
class Params:
    """Params of ``spread``."""

    i: int
    n_shards: int
    fault: Literal["none", "make", "raise", "exit", "deaf"] = "none"
    marker: str = ""
    patience_s: float = 900.0
    pause_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Metrics of ``spread``."""

    total: Annotated[float, Field("sum over shards")]
    n_processes: int
    n_threads_of_shards: int
    n_pools: int


@experiment(version=1)
def spread(params: Params, seed: int) -> Metrics:
    """Add up over the shards; a large argument goes through the object store."""
    numbers = np.arange(30_000.0)
    with installed(ShardOptions(n=params.n_shards, patience_s=params.patience_s)):
        pool = current()
        with pool.open(Make(params.fault, params.marker)) as shards:
            answers = shards.each("add", numbers)
            places = set(shards.each("where"))
            threads = {int(t) for t in shards.each("threads")}
            time.sleep(params.pause_s)
    return Metrics(
        total=float(sum(answers).sum()),
        n_processes=len(places),
        n_threads_of_shards=max(threads),
        n_pools=pool.n_shards,
    )


@dataclass(frozen=True, kw_only=True)
class SolveParams:
    """Params of ``sharded_eigenvalue``."""

    n_samples: int
    width: int
    n_shards: int
    exchange: Literal["host", "collective"] = "host"


@dataclass(frozen=True, kw_only=True)
class SolveMetrics:
    """Metrics of ``sharded_eigenvalue``."""

    value: float
    residual: float
    n_products: int
    converged: bool


def eigenvalue_problem(n: int, d: int, seed: int) -> Any:
    """The shards of a sigmoid network of width d."""
    from lawsweep.kernels.network.init import init_weights
    from lawsweep.kernels.network.network import Network
    from lawsweep.kernels.ntk.row_shard import DrawnRows, NtkShards

    network = Network((d, d, d, 1), "sigmoid")
    weights = init_weights(network, stream(seed, "weights"))
    rows = DrawnRows("gaussian", stream(seed, "data"), d)
    return NtkShards(n, rows, network, [w.numpy() for w in weights])


@experiment(version=1)
def sharded_eigenvalue(params: SolveParams, seed: int) -> SolveMetrics:
    """lambda_min by the solver of the kernels, its rows spread over shards."""
    from lawsweep.kernels.eigmin.block import smallest_eigenvalue_block

    problem = eigenvalue_problem(params.n_samples, params.width, seed)
    options = ShardOptions(n=params.n_shards, exchange=params.exchange)
    with installed(options), current().open(problem) as shards:
        found = smallest_eigenvalue_block(shards, key=seed, layers=(1, 2, 3), tol=1e-6)
    return SolveMetrics(
        value=found.value,
        residual=found.residual,
        n_products=found.n_matvecs,
        converged=found.converged,
    )
