"""Is a bend that is there flagged as often as by the exact test, and what can no test do?

Tables of 8 points and 3 to 20 seeds whose mean is an offset or a second power beside the first,
over 1 to 3 decades, with independent noise of one size such that the quadratic term of log y is
``size`` of its standard errors.  Beside the law's own verdict stand the exact tests at 5 %: the t
test of the quadratic term among single rows (8 S - 3 degrees of freedom: exact for who knows that
noise is alike and independent, up to the bend's own remainder), and that among the seeds' own terms
(t(S - 1): exact whatever seeds share).

``bound``: the false rate that no test can go below, whatever it looks at, for seeds with a
quadratic term of their own (mean zero, some size), if its power without one is within .03 of the
rows' test: with the noise known, mean and variance of the seeds' terms are sufficient, and the
least worst rate is a linear programme over tests (here on a grid).
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from typing import Any

import numpy as np
from batch import batch, compare
from coverage import CHECKED, RESULTS, Case, points_of, solved
from environment import environment, one_thread, save, show
from scipy.optimize import linprog
from scipy.stats import chi2, nct, norm, t

SHAPES = ("offset", "two terms")
RANGES = ((10, 1.0), (100, 0.5), (1000, 0.5), (1000, 0.25))  # of x, with the exponent
SEEDS = (3, 5, 10, 20)
SIZES = (3.0, 4.5)


def power_cell(
    shape: str, span: float, exponent: float, n_seeds: int, size: float, n_trials: int
) -> dict[str, Any]:
    """How often a planted bend is flagged, beside the exact tests that know the kind of noise."""
    x = np.geomspace(100, 100 * span, 8)
    base = x**-exponent
    far = x[0] ** -exponent * 0.5
    bent = base + (far if shape == "offset" else far * (x / x[0]) ** (-exponent / 3))
    v = np.log(x) - np.log(x).mean()
    design = np.stack([np.ones_like(v), v, v**2], axis=1)
    row = np.linalg.pinv(design)[2]
    error = abs(row @ np.log(bent)) / size  # of the quadratic term of the means
    sigma = error * np.sqrt(n_seeds) / np.linalg.norm(row)
    case = Case({"law": "power", "x": "x"}, "exponent", 0.0, lambda x, _: x, x=x)
    rng = np.random.default_rng([ord(c) for c in f"{shape}{span}{exponent}{n_seeds}{size}"])
    errors = sigma * rng.normal(size=(n_trials, n_seeds, 8))
    y = np.log(bent) + errors
    compare(np.log(x), y, [solved(case, points_of(case, e, mean=bent)) for e in errors[:CHECKED]])
    flagged = batch(np.log(x), y)["p_value"] < 0.05
    means = y.mean(axis=1)
    miss = means - means @ np.linalg.pinv(design).T @ design.T
    dof = 8 * n_seeds - 3
    pooled = n_seeds * (miss**2).sum(1) + ((y - means[:, None]) ** 2).sum((1, 2))
    q = means @ row
    exact = np.abs(q) > t.ppf(0.975, dof) * np.sqrt(pooled / dof / n_seeds) * np.linalg.norm(row)
    own = (y @ row).std(axis=1, ddof=1)
    paired = np.abs(q) > t.ppf(0.975, n_seeds - 1) * own / np.sqrt(n_seeds)
    lost = exact.astype(float) - flagged
    return {
        "bend": shape, "x_range": span, "exponent": exponent, "n_seeds": n_seeds, "size": size,
        "n": n_trials, "flagged": float(np.mean(flagged)), "exact_rows": float(exact.mean()),
        "exact_seeds": float(paired.mean()), "lost": float(lost.mean()),
        "lost_error": float(lost.std() / np.sqrt(n_trials)),
    }  # fmt: skip


def bound(n_seeds: int, loss: float = 0.03, n_grid: int = 80) -> dict[str, Any]:
    """Least worst false rate over the size of the seeds' own terms, and where it is met."""
    dof = 8 * n_seeds - 3
    sizes = np.concatenate([[0.0], np.geomspace(0.2, 30, 24)])
    a = np.concatenate([np.linspace(0, 9, n_grid), np.geomspace(9.2, 200, 40), [np.inf]])
    share = chi2.ppf(np.linspace(0.004, 0.999, n_grid), n_seeds - 1)
    w = np.geomspace(chi2.ppf(0.9995, n_seeds - 1), 9000 * n_seeds, 40)
    w = np.concatenate([[0.0], share, w, [np.inf]])

    def cells(mean: float, variance: float) -> np.ndarray:
        sd = np.sqrt(variance)
        of_mean = np.diff(norm.cdf((a - mean) / sd) - norm.cdf((-a - mean) / sd))
        return np.outer(of_mean, np.diff(chi2.cdf(w / variance, n_seeds - 1))).ravel()

    false = np.stack([cells(0.0, 1 + s * s) for s in sizes])
    power = np.stack([cells(size, 1.0) for size in SIZES])
    least = [nct.sf(t.ppf(0.975, dof), dof, size) - loss for size in SIZES]
    rows = np.vstack([
        np.hstack([false, -np.ones((len(sizes), 1))]),
        np.hstack([false[:1], [[0.0]]]),  # 5 % where seeds have none
        np.hstack([-power, np.zeros((len(SIZES), 1))]),
    ])  # fmt: skip
    right = np.concatenate([np.zeros(len(sizes)), [0.05], -np.array(least)])
    target = np.zeros(rows.shape[1])
    target[-1] = 1.0
    found = linprog(target, A_ub=rows, b_ub=right, bounds=(0, 1), method="highs")
    worst = int(np.argmax(false @ found.x[:-1]))
    return {"n_seeds": n_seeds, "false_rate": float(found.fun), "at": float(sizes[worst])}


