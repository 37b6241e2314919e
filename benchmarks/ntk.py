"""The NTK's Gram matrix and its smallest eigenvalue, against a floor and against plain torch.

``--large`` adds N = 12,000 (eigvalsh alone takes a minute there).
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from environment import compare, environment, matmul, one_thread, save, show

from lawsweep import stream
from lawsweep.experiments.ntk_min_eig import ntk_min_eig
from lawsweep.kernels.activations import activation
from lawsweep.kernels.data import sampling
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.linalg.cholesky import factorise, load
from lawsweep.kernels.network.forward import forward
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.linearisation import Linearisation, linearise

DEPTH = 3
SIGMOID = activation("sigmoid")


def problem(n: int, d: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Inputs (N, d) and weights of a network of width d: those of the experiment at seed 0."""
    x = sampling.rows("gaussian", stream(0, "data"), n, d)
    return x, init_weights(Network.equal(d, d, DEPTH, "linear"), stream(0, "weights"))


def plain_gram(lin: Linearisation) -> torch.Tensor:
    """The formula as one writes it down, whole matrices at a time."""
    pairs = ((layer.features, layer.back) for layer in lin.layers)
    return sum((f @ f.T) * (b @ b.T) for f, b in pairs)


def gram_times() -> list[dict[str, Any]]:
    rows = []
    for n, d in ((2000, 324), (2000, 977), (4000, 324), (4000, 977), (6000, 300)):
        x, weights = problem(n, d)
        lin = linearise(Network.of(weights, SIGMOID), weights, x)
        widths = Network.equal(d, d, DEPTH, "linear").widths
        flops = float(n * n * sum(a + b for a, b in itertools.pairwise(widths)))
        product, product_flops = matmul()
        gram, plain = partial(ntk.gram, lin), partial(plain_gram, lin)
        gram()  # whose memory the next one finds ready (``workspace``), as in a sweep
        s = compare({"matmul": product, "gram": gram, "plain": plain}, 5)
        rate = product_flops / s["matmul"]
        floor = flops / rate
        rows.append(
            {
                "N": n,
                "d": d,
                "matmul_gflops": rate / 1e9,
                "floor_s": floor,
                "gram_s": s["gram"],
                "gram_over_floor": s["gram"] / floor,
                "plain_over_floor": s["plain"] / floor,
            }
        )
    return rows


def eigenvalue_times() -> list[dict[str, Any]]:
    rows = []
    for n, d, repeats in ((1000, 324, 5), (2000, 324, 3), (4000, 324, 1)):
        x, weights = problem(n, d)
        k = ntk.ntk_gram(Network.of(weights, SIGMOID), weights, x)
        found: dict[str, Any] = {}

        def ours(k: torch.Tensor = k, found: dict[str, Any] = found) -> None:
            found["ours"] = smallest_eigenvalue(k, start=stream(0, "lanczos"))

        def bare(k: torch.Tensor = k) -> None:
            smallest_eigenvalue(k, start=stream(0, "lanczos"), certify=False)

        def eigvalsh(k: torch.Tensor = k, found: dict[str, Any] = found) -> None:
            found["eigvalsh"] = float(torch.linalg.eigvalsh(k)[0])

        def eigh(k: torch.Tensor = k, found: dict[str, Any] = found) -> None:
            found["eigh"] = float(torch.linalg.eigh(k)[0][0])

        s = compare({"ours": ours, "bare": bare, "eigvalsh": eigvalsh, "eigh": eigh}, repeats)
        best = found["ours"]
        rows.append(
            {
                "N": n,
                "d": d,
                "ours_s": s["ours"],
                "without_certificate_s": s["bare"],
                "eigvalsh_s": s["eigvalsh"],
                "eigh_s": s["eigh"],
                "eigvalsh_over_ours": s["eigvalsh"] / s["ours"],
                "eigh_over_ours": s["eigh"] / s["ours"],
                "lambda_min": best.value,
                "certified": best.certified,
                "off_eigvalsh": abs(found["eigvalsh"] / best.value - 1),
                "off_eigh": abs(found["eigh"] / best.value - 1),
            }
        )
    return rows


def by_backward(x: torch.Tensor, weights: list[torch.Tensor]) -> float:
    """A forward and a backward pass a sample, the Jacobian, J J^T, eigh."""
    leaves = [w.clone().requires_grad_() for w in weights]
    jacobian = torch.empty(len(x), sum(w.numel() for w in weights), dtype=x.dtype)
    for i in range(len(x)):
        value = forward(Network.of(leaves, SIGMOID), leaves, x[i : i + 1])[1][-1].squeeze()
        grads = torch.autograd.grad(value, leaves)
        jacobian[i] = torch.cat([g.flatten() for g in grads])
    return float(torch.linalg.eigh(jacobian @ jacobian.T)[0][0])


