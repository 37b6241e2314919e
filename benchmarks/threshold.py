"""Coverage and cost of the threshold search, against psi-marginal asked one run at a time.

    python benchmarks/threshold.py [N_CELLS]

The answers are drawn from a logistic transition of fixed width over 60 candidates.  Ours is the
sampler itself with 24 cells at a time and batches of 4.  The reference shares no code with it: one
run at a time, of one cell alone, where the expected entropy of the threshold is least, stopped
where the central 90 % interval is as narrow (plain), or where ours would be too (cautious).
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from environment import environment, one_thread, save, show

from lawsweep import Field, experiment
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import make_plan
from lawsweep.sampling.threshold.options import ThresholdOptions
from lawsweep.sampling.threshold.sampler import ThresholdSearch

WIDTHS = (0.003, 0.01, 0.03, 0.05, 0.08, 0.15)  # s, as a share of the axis' range
N_CANDIDATES, TOLERANCE, CONFIDENCE, N_AT_ONCE = 60, 0.05, 0.9, 24
MAX_RUNS = (40, 200)


@dataclass(frozen=True)
class Params:
    """A place along the axis, of one cell."""

    cell: Annotated[int, Field("cell")] = 0
    x: Annotated[float, Field("place, from 0 to 1")] = 0.0


@dataclass(frozen=True)
class Metrics:
    """Whether the event happened."""

    happened: Annotated[bool, Field("the event")]


@experiment(version=1)
def edge(params: Params, seed: int, device: str) -> Metrics:
    """Never run: the benchmark answers itself."""
    raise NotImplementedError


def draw(rng: np.random.Generator, x: np.ndarray, m: np.ndarray, s: float) -> np.ndarray:
    """Answers of a transition of width ``s`` at ``m``."""
    return rng.random(np.shape(x)) < 1 / (1 + np.exp(np.clip((x - m) / s, -60, 60)))


def ours(s: float, n_cells: int, max_runs: int, rng: np.random.Generator) -> dict[str, float]:
    """The sampler over groups of cells: share resolved, their coverage, mean runs."""
    plan = make_plan(
        edge,
        axes={"cell": list(range(N_AT_ONCE)), "x": np.linspace(0, 1, N_CANDIDATES).tolist()},
        seeds=max_runs,
    )
    options = ThresholdOptions(
        "x", "happened", tolerance=TOLERANCE, confidence=CONFIDENCE, max_runs=max_runs
    )
    resolved, inside, runs = [], [], []
    spent = time.process_time()
    for _ in range(n_cells // N_AT_ONCE):
        m = rng.uniform(0, 1, N_AT_ONCE)
        search = ThresholdSearch(plan, options)
        while wanted := search.wanted():
            for run in wanted:
                params = plan.params_of(run)
                answer = bool(draw(rng, np.array(params["x"]), m[params["cell"]], s))
                search.tell(Outcome(run, "ok", {"happened": answer}))
        for cell, found in zip(search.cells, search.results(), strict=True):
            edge_at = m[plan.params_of(cell.points[0] * max_runs)["cell"]]
            runs.append(found.n_runs)
            resolved.append(found.state == "resolved")
            if found.state == "resolved":
                inside.append(bool(found.low <= edge_at <= found.high))
    figures = summary(resolved, inside, runs)
    return {**figures, "ms_per_run": 1e3 * (time.process_time() - spent) / sum(runs)}


def summary(resolved: Any, inside: Any, runs: Any) -> dict[str, float]:
    """Shares and means, with the Monte-Carlo error of the coverage and of the mean."""
    n = len(inside)
    covered = float(np.mean(inside)) if n else math.nan
    return {
        "resolved": float(np.mean(resolved)),
        "coverage": covered,
        "coverage_se": math.sqrt(max(covered * (1 - covered), 0.05 / max(n, 1)) / n) if n else 1.0,
        "runs": float(np.mean(runs)),
        "runs_se": float(np.std(runs) / math.sqrt(len(runs))),
    }


class Reference:
    """Psi-marginal (Kontsevich & Tyler 1999; Prins 2013), all cells in step, one run at a time."""

    def __init__(self) -> None:
        self.x = np.linspace(0, 1, N_CANDIDATES)
        self.edges = np.linspace(-0.5, 1.5, 257)
        m = (self.edges[1:] + self.edges[:-1]) / 2
        s, c = np.meshgrid(np.geomspace(0.25 / 59, 0.5, 12), [0.005, 0.05, 0.15])
        z = (self.x - m[:, None, None]) / s.ravel()[:, None]
        p = c.ravel()[:, None] + (1 - 2 * c.ravel()[:, None]) / (1 + np.exp(np.clip(z, -60, 60)))
        self.p = p.astype(np.float32)  # (m, nuisance, x)

    def run(
        self, s: float, n: int, most: int, rng: np.random.Generator, cautious: bool
    ) -> dict[str, float]:
        """``n`` cells: share resolved, their coverage, mean runs.

        ``cautious`` stops by the interval that holds among the widest half of s too, as ours does.
        """
        truth = rng.uniform(0, 1, n)
        weights = np.full((self.p.shape[0], n, self.p.shape[1]), 1.0, dtype=np.float32)
        weights /= weights.shape[0] * weights.shape[2]
        left, runs = np.arange(n), np.full(n, most)
        resolved, inside = np.zeros(n, bool), np.zeros(n, bool)
        for k in range(1, most + 1):
            at = self._next(weights)
            yes = draw(rng, self.x[at], truth[left], s)
            happens = self.p.transpose(0, 2, 1)[:, at]
            weights *= np.where(yes[:, None], happens, 1 - happens)
            weights /= weights.sum((0, 2))[:, None]
            low, high, beyond = self._interval(weights.sum(2))
            if cautious:
                a, b, _ = self._interval(self._widest(weights))
                low, high = np.minimum(low, a), np.maximum(high, b)
            done = ~beyond & ((high - low) / 2 <= TOLERANCE)
            resolved[left[done]] = True
            inside[left[done]] = ((low <= truth[left]) & (truth[left] <= high))[done]
            runs[left[done | beyond]] = k
            left, weights = left[~(done | beyond)], weights[:, ~(done | beyond)]
            if not len(left):
                break
        return summary(resolved, inside[resolved], runs)

    def _next(self, weights: np.ndarray) -> np.ndarray:
        yes = np.matmul(weights, self.p)
        no = np.maximum(weights.sum(2)[:, :, None] - yes, 0)
        told = sum(
            -(a * np.log(a + 1e-30)).sum(0) + a.sum(0) * np.log(a.sum(0) + 1e-30) for a in (yes, no)
        )
        return np.asarray(np.argmin(told, axis=1))

    def _widest(self, weights: np.ndarray) -> np.ndarray:
        """Masses of m among the widest half of s; s runs fastest, within each c."""
        of_s = weights.reshape(*weights.shape[:2], 3, 12).sum(2)
        widths = of_s.sum(0) / of_s.sum((0, 2))[:, None]
        above = np.clip(np.cumsum(widths, 1) - 0.5, 0, widths)
        return np.einsum("mns,ns->mn", of_s, above / np.maximum(widths, 1e-30))

    def _interval(self, masses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cdf = np.vstack([np.zeros(masses.shape[1]), np.cumsum(masses, 0)])
        tail = (1 - CONFIDENCE) / 2
        ends = np.array([np.interp([tail, 1 - tail], c / c[-1], self.edges) for c in cdf.T])
        below = np.array([np.interp([0.0, 1.0], self.edges, c / c[-1]) for c in cdf.T])
        beyond = (below[:, 0] >= CONFIDENCE) | (below[:, 1] <= 1 - CONFIDENCE)
        return ends[:, 0], ends[:, 1], beyond


def main() -> None:
    """All widths, both caps; tables, and ``results/threshold.json``."""
    one_thread()
    where, n = environment(), int(sys.argv[1]) if len(sys.argv) > 1 else 144
    reference, tables = Reference(), {}
    for most in MAX_RUNS:
        rows = []
        for s in WIDTHS:
            mine = ours(s, n, most, np.random.default_rng([1, int(1e4 * s)]))
            row = {"s": s, **mine}
            for name, cautious in (("plain", False), ("cautious", True)):
                rng = np.random.default_rng([2, int(1e4 * s)])
                other = reference.run(s, n, most, rng, cautious)
                row |= {f"{name}_{k}": v for k, v in other.items()}
                row[f"runs_over_{name}"] = mine["runs"] / other["runs"]
            rows.append(row)
            print(rows[-1], flush=True)
        show(f"max_runs = {most}, {n} cells a width", rows)
        tables[f"max_runs_{most}"] = rows
    save("threshold", where, {"n_cells": n, "tolerance": TOLERANCE, **tables})


if __name__ == "__main__":
    main()
