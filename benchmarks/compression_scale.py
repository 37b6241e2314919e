"""Many small targets in one tensor against one by one, and one target of a million nodes."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

from environment import compare, environment, one_thread, save, show

from lawsweep.experiments.compression import compression, fused

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
    "start": "reduced", "prediction": "reduced", "solver": "newton", "tol": 1e-8,
    "target_norm_method": "sample",
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


def large() -> dict[str, Any]:
    """The optimum of one large target, all steps on the whole of it."""
    wall, processor = time.perf_counter(), time.process_time()
    m = compression(**LARGE, seed=0)
    return {
        **LARGE,
        "wall_s": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "stop_reason": m.stop_reason,
        "n_iterations": m.n_iterations,
        "grad_norm": m.grad_norm,
        "loss": m.loss,
        "target_norm_se": m.target_norm_se,
        "gap_ratio": m.gap_ratio,
        "reduced_ratio": m.reduced_ratio,
    }


def main() -> None:
    one_thread()
    where = environment()
    small = [throughput(f) for f in SMALL]
    show(f"{N_SEEDS} seeds in one tensor", small)
    figures: dict[str, Any] = {"fused": small}
    if "--large" in sys.argv:
        figures["large"] = large()
        show("A million nodes", [figures["large"]])
    save("compression_scale", where, figures)


if __name__ == "__main__":
    main()