def false_cell(ratio: float, n_seeds: int, n_trials: int) -> dict[str, Any]:
    """How often a bend is flagged where each seed has a quadratic term of its own, mean zero."""
    case = Case({"law": "power", "x": "x"}, "exponent", -0.5, lambda x, _: 3 * x**-0.5)
    v = np.log(case.x) - np.log(case.x).mean()
    line = np.stack([np.ones_like(v), v], axis=1)
    square = v**2 - line @ np.linalg.pinv(line) @ v**2
    square /= np.linalg.norm(square)
    rng = np.random.default_rng([n_seeds, int(100 * ratio)])
    shape = (n_trials, n_seeds)
    errors = rng.normal(size=(*shape, 8)) + ratio * rng.normal(size=(*shape, 1)) * square
    flagged = batch(np.log(case.x), -0.5 * np.log(case.x) + 0.05 * errors)["p_value"] < 0.05
    return {"n_seeds": n_seeds, "ratio": ratio, "n": n_trials, "curved": float(np.mean(flagged))}


def markdown(cells: list[dict[str, Any]], own: list[dict[str, Any]]) -> str:
    """The tables for a reader."""
    lines = [
        "# A planted bend, independent noise",
        "",
        "`size`: the quadratic term over its standard error. `rows`: the exact test among single "
        "rows, `seeds`: among the seeds' own terms. `lost`: flagged by that of rows less by the "
        "verdict, on the same tables, ± its Monte-Carlo error.",
        "",
        "| bend | range of x | exponent | seeds | size | n | flagged | rows | seeds | lost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for c in cells:
        keys = ("bend", "x_range", "exponent", "n_seeds", "size", "n")
        numbers = " | ".join(f"{c[k]:.3f}" for k in ("flagged", "exact_rows", "exact_seeds"))
        lost = f"{c['lost']:.3f} ± {c['lost_error']:.3f}"
        lines.append(f"| {' | '.join(str(c[k]) for k in keys)} | {numbers} | {lost} |")
    lines += [
        "",
        "# Seeds with a bend of their own, mean zero",
        "",
        "`ratio`: its sd over that of noise in the same coefficient. `bound`: the worst false rate "
        "over ratios that any test must have, if it is within .03 of the power of the rows' test.",
        "",
        "| seeds | ratio | n | curved | bound, at ratio |",
        "| --- | --- | --- | --- | --- |",
    ]
    for c in own:
        lines.append(f"| {c['n_seeds']} | {c['ratio']:g} | {c['n']} | {c['curved']:.3f} | "
                     f"{c['bound']:.3f}, {c['bound_at']:.1f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked for, print it and write ``results/bends.json`` and ``.md``."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--trials", type=int, default=10_000)
    ask.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    ask.add_argument("--dry", action="store_true", help="write nothing")
    args = ask.parse_args()
    one_thread()
    where, start = environment(), time.perf_counter()
    cells, own = [], []
    for n_seeds in args.seeds:
        found = bound(n_seeds)
        known = {"bound": found["false_rate"], "bound_at": found["at"]}
        own += [{**false_cell(r, n_seeds, args.trials), **known} for r in (1.0, 2.0, 4.0, 8.0)]
        show("own bends", own)
        for shape, (span, exponent), size in product(SHAPES, RANGES, SIZES):
            cells.append(power_cell(shape, span, exponent, n_seeds, size, args.trials))
            print(cells[-1], flush=True)
    show("planted bends", cells)
    if not args.dry:
        took = {"wall_s": time.perf_counter() - start, "processor_s": time.process_time()}
        save("bends", where, {"trials": args.trials, **took, "bends": cells, "own": own})
        (RESULTS / "bends.md").write_text(markdown(cells, own), encoding="utf-8")


if __name__ == "__main__":
    main()
