"""A million runs on a simulated cluster of 100 nodes that loses one every minute.

The scheduler is the one of ``lawsweep run`` (launch.loop.Loop); the clock and the workers are
simulated.  Seconds of a run: its stated flops to the power 0.9, a lognormal factor (sd 0.4 in the
logarithm), and in one run of a hundred a factor of up to 20 that nothing announces.

    python benchmarks/simulated_cluster.py [N_RUNS] [N_NODES]
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, rounded, save

from lawsweep import Cost, experiment
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.costs.simulated import Cluster, SimulatedExecutor
from lawsweep.launch.loop import Loop

SLOTS_PER_NODE = 8
MEAN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Params:
    size: float


@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float = 0.0


@experiment(version=1, cost=lambda p: Cost(flops=1e10 * p.size))
def imagined(params: Params, seed: int) -> Metrics:
    """Never called: the executor says when it is done."""
    raise NotImplementedError


class CountingTable:
    """A table that keeps no rows, only how often each run had one."""

    def __init__(self, run_ids: list[str]):
        self._place = {run_id: i for i, run_id in enumerate(run_ids)}
        self.n_rows = np.zeros(len(run_ids), dtype=np.int64)

    def check_writable(self) -> None:
        """It is."""

    def done(self, run_ids: Sequence[str]) -> Mapping[str, Any]:
        return {}

    def append(self, rows: Sequence[Mapping[str, Any]], arrays: Any = None) -> None:
        for row in rows:
            self.n_rows[self._place[row["run_id"]]] += row["status"] == "ok"


def true_seconds(size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    seconds = size**0.9 * rng.lognormal(0.0, 0.4, len(size))
    slow = rng.random(len(size)) < 0.01
    seconds[slow] *= np.minimum(20.0, 1.0 + rng.pareto(1.5, int(slow.sum())))
    return seconds * (MEAN_S / seconds.mean())


def mib() -> float:
    """Resident memory of this process at present."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def simulate(n_runs: int, n_nodes: int) -> dict[str, Any]:
    plan = make_plan(imagined, axes={"size": f"logspace(0.02, 50, {n_runs // 10})"}, seeds=10)
    rng = np.random.default_rng(0)
    seconds = true_seconds(np.repeat(plan.params["size"].astype(float), 10), rng)
    cluster = Cluster(n_nodes=n_nodes, slots_per_node=SLOTS_PER_NODE, loss_every_s=60.0)
    table, executor = CountingTable(plan.run_ids), SimulatedExecutor(cluster, seconds)
    before, start = mib(), time.process_time()
    launch = Loop(
        plan, table, executor, launch_id="L", on_failure=OnFailure(), clock=executor.clock
    )
    report = launch.run()
    cpu_s, bound = time.process_time() - start, executor.bound_s()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "runs": len(plan),
        "nodes": n_nodes,
        "slots": n_nodes * SLOTS_PER_NODE,
        "ok": report.statuses["ok"],
        "rows_once_each": bool((table.n_rows == 1).all()),
        "node_losses": executor.n_losses,
        "work_s": float(seconds.sum()),
        "destroyed_s": executor.destroyed_s,
        "longest_run_s": float(seconds.max()),
        "shortest_run_s": float(seconds.min()),
        "makespan_s": report.wall_s,
        "bound_s": bound,
        "makespan_over_bound": report.wall_s / bound,
        "makespan_over_bound_of_planned_work": report.wall_s / executor.bound_s(destroyed=False),
        "driver_cpu_s": cpu_s,
        "driver_us_a_run": 1e6 * cpu_s / len(plan),
        "plan_and_table_mib": before,
        "peak_mib": peak,
        "launch_mib": peak - before,
    }


def main() -> None:
    n_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    n_nodes = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    where = environment()
    found = simulate(n_runs, n_nodes)
    for name, value in rounded(found).items():
        print(f"{name:22} {value}")
    if n_runs >= 1_000_000:
        save("simulated_cluster", where, found)


if __name__ == "__main__":
    main()
