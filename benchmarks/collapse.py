"""How often the intervals of a collapse cover, and how often its quality calls curves not one.

    python benchmarks/collapse.py [--replicates 100] [--case logs] [--write]

Cases (what is true, and what is fitted):
- logs: y = (1 + u)^-1.5 L^-0.5, u = x L^-1, x from 0.2 L to 12 L; a = -1 and b = 0.5 to be found
- logs, few points: the same with 5 points a curve; logs, unequal: x of each size of its own
- critical: y = 1/(1 + exp(2 u)), u = (x - 2.1) L^0.5, x from 1 to 3; a = 0.5 and x_c = 2.1 to be
  found, b = 0 given
- order: y = L^-0.25 / (1 + exp(2 u)), the same u, all of a, b and x_c to be found
- steep: y = exp(-u^2/2) L^0.3 in logarithms, u = x L^-0.5
Noise (of log y, or of y where there is a critical point), all of mean 0:
- independent: sd s a row         - offsets: and one of sd 5 s a seed, the same at all points
- exponents: a seed has exponents of its own, sd s/2 in each (of log L about its middle)
- smooth: a seed's curve is bent by sd 3 s cos(k pi t)/k, k = 1..3, t from 0 to 1 along x, each size
  its own                          - sizes: sd s, times 3 from the smallest to the largest size
Coverage is of the quoted interval (the wider of scatter and seeds), where there is one; `none` is
the share of replicates where a fit is refused as not bounded.  `not one` is the share that the
quality calls not one curve within their errors at 1 %, which here is false.
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

SIZES = {3: (10, 20, 40), 2: (10, 40), 6: (8, 12, 18, 27, 40, 60)}
LOGS = {"exponents": {}, "logx": True, "logy": True}
CRITICAL = {"critical": True, "logx": False, "logy": False}
CASES: dict[str, dict[str, Any]] = {
    "logs": {"own": LOGS, "true": {"a": -1.0, "b": 0.5}, "n": 12},
    "logs, few points": {"own": LOGS, "true": {"a": -1.0, "b": 0.5}, "n": 5},
    "logs, unequal": {"own": LOGS, "true": {"a": -1.0, "b": 0.5}, "n": 9, "unequal": True},
    "critical": {
        "own": {**CRITICAL, "exponents": {"b": 0.0}}, "true": {"a": 0.5, "x_c": 2.1}, "n": 15,
    },
    "order": {
        "own": {**CRITICAL, "exponents": {}}, "true": {"a": 0.5, "b": 0.25, "x_c": 2.1}, "n": 15,
    },
    "steep": {"own": LOGS, "true": {"a": -0.5, "b": -0.3}, "n": 12},
}  # fmt: skip
NOISE = ("independent", "offsets", "exponents", "smooth", "sizes")


def truth(case: str, x: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The response at each point: log y, or y where there is a critical point."""
    log_size = np.log(size)
    if case.startswith("logs"):
        return -1.5 * np.log1p(x / size) - 0.5 * log_size
    if case == "steep":
        return -((x * size**-0.5) ** 2) / 2 + 0.3 * log_size
    b = 0.25 if case == "order" else 0.0
    return size**-b / (1 + np.exp(2 * (x - 2.1) * size**0.5))


