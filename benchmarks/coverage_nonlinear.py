"""How often the intervals of the nonlinear laws cover, under models of what a seed adds.

    python benchmarks/coverage_nonlinear.py [--replicates 2000] [--law power_offset]
        [--noise nested] [--elsewhere] [--write]

With ``--write`` cells of which the results have as many replicates already are not measured again.

Data are those of S = 5 seeds at every point, log y = log f(x) + noise, with independent noise of sd
.01 beside what the kind adds (t = log x from -1 to 1 over the range; joint: log N):

- independent: sd .02 a row                - offsets: u_s, sd .1, one a seed
- heteroscedastic: sd .005 to .04 a row    - slopes: y times (x / mean x)^v_s, sd .02 to .2 of v_s
- smooth: sum over k = 1..4 of c_sk cos(k pi (t + 1) / 2) / k, sd .03 of c_sk
- nested: a seed's rows share draws, W_s(x) / sqrt(x) with W_s a Brownian motion, sd .03 a row
- own exponents: the law itself with a_s (and b_s) of each seed, of mean a and sd .02 to .2, at one
  value of the term at mean log x; independent noise of .022

But for the last, f is the law of the geometric mean; there, its parameters are the means of the
seeds' own.  Coverage is that of each parameter's quoted interval (the wider of the two); its
Monte-Carlo error is sqrt(.95 * .05 / replicates), .005 for 2000.  The width is the median over
replicates beside the interval of an oracle that knows the covariance of the noise (generalised
least squares at the true law, of first order).  ``--elsewhere`` asks for other numbers of seeds and
points, other exponents and ranges, a constant of 0 and one below it, and missing cells.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from environment import RESULTS, environment, one_thread

from lawsweep.analysis.laws.fit_specs import FitSpec
from lawsweep.analysis.laws.law import Points
from lawsweep.analysis.laws.laws import find_law
from lawsweep.analysis.laws.nonlinear.sums import Sum
from lawsweep.analysis.laws.points import within_seeds

X = np.geomspace(10, 10_000, 10)
GRID_N, GRID_D = (g.ravel() for g in np.meshgrid(np.geomspace(1e7, 1e10, 6),
                                                 np.geomspace(1e8, 1e11, 5)))  # fmt: skip
KINDS = (
    "independent", "heteroscedastic", "offsets", "slopes .02", "slopes .1", "slopes .2", "smooth",
    "nested", "own exponents .02", "own exponents .1", "own exponents .2",
)  # fmt: skip
SHOWN = {"power": ("C", "exponent"), "power_offset": ("E", "A", "exponent"),
         "two_powers": ("A", "a", "B", "b"), "joint": ("E", "A", "a", "B", "b")}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A law and where it is measured; ``theta`` are [E], log A, a, [log B, b], all terms > 0."""

    law: str
    theta: tuple[float, ...]
    x: tuple[np.ndarray, ...] = (X,)
    own: dict[str, Any] = field(default_factory=dict)
    n_seeds: int = 5
    missing: float = 0.0  # share of rows that are lost, at random

    @property
    def first(self) -> int:
        """1 where there is a constant."""
        return len(self.theta) % 2

    @property
    def model(self) -> Sum:
        """The law itself."""
        n_terms = len(self.theta) // 2
        over = self.x if len(self.x) == n_terms else self.x * n_terms
        return Sum(np.log(np.stack(over)), (1.0,) * n_terms, offset=bool(self.first))

    @property
    def free(self) -> np.ndarray:
        """Which parameters are fitted."""
        free = np.ones(len(self.theta), bool)
        free[[1, 3] if self.own else []] = False
        return free


def _runs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """N and D of one run each, of about the ranges in Hoffmann et al. 2022, figure 3."""
    rng = np.random.default_rng(1)
    n_params = np.exp(rng.uniform(np.log(5e7), np.log(1.6e10), n))
    n_tokens = np.exp(rng.uniform(np.log(1e18), np.log(1e22), n)) / 6 / n_params
    some = (n_tokens > 2e8) & (n_tokens < 1e12)
    return n_params[some], n_tokens[some]


