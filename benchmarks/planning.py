"""Does the model behind ``lawsweep plan --on`` hold?  Its seconds against measured ones, on a CPU.

    python benchmarks/planning.py

This machine's rates are measured for every kind of work, one thread, in some seconds; each
experiment states its work at several sizes; the sum of work over rate is compared with what a run
takes.  One thread; medians of three, the load beside them.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import environment, rounded, show

from lawsweep.core.cost import PRIOR_OVERHEAD_S, WORK
from lawsweep.core.registry import find_experiment
from lawsweep.grid.plan import make_plan
from lawsweep.grid.stated_costs import stated_work
from lawsweep.launch.costs.rates import Device

CASES: tuple[tuple[str, dict[str, Any], str, tuple[int, ...]], ...] = (
    ("ntk_min_eig", {"input_dim": 60, "width": 60, "depth": 3, "activation": "sigmoid"},
     "n_samples", (600, 1200, 2400)),
    ("ntk_min_eig", {"input_dim": 300, "width": 300, "depth": 3, "activation": "tanh"},
     "n_samples", (600, 1200, 2400)),
    ("memorization", {"input_dim": 22, "width": 22, "depth": 3, "stop_rule": "none",
                      "max_steps": 500}, "n_samples", (100, 400, 1600)),
    ("memorization", {"input_dim": 22, "width": 22, "depth": 3,
                      "optimizer": "levenberg_marquardt"}, "n_samples", (100, 200, 400)),
    ("compression", {"input_dim": 20, "n_compressed": 3, "target_norm_method": "skip"},
     "n_target", (60, 300, 1500)),
    ("ntk_memorization", {"input_dim": 30, "width": 60, "depth": 3}, "n_samples", (200, 400, 800)),
)  # fmt: skip


def rate(work: float, call: Callable[[], Any]) -> float:
    """Work a second, by the quickest of several calls."""
    call()
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return work / best


def measured_rates(n: int = 1200) -> dict[str, float]:
    """This machine's, one thread."""
    found: dict[str, float] = {}
    for dtype in (torch.float64, torch.float32):
        name = str(dtype).removeprefix("torch.")
        a = torch.randn(n, n, dtype=dtype)
        spd = a @ a.mT + n * torch.eye(n, dtype=dtype)
        factor, one = torch.linalg.cholesky(spd), a[:, :1].contiguous()

        def solve(factor: Any = factor, one: Any = one) -> None:
            half = torch.linalg.solve_triangular(factor, one, upper=False)
            torch.linalg.solve_triangular(factor.mT, half, upper=True)

        found[f"matmul_{name}"] = rate(2.0 * n**3, lambda a=a: a @ a)
        found[f"cholesky_{name}"] = rate(n**3 / 3.0, lambda s=spd: torch.linalg.cholesky(s))
        found[f"solve_{name}"] = rate(2.0 * n**2, solve)
    large, small = torch.randn(2**22, dtype=torch.float64), torch.randn(16, dtype=torch.float64)
    found["bandwidth"] = rate(16.0 * large.numel(), lambda: large.mul_(1.0))
    found["launch"] = 1.0 / rate(1000.0, lambda: [small.add_(1e-9) for _ in range(1000)])
    draw = np.random.default_rng(0).standard_normal
    found["draws"] = rate(2.0**20, lambda: draw(2**20))
    return found


def main() -> None:
    """Measure, print, and write ``results/planning.json``."""
    torch.set_num_threads(1)
    rates = measured_rates()
    device = Device("here", rates, dict.fromkeys(WORK, 0.0), None, measured=True)
    rows = []
    for name, params, axis, sizes in CASES:
        experiment = find_experiment(name)
        plan = make_plan(experiment, params=params, axes={axis: list(sizes)})
        parts = device.seconds(stated_work(plan))
        for i, size in enumerate(sizes):
            point = {**params, axis: size}
            experiment(seed=0, **point)  # imports, first calls
            times = []
            for seed in (1, 2, 3):
                start = time.perf_counter()
                experiment(seed=seed, **point)
                times.append(time.perf_counter() - start)
            each = {k: float(np.broadcast_to(s, (len(sizes),))[i]) for k, s in parts.items()}
            said = sum(each.values()) + PRIOR_OVERHEAD_S
            rows.append({
                "experiment": name, axis: size, "of": params.get("optimizer", params.get("width")),
                "predicted_s": said, "measured_s": statistics.median(times),
                "predicted_over_measured": said / statistics.median(times),
                "largest": max(each, key=each.__getitem__),
            })  # fmt: skip
    plain = [{"experiment": r["experiment"], "size": r.get("n_samples", r.get("n_target")),
              **{k: r[k] for k in ("of", "predicted_s", "measured_s", "predicted_over_measured",
                                   "largest")}} for r in rows]  # fmt: skip
    show("seconds by work and rates against measured", plain)
    off = [abs(math.log(r["predicted_over_measured"])) for r in rows]
    show("off by", [{"median": math.exp(statistics.median(off)), "largest": math.exp(max(off))}])
    said = {"environment": environment(), "rates": rates, "rows": rounded(plain)}
    path = Path(__file__).parent / "results" / "planning.json"
    path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
