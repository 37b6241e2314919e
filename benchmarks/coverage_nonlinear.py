"""How often the intervals of the nonlinear laws cover, under six kinds of noise.

    python benchmarks/coverage_nonlinear.py [--replicates 2000] [--law power_offset] [--write]

Data are those of S = 5 seeds at every point, z = log y = log f(x) + noise, with independent noise
of sd 0.01 beside what the kind adds (t = log x from -1 to 1 over the range; joint: log N):

- independent: sd 0.02 a row                - offsets: u_s, sd 0.1, one a seed
- heteroscedastic: sd 0.005 to 0.04 a row   - slopes: v_s (log x - mean), sd 0.02 and 0.2 of v_s
- smooth: sum over k = 1..4 of c_sk cos(k pi (t + 1) / 2) / k, sd 0.03 of c_sk
- nested: a seed's rows share draws, W_s(x) / sqrt(x) with W_s a Brownian motion, sd 0.03 a row

All are of mean 0 in log y, so that f is the law of the geometric mean.  Coverage is that of each
parameter's quoted interval (the wider of the two), with its binomial error; the width is the
median over replicates beside the interval of an oracle that knows the covariance of the noise
(generalised least squares at the true law).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
from environment import RESULTS, environment

from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.law import Points
from lawsweep.analysis.laws.laws import find_law
from lawsweep.analysis.laws.nonlinear.sums import Sum

N_SEEDS = 5
X = np.geomspace(10, 10_000, 10)
GRID_N, GRID_D = (g.ravel() for g in np.meshgrid(np.geomspace(1e7, 1e10, 6),
                                                 np.geomspace(1e8, 1e11, 5)))  # fmt: skip
# law -> own keys, inputs, parameters (natural: E, log A, a …), names
LAWS: dict[str, tuple[dict[str, Any], dict[str, Any], list[float], tuple[str, ...]]] = {
    "power": ({}, {"x": X}, [math.log(3), -0.5], ("C", "exponent")),
    "power_offset": ({}, {"x": X}, [0.5, math.log(6), -0.6], ("E", "A", "exponent")),
    "power_offset, E small": ({}, {"x": X}, [0.02, math.log(6), -0.6], ("E", "A", "exponent")),
    "two_powers, given": (
        {"exponents": [-1.0, -0.5]}, {"x": X}, [math.log(20), -1.0, math.log(2), -0.5],
        ("A", "B"),
    ),
    "two_powers": ({}, {"x": X}, [math.log(200), -1.4, math.log(2), -0.2], ("A", "a", "B", "b")),
    "joint": (
        {}, {"N": GRID_N, "D": GRID_D},
        [1.8172, math.log(482.01), -0.3478, math.log(2085.43), -0.3658],
        ("E", "A", "a", "B", "b"),
    ),
}  # fmt: skip
KINDS = ("independent", "heteroscedastic", "offsets", "slopes .02", "slopes .2", "smooth", "nested")


def row_noise(kind: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A root of the covariance of one seed's noise over the points, (n, q)."""
    n, u = len(x), np.log(x)
    t = 2 * (u - u.min()) / np.ptp(u) - 1
    own = np.diag(np.full(n, 0.01))
    if kind == "independent":
        return np.diag(np.full(n, math.hypot(0.01, 0.02))), t
    if kind == "heteroscedastic":
        return np.diag(0.005 * 8 ** ((t + 1) / 2)), t
    if kind == "offsets":
        return np.column_stack([own, np.full(n, 0.1)]), t
    if kind.startswith("slopes"):
        return np.column_stack([own, float(kind.split()[1]) * (u - u.mean())]), t
    if kind == "smooth":
        waves = [0.03 * np.cos(k * np.pi * (t + 1) / 2) / k for k in range(1, 5)]
        return np.column_stack([own, *waves]), t
    covariance = 0.03**2 * np.minimum(x[:, None], x) / np.sqrt(np.outer(x, x))
    values, vectors = np.linalg.eigh(covariance)  # equal x (of several D) share their draws
    return np.column_stack([own, vectors * np.sqrt(np.maximum(values, 0))]), t