def grid(case: str, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x and size of all points."""
    facts, found = CASES[case], []
    for k, size in enumerate(sizes):
        if case.startswith("logs"):
            ends = (0.2 * 1.3 ** (k % 3), 12 / 1.4 ** (k % 2)) if "unequal" in facts else (0.2, 12)
            x = np.geomspace(ends[0], ends[1], facts["n"] - (k % 2 if "unequal" in facts else 0))
            found.append((x * size, size))
        elif case == "steep":
            found.append((np.geomspace(0.1, 2.5, facts["n"]) * size**0.5, size))
        else:
            found.append((np.linspace(1, 3, facts["n"]), size))
    return np.concatenate([x for x, _ in found]), np.concatenate(
        [np.full(len(x), float(size)) for x, size in found]
    )


def noise(
    kind: str, case: str, x: np.ndarray, size: np.ndarray, n_seeds: int, s: float, rng: Any
) -> np.ndarray:
    """(n_seeds, n)."""
    z = s * rng.standard_normal((n_seeds, len(x)))
    log_size = np.log(size) - np.unique(np.log(size)).mean()
    if kind == "offsets":
        z = z + 5 * s * rng.standard_normal((n_seeds, 1))
    elif kind == "sizes":
        z = z * 3 ** ((log_size - log_size.min()) / np.ptp(log_size))
    elif kind == "smooth":
        for label in np.unique(size):
            at = size == label
            t = (x[at] - x[at].min()) / np.ptp(x[at])
            for k in (1, 2, 3):
                wave = np.cos(k * math.pi * t) / k
                z[:, at] += 3 * s * rng.standard_normal((n_seeds, 1)) * wave
    return z


def sample(
    kind: str, case: str, x: np.ndarray, size: np.ndarray, n_seeds: int, s: float, rng: Any
) -> np.ndarray:
    """Responses by seed, (n_seeds, n)."""
    z = noise(kind, case, x, size, n_seeds, s, rng)
    if kind != "exponents":
        return truth(case, x, size) + z
    log_size = np.log(size) - np.unique(np.log(size)).mean()
    rows = []
    for k in range(n_seeds):
        da, db = 0.5 * s * rng.standard_normal(2)
        moved = x * np.exp(da * log_size)
        if not CASES[case]["own"]["logx"]:
            moved = 2.1 + (x - 2.1) * np.exp(da * log_size)
        own = truth(case, moved, size)
        own = own - db * log_size if CASES[case]["own"]["logy"] else own * np.exp(-db * log_size)
        rows.append(own + z[k])
    return np.array(rows)


def measure(
    case: str, kind: str, n_sizes: int, n_seeds: int, s: float, replicates: int
) -> dict[str, Any]:
    """Coverage, widths, refusals and false alarms."""
    rng = np.random.default_rng([list(CASES).index(case), NOISE.index(kind), n_sizes, n_seeds])
    x, size = grid(case, SIZES[n_sizes])
    own = {"scale": "L", **CASES[case]["own"]}
    spec = FitSpec(name="c", law="collapse", y="y", x="x", own=own)
    law = find_law("collapse")
    true = CASES[case]["true"]
    inside = dict.fromkeys(true, 0)
    halves: dict[str, list[float]] = {name: [] for name in true}
    errors: dict[str, list[float]] = {name: [] for name in true}
    qualities, alarms, n_fits, reasons = [], 0, 0, {}
    begun = time.process_time()
    for _ in range(replicates):
        y = sample(kind, case, x, size, n_seeds, s, rng)
        n = len(x)
        points = Points(
            {"x": x, "L": size}, y.mean(axis=0), y.ravel(), np.tile(np.arange(n), n_seeds),
            np.repeat(np.arange(n_seeds), n),
        )  # fmt: skip
        found = law.solve(spec, points)
        if found.reason is not None:
            reasons[found.reason[:40]] = reasons.get(found.reason[:40], 0) + 1
            continue
        n_fits += 1
        for p in found.parameters:
            if p.name in true:
                inside[p.name] += p.low <= true[p.name] <= p.high
                halves[p.name].append((p.high - p.low) / 2)
                errors[p.name].append(p.estimate - true[p.name])
        if found.evidence["quality"] is not None:
            qualities.append(found.evidence["quality"])
            alarms += found.evidence["chance"] < 0.01
    wall = time.process_time() - begun
    return {
        "case": case, "noise": kind, "n_sizes": n_sizes, "n_seeds": n_seeds, "sd": s,
        "replicates": replicates, "none": 1 - n_fits / replicates,
        "coverage": {n: inside[n] / max(n_fits, 1) for n in true},
        "half_width": {n: float(np.median(halves[n])) if halves[n] else None for n in true},
        "bias": {n: float(np.mean(errors[n])) if errors[n] else None for n in true},
        "sd_of_estimate": {n: float(np.std(errors[n])) if errors[n] else None for n in true},
        "quality": float(np.mean(qualities)) if qualities else None,
        "not_one": alarms / max(len(qualities), 1), "ms": 1e3 * wall / replicates,
        "reasons": reasons,
    }  # fmt: skip


def runs() -> list[tuple[str, str, int, int, float]]:
    """Case, noise, sizes, seeds, sd."""
    found = [("logs", kind, 3, 5, 0.02) for kind in NOISE]
    found += [("critical", "independent", 3, 5, 0.02), ("logs, few points", NOISE[0], 3, 5, 0.02)]
    found += [("logs", kind, 3, n, 0.02) for n in (3, 10) for kind in ("independent", "exponents")]
    found += [("logs", "exponents", n, 5, 0.02) for n in (2, 6)]
    found += [("logs, unequal", NOISE[0], 3, 5, 0.02), ("steep", NOISE[0], 3, 5, 0.02)]
    found += [("critical", kind, 3, 3, 0.02) for kind in ("independent", "exponents")]
    return [*found, ("logs", NOISE[0], 3, 5, 0.002), ("order", NOISE[0], 3, 5, 0.02)]


def main() -> None:
    """Measure, print, and with --write keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--case")
    parser.add_argument("--noise")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    for case, kind, sizes, seeds, sd in runs():
        if (args.case and case != args.case) or (args.noise and kind != args.noise):
            continue
        row = measure(case, kind, sizes, seeds, sd, args.replicates)
        if args.write:
            keep(row)
        coverage = " ".join(f"{n} {v:.3f}" for n, v in row["coverage"].items())
        z = " ".join(
            f"{n} {row['bias'][n] / row['sd_of_estimate'][n]:+.2f}" for n in row["bias"]
            if row["sd_of_estimate"][n]
        )  # fmt: skip
        print(
            f"{case:17s} {kind:12s} {sizes} sizes {seeds:2d} seeds sd {sd:<5g} coverage {coverage}"
            f"  none {row['none']:.3f}  S {row['quality'] or math.nan:.2f}"
            f"  not one {row['not_one']:.3f}  bias/sd {z}  {row['ms']:.0f} ms",
            flush=True,
        )


def keep(result: dict[str, Any]) -> None:
    """Put a row into the kept figures, in place of an older one of the same run."""
    path = RESULTS / "collapse.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    about = ("case", "noise", "n_sizes", "n_seeds", "sd")
    rows = {tuple(row[k] for k in about): row for row in [*kept, result]}
    document = {"environment": environment(), "rows": [rows[key] for key in runs() if key in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
