"""Coverage of the thresholds of a grid: all seeds at all places, nothing chosen.

    python benchmarks/threshold_grid.py [N_LINES]

Lines of one figure, ten at a time, with a logistic transition of width s (a share of the axis);
seeds share a part r of its variance along a line (r = 1: a seed falls once and for all).  Beside
the intervals that are told which seed a row is of, those that take all rows for independent.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from environment import environment, one_thread, save, show

from lawsweep.analysis.laws.threshold.rows import edge_of_rows

WIDTHS, SHARED, CONFIDENCE, N_AT_ONCE = (0.01, 0.03, 0.08), (0.0, 0.3, 1.0), 0.9, 10
DESIGNS = ((5, 20), (20, 20))  # seeds, places


def measure(s: float, shared: float, n_seeds: int, n_places: int, n_lines: int) -> dict[str, float]:
    """Coverage and median width, with and without the seeds."""
    rng = np.random.default_rng([int(1e4 * s), int(10 * shared), n_seeds, n_places])
    values = np.linspace(0, 1, n_places)
    held: dict[str, list[bool]] = {"seeds": [], "independent": []}
    width: dict[str, list[float]] = {"seeds": [], "independent": []}
    for _ in range(n_lines // N_AT_ONCE):
        m = rng.uniform(0.2, 0.8, N_AT_ONCE)
        own = rng.logistic(size=(N_AT_ONCE, n_seeds)) * math.sqrt(shared) * s
        z = values - m[:, None, None] - own[:, :, None]
        within = max(s * math.sqrt(1 - shared), 1e-9)
        happens = rng.random(z.shape) < 1 / (1 + np.exp(np.clip(z / within, -60, 60)))
        x, seeds, place = (v.ravel() for v in np.indices(z.shape))
        for name, given in (("seeds", seeds), ("independent", None)):
            rows = (x.astype(float), values[place], happens.ravel().astype(float))
            for at, _, low, high in edge_of_rows(*rows, CONFIDENCE, given):
                held[name].append(bool(low <= m[int(at)] <= high))
                width[name].append(high - low)
    found: dict[str, float] = {"s": s, "shared": shared, "seeds": n_seeds, "places": n_places}
    for name in held:
        covered = float(np.mean(held[name]))
        found |= {
            f"{name}_coverage": covered,
            f"{name}_se": math.sqrt(max(covered * (1 - covered), 0.02) / len(held[name])),
            f"{name}_width": float(np.median(width[name])),
        }
    return found


def main() -> None:
    """All widths, shares and designs; a table, and ``results/threshold_grid.json``."""
    one_thread()
    where, n = environment(), int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rows: list[dict[str, Any]] = []
    for n_seeds, n_places in DESIGNS:
        for s in WIDTHS:
            for shared in SHARED:
                rows.append(measure(s, shared, n_seeds, n_places, n))
                print(rows[-1], flush=True)
                save("threshold_grid", where, {"n_lines": n, "rows": rows})
    show(f"{n} lines a row", rows)


if __name__ == "__main__":
    main()
