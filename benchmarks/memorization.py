"""Training: a full-batch Adam step against its floor, torch.optim and many seeds; and to a fit.

What many seeds at once gain is measured by the wall clock, with one and with two threads of torch,
and by two processes of one thread each, as a sweep runs on two cores: the best of short windows
taken in turns, since nobody else may hold a core meanwhile.  So is the wall time to a mean squared
loss of 1e-12 by Adam under the paper's protocol and by Levenberg-Marquardt.  (One argument of
``step``, ``fused`` or ``fit`` measures that alone, and writes nothing.)
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from environment import compare, environment, matmul, one_thread, save, show

from lawsweep import stream
from lawsweep.kernels.activations import activation
from lawsweep.kernels.data import sampling
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.optimise.levenberg_marquardt import least_squares
from lawsweep.kernels.training.train import flops_per_step, train

DEPTH, STEPS, SOME_STEPS = 4, 600, 100
WINDOW, FUSED = 300, 10  # steps of a window; seeds at once
RELU = activation("relu")


def bare_products(x: torch.Tensor, weights: list[torch.Tensor]) -> Callable[[], None]:
    """Only a step's matrix products, at these sizes, into buffers that exist."""
    n = len(x)
    forward = [(torch.randn(n, len(w)).to(x), w, x.new_empty(n, w.shape[1])) for w in weights]
    gradient = [(f.T, g, torch.empty_like(w)) for f, w, g in forward]
    below = [(g, w.T, torch.empty_like(f)) for f, w, g in forward[1:]]
    products = [*forward, *gradient, *below]

    def run() -> None:
        for _ in range(STEPS):
            for a, b, out in products:
                torch.mm(a, b, out=out)

    return run


def by_torch(
    x: torch.Tensor,
    y: torch.Tensor,
    weights: list[torch.Tensor],
    rate: float,
    steps: int = STEPS,
    **options: Any,
) -> Callable[[], float]:
    """torch.optim.Adam on autograd's gradient; no loss is looked at before the end."""

    def output(leaves: list[torch.Tensor]) -> torch.Tensor:
        features = x
        for w in leaves[:-1]:
            features = torch.relu(features @ w)
        return features @ leaves[-1]

    def run() -> float:
        leaves = [w.clone().requires_grad_() for w in weights]
        optimizer = torch.optim.Adam(leaves, lr=rate, **options)
        for _ in range(steps):
            loss = (output(leaves) - y).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return float((output(leaves) - y).square().mean())

    return run


def problem(n: int, d: int, n_seeds: int) -> Callable[[int], float]:
    """Trains ``n_seeds`` seeds for so many steps; the loss of the first."""
    network = Network.equal(d, d, DEPTH, "linear")
    draws = [
        (
            sampling.rows("gaussian", stream(seed, "data"), n, d),
            sampling.rows("gaussian", stream(seed, "targets"), n, 1)[:, 0],
            init_weights(network, stream(seed, "weights")),
        )
        for seed in range(n_seeds)
    ]
    x, y = (torch.stack([draw[i] for draw in draws]) for i in (0, 1))
    weights = [torch.stack(layer) for layer in zip(*(draw[2] for draw in draws), strict=True)]
    rate = 1.0 / (10.0 * math.sqrt(n))

    def run(steps: int) -> float:
        how: dict[str, Any] = {"learning_rate": rate, "max_steps": steps, "stop_rule": "none"}
        return float(train(x, y, weights, RELU, **how).final_loss[0])

    return run


def step_times(n: int, d: int) -> dict[str, Any]:
    network = Network.equal(d, d, DEPTH, "linear")
    x = sampling.rows("gaussian", stream(0, "data"), n, d)
    y = sampling.rows("gaussian", stream(0, "targets"), n, 1)
    weights = init_weights(network, stream(0, "weights"))
    rate = 1.0 / (10.0 * math.sqrt(n))
    solo = problem(n, d, 1)
    kept: dict[str, float] = {}

    def ours() -> None:
        kept["ours"] = solo(STEPS)

    def autograd() -> None:
        kept["torch"] = plain()

    plain, fused = by_torch(x, y, weights, rate), by_torch(x, y, weights, rate, fused=True)
    product, product_flops = matmul()
    contestants: dict[str, Callable[[], Any]] = {
        "matmul": product,
        "ours": ours,
        "products": bare_products(x, weights),
        "torch": autograd,
        "torch_fused": fused,
    }
    for warm in contestants.values():
        warm()
    s = compare(contestants, 5)
    us = {name: 1e6 * seconds / STEPS for name, seconds in s.items()}
    floor = 1e6 * flops_per_step(n, network) * s["matmul"] / product_flops
    return {
        "N": n,
        "d": d,
        "p": network.n_params,
        "floor_us": floor,
        "products_us": us["products"],
        "step_us": us["ours"],
        "step_over_floor": us["ours"] / floor,
        "torch_us": us["torch"],
        "torch_fused_us": us["torch_fused"],
        "torch_over_step": us["torch"] / us["ours"],
        "fused_over_step": us["torch_fused"] / us["ours"],
        "off_torch": abs(kept["torch"] / kept["ours"] - 1.0),
    }


def windows(
    contestants: dict[str, tuple[int, Callable[[], Any]]], seconds: float
) -> dict[str, float]:
    """Least wall seconds of each, which computes with so many threads; they take turns."""
    best = dict.fromkeys(contestants, math.inf)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, (threads, function) in contestants.items():
            torch.set_num_threads(threads)
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
    torch.set_num_threads(1)
    return best


