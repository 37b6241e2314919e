"""The paper grid of compression_gap, and Newton on closed forms against L-BFGS on autograd."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from environment import compare, environment, one_thread, save, show

from lawsweep import load_sweep, stream
from lawsweep.experiments.compression import compression
from lawsweep.kernels.compression.population import PopulationLoss
from lawsweep.kernels.compression.search import random_starts
from lawsweep.kernels.compression.target import Target
from lawsweep.kernels.data.sampling import rows
from lawsweep.kernels.optimise.minimise import minimise

TOL = 1e-8  # |gradient| over sum_i |a_i||w_i|/N, for both
LEVELS, MOST = (1e-6, TOL), 3000  # most evaluations of J that L-BFGS may take from a start


def one_run(fields: dict[str, Any], seed: int) -> dict[str, Any]:
    """A run of the grid, in a worker process."""
    start = time.process_time()
    m = compression(seed=seed, **fields)
    return {
        "gamma": float(f"{fields['input_dim'] / fields['n_target']:.1g}"),
        "seconds": time.process_time() - start,
        "converged": m.converged,
        "ratio": m.gap / m.predicted_gap,
        "reduced": m.gap / m.reduced_gap,
        "cell": (fields["input_dim"], fields["n_compressed"]),
    }


def grid() -> dict[str, Any]:
    """All runs of the preset on two processes of one thread, dearest first; start-up excluded."""
    plan = load_sweep("compression_gap", "preset=paper").plan()
    calls = [(plan.params_of(i), plan.seed_of(i)) for i in range(len(plan))]
    calls.sort(key=lambda c: -c[0]["n_target"] * c[0]["input_dim"] ** 2)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=one_thread) as pool:
        small = {"input_dim": 5, "n_target": 10, "n_compressed": 3, "prediction": "reduced"}
        list(pool.map(one_run, [small] * 4, range(4)))  # start and warm the processes
        start = time.perf_counter()
        done = list(pool.map(one_run, *zip(*calls, strict=True)))
        total = time.perf_counter() - start
    by_gamma = []
    for gamma in sorted({r["gamma"] for r in done}):
        group = [r for r in done if r["gamma"] == gamma]
        ratios = [r["ratio"] for r in group]
        cells = {c: [r for r in group if r["cell"] == c] for c in {r["cell"] for r in group}}
        means = [statistics.mean(r["reduced"] for r in c) for c in cells.values()]
        by_gamma.append(
            {
                "gamma": gamma,
                "runs": len(group),
                "measured_over_predicted": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "measured_over_reduced_worst_cell": max(means, key=lambda x: abs(x - 1.0)),
                "median_run_processor_s": statistics.median(r["seconds"] for r in group),
            }
        )
    return {
        "runs": len(done),
        "processes": 2,
        "wall_s": total,
        "processor_s": sum(r["seconds"] for r in done),
        "longest_run_processor_s": max(r["seconds"] for r in done),
        "converged": sum(r["converged"] for r in done),
        "by_gamma": by_gamma,
    }


def kernel(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """k(u, v) = |u||v| kappa(rho)/2 pi of all pairs, as the paper's formula reads."""
    size = u.norm(dim=1)[:, None] * v.norm(dim=1)[None, :]
    rho = (u @ v.T / size).clamp(-1 + 1e-14, 1 - 1e-14)
    return size * (torch.sqrt(1 - rho**2) + rho * (math.pi - torch.arccos(rho))) / (2 * math.pi)


