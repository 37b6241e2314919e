"""lambda_min of the NTK where K does not fit: products, preconditioner, whole solves.

``python benchmarks/ntk_matrix_free.py`` measures small sizes against the dense truth;
``python benchmarks/ntk_matrix_free.py large`` solves N = 50,000, d = 300, and writes its own file.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import torch
from environment import compare, environment, matmul, one_thread, save, show

from lawsweep import stream
from lawsweep.kernels.activations import activation
from lawsweep.kernels.data import sampling
from lawsweep.kernels.eigmin.block import BlockEigenvalue, smallest_eigenvalue_block
from lawsweep.kernels.eigmin.smallest import smallest_eigenvalue
from lawsweep.kernels.network.init import init_weights
from lawsweep.kernels.network.network import Network
from lawsweep.kernels.ntk import gram as ntk
from lawsweep.kernels.ntk.jacobian import Jacobian
from lawsweep.kernels.ntk.linearisation import linearise
from lawsweep.kernels.ntk.row_shard import DrawnRows, NtkShards

DEPTH = 3
LAYERS = (1, 2, 3)


def shards(n: int, d: int, name: str = "sigmoid", **options: Any) -> NtkShards:
    """The rows of a network of width d at seed 0, as the experiment draws them."""
    weights = init_weights(Network.equal(d, d, DEPTH, "linear"), stream(0, "weights"))
    rows = DrawnRows("gaussian", stream(0, "data"), d)
    return NtkShards(n, rows, Network.of(weights, name), [w.numpy() for w in weights], **options)


def dense_matrix(n: int, d: int, name: str) -> torch.Tensor:
    x = sampling.rows("gaussian", stream(0, "data"), n, d)
    weights = init_weights(Network.equal(d, d, DEPTH, "linear"), stream(0, "weights"))
    return ntk.gram(linearise(Network.of(weights, activation(name)), weights, x))


def product_times(n: int = 10_000, d: int = 300) -> list[dict[str, Any]]:
    """J^T v and J u against their operations at the rate of a matrix product."""
    x = sampling.rows("gaussian", stream(0, "data"), n, d)
    weights = init_weights(Network.equal(d, d, DEPTH, "linear"), stream(0, "weights"))
    rows = []
    for store in (True, False):
        op = Jacobian.on(Network.of(weights, activation("sigmoid")), weights, x, store=store)
        v = torch.ones(1, n, dtype=x.dtype)
        u = op.rmv(v)
        product, product_flops = matmul()
        s = compare(
            {
                "matmul": product,
                "transposed": lambda op=op, v=v: op.rmv(v),
                "forward": lambda op=op, u=u: op.mv(u),
            },
            5,
        )
        floor = 2.0 * n * op.n_params / (product_flops / s["matmul"])
        rows.append(
            {
                "N": n,
                "d": d,
                "store": store,
                "floor_s": 2.0 * floor,
                "product_s": s["transposed"] + s["forward"],
                "product_over_floor": (s["transposed"] + s["forward"]) / (2.0 * floor),
            }
        )
    return rows


def solve_row(found: BlockEigenvalue, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        **more,
        "lambda_min": found.value,
        "residual": found.residual / found.value,
        "products": found.n_matvecs,
        "rank": found.preconditioner_rank,
        "restarts": found.n_restarts,
        "reason": found.reason.name,
        "cpu_s": seconds,
    }


def against_dense() -> list[dict[str, Any]]:
    """Products to a residual of 1 %, and the error that leaves, by preconditioner and basis."""
    table = []
    for n, d, name in ((3000, 75, "sigmoid"), (3000, 75, "relu"), (6000, 106, "sigmoid")):
        k = dense_matrix(n, d, name)
        begin = time.process_time()
        truth = smallest_eigenvalue(k, start=stream(0, "lanczos"))
        dense_s = time.process_time() - begin
        del k
        for label, options in {
            "default": {},
            "tol 1e-6": {"tol": 1e-6},
            "float32": {},
            "rank 1": {"rank": 1},
            "rank 4 d": {"rank": 4 * d},
            "basis 6": {"max_basis": 6},
            "basis 600": {"max_basis": 600},
            "block 2": {"block": 2},
        }.items():
            if (n > 3000 or name == "relu") and label not in ("default", "tol 1e-6"):
                continue
            dtype = "float32" if label == "float32" else "float64"
            made = shards(n, d, name, dtype=dtype).in_process()
            begin = time.process_time()
            found = smallest_eigenvalue_block(made, key=1, layers=LAYERS, **options)
            seconds = time.process_time() - begin
            row = solve_row(found, seconds, N=n, d=d, activation=name, what=label)
            row |= {"error": found.value / truth.value - 1.0, "dense_s": dense_s}
            table.append(row)
    return table


class Loud:
    """Shards that say, now and then, how far a solve is."""

    def __init__(self, shards: Any):
        self.shards, self.n_products, self.begin = shards, 0, time.perf_counter()

    def each(self, method: str, *args: Any) -> list[Any]:
        answers: list[Any] = self.shards.each(method, *args)
        self.n_products += method == "append"
        if method == "residuals" and self.n_products % 20 == 0:
            value, unit = float(args[1][0]), float(args[2])
            residual = float(answers[0][0, 0]) ** 0.5 / unit
            seconds = time.perf_counter() - self.begin
            print(
                f"{seconds:8.1f} s {self.n_products:5d} {value:.8g} {residual / value:.2e}",
                flush=True,
            )
        return answers


def large(n: int = 50_000, d: int = 300) -> dict[str, Any]:
    """A solve past memory (K would take 20 GB); processor seconds beside the wall."""
    product, product_flops = matmul(3000)
    rate = product_flops / compare({"matmul": product}, 3)["matmul"]
    wall, cpu = time.perf_counter(), time.process_time()
    made = Loud(shards(n, d).in_process())
    built = time.process_time() - cpu
    found = smallest_eigenvalue_block(made, key=1, layers=LAYERS)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    n_params = Network.equal(d, d, DEPTH, "linear").n_params
    floor = 4.0 * n * n_params * found.n_matvecs / rate
    return solve_row(found, cpu, N=n, d=d, p=n_params) | {
        "upper": found.upper,
        "lambda_max": found.lambda_max,
        "iterations": found.n_iterations,
        "matmul_gflops": rate / 1e9,
        "built_s": built,
        "wall_s": wall,
        "floor_s": floor,
        "cpu_over_floor": cpu / floor,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    one_thread()
    if "large" in sys.argv[1:]:
        where = environment()
        row = large()
        show("N = 50,000: past memory", [row])
        save("ntk_matrix_free_large", where, {"large": row})
        return
    where = environment()
    products = product_times()
    show("K v = J (J^T v), float64, one vector", products)
    solves = against_dense()
    show("lambda_min to a residual of 1 %, against Cholesky and Lanczos on K", solves)
    save("ntk_matrix_free", where, {"products": products, "solves": solves})


if __name__ == "__main__":
    main()
