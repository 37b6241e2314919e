"""Does the plan tell the truth?  ETA, makespan and its simulation on a heterogeneous grid.

200 runs whose seconds span a factor of 1000 and do not follow their stated flops closely: a true
time of flops^0.85 with lognormal noise of 25 %.  Runs nap, so the figures are the engine's and not
those of whatever else the machine is doing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, save

from lawsweep import Cost, Sweep, api, experiment, stream
from lawsweep.runner.simulate import simulate


@dataclass(frozen=True, kw_only=True)
class Params:
    size: float


@dataclass(frozen=True, kw_only=True)
class Metrics:
    slept_s: float


SCALE_S = 0.004  # of the shortest run; the longest is 1000 times as long


def duration_s(size: float, seed: int) -> float:
    noise = np.exp(0.25 * stream(seed, f"noise/{size}").standard_normal())
    return float(SCALE_S * size**0.85 * noise)


@experiment(version=1, cost=lambda p: Cost(flops=2e8 * p.size))
def nap(params: Params, seed: int) -> Metrics:
    slept = duration_s(params.size, seed)
    time.sleep(slept)
    return Metrics(slept_s=slept)


def main() -> None:
    largest = 1000 ** (1 / 0.85)
    seen: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(
            name="nap",
            experiment=nap,
            axes={"size": f"logspace(1, {largest}, 50)"},
            seeds=4,
            results_dir=folder,
        )
        report = api.run(sweep, watcher=seen.append)
        view = api.view_plan(sweep)
        truth = np.array(
            [duration_s(view.plan.params_of(i)["size"], view.plan.seed_of(i)) for i in range(200)]
        )
        files = len(list(Path(folder).glob("tables/nap/*.parquet")))
    assert dict(report.statuses) == {"ok": 200}, report
    n_slots = view.n_slots
    makespan = report.wall_s
    bound = max(truth.sum() / n_slots, truth.max())
    simulated = simulate(truth, n_slots).makespan_s
    figures: dict[str, Any] = {
        "n_slots": n_slots,
        "work_s": float(truth.sum()),
        "longest_over_shortest": float(truth.max() / truth.min()),
        "makespan_s": makespan,
        "makespan_over_bound": makespan / bound,
        "simulated_over_measured": simulated / makespan,
        "n_files": files,
    }
    for share in (0.1, 0.25, 0.5):
        at = next(s for s in seen if s.finished >= share * 200 and s.eta_s is not None)
        left = makespan - at.elapsed_s
        figures[f"eta_over_truth_at_{share:g}"] = at.eta_s / left
        figures[f"interval_at_{share:g}"] = [at.eta_low_s / left, at.eta_high_s / left]
    for name, value in figures.items():
        print(f"{name:28} {value}")
    save("schedule", environment(), figures)


if __name__ == "__main__":
    sys.exit(main())
