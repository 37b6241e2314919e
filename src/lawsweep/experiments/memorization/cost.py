"""What a run of memorization costs, over arrays of points."""

from __future__ import annotations

from typing import Any

import numpy as np

from lawsweep import Cost
from lawsweep.experiments.columns import BETWEEN, by_dtype, over_structures
from lawsweep.experiments.memorization.held import run_bytes
from lawsweep.experiments.memorization.params import LM

FLOAT32 = 0.65  # of float64's seconds, over the paper's grid; of large products alone a half
CALLS = 4e6  # flops done while the calls of a first-order step are made, some 60 us
SYSTEM_CALLS = 4e7  # the same for a step of Levenberg-Marquardt
PREPARATION = 2e8  # and where it is solved by iteration
SOLVE_FACTOR = 10.0  # a flop of a triangular solve over one of a matrix product
LANCZOS_STEPS = 70.0


def cost(p: Any) -> Cost:
    """Matrix products and what is beside them; what is held at once."""
    n, hidden, _, weights = _sizes(p)
    columns = 2.0 * hidden + p.input_dim + (np.asarray(p.depth) > 1)  # of the Gram's factors
    second_order = np.asarray(p.optimizer) == LM
    flops = np.where(second_order, _least_squares(p), _first_order(p))
    smaller = np.minimum(n, weights)
    rows = np.minimum(8.0 * n * weights, 2.0**27) / 8.0 * (weights < n)  # of the Jacobian, twice
    held = n * (p.input_dim + 4.0 * hidden) + 6.0 * weights + 2.2 * smaller**2 + rows
    item = np.where(np.asarray(p.dtype) == "float32", 4.0, 8.0)
    held = np.where(second_order, item * held, run_bytes(p))
    # Two kernels, each: the Gram, two factorisations, Lanczos; three matrices at once.
    once = n**2 * columns + 2.0 * n**3 / 3.0 + LANCZOS_STEPS * 2.0 * SOLVE_FACTOR * n**2
    measured = np.asarray(p.measure_kernel)
    return Cost(
        flops=flops + measured * 2.0 * once,
        memory_bytes=np.maximum(held, measured * 8.0 * (3.2 * n**2 + n * columns)),
        fused_bytes=held,  # kernels are measured one by one
        work=_work(p, second_order, measured, columns, item),
    )


def _work(p: Any, second_order: Any, measured: Any, columns: Any, item: Any) -> dict[str, Any]:
    """By kind.  Counted: a first-order step sends 4 operations and 6 a layer, one of
    Levenberg-Marquardt 250, and passes over its system some forty times; two kernels are measured.
    """
    n, hidden, first, weights = _sizes(p)
    depth = np.asarray(p.depth, dtype=np.float64)
    steps = p.max_steps * _steps_share(p, n / weights)
    newton = np.minimum(_lm_steps(n / weights), p.max_steps)
    order = np.minimum(n, weights)
    gram = np.where(weights >= n, n**2 * columns + 4.0 * n * weights, n * weights**2)
    kernels = measured * 2.0
    matmul = np.where(second_order, newton * gram, steps * n * (6.0 * weights - 2.0 * first))
    passed = np.where(second_order, newton * 40.0 * order**2 + newton * 20.0 * n * hidden,
                      steps * (10.0 * n * hidden + 10.0 * weights))  # fmt: skip
    sent = np.where(second_order, 300.0 + 250.0 * newton, steps * (4.0 + 6.0 * depth))
    kinds = by_dtype(p.dtype, matmul=matmul)
    kinds["matmul_float64"] = kinds["matmul_float64"] + kernels * n**2 * columns
    return {
        **kinds,
        "cholesky_float64": second_order * newton * order**3 / 3.0 + kernels * 2.0 * n**3 / 3.0,
        "solve_float64": second_order * newton * 2.0 * order**2
        + kernels * LANCZOS_STEPS * 2.0 * n**2,
        "bandwidth": item * passed + kernels * 8.0 * 10.0 * n**2,
        "launch": BETWEEN * (sent + kernels * (45.0 * LANCZOS_STEPS + 600.0)),
        "draws": n * p.input_dim + n + weights,
    }


