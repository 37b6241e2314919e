"""A full-batch Adam step of the training kernel, against its floor and against torch.optim."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from environment import compare, environment, matmul, one_thread, save, show

from lawsweep import stream
from lawsweep.kernels import networks, sampling
from lawsweep.kernels.activations import activation
from lawsweep.kernels.train import flops_per_step, train

DEPTH, STEPS = 4, 600
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
    x: torch.Tensor, y: torch.Tensor, weights: list[torch.Tensor], rate: float, **options: Any
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
        for _ in range(STEPS):
            loss = (output(leaves) - y).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return float((output(leaves) - y).square().mean())

    return run


def step_times(n: int, d: int) -> dict[str, Any]:
    widths = networks.layer_widths(d, d, DEPTH)
    x = sampling.rows("gaussian", stream(0, "data"), n, d)
    y = sampling.rows("gaussian", stream(0, "targets"), n, 1)
    weights = networks.init_weights(widths, stream(0, "weights"))
    rate = 1.0 / (10.0 * math.sqrt(n))
    kept: dict[str, float] = {}

    def ours() -> None:
        done = train(
            x.unsqueeze(0),
            y.T,
            [w.unsqueeze(0) for w in weights],
            RELU,
            learning_rate=rate,
            max_steps=STEPS,
            stop_rule="none",
        )
        kept["ours"] = float(done.final_loss[0])

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
    floor = 1e6 * flops_per_step(n, widths) * s["matmul"] / product_flops
    return {
        "N": n,
        "d": d,
        "p": networks.n_params(widths),
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


def main() -> None:
    one_thread()
    where = environment()
    steps = [step_times(400, 22), step_times(1600, 54)]
    show(f"A step of full-batch Adam, L = {DEPTH}, ReLU, widths d, float64", steps)
    save("memorization", where, {"step": steps})


if __name__ == "__main__":
    main()
