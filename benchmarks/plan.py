"""Planning and naming many points, and finding which of them a large table lacks."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment import environment, save, show

from lawsweep import Cost, Sweep, experiment

REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Params:
    input_dim: int
    n_samples: int
    width: int
    rate: float
    depth: int = 3


@dataclass(frozen=True, kw_only=True)
class Metrics:
    value: float


@experiment(version=1, cost=lambda p: Cost(flops=2.0 * p.n_samples * p.width))
def nothing(params: Params, seed: int) -> Metrics:
    """Never run here."""
    return Metrics(value=0.0)


def sweep(n_points: int, folder: str = "results") -> Sweep:
    """Two axes, two derived fields, and a filter that drops a few points in a hundred."""
    n_rates = 200
    return Sweep(
        name="many",
        experiment=nothing,
        axes={
            "input_dim": f"range(10, {10 + n_points // n_rates}, 1)",
            "rate": f"logspace(0.01, 10, {n_rates})",
        },
        derive={"n_samples": "ceil(rate * input_dim) + 1", "width": "2 * input_dim"},
        where=["n_samples <= 8 * input_dim"],
        results_dir=folder,
    )


def peak_mib() -> float:
    """High-water mark of this process's resident memory."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell VmHWM")


def planning(n_points: int) -> dict[str, Any]:
    """In a process of its own, so that the high-water mark is this plan's."""
    made = sweep(n_points)
    before, start = peak_mib(), time.perf_counter()
    plan = made.plan()
    seconds = time.perf_counter() - start
    return {"runs": len(plan), "seconds": seconds, "before_mib": before, "peak_mib": peak_mib()}


def diff(n_rows: int, n_parts: int) -> dict[str, Any]:
    """Write a table of all but ten rows of a plan, then find the ten."""
    from lawsweep.sampling.grid import to_do
    from lawsweep.study.study import Study

    with tempfile.TemporaryDirectory() as folder:
        opened = Study(sweep(n_rows, folder))
        plan, table = opened.plan, opened.table
        present = len(plan) - 10
        size = -(-present // n_parts)
        start = time.perf_counter()
        for first in range(0, present, size):
            table.append([row(plan, i) for i in range(first, min(first + size, present))])
        written = time.perf_counter() - start
        times = []
        for _ in range(5):
            start = time.perf_counter()
            missing = to_do(plan, table.done(plan.run_ids))
            times.append(time.perf_counter() - start)
        if len(missing) != 10:
            raise RuntimeError(f"expected 10 missing runs, found {len(missing)}")
    return {
        "rows": present,
        "parts": n_parts,
        "write_s": written,
        "diff_s": statistics.median(times),
        "peak_mib": peak_mib(),
    }


def row(plan: Any, i: int) -> dict[str, Any]:
    point = i // len(plan.seeds)
    return {
        **{name: column[point].item() for name, column in plan.params.items()},
        "depth": 3,
        "run_id": plan.run_ids[i],
        "experiment": "nothing",
        "version": 1,
        "seed": plan.seed_of(i),
        "status": "ok",
        "value": 0.0,
        "attempt": 1,
        "wall_s": 0.001,
        "started_at": 0,
    }


CHILDREN = {"planning": planning, "diff": diff}


def child(verb: str, *numbers: int) -> dict[str, Any]:
    words = [sys.executable, __file__, verb, *map(str, numbers)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    where = environment()
    plans = []
    for n in (100_000, 1_000_000):
        runs = [child("planning", n) for _ in range(REPEATS)]
        plans.append(
            {
                "points": n,
                "runs": runs[0]["runs"],
                "plan_s": statistics.median(r["seconds"] for r in runs),
                "us_per_point": 1e6 * statistics.median(r["seconds"] for r in runs) / n,
                "peak_mib": statistics.median(r["peak_mib"] for r in runs),
                "mib_before": statistics.median(r["before_mib"] for r in runs),
            }
        )
    show("Plan: expand two axes, derive two fields, filter, check, hash", plans)
    diffs = [child("diff", 100_000, parts) for parts in (1, 50, 1000)]
    show("Diff of a plan against a table", diffs)
    save("plan", where, {"plan": plans, "diff": diffs})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(CHILDREN[sys.argv[1]](*map(int, sys.argv[2:]))))
    else:
        main()
