"""Many small targets in one tensor against one by one, and large targets.

``--large``: a million nodes in 100 dimensions (minutes); ``--published``: the size of the authors'
public run of arXiv 2205.08199.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import torch
from environment import compare, environment, one_thread, save, show

from lawsweep.experiments.compression import compression, fused
from lawsweep.kernels.compression.population import PopulationLoss

N_SEEDS, N_SOLO = 64, 16
SMALL: tuple[dict[str, Any], ...] = (
    {"input_dim": 5, "n_target": 50, "n_compressed": 3},
    {"input_dim": 10, "n_target": 100, "n_compressed": 3},
    {"input_dim": 10, "n_target": 100, "n_compressed": 5},
    {
        "input_dim": 10, "n_target": None, "n_compressed": 5, "objective": "simplified",
        "start": "random",
    },
)  # fmt: skip
LARGE: dict[str, Any] = {
    "input_dim": 100, "n_target": 1_000_000, "n_compressed": 10, "n_restarts": 1,
    "start": "reduced", "prediction": "reduced", "target_norm_method": "sample",
}  # fmt: skip
PUBLISHED: dict[str, Any] = {
    "input_dim": 500, "n_target": 1000, "n_compressed": 5, "target_outputs": "uniform",
    "normalise_rows": True, "centre_rows": True,
}  # fmt: skip


def throughput(fields: dict[str, Any]) -> dict[str, Any]:
    """Processor seconds a run, alone and 64 at once, and the largest difference of their losses."""
    params = compression.bind(fields)
    alone = [compression(params, seed=s) for s in range(N_SOLO)]
    together = fused([params] * N_SEEDS, range(N_SEEDS), "cpu")
    seconds = compare(
        {
            "solo": lambda: [compression(params, seed=s) for s in range(N_SOLO)],
            "fused": lambda: fused([params] * N_SEEDS, range(N_SEEDS), "cpu"),
        },
        3,
    )
    solo, whole = seconds["solo"] / N_SOLO, seconds["fused"] / N_SEEDS
    off = max(
        abs(a.objective_value - b.objective_value) / abs(a.objective_value)
        for a, b in zip(alone, together, strict=False)
    )
    kept = {k: fields[k] for k in ("input_dim", "n_target", "n_compressed")}
    return {**kept, "solo_s": solo, "fused_s": whole, "ratio": solo / whole, "worst_loss_off": off}


def counted() -> dict[str, int]:
    """How many restarts' gradients, Hessians and products J gave: each passes over all rows."""
    counts = dict.fromkeys(("value_gradient", "hessian", "hessian_product"), 0)
    for name in counts:
        plain = getattr(PopulationLoss, name)

        def count(self: Any, x: Any, name: str = name, plain: Any = plain) -> Any:
            counts[name] += len(x)
            return plain(self, x)

        setattr(PopulationLoss, name, count)
    return counts


def large(fields: dict[str, Any]) -> dict[str, Any]:
    """One run, all steps on the whole target; ``floor_s``: its Hessians' products alone."""
    counts = counted()
    wall, processor = time.perf_counter(), time.process_time()
    m = compression(**fields, seed=0)
    spent = time.process_time() - processor
    one, two = (torch.randn(2000, 2000, dtype=torch.float64) for _ in range(2))
    one @ two
    begin = time.process_time()
    one @ two
    rate = 2 * 2000**3 / (time.process_time() - begin)
    n, d = fields["n_target"], fields["input_dim"]
    floor = counts["hessian"] * 2.0 * n * d * d * fields["n_compressed"] / rate
    return {
        **fields,
        "wall_s": time.perf_counter() - wall,
        "processor_s": spent,
        "floor_s": floor,
        "gradients": counts["value_gradient"],
        "hessians": counts["hessian"],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "stop_reason": m.stop_reason,
        "n_iterations": m.n_iterations,
        "n_restarts_agreeing": m.n_restarts_agreeing,
        "grad_norm": m.grad_norm,
        "hessian_min": m.hessian_min,
        "loss": m.loss,
        "target_norm_se": m.target_norm_se,
        "cosines": [m.cos_min, m.cos_max],
        "gap_ratio": m.gap_ratio,
        "reduced_ratio": m.reduced_ratio,
    }


def main() -> None:
    one_thread()
    where = environment()
    small = [throughput(f) for f in SMALL]
    show(f"{N_SEEDS} seeds in one tensor", small)
    figures: dict[str, Any] = {"fused": small}
    for name, fields in (("large", LARGE), ("published", PUBLISHED)):
        if f"--{name}" in sys.argv:
            figures[name] = large(fields)
            show(name, [figures[name]])
    save("compression_scale", where, figures)


if __name__ == "__main__":
    main()