def in_one_process(n: int, d: int, n_seeds: int, seconds: float) -> float:
    """Seed-steps a second of one process of one thread, its best window."""
    one_thread()
    run = problem(n, d, n_seeds)
    run(WINDOW)
    best = windows({"run": (1, lambda: run(WINDOW))}, seconds)["run"]
    return n_seeds * WINDOW / best


def in_two_processes(n: int, d: int, n_seeds: int, seconds: float) -> float:
    """The same of two processes at a time, together."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(time.sleep, [0.5, 0.5]))  # both are up
        jobs = [pool.submit(in_one_process, n, d, n_seeds, seconds) for _ in range(2)]
        return sum(job.result() for job in jobs)


def fused_times(n: int, d: int, seconds: float) -> dict[str, Any]:
    """Microseconds a seed and step, one seed alone and many at once, on one core and on two."""
    solo, fused = problem(n, d, 1), problem(n, d, FUSED)
    product, product_flops = matmul()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        solo(WINDOW), fused(WINDOW), product()
    best = windows(
        {
            "solo_1": (1, lambda: solo(WINDOW)),
            "solo_2": (2, lambda: solo(WINDOW)),
            "fused_1": (1, lambda: fused(WINDOW)),
            "fused_2": (2, lambda: fused(WINDOW)),
            "matmul_1": (1, product),
        },
        seconds,
    )
    us = {name: 1e6 * s / (WINDOW * (FUSED if "fused" in name else 1)) for name, s in best.items()}
    floor = flops_per_step(n, Network.equal(d, d, DEPTH, "linear")) / product_flops
    processes = {k: 1e6 / in_two_processes(n, d, k, seconds / 4) for k in (1, FUSED)}
    return {
        "N": n,
        "d": d,
        "floor_us": 1e6 * floor * best["matmul_1"],
        "solo_1_thread_us": us["solo_1"],
        "solo_2_threads_us": us["solo_2"],
        "fused_1_thread_us": us["fused_1"],
        "fused_2_threads_us": us["fused_2"],
        "solo_2_processes_us": processes[1],
        "fused_2_processes_us": processes[FUSED],
        "gain_1_thread": us["solo_1"] / us["fused_1"],
        "gain_2_threads": us["solo_2"] / us["fused_2"],
        "gain_2_processes": processes[1] / processes[FUSED],
        "gain_over_solo_in_turn": us["solo_1"] / min(us["fused_2"], processes[FUSED]),
    }


def fit_times(n: int, d: int, target: float, seconds: float) -> dict[str, Any]:
    """Wall milliseconds until the loss is at most ``target``, on one thread and on two."""
    x = sampling.rows("gaussian", stream(0, "data"), n, d)
    y = sampling.rows("gaussian", stream(0, "targets"), n, 1)
    weights = init_weights(Network.equal(d, d, DEPTH, "linear"), stream(0, "weights"))
    rate = 1.0 / (10.0 * math.sqrt(n))
    found: dict[str, Any] = {}

    def adam() -> None:
        stacked = [w[None] for w in weights]
        found["adam"] = train(x[None], y.T, stacked, RELU, learning_rate=rate, target_loss=target)

    def second_order(exact: bool) -> Callable[[], None]:
        def run() -> None:
            found[f"lm_{exact}"] = least_squares(
                x, y[:, 0], weights, RELU, target_loss=target, exact=exact
            )

        return run

    contestants: dict[str, tuple[int, Callable[[], Any]]] = {}
    for threads in (1, 2):
        contestants |= {
            f"adam_{threads}": (threads, adam),
            f"lm_{threads}": (threads, second_order(False)),
            f"lm_exact_{threads}": (threads, second_order(True)),
            f"torch_{threads}": (threads, by_torch(x, y, weights, rate, SOME_STEPS)),
        }
    best = windows(contestants, seconds)
    adam_steps, lm = int(found["adam"].n_steps[0]), found["lm_False"]
    for threads in (1, 2):  # torch.optim takes the same steps, without looking at the loss
        best[f"torch_{threads}"] *= adam_steps / SOME_STEPS
    reached = [float(found["adam"].final_loss[0]), lm.best_loss, found["lm_True"].best_loss]
    assert max(reached) <= target, reached
    return {
        "N": n,
        "d": d,
        "adam_steps": adam_steps,
        "lm_steps": lm.n_steps,
        "lm_products": lm.n_products,
        "lm_factors": lm.n_factorised,
        **{f"{name}_ms": 1e3 * s for name, s in best.items()},
        **{f"gain_{t}": best[f"adam_{t}"] / best[f"lm_{t}"] for t in (1, 2)},
        **{f"gain_over_torch_{t}": best[f"torch_{t}"] / best[f"lm_{t}"] for t in (1, 2)},
    }


def measured(part: str) -> list[dict[str, Any]]:
    """The rows of one part, shown."""
    if part == "step":
        rows = [step_times(400, 22), step_times(1600, 54)]
        show(f"A step of full-batch Adam, L = {DEPTH}, ReLU, widths d, float64", rows)
    elif part == "fused":
        rows = [fused_times(400, 22, 20.0), fused_times(1600, 54, 20.0)]
        show(f"{FUSED} seeds at once against one, microseconds a seed and step", rows)
    else:
        rows = [fit_times(1600, 54, 1e-12, 30.0)]
        show("To a loss of 1e-12 by Adam and by Levenberg-Marquardt, wall", rows)
    return rows


def main() -> None:
    one_thread()
    where = environment()
    parts = ("step", "fused", "fit")
    if len(sys.argv) > 1:
        for part in sys.argv[1:]:
            measured(part)
        return
    save("memorization", where, {part: measured(part) for part in parts})


if __name__ == "__main__":
    main()