# Besiroglu et al. 2024, arXiv 2404.10102
CHINCHILLA = (1.8172, math.log(482.01), -0.3478, math.log(2085.43), -0.3658)
CASES = {
    "power": Case("power", (math.log(3), -0.5)),
    "power_offset": Case("power_offset", (0.5, math.log(6), -0.6)),
    "power_offset, E small": Case("power_offset", (0.02, math.log(6), -0.6)),
    "two_powers, given": Case(
        "two_powers", (math.log(20), -1.0, math.log(2), -0.5), own={"exponents": [-1.0, -0.5]}
    ),
    "two_powers": Case("two_powers", (math.log(200), -1.4, math.log(2), -0.2)),
    "joint": Case("joint", CHINCHILLA, (GRID_N, GRID_D)),
}
ELSEWHERE = {
    "3 seeds": replace(CASES["power_offset"], n_seeds=3),
    "10 seeds": replace(CASES["power_offset"], n_seeds=10),
    "20 seeds": replace(CASES["power_offset"], n_seeds=20),
    "6 points": replace(CASES["power_offset"], x=(np.geomspace(10, 10_000, 6),)),
    "12 points": replace(CASES["power_offset"], x=(np.geomspace(10, 10_000, 12),)),
    "exponent -.2": Case("power_offset", (0.5, math.log(6), -0.2)),
    "exponent -1.5": Case("power_offset", (0.5, math.log(200), -1.5)),
    "range of 10": replace(CASES["power_offset"], x=(np.geomspace(10, 100, 10),)),
    "range of 1e6": replace(CASES["power_offset"], x=(np.geomspace(1, 1e6, 10),)),
    "15 % missing": replace(CASES["power_offset"], missing=0.15),
    "E 0": Case("power_offset", (0.0, math.log(6), -0.6)),
    "E -.01": Case("power_offset", (-0.01, math.log(6), -0.6)),
    "two_powers, 3 seeds": replace(CASES["two_powers"], n_seeds=3),
    "two_powers, 20 seeds": replace(CASES["two_powers"], n_seeds=20),
    "joint, 3 seeds": replace(CASES["joint"], n_seeds=3),
    "joint, 20 seeds": replace(CASES["joint"], n_seeds=20),
    "joint, 15 % missing": replace(CASES["joint"], missing=0.15),
    "joint, 195 runs": replace(CASES["joint"], x=_runs(240), n_seeds=1),
}
ELSEWHERE_KINDS = ("independent", "offsets", "slopes .1", "nested", "own exponents .1")


def row_noise(case: Case, kind: str) -> np.ndarray:
    """A root of the covariance of one seed's noise over the points, (n, q); of first order."""
    x = case.x[0]
    n, u = len(x), np.log(x)
    t = 2 * (u - u.min()) / np.ptp(u) - 1
    own = np.diag(np.full(n, 0.01))
    if kind == "independent":
        return np.diag(np.full(n, math.hypot(0.01, 0.02)))
    if kind == "heteroscedastic":
        return np.diag(0.005 * 8 ** ((t + 1) / 2))
    if kind == "offsets":
        return np.column_stack([own, np.full(n, 0.1)])
    if kind.startswith("slopes"):
        return np.column_stack([own, float(kind.split()[1]) * (u - u.mean())])
    if kind.startswith("own"):
        value, slope = (part[0] for part in case.model.at(np.array([case.theta])))
        along = [slope[:, k + 1] - slope[:, k] * case.model.u[j].mean()
                 for j, k in enumerate(range(case.first, len(case.theta), 2))]  # fmt: skip
        sd = float(kind.split()[2])
        return np.column_stack([row_noise(case, "independent"), *(sd * a / value for a in along)])
    if kind == "smooth":
        waves = [0.03 * np.cos(k * np.pi * (t + 1) / 2) / k for k in range(1, 5)]
        return np.column_stack([own, *waves])
    covariance = 0.03**2 * np.minimum(x[:, None], x) / np.sqrt(np.outer(x, x))
    values, vectors = np.linalg.eigh(covariance)  # equal x (of several D) share their draws
    return np.column_stack([own, vectors * np.sqrt(np.maximum(values, 0))])


def rows_of(case: Case, kind: str, rng: np.random.Generator) -> np.ndarray:
    """One table: log y of (n_seeds, n)."""
    n = len(case.x[0])
    if not kind.startswith("own"):
        root = row_noise(case, kind)
        centre = np.log(case.model.at(np.array([case.theta]))[0][0])
        return centre + rng.standard_normal((case.n_seeds, root.shape[1])) @ root.T
    theta = np.repeat([case.theta], case.n_seeds, axis=0)
    for j, k in enumerate(range(case.first, len(case.theta), 2)):
        change = float(kind.split()[2]) * rng.standard_normal(case.n_seeds)
        theta[:, k + 1] += change
        theta[:, k] -= change * case.model.u[j].mean()
    noise = math.hypot(0.01, 0.02) * rng.standard_normal((case.n_seeds, n))
    return np.log(case.model.at(theta)[0]) + noise


def points_of(case: Case, rows: np.ndarray, rng: np.random.Generator, texts: list[str]) -> Points:
    """The points of a table, some rows lost."""
    n = len(case.x[0])
    seed, point = (i.ravel() for i in np.indices(rows.shape))
    kept = rng.random(rows.size) >= case.missing
    kept[:n] |= np.bincount(point[kept], minlength=n) == 0  # a point keeps one row
    z, seed, point = rows.ravel()[kept], seed[kept], point[kept]
    y = np.bincount(point, weights=z, minlength=n) / np.bincount(point, minlength=n)
    return within_seeds(Points(dict(zip(texts, case.x, strict=True)), y, z, point, seed))[0]


