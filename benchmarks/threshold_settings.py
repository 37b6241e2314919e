"""Coverage of resolved cells of the threshold search, where it is not as in ``threshold.py``.

    python benchmarks/threshold_settings.py [N_CELLS] [SETTING...]

One setting at a time differs from 24 cells of one width, 60 candidates evenly on a linear axis,
90 % intervals, 5 % of the axis as tolerance, batches of 4, at most 200 runs, draws of their own.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from environment import RESULTS, environment, one_thread, save, show
from threshold import N_AT_ONCE, TOLERANCE, logistic, plan_of, search, summary

from lawsweep.sampling.threshold.options import ThresholdOptions

WIDTHS = (0.01, 0.03, 0.08)
Shape = Callable[[np.ndarray], np.ndarray]


def normal(z: np.ndarray) -> np.ndarray:
    """A normal's tail, with the logistic's slope at its middle."""
    return np.vectorize(lambda v: 0.5 * math.erfc(v * math.sqrt(math.pi) / 4))(z)


def skewed(z: np.ndarray) -> np.ndarray:
    """A Gumbel's: it falls slowly before its middle and fast beyond; one half at 0."""
    return 1 - np.exp(-math.log(2) * np.exp(-np.clip(z, -60, 60) / (2 * math.log(2))))


@dataclass(frozen=True)
class Setting:
    """What is unlike the plain case."""

    grid: Callable[[np.random.Generator], np.ndarray] = lambda rng: np.linspace(0, 1, 60)
    edges: tuple[tuple[float, float], ...] = ((0.0, 1.0),)  # shares of the axis
    shape: Shape = logistic
    lapses: tuple[float, float] = (0.0, 0.0)  # of those that should happen, and of the others
    n_at_once: int = N_AT_ONCE
    mixed: bool = False  # each cell has a width of its own
    shared: str = ""  # draws: "cells": a seed has one draw in all cells; "all": at all places too
    n_seeds: int = 200
    options: dict[str, Any] = field(default_factory=dict)