def measure(name: str, kind: str, replicates: int) -> dict[str, Any]:
    """Coverage and widths of one law under one kind of noise."""
    own, inputs, theta, names = LAWS[name]
    law = find_law(name.split(",")[0])
    texts = list(inputs)
    joint = "N" in inputs
    spec = FitSpec(
        name=name, law=name.split(",")[0], y="y", x=None if joint else "x",
        terms=tuple(texts) if joint else (), own=own,
    )  # fmt: skip
    first = inputs[texts[0]]
    n = len(first)
    n_terms = len(theta) // 2
    over = [np.log(inputs[t]) for t in (texts if joint else texts * n_terms)]
    model = Sum(np.stack(over), (1.0,) * n_terms, offset=len(theta) % 2 == 1)
    value, slope = (part[0] for part in model.at(np.array([theta])))
    root, _ = row_noise(kind, first)
    free = np.ones(len(theta), bool)
    if own:
        free[[1, 3]] = False
    jac = (slope / value[:, None])[:, free]
    precision = np.linalg.inv(root @ root.T / N_SEEDS)
    oracle = 2 * 1.96 * np.sqrt(np.diag(np.linalg.inv(jac.T @ precision @ jac)))
    point_of, seeds = np.repeat(np.arange(n), N_SEEDS), np.tile(np.arange(N_SEEDS), n)
    order = [k for k, f in enumerate(free) if f]
    logs = [len(theta) % 2 == 0 if k == 0 else (k % 2 == 1) == (len(theta) % 2 == 1) for k in order]
    truth = [math.exp(theta[k]) if log else theta[k] for k, log in zip(order, logs, strict=True)]
    inside = np.zeros((replicates, len(order)), bool)
    scatter = np.zeros_like(inside)
    width = np.full(inside.shape, np.inf)
    lost: dict[str, int] = {}
    rng = np.random.default_rng([len(name), KINDS.index(kind)])
    start = time.process_time()
    for i in range(replicates):
        noise = root @ rng.standard_normal((root.shape[1], N_SEEDS))
        rows = (np.log(value)[:, None] + noise).ravel()
        points = Points(inputs, rows.reshape(n, N_SEEDS).mean(1), rows, point_of, seeds)
        found = law.solve(spec, points)
        if not found.parameters:
            lost[str(found.reason)] = lost.get(str(found.reason), 0) + 1
            continue
        by_name = {q.name: q for q in found.parameters}
        for j, (parameter, log) in enumerate(zip(names, logs, strict=True)):
            q = by_name[parameter]
            inside[i, j] = q.low <= truth[j] <= q.high
            scatter[i, j] = q.scatter[0] <= truth[j] <= q.scatter[1]
            ends = [q.low, q.high]
            if log:
                ends = [math.log(e) if e > 0 else -math.inf for e in ends]
            width[i, j] = ends[1] - ends[0]
    kept = replicates - sum(lost.values())
    seconds = time.process_time() - start
    return {
        "law": name, "noise": kind, "replicates": replicates, "no_fit": lost,
        "coverage": {p: round(float(inside[:, j].sum() / kept), 4) for j, p in enumerate(names)},
        "of_scatter": {p: round(float(scatter[:, j].sum() / kept), 4) for j, p in enumerate(names)},
        "width_over_oracle": {
            p: round(float(np.median(width[:, j]) / oracle[j]), 2) for j, p in enumerate(names)
        },
        "unbounded": {p: round(float(np.isinf(width[:, j]).mean()), 3)
                      for j, p in enumerate(names)},
        "ms_per_fit": round(1e3 * seconds / replicates, 1),
    }  # fmt: skip


def main() -> None:
    """Print a line a law and noise; keep them with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--law", action="append", choices=LAWS)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    rows = []
    for name in asked.law or LAWS:
        for kind in KINDS:
            rows.append(measure(name, kind, asked.replicates))
            print(json.dumps(rows[-1]), flush=True)
    if asked.write:
        told = {"environment": environment(), "rows": rows}
        path = RESULTS / "coverage_nonlinear.json"
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
