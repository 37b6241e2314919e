"""The paper grid of compression_gap, and Newton on closed forms against L-BFGS on autograd."""

from __future__ import annotations

import math
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from environment import compare, environment, save, show
from lawsweep.experiments.compression import compression
from lawsweep.kernels.compression import PopulationLoss
from lawsweep.kernels.compression_solve import random_starts
from lawsweep.kernels.minimise import minimise
from lawsweep.kernels.sampling import rows

from lawsweep import load_sweep, stream

TOL = 1e-8  # |gradient| over sum_i |a_i||w_i|/N, for both


def one_thread() -> None:
    torch.set_num_threads(1)


def one_run(fields: dict[str, Any], seed: int) -> dict[str, Any]:
    """A run of the grid, in a worker process."""
    start = time.perf_counter()
    m = compression(seed=seed, **fields)
    return {
        "gamma": fields["input_dim"] / fields["n_target"],
        "seconds": time.perf_counter() - start,
        "converged": m.converged,
        "ratio": m.gap / m.predicted_gap,
    }


def grid() -> dict[str, Any]:
    """All runs of the preset on two processes of one thread, dearest first; start-up excluded."""
    plan = load_sweep("compression_gap", "preset=paper").plan()
    calls = [(plan.params_of(i), plan.seed_of(i)) for i in range(len(plan))]
    calls.sort(key=lambda c: -c[0]["n_target"] * c[0]["input_dim"] ** 2)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=one_thread) as pool:
        small = {"input_dim": 5, "n_target": 10, "n_compressed": 3}
        list(pool.map(one_run, [small] * 4, range(4)))  # start and warm the processes
        start = time.perf_counter()
        done = list(pool.map(one_run, *zip(*calls, strict=True)))
        total = time.perf_counter() - start
    by_gamma = []
    for gamma in sorted({r["gamma"] for r in done}):
        group = [r for r in done if r["gamma"] == gamma]
        ratios = [r["ratio"] for r in group]
        by_gamma.append(
            {
                "gamma": gamma,
                "runs": len(group),
                "measured_over_predicted": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "median_run_s": statistics.median(r["seconds"] for r in group),
            }
        )
    return {
        "runs": len(done),
        "processes": 2,
        "total_s": total,
        "sum_of_runs_s": sum(r["seconds"] for r in done),
        "longest_run_s": max(r["seconds"] for r in done),
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


def lbfgs(w: torch.Tensor, alpha: torch.Tensor, start: torch.Tensor, scale: float) -> Any:
    """torch.optim.LBFGS with a strong Wolfe search, until the gradient is small or it gives up."""
    v = start.clone().requires_grad_()
    calls = 0

    def closure() -> torch.Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = autograd_loss(w, alpha, v)
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS(
        [v],
        max_iter=20_000,
        max_eval=40_000,
        history_size=20,
        # It tests the largest entry of the gradient; this makes the norm small enough.
        tolerance_grad=TOL * scale / math.sqrt(v.numel()),
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    optimizer.step(closure)
    loss = float(closure())
    return {"loss": loss, "grad": float(v.grad.norm()) / scale, "calls": calls}


def against_lbfgs(d: int, n: int, m: int, restarts: int = 3) -> dict[str, Any]:
    """Each restart alone, from the same random start: seconds of all restarts together."""
    w = rows("sphere", stream(0, "target_rows"), n, d) / math.sqrt(d)
    alpha = torch.full((n,), 1.0 / n, dtype=torch.float64)
    scale = float(alpha @ w.norm(dim=1))
    starts = random_starts(stream(0, "restarts"), restarts, m, d, scale)
    signs = torch.ones(1, m, dtype=torch.float64)
    ours: list[Any] = []
    peer: list[Any] = []

    def newton() -> None:
        ours[:] = [
            minimise(
                PopulationLoss(w, alpha, signs),
                x.reshape(1, -1),
                scale=scale,
                tol=TOL,
                max_iterations=300,
            )
            for x in starts
        ]

    def autograd() -> None:
        peer[:] = [lbfgs(w, alpha, x, scale) for x in starts]

    newton()
    s = compare({"newton": newton, "lbfgs": autograd}, 3)
    same = [abs(float(o.loss[0]) - p["loss"]) for o, p in zip(ours, peer, strict=True)]
    return {
        "d": d,
        "N": n,
        "M": m,
        "newton_s": s["newton"],
        "newton_steps": sum(int(o.n_iterations[0]) for o in ours),
        "newton_converged": sum(int(o.converged[0]) for o in ours),
        "lbfgs_s": s["lbfgs"],
        "lbfgs_evaluations": sum(p["calls"] for p in peer),
        "lbfgs_reached": sum(p["grad"] <= TOL for p in peer),
        "lbfgs_worst_gradient": max(p["grad"] for p in peer),
        "lbfgs_over_newton": s["lbfgs"] / s["newton"],
        "same_minimum": sum(gap < 1e-10 for gap in same),
        "largest_loss_difference": max(same),
    }


def main() -> None:
    where = environment()
    whole = grid()
    table = whole.pop("by_gamma")
    show("compression_gap, preset paper: 2 processes of one thread", [whole])
    show("Measured over predicted gap, by gamma = d/N", table)
    sizes = ((20, 200, 5), (40, 400, 5), (80, 800, 5))
    peers = [against_lbfgs(*size) for size in sizes]
    show(f"3 restarts to a gradient of {TOL:g}", peers)
    save("compression", where, {"grid": {**whole, "by_gamma": table}, "against_lbfgs": peers})


if __name__ == "__main__":
    main()