def oracle(case: Case, kind: str) -> np.ndarray:
    """Widths of the 95 % intervals of who knows the noise, of the fitted parameters."""
    value, slope = (part[0] for part in case.model.at(np.array([case.theta])))
    jac = (slope / value[:, None])[:, case.free]
    root = row_noise(case, kind)
    precision = np.linalg.inv(root @ root.T / case.n_seeds)
    return np.asarray(2 * 1.96 * np.sqrt(np.diag(np.linalg.inv(jac.T @ precision @ jac))))


def measure(name: str, case: Case, kind: str, replicates: int) -> dict[str, Any]:
    """Coverage and widths of one law under one kind of noise."""
    law = find_law(case.law)
    texts = ["N", "D"] if len(case.x) == 2 else ["x"]
    spec = FitSpec(
        name=name, law=case.law, y="y", x=None if len(texts) == 2 else "x",
        terms=tuple(texts) if len(texts) == 2 else (), own=case.own,
    )  # fmt: skip
    order = [k for k, f in enumerate(case.free) if f]
    names = [SHOWN[case.law][k] for k in order]
    logs = [n in ("A", "B", "C") for n in names]
    truth = [math.exp(case.theta[k]) if log else case.theta[k]
             for k, log in zip(order, logs, strict=True)]  # fmt: skip
    inside = np.zeros((replicates, len(order)), bool)
    scatter, width = np.zeros_like(inside), np.full(inside.shape, np.inf)
    lost: dict[str, int] = {}
    own: dict[str, int] = {}
    rng = np.random.default_rng([ord(c) for c in f"{name}/{kind}"])
    start = time.process_time()
    for i in range(replicates):
        found = law.solve(spec, points_of(case, rows_of(case, kind, rng), rng, texts))
        if not found.parameters:
            lost[str(found.reason)] = lost.get(str(found.reason), 0) + 1
            continue
        said = str(found.evidence.get("own_laws_of_seeds"))
        own[said] = own.get(said, 0) + 1
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
    over = np.median(width, axis=0) / oracle(case, kind)

    def told(values: np.ndarray, digits: int) -> dict[str, float | None]:
        return {n: round(float(v), digits) if math.isfinite(v) else None
                for n, v in zip(names, values, strict=True)}  # fmt: skip

    return {
        "law": name, "noise": kind, "n_seeds": case.n_seeds, "replicates": replicates,
        "no_fit": lost, "coverage": told(inside.sum(axis=0) / kept, 4),
        "of_scatter": told(scatter.sum(axis=0) / kept, 4), "width_over_oracle": told(over, 2),
        "unbounded": told(np.isinf(width).mean(axis=0), 3), "own_laws": own,
        "ms_per_fit": round(1e3 * (time.process_time() - start) / replicates, 1),
    }  # fmt: skip


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of one list, a line a law and noise."""
    lines = [
        "| law | noise | seeds | n | covered (%) | width over the oracle's | without bounds (%) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        covered = ", ".join(f"{n} {100 * v:.1f}" for n, v in r["coverage"].items())
        width = ", ".join("∞" if v is None else f"{v:g}" for v in r["width_over_oracle"].values())
        open_ = ", ".join(f"{100 * v:g}" for v in r["unbounded"].values())
        head = " | ".join(str(r[k]) for k in ("law", "noise", "n_seeds", "replicates"))
        open_ = open_ if any(r["unbounded"].values()) else "0"
        lines.append(f"| {head} | {covered} | {width} | {open_} |")
    return "\n".join(lines)


def main() -> None:
    """Print a line a law and noise; keep them with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--law", action="append", choices=[*CASES, *ELSEWHERE])
    parser.add_argument("--noise", action="append", choices=KINDS)
    parser.add_argument("--elsewhere", action="store_true")
    parser.add_argument("--write", action="store_true", help="keep each cell as it is measured")
    asked = parser.parse_args()
    one_thread()
    path = RESULTS / f"coverage_nonlinear{'_elsewhere' if asked.elsewhere else ''}.json"
    rows = json.loads(path.read_text("utf-8"))["rows"] if asked.write and path.exists() else []
    where = environment()
    cases = ELSEWHERE if asked.elsewhere else CASES
    for name in asked.law or cases:
        for kind in asked.noise or (ELSEWHERE_KINDS if asked.elsewhere else KINDS):
            case = {**CASES, **ELSEWHERE}[name]
            if kind.startswith("own") and (case.own or (case.theta[0] < 0 and case.first)):
                continue  # its exponents are given; y would not be positive
            if case.n_seeds == 1 and kind != "independent":
                continue  # one seed says nothing of what seeds share
            kept = [r for r in rows if (r["law"], r["noise"]) == (name, kind)]
            if kept and kept[0]["replicates"] >= asked.replicates:
                continue  # measured already
            row = measure(name, case, kind, asked.replicates)
            print(json.dumps(row), flush=True)
            rows = [r for r in rows if r not in kept] + [row]
            if asked.write:
                rows.sort(key=lambda r: (list(cases).index(r["law"]), KINDS.index(r["noise"])))
                told = {"environment": where, "rows": rows}
                path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
                path.with_suffix(".md").write_text(markdown(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