def by_func(x: torch.Tensor, weights: list[torch.Tensor]) -> float:
    """torch.func's recipe for empirical NTKs: vmap of the gradient, contracted layer by layer."""

    def one(row: torch.Tensor, *w: torch.Tensor) -> torch.Tensor:
        return forward(Network.of(w, SIGMOID), w, row.unsqueeze(0))[1][-1][0, 0]

    def grads(row: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.func.grad(one, argnums=tuple(range(1, DEPTH + 1)))(row, *weights)

    jacobians = [j.flatten(1) for j in torch.func.vmap(grads)(x)]
    return float(torch.linalg.eigh(sum(j @ j.T for j in jacobians))[0][0])


def whole_run(n: int = 1000, d: int = 324) -> dict[str, Any]:
    x, weights = problem(n, d)
    fields = {"n_samples": n, "input_dim": d, "width": d, "depth": DEPTH, "activation": "sigmoid"}
    params = ntk_min_eig.params_type(**fields)
    values: dict[str, float] = {}

    def ours() -> None:
        values["ours"] = ntk_min_eig(params, 0).lambda_min

    def backward() -> None:
        values["backward"] = by_backward(x, weights)

    def func() -> None:
        values["func"] = by_func(x, weights)

    ours()
    s = compare({"ours": ours, "backward": backward, "func": func}, 3)
    return {
        "N": n,
        "d": d,
        "ours_s": s["ours"],
        "backward_s": s["backward"],
        "func_s": s["func"],
        "backward_over_ours": s["backward"] / s["ours"],
        "func_over_ours": s["func"] / s["ours"],
        "jacobian_gb": 8e-9 * n * sum(w.numel() for w in weights),
        "off_backward": float(np.abs(values["backward"] / values["ours"] - 1)),
        "off_func": float(np.abs(values["func"] / values["ours"] - 1)),
    }


def walls(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Least wall seconds of each: of several threads the least is what no neighbour disturbed."""
    least = dict.fromkeys(contestants, float("inf"))
    for _ in range(repeats):
        for name, function in contestants.items():
            start = time.perf_counter()
            function()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def large(n: int, d: int, threads: int, repeats: int) -> dict[str, Any]:
    """One large kernel with all cores: Gram and lambda_min against floors and eigvalsh."""
    torch.set_num_threads(threads)
    x, weights = problem(n, d)
    lin = linearise(Network.of(weights, SIGMOID), weights, x)
    product, product_flops = matmul(3000)
    ntk.gram(lin)
    s = walls({"matmul": product, "gram": lambda: ntk.gram(lin)}, 2 * repeats)
    k = ntk.gram(lin)
    found: dict[str, Any] = {}
    work = torch.empty_like(k)

    def ours() -> None:
        found["ours"] = smallest_eigenvalue(k, start=stream(0, "lanczos"))

    def eigvalsh() -> None:
        found["eigvalsh"] = float(torch.linalg.eigvalsh(k)[0])

    def cholesky() -> None:
        load(k, work)
        factorise(work)

    def lapack() -> None:
        torch.linalg.cholesky_ex(k)

    s |= walls({"ours": ours, "cholesky": cholesky, "lapack": lapack, "matmul": product}, repeats)
    s |= walls({"eigvalsh": eigvalsh}, 1 if n > 6000 else repeats)
    rate = product_flops / s["matmul"]
    widths = Network.equal(d, d, DEPTH, "linear").widths
    gram_floor = n * n * sum(a + b for a, b in itertools.pairwise(widths)) / rate
    best = found["ours"]
    torch.set_num_threads(1)
    return {
        "N": n,
        "d": d,
        "threads": threads,
        "matmul_gflops": rate / 1e9,
        "gram_s": s["gram"],
        "gram_over_floor": s["gram"] / gram_floor,
        "ours_s": s["ours"],
        "cholesky_s": s["cholesky"],
        "cholesky_floor_s": n**3 / 3 / rate,
        "lapack_cholesky_s": s["lapack"],
        "eigvalsh_s": s["eigvalsh"],
        "eigvalsh_over_ours": s["eigvalsh"] / s["ours"],
        "solver": best.solver,
        "n_iterations": best.n_iterations,
        "certified": best.certified,
        "bracket": (best.upper - best.lower) / best.value,
        "off_eigvalsh": abs(found["eigvalsh"] / best.value - 1),
    }


def many(n: int, d: int, b: int) -> dict[str, Any]:
    """``b`` seeds of one shape, draws, bounds, rows and all: fused against one at a time."""
    fields = {"n_samples": n, "input_dim": d, "width": d, "depth": DEPTH, "activation": "sigmoid"}
    params = ntk_min_eig.params_type(**fields)
    values: dict[str, list[float]] = {}

    def stacked() -> None:
        rows = ntk_min_eig.fused([params] * b, range(b), "cpu")
        values["stacked"] = [row.lambda_min for row in rows]

    def alone() -> None:
        values["alone"] = [ntk_min_eig(params, s).lambda_min for s in range(b)]

    stacked(), alone()
    s = compare({"stacked": stacked, "alone": alone}, 5)
    off = np.abs(np.divide(values["stacked"], values["alone"]) - 1).max()
    return {
        "N": n,
        "d": d,
        "stack": b,
        "stacked_ms_a_run": 1e3 * s["stacked"] / b,
        "alone_ms_a_run": 1e3 * s["alone"] / b,
        "alone_over_stacked": s["alone"] / s["stacked"],
        "off": float(off),
    }


def main() -> None:
    one_thread()
    where = environment()
    grams = gram_times()
    show("Gram matrix of the full NTK, L = 3, widths d, float64", grams)
    eigenvalues = eigenvalue_times()
    show("lambda_min with certificate against dense eigensolvers", eigenvalues)
    whole = whole_run()
    show("A whole run against ways over the Jacobian", [whole])
    stacks = [many(64, 32, 64), many(250, 60, 8), many(500, 150, 2)]
    show("Many small runs: stacked against one at a time", stacks)
    threads = len(os.sched_getaffinity(0))
    sizes = [(6000, 300, 3)] + ([(12000, 300, 1)] if "--large" in sys.argv[1:] else [])
    big = [large(n, d, threads, repeats) for n, d, repeats in sizes]
    show("Large kernels with all cores, wall seconds", big)
    figures = {"gram": grams, "lambda_min": eigenvalues, "whole_run": whole}
    save("ntk", where, figures | {"stacked": stacks, "large": big})


if __name__ == "__main__":
    main()
