"""How well do M nodes stand in for N?  Compression of two-layer networks, [C] arXiv 2205.08199."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lawsweep import Carry, Cost, experiment
from lawsweep.experiments.batches import in_batches, most_at_once
from lawsweep.experiments.columns import BETWEEN, by_dtype
from lawsweep.experiments.compression.metrics import Metrics
from lawsweep.experiments.compression.params import AVERAGED, CLOSED_FORM, C, Params
from lawsweep.kernels.optimise import methods

ALONE = 4e6  # numbers that a process needs for its first run, whatever the run's size
# Of a Hermite series: numbers a row of the target, of so many rows at a time, a run at a time.
SERIES, SERIES_ROWS = 3500.0, 4096


def _cost(p: Any) -> Cost:
    """Some 20 Newton steps over the restarts, then T_N.

    A step is one weighted Gram of the target rows a node (2 N d^2) and one eigendecomposition of
    (M d)^2 unknowns, about 5 (M d)^3; past 800 unknowns, unless the Gram pays (``dense_pays``),
    some 60 products with the Hessian (8 N M d) instead.  Each entry of T_N costs its product, 2d,
    and about 30 for the arcsine.  A sign search multiplies the restarts by M + 1; chosen
    by risk they are those of ``likely_restarts``, a batch at a time.  A Hermite
    series has some 80 terms, five times for a Hessian.
    """
    import numpy as np

    from lawsweep.kernels.compression.choice import (
        DENSE_UNKNOWNS,
        LADDER,
        dense_pays,
        likely_restarts,
        prior_stake,
    )

    def column(name: str, default: Any) -> Any:
        return np.asarray(getattr(p, name, default))

    n = np.nan_to_num(np.asarray(p.n_target, dtype=np.float64))
    outputs, m = np.asarray(p.target_outputs), np.asarray(p.n_compressed)
    both = (outputs == "gaussian") | (outputs == "signs") | (outputs == "biased_signs")
    absorbed = column("student_outputs", "absorbed") == "absorbed"
    search = (np.asarray(p.signs) == "search") | ((np.asarray(p.signs) == "auto") & both)
    asked = np.asarray(p.n_restarts, dtype=np.float64)
    averaged = (n == 0) | np.isin(column("objective", "population"), AVERAGED)
    nodes = np.where(averaged, np.inf, np.fmax(n, 1.0))
    likely = likely_restarts(prior_stake(m, np.asarray(p.input_dim), nodes, both))
    patterns = np.where(search & absorbed, m + 1.0, 1.0)
    restarts = np.where(np.isnan(asked), likely, asked) * patterns
    together = (
        np.where(np.isnan(asked), np.minimum(likely, LADDER[-1] - LADDER[-2]), asked) * patterns
    )
    unknowns = m * (p.input_dim + np.where(absorbed, 0.0, column("n_outputs", 1)))
    choice = np.asarray(p.solver)
    known = (n == 0) & (m <= np.asarray(p.input_dim) + 1)
    small = np.where(absorbed, dense_pays(n, m, p.input_dim), unknowns <= DENSE_UNKNOWNS)
    dense = (choice == "newton") | ((choice == "auto") & small & ~known)
    closed = np.isin(column("activation", "relu"), CLOSED_FORM)
    series = np.where(closed, 0.0, 400.0 * n * m)
    gram = 2.0 * n * p.input_dim * unknowns
    step = np.where(dense, gram + 5.0 * unknowns**3, 60 * 8.0 * (n + m) * unknowns) + series
    method = np.asarray(p.target_norm_method)
    pair = 2.0 * p.input_dim + np.where(closed, 30.0, 160.0)
    norm = np.where(method == "exact", 0.5 * n * n * pair, 0.0)
    norm = norm + np.where(method == "sample", 2.0 * n * p.input_dim**2, 0.0)
    itemsize = np.where(np.asarray(p.dtype) == "float64", 8.0, 4.0)
    # Both stream the target's pairs with the restarts' rows; products keep two matrices of them, of
    # at most 2^26 numbers.  Held to what is measured by tests.
    kept = np.minimum(2 * n * together * m, 2.0**27)
    pairs = np.minimum(n * (6 * p.input_dim + 8 * together * m), 2.0**23)
    held = 3 * n * p.input_dim + pairs
    held = held + np.where(dense, together * 8 * unknowns**2, 2 * kept + together * 40 * unknowns)
    held = held + np.where(closed, 0.0, 80.0 * n)
    once = np.where(closed, 0.0, SERIES * np.minimum(n, SERIES_ROWS))
    # By kind: a step's products, the eigendecomposition of its Hessian, passes over what it holds.
    # All restarts go together: a dense step sends 520 operations (counted), one by products
    # 2,200.
    products = np.where(dense, gram, 60 * 8.0 * (n + m) * unknowns) + series
    passes = 60.0 * n * m * np.where(dense, 1.0, 20.0) + dense * 20.0 * unknowns**2
    kinds = by_dtype(
        p.dtype,
        matmul=20 * restarts * products + norm,
        cholesky=dense * 20 * restarts * 5.0 * unknowns**3,
    )
    passed = itemsize * 20 * restarts * passes
    sent = 20.0 * BETWEEN * np.where(dense, 520.0, 2200.0)
    work = {**kinds, "bandwidth": passed, "launch": sent,
            "draws": n * p.input_dim + restarts * unknowns}  # fmt: skip
    return Cost(
        flops=20 * restarts * step + norm,
        memory_bytes=itemsize * (held + ALONE + once),
        work=work,
        fused_bytes=itemsize * held + 2e4,
    )


def run_bytes(p: Any) -> Any:
    """What each run of a batch holds on a device."""
    return _cost(p).fused_bytes


# The laws of a target, and what is made of a row once the rows are found: no shape hangs on them.
_FUSE_OVER = (
    *("target_rows", "row_density", "row_mean", "centre_rows", "normalise_rows"),
    *("target_outputs", "output_bias", "quadrature_tol", "keep_arrays"),
)


def fused(
    params: Sequence[Params], seeds: Sequence[int], device: str
) -> Sequence[Metrics | Exception]:
    """Runs of many seeds and targets: all their restarts are one tensor (absorbed outputs).

    But one by one in float32, whose sums over one run and over many agree to 1e-7 only.  On a
    device a batch has as many as fit.
    """
    from functools import partial

    from lawsweep.experiments.compression import runs

    one, given = params[0], list(zip(params, seeds, strict=True))
    most = 1 if one.dtype == "float32" else most_at_once(float(run_bytes(one)), device)
    return in_batches(given, partial(runs.answers, device=device), most)


# Version 2: as many restarts as the risk asks for, none in the zero network's basin, and distances
# from the frame of the activation at hand.  Rows that did not change: three agreeing restarts where
# three are what is made, of a kind whose starts and frame are as they were.
_SAME_SINCE_1 = Carry(
    "student_outputs == 'absorbed' and activation == 'relu' and target_outputs in "
    "('ones', 'uniform') and row_mean == 0 and input_dim > 1 and n_compressed > 1 "
    "and n_compressed <= input_dim + 1 and (n_restarts != 3 or n_restarts_converged == 3 and "
    "n_restarts_agreeing == 3 and "
    "0.3*((n_compressed - 1)/input_dim)**2*input_dim/n_target <= 0.006)",
    defaults={"n_restarts": 3},
)


@experiment(
    version=2,
    carries={1: _SAME_SINCE_1},
    cost=_cost,
    reference=C,
    fused=fused,
    fuse_over=_FUSE_OVER,
    imports=[
        "lawsweep.experiments.compression.runs",
        *(f"{methods.__name__}.{name}" for name in methods.names()),
    ],
)
def compression(params: Params, seed: int, device: str) -> Metrics:
    """Fit M nodes to a target of N by the population loss, from several starts.

    Streams: ``target_rows``, ``target_outputs``, ``restarts``, and ``norm_pairs``, ``frames`` and
    ``sphere`` where those are asked for.  The rows of a larger target extend those of a smaller
    one.  At M > d + 1 the frame formula is a lower bound only (``limit_is_exact`` false).  Raises
    Infeasible for a target that is zero.
    """
    answer = fused([params], [seed], device)[0]
    if isinstance(answer, Exception):
        raise answer
    return answer