def _sizes(p: Any) -> tuple[Any, Any, Any, Any]:
    """(N, hidden units, weights of the first layer, weights)."""
    outputs = np.where(np.asarray(p.targets) == "classes", p.n_classes, 1)
    sizes = (p.input_dim, p.width, outputs)
    hidden, first, weights = over_structures(_network_sizes, (p.depth,), sizes)
    return np.asarray(p.n_samples, dtype=np.float64), hidden, first, weights


def _network_sizes(depth: int, input_dim: Any, width: Any, outputs: Any) -> tuple[Any, ...]:
    from lawsweep.kernels.network.network import Network

    network = Network((input_dim, *[width] * (depth - 1), outputs), "linear")
    first, units = network.shapes[0]
    return sum(network.widths[1:-1]), first * units, network.n_weights


def _first_order(p: Any) -> Any:
    """Adam or gradient descent: 2N(3p - n_0 n_1) flops of products a step.

    And about 20 a weight and 20 a feature elsewhere, all of it for less in float32, and a fixed
    price for its calls.  The stop rule ends most runs early, after steps that scatter by a third:
    on a tenth of the cells of the paper's grid 1,500 to 2,000 where N < 0.4 p, 5,000 at 0.7 p,
    8,000 at 0.9 p, and from 1.2 p on hardly ever.  (These seconds are 0.8 of what that tenth took,
    and 1.2 to 1.3 times what the coarse grid did.)
    """
    n, hidden, first, weights = _sizes(p)
    price = np.where(np.asarray(p.dtype) == "float32", FLOAT32, 1.0)
    step = price * (n * (6 * weights - 2 * first + 20 * hidden) + 20 * weights) + CALLS
    return step * p.max_steps * _steps_share(p, n / weights)


def _steps_share(p: Any, load: Any) -> Any:
    """Of ``max_steps``, before the stop rule ends a run; ``load``: N / p."""
    rules = np.asarray(p.stop_rule) != "none"
    return 1 - rules * (1 - (0.1 + 0.9 * load**3 / (0.5 + load**3)))


def _lm_steps(load: Any) -> Any:
    """Steps of Levenberg-Marquardt at N = ``load`` p."""
    return 12.0 + 130.0 * load**3 / (0.6 + load**3)


def _least_squares(p: Any) -> Any:
    """Levenberg-Marquardt: N^2 sum_l (n_{l-1} + n_l) + N^3 / 3 flops a step by a factor if p >= N.

    N p^2 + p^3 / 3 else.  By iteration, where that is less: 6 + 40 N / p products of 4 N p flops,
    in float32, and what prepares them; from N = p / 2 on a factor in float32 with it more and more
    often.  Steps, measured at widths 22 to 54, depth 4, ReLU: 12 at N = 0.1 p, 15 at p / 4, 25 at
    p / 2, 60 at 0.8 p, and 90 to 150 near p and beyond, until it stalls.
    """
    n, hidden, _, weights = _sizes(p)
    columns = 2.0 * hidden + p.input_dim + 1.0
    load = n / weights
    by_gram = n**2 * columns + n**3 / 3.0 + 4.0 * n * weights
    factored = np.clip((load - 0.5) / 0.3, 0.0, 1.0)
    by_products = n * weights * (2.0 * (6.0 + 40.0 * load) + 12.0) + PREPARATION
    by_products = by_products + factored * by_gram / 2.0
    by_normal = n * weights**2 + weights**3 / 3.0
    steps = np.minimum(_lm_steps(load), p.max_steps)
    over = np.minimum(by_gram, by_products)
    return steps * (np.where(weights >= n, over, by_normal) + SYSTEM_CALLS)
