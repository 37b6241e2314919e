"""Do the intervals of fits cover what they say, and is a bend flagged as rarely as it should be?

Every cell draws tables of ``n_points`` x and ``n_seeds`` seeds from a law and a model of the noise,
and solves them by the law itself on the points that ``lawsweep fit`` would make of the rows (which
is checked against it on some), or, whole tables of straight laws, all at once (``batch.py``, which
is held to the law on some of each cell).  The noise is in log y (in y for laws of y), so that its
levels are relative ones.  A law joins by an entry in ``LAWS``.  Bends that are there: ``bends.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from batch import batch, compare
from environment import RESULTS, environment, one_thread, save, show

from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.differences import difference
from lawsweep.analysis.laws.fits import fit_columns
from lawsweep.analysis.laws.judging.local_slopes import local_slopes
from lawsweep.analysis.laws.laws import find_law, parse_fits
from lawsweep.analysis.laws.points import Points, within_seeds
from lawsweep.analysis.laws.results import FitResult

LEVEL, SIGMA = 0.95, 0.05
CHECKED = 10  # tables of a cell that the law's own code solves beside ``batch``
TERMS = {"1/x": lambda x: 1 / x, "1": np.ones_like}
COLUMNS = ("x", "x2", "y", "seed", "trial")


@dataclass(frozen=True)
class Case:
    """A law with its true values: the entry, the parameter asked about, and its inputs."""

    entry: Mapping[str, Any]
    parameter: str
    truth: float
    mean: Callable[[Array, Array], Array]  # of x and x2
    log_y: bool = True  # the noise multiplies y
    x: Array = field(default_factory=lambda: np.geomspace(100, 12800, 8))
    x2: Array | None = None


LAWS: dict[str, Case] = {
    "power": Case({"law": "power", "x": "x"}, "exponent", -0.5, lambda x, _: 3 * x**-0.5),
    "exponential": Case(
        {"law": "exponential", "x": "x"},
        "rate", -0.4, lambda x, _: 2 * np.exp(-0.4 * x), x=np.linspace(1, 8, 8),
    ),
    "linear": Case(
        {"law": "linear", "x": "x"},
        "slope", 0.3, lambda x, _: 1 + 0.3 * x, log_y=False, x=np.linspace(0, 5, 8),
    ),
    "terms": Case(
        {"law": "terms", "terms": ["1/x", "1"]},
        "1", 1.0, lambda x, _: 1 + 2 / x, log_y=False, x=np.geomspace(1, 16, 8),
    ),
}  # fmt: skip


def position(x: Array) -> Array:
    """log x, from 0 at the first to 1 at the last: what effects of seeds are functions of."""
    v = np.log(x) if np.all(x > 0) and x.max() / x.min() > 20 else x
    return (v - v.min()) / np.ptp(v)


def smooth(length: float, amplitude: float, noise: float) -> Callable[..., Array]:
    """A Gaussian process of each seed along x, and independent noise."""

    def draw(rng: np.random.Generator, shape: tuple[int, int, int], u: Array) -> Array:
        kernel = np.exp(-((u[:, None] - u) ** 2) / (2 * length**2)) + 1e-10 * np.eye(len(u))
        effect = rng.normal(size=shape) @ np.linalg.cholesky(kernel).T
        return amplitude * effect + noise * rng.normal(size=shape)

    return draw


def along(effect: Callable[[Array], Array], amplitude: float) -> Callable[..., Array]:
    """A multiple of one function of x for each seed, and independent noise."""

    def draw(rng: np.random.Generator, shape: tuple[int, int, int], u: Array) -> Array:
        own = rng.normal(size=(*shape[:2], 1))
        return amplitude * own * effect(u) + SIGMA * rng.normal(size=shape)

    return draw


def growing(ratio: float) -> Callable[..., Array]:
    """Independent noise, ``ratio`` times as large at the last x as at the first."""
    return lambda rng, shape, u: SIGMA * ratio ** (u - 1) * rng.normal(size=shape)


def correlated(kernel: Callable[[Array], Array]) -> Callable[..., Array]:
    """Noise of the given covariance between the points of a seed (of their numbers 0, 1, ...)."""

    def draw(rng: np.random.Generator, shape: tuple[int, int, int], u: Array) -> Array:
        root = np.linalg.cholesky(kernel(np.arange(len(u))))
        return SIGMA * rng.normal(size=shape) @ root.T

    return draw


LOG_RANGE = np.log(128.0)  # of the power law's x: an exponent's sd as an effect over 0 to 1
NOISES: dict[str, Callable[..., Array]] = {
    "independent": growing(1.0),
    "noise grows 3x": growing(3.0),
    "noise grows 10x": growing(10.0),
    "noise grows 100x": growing(100.0),
    "noise falls 10x": lambda rng, shape, u: growing(10.0)(rng, shape, 1 - u),
    "seed offsets .3": along(np.ones_like, 0.3),
    **{
        f"seed exponents {sd:g}": along(lambda u: u - 0.5, sd * LOG_RANGE)
        for sd in (0.02, 0.05, 0.1, 0.2)
    },
    "smooth seeds, length 1": smooth(1.0, 0.1, 0.02),
    "smooth seeds, length .3": smooth(0.3, 0.1, 0.02),
    "smooth seeds and noise": smooth(0.3, 0.05, 0.05),
    "smooth seeds, length .15, and noise": smooth(0.15, 0.05, 0.05),
    # y from the first n draws of one sequence, n doubling: cov of means = 1 / max(n, m).
    "nested draws": correlated(lambda i: 8 / 2.0 ** np.maximum(i[:, None], i)),
    "nested draws, relative": correlated(lambda i: 2.0 ** (-np.abs(i[:, None] - i) / 2)),
    # Not asked for, so that a rule that knows the ones above is seen outside them.
    "AR(1) .5 along x": correlated(lambda i: 0.5 ** np.abs(i[:, None] - i)),
    "alternating seeds": along(lambda u: (-1.0) ** np.arange(len(u)), 0.1),
    "one wild point": lambda rng, shape, u: (
        SIGMA * np.where(np.arange(len(u)) == len(u) // 2, 10, 1) * rng.normal(size=shape)
    ),
    "heavy tails t(3)": lambda rng, shape, u: SIGMA * rng.standard_t(3, size=shape),
    "seeds differ in curvature alone": along(lambda u: 6 * (u - 0.5) ** 2 - 0.5, 0.1),
}

SOME = ("independent", "noise grows 10x", "seed offsets .3", "seed exponents 0.1",
        "smooth seeds, length .3", "nested draws")  # fmt: skip


def covariance_of(noise: Callable[..., Array], u: Array) -> Array:
    """Between the points of a seed, from 200,000 draws (fixed): what the oracle knows."""
    drawn = noise(np.random.default_rng(99), (1, 200_000, len(u)), u)[0]
    return np.asarray(np.cov(drawn.T))


def table(
    case: Case, errors: Array, lost: Array | None = None, mean: Array | None = None
) -> Columns:
    """Errors (n_trials, n_seeds, n_points) as a table of rows; ``lost`` cells have none."""
    import pandas as pd

    trial, seed, point = (i.ravel() for i in np.indices(errors.shape))
    x2 = case.x if case.x2 is None else case.x2
    mean = case.mean(case.x, x2) if mean is None else mean
    y = mean * np.exp(errors) if case.log_y else mean + errors
    frame = pd.DataFrame(
        {"x": case.x[point], "x2": x2[point], "y": y.ravel(), "seed": seed, "trial": trial}
    )
    return Columns(frame if lost is None else frame[~lost.ravel()].reset_index(drop=True))


def spec_of(case: Case) -> Any:
    """The fit that the case asks for."""
    return parse_fits([{**case.entry, "y": "y", "level": LEVEL}], COLUMNS)[0]


def points_of(
    case: Case, errors: Array, there: Array | None = None, mean: Array | None = None
) -> Points:
    """The points of one table, errors (n_seeds, n_points)."""
    spec, x2 = spec_of(case), case.x if case.x2 is None else case.x2
    mean = case.mean(case.x, x2) if mean is None else mean
    values = np.log(mean) + errors if case.log_y else mean + errors
    there = np.ones(errors.shape, dtype=bool) if there is None else there
    seed, point = np.nonzero(there)
    rows = values[there]
    kept, point = np.unique(point, return_inverse=True)
    inputs = {text: TERMS.get(text, lambda x: x)(case.x[kept])
              for _, text in find_law(spec.law).inputs(spec)}  # fmt: skip
    y = np.bincount(point, weights=rows) / np.bincount(point)
    return within_seeds(Points(inputs, y, rows, point, seed))[0]


def solved(case: Case, points: Points) -> FitResult:
    """What the law says of them."""
    spec = spec_of(case)
    found = find_law(spec.law).solve(spec, points)
    facts = {f.name: getattr(found, f.name) for f in fields(found) if f.name != "warnings"}
    return FitResult(spec=spec, group={}, n_points=len(points), n_rows=len(points.replicates),
                     left_out={}, points=points, **facts)  # fmt: skip


def check(case: Case) -> None:
    """The same as the fit of the table, on a few with gaps."""
    rng = np.random.default_rng(0)
    errors = NOISES["seed offsets .3"](rng, (4, 5, len(case.x)), position(case.x))
    lost = rng.random(errors.shape) < 0.1
    spec = parse_fits([{**case.entry, "y": "y", "by": "trial", "level": LEVEL}], COLUMNS)[0]
    for k, whole in enumerate(fit_columns(table(case, errors, lost), spec)):
        own = solved(case, points_of(case, errors[k], ~lost[k]))
        for a, b in zip(whole.parameters, own.parameters, strict=True):
            np.testing.assert_allclose((a.low, a.high), (b.low, b.high), rtol=1e-8)


def oracle_width(case: Case, covariance: Array, n_seeds: int) -> float | None:
    """Width of the interval of least squares for who knows the covariance of the noise."""
    if case.entry["law"] not in ("power", "exponential", "linear", "terms"):
        return None
    one, second = np.ones_like(case.x), case.x
    if case.entry["law"] == "power":
        second = np.log(case.x)
    elif case.entry["law"] == "terms":
        second = 1 / case.x
    row = np.linalg.pinv(np.stack([one, second], axis=1))[0 if case.parameter == "1" else 1]
    return float(2 * 1.959964 * np.sqrt(row @ covariance @ row / n_seeds))


def ends(n_seeds: int, n_points: int) -> Array:
    """Two seeds alone at the last two points."""
    there = np.ones((n_seeds, n_points), dtype=bool)
    there[2:, -2:] = False
    return there


GAPS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "": lambda rng, shape: np.ones(shape, dtype=bool),
    "15% missing": lambda rng, shape: rng.random(shape) > 0.15,
    "two seeds at the end": lambda rng, shape: ends(*shape),
    "one seed at the end": lambda rng, shape: ends(*shape) & (
        (np.arange(shape[0])[:, None] == 0) | (np.arange(shape[1]) < shape[1] - 2)),
}  # fmt: skip


def coverage(
    name: str,
    noise: str,
    n_seeds: int,
    n_trials: int,
    n_solved: int,
    gaps: str = "",
    n_points: int = 8,
) -> dict[str, Any]:
    """One cell: how often the interval holds the truth, and how often a bend is flagged."""
    case = LAWS[name]
    if n_points != 8:
        case = replace(case, x=np.geomspace(case.x[0], case.x[-1], n_points))
    u = position(case.x)
    rng = np.random.default_rng([ord(c) for c in f"{name}{noise}{n_seeds}{gaps}{n_points}"])
    shape = (n_seeds, n_points)
    parts = [NOISES[part](rng, (n_trials, *shape), u) for part in noise.split(" + ")]
    errors = np.sum(parts, axis=0)
    covariance = sum(covariance_of(NOISES[part], u) for part in noise.split(" + "))
    known = oracle_width(case, covariance, n_seeds) if not gaps else None
    said = {
        "law": name,
        "noise": noise
        + (f", {gaps}" if gaps else "")
        + (f", {n_points} points" if n_points != 8 else ""),
        "n_seeds": n_seeds,
    }
    if gaps or name == "terms" or n_points < 4:
        n_trials = min(n_trials, n_solved)
        errors = errors[:n_trials]
        found = [solved(case, points_of(case, e, GAPS[gaps](rng, shape))) for e in errors]
        measured = _of_fits(case, found)
    else:
        v = np.log(case.x) if name == "power" else case.x
        mean = case.mean(case.x, case.x)
        y = (np.log(mean) if case.log_y else mean) + errors
        compare(v, y, [solved(case, points_of(case, e)) for e in errors[:CHECKED]])
        measured = _of_batch(case, batch(v, y, LEVEL), n_seeds)
    width = measured["width"]
    return {**said, **measured, "over_oracle": width / known if known else None}


def _of_batch(case: Case, found: Mapping[str, Array], n_seeds: int) -> dict[str, Any]:
    miss = np.abs(found["slope"] - case.truth)
    half = np.maximum(found["scatter"], found["seeds"])
    return {
        "n": len(miss),
        "covered": float(np.mean(miss <= half)),
        "by_scatter": float(np.mean(miss <= found["scatter"])),
        "by_seeds": float(np.mean(miss <= found["seeds"])) if n_seeds > 1 else None,
        "curved": float(np.mean(found["p_value"] < 1 - LEVEL)),
        "width": float(np.median(2 * half)),
    }


def _of_fits(case: Case, found: list[FitResult]) -> dict[str, Any]:
    good = [f for f in found if f.reason is None]
    parameters = [f[case.parameter] for f in good]
    bends = [f.curved for f in good if f.curvature is not None]

    def share(ends: list[Any]) -> float | None:
        known = [low <= case.truth <= high for low, high in (e for e in ends if e)]
        return float(np.mean(known)) if known else None

    return {
        "n": len(good),
        "covered": share([(p.low, p.high) for p in parameters]),
        "by_scatter": share([p.scatter for p in parameters]),
        "by_seeds": share([p.seeds for p in parameters]),
        "curved": float(np.mean(bends)) if bends else None,
        "width": float(np.median([p.high - p.low for p in parameters])),
    }


def neighbours(noise: str, n_seeds: int, n_trials: int) -> dict[str, Any]:
    """Slopes between neighbours: all seven of a table, the least covered and their mean."""
    case = LAWS["power"]
    u, v = position(case.x), np.log(case.x)
    rng = np.random.default_rng([ord(c) for c in f"neighbours{noise}{n_seeds}"])
    errors = NOISES[noise](rng, (n_trials, n_seeds, 8), u)
    inside = np.array([
        [s.low <= case.truth <= s.high for s in local_slopes(case.x, v, points_of(case, e), LEVEL)]
        for e in errors
    ])  # fmt: skip
    return {"what": "slope between neighbours", "noise": noise, "n_seeds": n_seeds, "n": n_trials,
            "covered": float(inside.mean()), "least": float(inside.mean(axis=0).min())}  # fmt: skip


def pairs(shared: str, n_seeds: int, n_trials: int) -> dict[str, Any]:
    """Two groups with noise of their own and the same effects of the seeds: the difference."""
    case = LAWS["power"]
    u = position(case.x)
    rng = np.random.default_rng([ord(c) for c in f"pairs{shared}{n_seeds}"])
    shape = (n_trials, n_seeds, 8)
    common = NOISES[shared](rng, shape, u) if shared else np.zeros(shape)
    own = [common + SIGMA * rng.normal(size=shape) for _ in range(2)]
    inside, apart, widths = [], [], []
    for one, other in zip(*own, strict=True):
        a, b = (solved(case, points_of(case, e)) for e in (one, other))
        (d,) = difference(a, b, "exponent")
        inside.append(d.low <= 0 <= d.high)
        if d.independent:
            apart.append(d.independent[0] <= 0 <= d.independent[1])
            widths.append((d.independent[1] - d.independent[0]) / (d.high - d.low))
    return {"what": "difference of two exponents", "noise": shared or "independent",
            "n_seeds": n_seeds, "n": n_trials, "covered": float(np.mean(inside)),
            "unpaired": float(np.mean(apart)),
            "unpaired_over_paired": float(np.median(widths))}  # fmt: skip


def _later(found: list[Any]) -> dict[str, Any]:
    """Whether the largest x lay in what the others predict, of the first 200 fits."""
    held = [f.judged.hold_out for f in found[:200]]
    seen = [h["holds"] for h in held if h and "holds" in h]
    return {"hold_out": float(np.mean(seen)) if seen else None}


def markdown(cells: list[dict[str, Any]], others: list[dict[str, Any]]) -> str:
    """The tables for a reader."""
    lines = [
        "# Coverage of the intervals of fits",
        "",
        "`n` tables a cell, 95 % asked; a share p has a Monte-Carlo error of √(p (1 - p) / n): "
        ".005 for .95 of 2,000. `scatter`, `seeds`: each interval alone, of which the wider is "
        "quoted. `curved`: a bend flagged where there is none. `width`: median, over that of least "
        "squares for who knows the noise.",
        "",
        "| law | noise | seeds | n | covered | scatter | seeds | curved | width |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    keys = ("covered", "by_scatter", "by_seeds", "curved", "over_oracle")
    for c in cells:
        numbers = " | ".join("–" if c[k] is None else f"{c[k]:.3f}" for k in keys)
        lines.append(f"| {c['law']} | {c['noise']} | {c['n_seeds']} | {c['n']} | {numbers} |")
    lines += [
        "",
        "# Slopes between neighbours, and differences",
        "",
        "`least`: of the seven slopes. `unpaired`: of two independent estimates, and its median "
        "width over that of the paired one.",
        "",
        "| what | noise | seeds | n | covered | least | unpaired | its width |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for c in others:
        shown = (c.get(k) for k in ("covered", "least", "unpaired", "unpaired_over_paired"))
        numbers = " | ".join("–" if v is None else f"{v:.3f}" for v in shown)
        lines.append(f"| {c['what']} | {c['noise']} | {c['n_seeds']} | {c['n']} | {numbers} |")
    return "\n".join(lines) + "\n"


def cells_of(laws: list[str], noises: list[str], seeds: list[int]) -> list[tuple[Any, ...]]:
    """Arguments of ``coverage``: all noises of the power law, some of others, and odd tables."""
    asked: list[tuple[Any, ...]] = []
    for name in laws:
        # Other laws are the same least squares, and 20 seeds the easy case: some noises tell.
        asked += [
            (name, noise, n_seeds)
            for noise in noises
            for n_seeds in (seeds if name == "power" else [5])
            if noise in SOME or (name == "power" and n_seeds <= 5)
        ]
    if "power" in laws:
        few = ("independent", "seed offsets .3")
        asked += [("power", n, 2) for n in few]
        asked += [("power", n, 1) for n in ("independent", "noise grows 10x")]
        asked += [("power", n, 5, "", 3) for n in few]
        asked += [("power", n, 5, "", 20) for n in ("independent", "smooth seeds, length .3")]
        mixed = "seed offsets .3 + seed exponents 0.05 + noise grows 10x"
        asked += [("power", mixed, n_seeds) for n_seeds in (3, 5)]
        gappy = (*few, "seed exponents 0.1", "smooth seeds, length .3", "noise grows 10x")
        asked += [("power", n, 5, gaps) for gaps in GAPS if gaps for n in gappy]
    return asked


def main() -> None:
    """Run what is asked for, print it and write ``results/coverage.json`` and ``.md``."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--trials", type=int, default=2000)
    ask.add_argument("--laws", nargs="*", default=list(LAWS))
    ask.add_argument("--seeds", nargs="*", type=int, default=[3, 5, 20])
    ask.add_argument("--solved", type=int, default=2000, help="of tables that are solved singly")
    ask.add_argument("--noises", nargs="*", default=list(NOISES))
    ask.add_argument("--dry", action="store_true", help="write nothing")
    args = ask.parse_args()
    one_thread()
    where, start = environment(), time.perf_counter()
    for name in args.laws:
        check(LAWS[name])
    cells = []
    for name, noise, n_seeds, *rest in cells_of(args.laws, args.noises, args.seeds):
        cells.append(coverage(name, noise, n_seeds, args.trials, args.solved, *rest))
        print(cells[-1], flush=True)
    others = []
    if "power" in args.laws:
        others += [neighbours(noise, 5, args.solved) for noise in SOME]
        others += [pairs(shared, 5, args.solved) for shared in ("", "seed exponents 0.1")]
        show("slopes between neighbours", [c for c in others if "least" in c])
        show("differences", [c for c in others if "unpaired" in c])
    show("coverage", cells)
    if not args.dry:
        took = {"wall_s": time.perf_counter() - start, "processor_s": time.process_time()}
        save(
            "coverage", where, {"trials": args.trials, **took, "coverage": cells, "others": others}
        )
        (RESULTS / "coverage.md").write_text(markdown(cells, others), encoding="utf-8")


if __name__ == "__main__":
    main()