def autograd_loss(w: torch.Tensor, alpha: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """J(v) with all signs +1; the diagonal of the own kernel is exact."""
    apart = ~torch.eye(len(v), dtype=torch.bool)
    own = kernel(v, v)[apart].sum() + 0.5 * (v**2).sum()
    return own - 2.0 * (alpha @ kernel(w, v)).sum()


class Enough(Exception):  # noqa: N818  (not an error)
    """Ends torch's optimiser from inside its closure."""


def lbfgs(w: torch.Tensor, alpha: torch.Tensor, start: torch.Tensor, scale: float) -> Any:
    """torch.optim.LBFGS with a strong Wolfe search, to TOL or MOST evaluations of J.

    ``seconds`` of processor time until the gradient first was below each of LEVELS.
    """
    v = start.clone().requires_grad_()
    begun = time.process_time()
    reached: dict[float, float] = {}
    calls, loss, size = 0, math.inf, math.inf

    def closure() -> torch.Tensor:
        nonlocal calls, loss, size
        calls += 1
        optimizer.zero_grad()
        value = autograd_loss(w, alpha, v)
        value.backward()
        loss, size = float(value.detach()), float(v.grad.norm()) / scale
        for level in LEVELS:
            if size <= level:
                reached.setdefault(level, time.process_time() - begun)
        if size <= TOL or calls >= MOST:
            raise Enough
        return value

    optimizer = torch.optim.LBFGS(
        [v],
        max_iter=MOST,
        max_eval=MOST,
        history_size=20,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    with contextlib.suppress(Enough):
        optimizer.step(closure)
    return {
        "loss": loss,
        "gradient": size,
        "calls": calls,
        "reached": reached,
        "seconds": time.process_time() - begun,
    }


def against_lbfgs(d: int, n: int, m: int, restarts: int = 3) -> dict[str, Any]:
    """Each restart alone, from the same random start: seconds of all restarts together."""
    w = rows("sphere", stream(0, "target_rows"), n, d) / math.sqrt(d)
    alpha = torch.full((n,), 1.0 / n, dtype=torch.float64)
    scale = float(alpha @ w.norm(dim=1))
    starts = random_starts(stream(0, "restarts"), restarts, m, d, scale)
    signs = torch.ones(1, m, dtype=torch.float64)
    ours: list[Any] = []

    def newton() -> None:
        ours[:] = [
            minimise(
                PopulationLoss(Target(w, alpha), signs),
                x.reshape(1, -1),
                scale=scale,
                tol=TOL,
                max_iterations=300,
            )
            for x in starts
        ]

    newton()
    seconds = compare({"newton": newton}, 5)["newton"]
    peer = [lbfgs(w, alpha, x, scale) for x in starts]
    spent = sum(p["seconds"] for p in peer)
    easy = [p["reached"].get(LEVELS[0]) for p in peer]
    all_easy = None if None in easy else sum(easy)
    return {
        "d": d,
        "N": n,
        "M": m,
        "newton_s": seconds,
        "newton_steps": sum(int(o.n_iterations[0]) for o in ours),
        "newton_reached": sum(int(o.converged[0]) for o in ours),
        "lbfgs_s": spent,
        "lbfgs_evaluations": sum(p["calls"] for p in peer),
        "lbfgs_reached": sum(TOL in p["reached"] for p in peer),
        "lbfgs_worst_gradient": max(p["gradient"] for p in peer),
        "lbfgs_reached_1e-6": sum(x is not None for x in easy),
        "lbfgs_s_to_1e-6": all_easy,
        "lbfgs_over_newton": spent / seconds,
        "lbfgs_to_1e-6_over_newton": None if all_easy is None else all_easy / seconds,
        "newton_best_loss": min(float(o.loss[0]) for o in ours),
        "lbfgs_best_loss": min(p["loss"] for p in peer),
    }


def main() -> None:
    one_thread()
    where = environment()
    whole = grid()
    table = whole.pop("by_gamma")
    show("compression_gap, preset paper: 2 processes of one thread", [whole])
    show("Measured over predicted gap, by gamma = d/N", table)
    sizes = ((20, 200, 5), (40, 400, 5))
    peers = [against_lbfgs(*size) for size in sizes]
    show(f"3 restarts to a gradient of {TOL:g}", peers)
    save("compression", where, {"grid": {**whole, "by_gamma": table}, "against_lbfgs": peers})


if __name__ == "__main__":
    main()
