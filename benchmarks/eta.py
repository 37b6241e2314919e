"""How right is the time to the end, for experiments that state no cost?  On a simulated clock.

    python benchmarks/eta.py [--trials 5]

Every case is a law of seconds over params that the launch does not know: powers, sums of powers,
categories that change the exponent, runs of two kinds, skewed noise.  The real loop runs them on an
executor whose clock is simulated; what it says of the time left is compared with what was left.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment, rounded, show

from lawsweep import experiment
from lawsweep.grid.plan import make_plan
from lawsweep.grid.sweep import OnFailure
from lawsweep.launch.costs.simulated import Cluster, SimulatedExecutor
from lawsweep.launch.loop import Loop

AT = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
SMALL = 0.01
TOTAL_S = 120.0  # of a launch: a loop that waits looks five times a second
Columns = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Params:
    """What seconds may depend on."""

    n: int = 100
    width: int = 10
    solver: str = "a"
    rate: float = 0.1
    flag: bool = False


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Nothing."""

    y: float = 0.0


@experiment(version=1)
def unknown(params: Params, seed: int) -> Metrics:
    """An experiment that states no cost."""
    return Metrics()


@dataclass(frozen=True)
class Case:
    """Axes, seeds, seconds of each run by its params (columns a run) and noise."""

    name: str
    axes: Any
    seeds: int
    seconds: Callable[[Columns, np.random.Generator], np.ndarray]


def quiet(law: Callable[[Columns], np.ndarray], sd: float = 0.1) -> Any:
    """A law with lognormal noise of mean 1."""
    return lambda p, rng: law(p) * rng.lognormal(-0.5 * sd * sd, sd, len(p["n"]))


def kinds(p: Columns, rng: np.random.Generator) -> np.ndarray:
    """Of every seven runs one is 20 times as long."""
    slow = rng.random(len(p["n"])) < 1 / 7
    return p["n"] / 100 * np.where(slow, 20.0, 1.0) * rng.lognormal(0, 0.1, len(slow))


N = [100, 200, 400, 800, 1600]
GRID = {"n": N, "width": [8, 16, 32, 64], "solver": ["a", "b", "c"]}
CASES = (
    Case("constant", {"n": N}, 20, quiet(lambda p: np.full(len(p["n"]), 2.0))),
    Case("n^1", {"n": N}, 20, quiet(lambda p: p["n"] / 100)),
    Case("n^2", {"n": N}, 20, quiet(lambda p: (p["n"] / 100) ** 2)),
    Case("n^3, n slowest", GRID, 5, quiet(lambda p: (p["n"] / 200) ** 3)),
    Case("n^3, n fastest", dict(reversed(GRID.items())), 5, quiet(lambda p: (p["n"] / 200) ** 3)),
    Case("n^2 width^1.5", GRID, 3, quiet(lambda p: (p["n"] / 200) ** 2 * (p["width"] / 20) ** 1.5)),
    Case("falls: n^-1", {"n": N}, 20, quiet(lambda p: 1600 / p["n"])),
    Case("1 + n^3", GRID, 3, quiet(lambda p: 1 + (p["n"] / 200) ** 3)),
    Case("n^2 + width^3", GRID, 3, quiet(lambda p: (p["n"] / 100) ** 2 + (p["width"] / 8) ** 3)),
    Case(
        "n by 40 values", {"n": "logspace(10, 5000, 40)"}, 5, quiet(lambda p: (p["n"] / 50) ** 1.7)
    ),
    Case("a category x 30", GRID, 5, quiet(lambda p: np.where(p["solver"] == "b", 30.0, 1.0))),
    Case(
        "exponent by category",
        GRID,
        5,
        quiet(
            lambda p: (
                (p["n"] / 100) ** np.select([p["solver"] == "a", p["solver"] == "b"], [1, 2], 3)
            )
        ),
    ),
    Case(
        "a flag x 10",
        {"flag": [False, True], "n": N},
        10,
        quiet(lambda p: np.where(p["flag"], 10.0, 1.0)),
    ),
    Case(
        "peak over a rate",
        {"rate": "linspace(0, 1, 21)"},
        20,
        quiet(lambda p: 1 + 20 * np.exp(-((p["rate"] - 0.5) ** 2) / 0.02)),
    ),
    Case("noise of a factor 1.6", GRID, 5, quiet(lambda p: p["n"] / 100, 0.5)),
    Case("noise of a factor 2.7", GRID, 10, quiet(lambda p: p["n"] / 100, 1.0)),
    Case("two kinds, by chance", GRID, 10, kinds),
    Case("48 runs", {"n": "logspace(10, 1000, 48)"}, 1, quiet(lambda p: (p["n"] / 100) ** 2)),
    Case("only seeds", {"n": [100]}, 200, quiet(lambda p: p["n"] / 100, 0.5)),
)


def one(case: Case, n_slots: int, trial: int) -> list[tuple[float, float, float, float, float]]:
    """(share done, said, low, high, true seconds to the end) at each of AT."""
    plan = make_plan(unknown, axes=case.axes, seeds=case.seeds)
    columns = {
        name: np.repeat(np.broadcast_to(c, (plan.n_points,)), case.seeds)
        for name, c in plan.over_points().items()
    }
    seconds = case.seconds(columns, np.random.default_rng(trial))
    seconds *= TOTAL_S * n_slots / seconds.sum()
    executor = SimulatedExecutor(Cluster(n_nodes=1, slots_per_node=n_slots), seconds)
    seen: list[Any] = []

    class Nothing:
        """A table that keeps nothing."""

        def done(self, run_ids: Any) -> dict[str, Any]:
            return {}

        def append(self, rows: Any, arrays: Any = None) -> None:
            pass

    report = Loop(
        plan, Nothing(), executor, launch_id="L", on_failure=OnFailure(), clock=executor.clock,
        watcher=seen.append,
    ).run()  # fmt: skip
    found = []
    for share in AT:
        s = next((s for s in seen if s.finished >= share * len(plan)), seen[-1])
        if s.eta_s is not None:
            true = report.wall_s - s.elapsed_s
            beside = SMALL * report.wall_s  # of what is left by then nobody cares for the factor
            found.append((share, *(x + beside for x in (s.eta_s, s.eta_low_s, s.eta_high_s, true))))
    return found


def main() -> None:
    """Simulate, print, and write ``results/eta.json``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--slots", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--cases", nargs="*")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    rows = []
    for case in CASES:
        if given.cases and case.name not in given.cases:
            continue
        for slots in given.slots:
            found = [x for t in range(given.trials) for x in one(case, slots, t)]
            row: dict[str, Any] = {"case": case.name, "slots": slots}
            for share in AT:
                here = [
                    np.log(said / true)
                    for at, said, _, _, true in found
                    if at == share and true > 0
                ]
                row[f"at_{share:g}"] = float(np.exp(np.max(np.abs(here)))) if here else None
            early = [(low, high, true) for at, _, low, high, true in found if at < 0.3]
            row["covered"] = float(np.mean([low <= true <= high for low, high, true in early]))
            rows.append(row)
    show("the time left: largest factor that it was off by, by the share of runs done", rows)
    if not given.cases:
        path = given.out / "eta.json"
        said = {"environment": environment(), "trials": given.trials, "rows": rounded(rows)}
        path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
