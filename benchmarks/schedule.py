"""Does the plan tell the truth, and are the slots kept busy, on heterogeneous grids?

    python benchmarks/schedule.py              ETA, makespan and its simulation
    python benchmarks/schedule.py ntk [SEEDS [ROUNDS]]  efficiency on runs that compute

The first: 200 runs whose seconds span a factor of 1000 and do not follow their stated flops
closely: a true time of flops^0.85 with lognormal noise of 25 %.  Runs nap, so the figures are the
engine's and not those of whatever else the machine is doing.

The second: ntk_min_eig over sizes and widths, first run by run in one process with one thread on a
machine that does nothing else (``solo``), then the same runs through ``run`` on all cores,
alone and fused.  Efficiency is sum of solo times / (cores x makespan).  It is the product of two
things, given too: how busy the slots were, and how much faster a run is while the other cores are
idle (they share memory and clock, and Ray's own processes want some of them).  Makespans are told
twice: from the first task handed out, and of the whole command with the start of Ray.  The three
ways take turns, round after round, since the machine's own speed drifts; medians come first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, save

import lawsweep
from lawsweep import Cost, Sweep, experiment, stream
from lawsweep.launch.costs.simulate import simulate


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
        report = lawsweep.run(sweep, watcher=seen.append)
        view = lawsweep.open(sweep).preview()
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


GRID = {"n_samples": [300, 600, 1200, 2400, 4000], "input_dim": [60, 120, 240, 480]}
SEEDS, ROUNDS = 12, 3  # some 75 s of solo time a round, on one core of 2.5 GHz or so
WARM_UP = {"n_samples": [20], "input_dim": [10]}
ALONE = {"kind": "serial", "fuse": False}
WAYS: dict[str, dict[str, Any]] = {
    "solo": ALONE,
    "one_by_one": {"kind": "ray_local", "fuse": False},
    "fused": {"kind": "ray_local", "fuse": True},
}


def ntk_sweep(way: str, axes: dict[str, Any], n_seeds: int, folder: str) -> Sweep:
    return Sweep(
        name=way,
        experiment="ntk_min_eig",
        params={"activation": "sigmoid", "depth": 3, "kernel": "full"},
        axes=axes,
        derive={"width": "input_dim"},
        seeds=n_seeds,
        executor=WAYS[way],
        results_dir=f"{folder}/{way}",
    )


def one_way(way: str, n_seeds: int, folder: str) -> None:
    """In a process of its own: the sweep, and what its rows say."""
    if way == "solo":  # libraries are loaded outside of what is timed; on Ray within
        lawsweep.run(ntk_sweep(way, WARM_UP, 1, f"{folder}/warm"))
    sweep = ntk_sweep(way, GRID, n_seeds, folder)
    report = lawsweep.run(sweep)
    rows = lawsweep.load(sweep)
    if set(rows["status"]) != {"ok"} or set(rows["n_threads"]) != {1}:
        raise RuntimeError(f"expected rows that are ok, of one thread, got {report}")
    seconds = rows["wall_s"].astype(float)
    print(
        json.dumps(
            {
                "runs": len(rows),
                "launch_s": report.wall_s,
                "sum_of_runs_s": float(seconds.sum()),
                "longest_run_s": float(seconds.max()),
                "shortest_run_s": float(seconds.min()),
            }
        )
    )


def one_round(n_seeds: int, folder: str) -> dict[str, Any]:
    """The three ways, one after the other, each in a process of its own."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, "1")}
    n_cores = len(os.sched_getaffinity(0))
    figures: dict[str, Any] = {}
    for way in WAYS:
        load, start = os.getloadavg()[0], time.monotonic()
        command = [sys.executable, __file__, "way", way, str(n_seeds), folder]
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        found["command_s"] = time.monotonic() - start
        found["load_average_before"] = round(load, 2)
        figures[way] = found
    solo = figures["solo"]["sum_of_runs_s"]
    for way in ("one_by_one", "fused"):
        found = figures[way]
        found["efficiency"] = solo / n_cores / found["launch_s"]
        found["efficiency_of_command"] = solo / n_cores / found["command_s"]
        found["slots_busy"] = found["sum_of_runs_s"] / n_cores / found["launch_s"]
        found["solo_over_side_by_side"] = solo / found["sum_of_runs_s"]
    return figures


def ntk(n_seeds: int, n_rounds: int) -> None:
    where, rounds = environment(), []
    for _ in range(n_rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one_round(n_seeds, folder))
    ratios = ("efficiency", "efficiency_of_command", "slots_busy", "solo_over_side_by_side")
    figures: dict[str, Any] = {
        way: {name: statistics.median(r[way][name] for r in rounds) for name in ratios}
        for way in ("one_by_one", "fused")
    }
    figures |= {"n_cores": len(os.sched_getaffinity(0)), "rounds": rounds}
    print(json.dumps(figures, indent=1))
    if n_seeds >= SEEDS and n_rounds >= ROUNDS:
        save("schedule_ntk", where, figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["way"]:
        one_way(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    elif sys.argv[1:2] == ["ntk"]:
        given = [int(word) for word in sys.argv[2:]]
        ntk(*given, *(SEEDS, ROUNDS)[len(given) :])
    else:
        main()