def _even(n: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: np.linspace(0, 1, n)


SETTINGS: dict[str, Setting] = {
    "plain": Setting(),
    "batch 1": Setting(options={"batch": 1}),
    "batch 16": Setting(options={"batch": 16}),
    "lapses 1 %": Setting(lapses=(0.01, 0.01)),
    "lapses 3 %": Setting(lapses=(0.03, 0.03)),
    "lapses 5 %": Setting(lapses=(0.05, 0.05)),
    "misses 5 %": Setting(lapses=(0.05, 0.0)),
    "rising": Setting(options={"rising": True}),
    "log axis, a decade": Setting(grid=lambda rng: np.geomspace(500, 5000, 60)),
    "near the ends": Setting(edges=((0.0, 0.06), (0.94, 1.0))),
    "600 candidates": Setting(grid=_even(600)),
    "20 candidates": Setting(grid=_even(20)),
    "uneven": Setting(grid=lambda rng: np.linspace(0, 1, 60) ** 2),
    "random spacing": Setting(
        grid=lambda rng: np.concatenate([[0.0], np.sort(rng.uniform(0, 1, 58)), [1.0]])
    ),
    "a cell alone": Setting(n_at_once=1),
    "4 cells": Setting(n_at_once=4),
    "mixed widths": Setting(mixed=True),
    "normal": Setting(shape=normal),
    "skewed": Setting(shape=skewed),
    "one draw in all cells": Setting(shared="cells"),
    "40 seeds, a draw each": Setting(shared="all", n_seeds=40),
    "12 seeds, a draw each": Setting(shared="all", n_seeds=12),
    "max_runs 40": Setting(options={"max_runs": 40}),
    "max_runs 80": Setting(options={"max_runs": 80}),
}


def measure(setting: Setting, s: float, n_cells: int, seed: int) -> list[tuple[float, Any, bool]]:
    """Of each cell its width, what was found, and whether the interval holds the truth."""
    rng = np.random.default_rng([seed, int(1e4 * s)])
    found = []
    values = setting.grid(rng)
    plan = plan_of(values, setting.n_at_once, setting.n_seeds)
    u = np.log(values) if values[0] > 0 else values
    span = u[-1] - u[0]
    # On a logarithmic axis a tolerance is a share of N*: the same share of the span.
    tolerance = TOLERANCE * span if values[0] > 0 else TOLERANCE
    given = {"tolerance": tolerance, "max_runs": 200, **setting.options}
    options = ThresholdOptions("x", "happened", **given)
    missed, false = setting.lapses
    for _ in range(max(1, n_cells // setting.n_at_once)):
        n = setting.n_at_once
        of = np.array(setting.edges)[rng.integers(len(setting.edges), size=n)]
        m = u[0] + span * rng.uniform(of[:, 0], of[:, 1])
        widths = np.resize(WIDTHS, n) if setting.mixed else np.full(n, s)
        table: dict[tuple[int, ...], float] = {}

        def chance(cell: int, x: float, m: np.ndarray = m, widths: np.ndarray = widths) -> float:
            at = math.log(x) if values[0] > 0 else x
            z = (at - m[cell]) / (widths[cell] * span)
            share = float(setting.shape(np.float64(-z if options.rising else z)))
            return (1 - missed) * share + false * (1 - share)

        def draw(cell: int, seed: int, table: dict[tuple[int, ...], float] = table) -> float:
            if not setting.shared:
                return float(rng.random())
            key = (seed,) if setting.shared == "cells" else (cell, seed)
            return table.setdefault(key, float(rng.random()))

        done = search(plan, options, chance, draw)
        for cell, t in enumerate(done.results()):
            held = t.state == "resolved" and bool(
                t.low <= (math.exp(m[cell]) if values[0] > 0 else m[cell]) <= t.high
            )
            found.append((float(widths[cell]), t, held))
    return found


def rows_of(name: str, n_cells: int) -> list[dict[str, Any]]:
    """The table's rows of one setting: one a width."""
    setting, rows = SETTINGS[name], []
    number = list(SETTINGS).index(name)
    told = [
        x
        for s in ((0.0,) if setting.mixed else WIDTHS)
        for x in measure(setting, s, n_cells * (3 if setting.mixed else 1), number)
    ]
    for s in WIDTHS:
        here = [(t, held) for width, t, held in told if width == s]
        resolved = [t.state == "resolved" for t, _ in here]
        inside = [held for t, held in here if t.state == "resolved"]
        wrong = sum(t.state in ("rises", "several_edges", "flat") for t, _ in here)
        figures = summary(resolved, inside, [t.n_runs for t, _ in here])
        rows.append({"setting": name, "s": s, **figures, "no_edge": wrong / len(here)})
    return rows


def main() -> None:
    """All settings, or those that are named; a table, and ``results/threshold_settings.json``.

    Rows of settings that are not named stay in the file as they are.
    """
    one_thread()
    where, n = environment(), int(sys.argv[1]) if len(sys.argv) > 1 else 240
    file = RESULTS / "threshold_settings.json"
    before = (
        json.loads(file.read_text(encoding="utf-8"))["figures"]["rows"] if file.exists() else []
    )
    rows: list[dict[str, Any]] = []
    for name in sys.argv[2:] or SETTINGS:
        rows += [{**row, "n_cells": n} for row in rows_of(name, n)]
        print(*rows[-len(WIDTHS) :], sep="\n", flush=True)
        fresh = {row["setting"] for row in rows}
        kept = [row for row in before if row["setting"] not in fresh]
        order = list(SETTINGS)
        whole = sorted([*kept, *rows], key=lambda row: (order.index(row["setting"]), row["s"]))
        save("threshold_settings", where, {"rows": whole})
    show(f"{n} cells a row", rows)


if __name__ == "__main__":
    main()
