"""Coverage and cost of the threshold search, against psi-marginal asked one run at a time.

    python benchmarks/threshold.py [N_CELLS]

The answers are drawn from a logistic transition of fixed width over 60 candidates.  Ours is the
sampler itself with 24 cells at a time and batches of 4.  The reference shares no code with it: one
run at a time, of one cell alone, where the expected entropy of the threshold is least, stopped
where the central 90 % interval is as narrow (plain), or where a wider one would be too that holds
among the widest half of s (cautious).  ``threshold_settings.py`` has other transitions and designs.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from environment import environment, one_thread, save, show

from lawsweep import Field, experiment
from lawsweep.core.outcome import Outcome
from lawsweep.grid.plan import Plan, make_plan
from lawsweep.sampling.threshold.options import ThresholdOptions
from lawsweep.sampling.threshold.sampler import ThresholdSearch

WIDTHS = (0.003, 0.01, 0.03, 0.05, 0.08, 0.15)  # s, as a share of the axis' range
N_CANDIDATES, TOLERANCE, CONFIDENCE, N_AT_ONCE = 60, 0.05, 0.9, 24
MAX_RUNS = (40, 200)


@dataclass(frozen=True)
class Params:
    """A place along the axis, of one cell."""

    cell: Annotated[int, Field("cell")] = 0
    x: Annotated[float, Field("place")] = 0.0


@dataclass(frozen=True)
class Metrics:
    """Whether the event happened."""

    happened: Annotated[bool, Field("the event")]


@experiment(version=1)
def edge(params: Params, seed: int, device: str) -> Metrics:
    """Never run: the benchmark answers itself."""
    raise NotImplementedError


def plan_of(values: np.ndarray, n_cells: int, n_seeds: int) -> Plan:
    """So many cells, each with the candidates ``values``."""
    axes = {"cell": list(range(n_cells)), "x": values.tolist()}
    return make_plan(edge, axes=axes, seeds=n_seeds)


def logistic(z: np.ndarray) -> np.ndarray:
    """The chance of the event at (x - m) / s."""
    return np.asarray(1 / (1 + np.exp(np.clip(z, -60, 60))))


# Where cell, place and seed are, and the cell's edge: how likely the event is, and the draw.
Chance = Callable[[int, float], float]
Draw = Callable[[int, int], float]


def search(plan: Plan, options: ThresholdOptions, chance: Chance, draw: Draw) -> ThresholdSearch:
    """A search from its first run to its end."""
    found = ThresholdSearch(plan, options)
    n_seeds = len(plan.seeds)
    cell, x = plan.params["cell"].tolist(), plan.params["x"].tolist()
    wanted = found.ask()
    while wanted:
        for run in wanted:
            point = run // n_seeds
            answer = draw(cell[point], run % n_seeds) < chance(cell[point], x[point])
            found.tell(Outcome(run, "ok", {"happened": answer}))
        wanted = found.ask()
    return found


def ours(
    s: float, n_cells: int, max_runs: int, rng: np.random.Generator
) -> tuple[list[bool], list[bool], list[int], list[float]]:
    """The sampler over groups of cells: which were resolved, which of these held, runs; seconds."""
    plan = plan_of(np.linspace(0, 1, N_CANDIDATES), N_AT_ONCE, max_runs)
    options = ThresholdOptions(
        "x", "happened", tolerance=TOLERANCE, confidence=CONFIDENCE, max_runs=max_runs
    )
    resolved, inside, runs, spent = [], [], [], 0.0
    for _ in range(n_cells // N_AT_ONCE):
        m = rng.uniform(0, 1, N_AT_ONCE)
        began = time.process_time()
        found = search(
            plan,
            options,
            lambda cell, x, m=m: float(logistic(np.float64((x - m[cell]) / s))),
            lambda cell, seed: rng.random(),
        )
        spent += time.process_time() - began
        for edge_at, t in zip(m, found.results(), strict=True):
            runs.append(t.n_runs)
            resolved.append(t.state == "resolved")
            if t.state == "resolved":
                inside.append(bool(t.low <= edge_at <= t.high))
    return resolved, inside, runs, [spent]


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
        p = c.ravel()[:, None] + (1 - 2 * c.ravel()[:, None]) * logistic(z)
        self.p = p.astype(np.float32)  # (m, nuisance, x)

    def run(self, s: float, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """``n`` cells up to the largest number of runs, for either rule that ends them.

        Runs that each took (n,), whether it was resolved then, and whether truth lay inside.
        """
        most, truth = max(MAX_RUNS), rng.uniform(0, 1, n)
        weights = np.full((self.p.shape[0], n, self.p.shape[1]), 1.0, dtype=np.float32)
        weights /= weights.shape[0] * weights.shape[2]
        left = np.arange(n)
        found = {}
        for rule in ("plain", "cautious"):
            found[f"{rule}_runs"] = np.full(n, most + 1)
            found[f"{rule}_resolved"] = np.zeros(n, bool)
            found[f"{rule}_inside"] = np.zeros(n, bool)
        for k in range(1, most + 1):
            at = self._next(weights)
            yes = rng.random(len(left)) < logistic((self.x[at] - truth[left]) / s)
            happens = self.p.transpose(0, 2, 1)[:, at]
            weights *= np.where(yes[:, None], happens, 1 - happens)
            weights /= weights.sum((0, 2))[:, None]
            low, high, beyond = self._interval(weights.sum(2))
            a, b, _ = self._interval(self._widest(weights))
            ends = {"plain": (low, high), "cautious": (np.minimum(low, a), np.maximum(high, b))}
            for rule, (lower, upper) in ends.items():
                fresh = found[f"{rule}_runs"][left] > most
                done = ~beyond & ((upper - lower) / 2 <= TOLERANCE)
                found[f"{rule}_runs"][left[fresh & (done | beyond)]] = k
                found[f"{rule}_resolved"][left[fresh & done]] = True
                inside = (lower <= truth[left]) & (truth[left] <= upper)
                found[f"{rule}_inside"][left[fresh & done & inside]] = True
            goes_on = found["cautious_runs"][left] > most  # it ends after the plain one
            left, weights = left[goes_on], weights[:, goes_on]
            if not len(left):
                break
        return found

    @staticmethod
    def told(found: dict[str, np.ndarray], most: int) -> dict[str, float]:
        """The figures of both rules, of cells that are given up after ``most`` runs."""
        told = {}
        for rule in ("plain", "cautious"):
            runs = found[f"{rule}_runs"]
            resolved = found[f"{rule}_resolved"] & (runs <= most)
            figures = summary(resolved, found[f"{rule}_inside"][resolved], np.minimum(runs, most))
            told |= {f"{rule}_{name}": value for name, value in figures.items()}
        return told

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


def ms_per_decision() -> dict[str, float]:
    """Processor milliseconds of choosing, a round of 4 runs: 100 cells, 60 candidates, 20 runs."""
    plan = plan_of(np.linspace(0, 1, N_CANDIDATES), 100, 40)
    began = time.process_time()
    ThresholdSearch(plan, ThresholdOptions("x", "happened"))
    first = time.process_time() - began
    options = ThresholdOptions("x", "happened", max_runs=20, tolerance=0.001)
    rng = np.random.default_rng(3)
    m = rng.uniform(0.1, 0.9, 100)
    began = time.process_time()
    found = search(
        plan,
        options,
        lambda cell, x: float(logistic(np.float64((x - m[cell]) / 0.05))),
        lambda cell, seed: rng.random(),
    )
    rounds = sum(t.n_runs for t in found.results()) / options.batch
    return {
        "ms_per_round": 1e3 * (time.process_time() - began) / rounds,
        "ms_first_of_a_cell": 1e3 * first / 100,
    }


CHUNK = 144  # cells of each width, after which the figures so far are saved


def main() -> None:
    """All widths, both caps; tables, and ``results/threshold.json``."""
    one_thread()
    where, n = environment(), int(sys.argv[1]) if len(sys.argv) > 1 else 1008
    speed, reference = ms_per_decision(), Reference()
    mine: dict[tuple[int, float], list[list[Any]]] = {}
    others: dict[float, list[dict[str, np.ndarray]]] = {}
    for chunk in range(max(1, n // CHUNK)):
        for s in WIDTHS:
            seed = int(1e4 * s)
            rng = np.random.default_rng([2, seed, chunk])
            others.setdefault(s, []).append(reference.run(s, min(n, CHUNK), rng))
            for most in MAX_RUNS:
                rng = np.random.default_rng([1, seed, chunk])
                fresh = ours(s, min(n, CHUNK), most, rng)
                so_far = mine.setdefault((most, s), [[], [], [], []])
                for column, new in zip(so_far, fresh, strict=True):
                    column.extend(new)
        done = min(n, CHUNK) * (chunk + 1)
        tables = {k: v for most in MAX_RUNS for k, v in tables_of(most, mine, others).items()}
        save("threshold", where, {"n_cells": done, "tolerance": TOLERANCE, **speed, **tables})
    for most in MAX_RUNS:
        show(f"max_runs = {most}, {done} cells a width", tables[f"max_runs_{most}"])
        for rule in ("plain", "cautious"):
            print(rule, tables[f"max_runs_{most}_over_{rule}"])


def tables_of(
    most: int,
    mine: dict[tuple[int, float], list[list[Any]]],
    others: dict[float, list[dict[str, np.ndarray]]],
) -> dict[str, Any]:
    """The table of one cap, and the ratios over the widths that are asked for."""
    rows, found = [], {}
    for s in WIDTHS:
        resolved, inside, runs, spent = mine[most, s]
        row = {
            "s": s,
            **summary(resolved, inside, runs),
            "ms_per_run": 1e3 * sum(spent) / sum(runs),
        }
        whole = {k: np.concatenate([o[k] for o in others[s]]) for k in others[s][0]}
        row |= Reference.told(whole, most)
        rows.append(row)
        for rule in ("plain", "cautious"):
            row[f"runs_over_{rule}"] = row["runs"] / row[f"{rule}_runs"]
    narrow = [row for row in rows if row["s"] <= 0.08]
    for rule in ("plain", "cautious"):
        scale = sum(r[f"{rule}_runs"] for r in narrow)
        ratio = sum(r["runs"] for r in narrow) / scale
        errors = [(r["runs_se"], r[f"{rule}_runs_se"]) for r in narrow]
        error = math.sqrt(sum(a**2 + (ratio * b) ** 2 for a, b in errors)) / scale
        found[f"max_runs_{most}_over_{rule}"] = {"ratio": ratio, "se": error}
    return {f"max_runs_{most}": rows, **found}


if __name__ == "__main__":
    main()
