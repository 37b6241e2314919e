"""Do the intervals of fits cover what they say, and is a bend flagged as rarely and as often?

Every cell draws tables of ``n_points`` x and ``n_seeds`` seeds from a law and a model of the noise,
and fits them by ``fit_columns``, as ``lawsweep fit`` does.  The noise is in log y (in y for laws of
y), so that its levels are relative ones.  A law joins by an entry in ``LAWS``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from environment import RESULTS, environment, one_thread, save, show
from scipy.stats import nct, t

from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.fits import fit_columns
from lawsweep.analysis.laws.laws import parse_fits

LEVEL, SIGMA = 0.95, 0.05
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


def fits(case: Case, columns: Columns) -> list[Any]:
    """The fits of all trials."""
    entry = {**case.entry, "y": "y", "by": "trial", "level": LEVEL}
    (spec,) = parse_fits([entry], COLUMNS)
    return fit_columns(columns, spec)


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


def coverage(
    name: str, noise: str, n_seeds: int, n_trials: int, gaps: float = 0.0
) -> dict[str, Any]:
    """One cell: how often the interval holds the truth, and how often a bend is flagged."""
    case = LAWS[name]
    u = position(case.x)
    key = [ord(c) for c in f"{name}{noise}{n_seeds}{gaps}"]
    rng = np.random.default_rng(key)
    errors = NOISES[noise](rng, (n_trials, n_seeds, len(case.x)), u)
    lost = rng.random(errors.shape) < gaps if gaps else None
    found = fits(case, table(case, errors, lost))
    good = [f for f in found if f.reason is None]
    parameters = [f[case.parameter] for f in good]
    width = float(np.median([p.high - p.low for p in parameters]))
    known = oracle_width(case, covariance_of(NOISES[noise], u), n_seeds)
    inside = [p.low <= case.truth <= p.high for p in parameters]
    scatter = [p.scatter[0] <= case.truth <= p.scatter[1] for p in parameters if p.scatter]
    bends = [f.curved for f in good if f.curvature is not None]
    return {
        "law": name,
        "noise": noise + (f", {gaps:.0%} missing" if gaps else ""),
        "n_seeds": n_seeds,
        "n": len(good),
        "covered": float(np.mean(inside)),
        "by_scatter": float(np.mean(scatter)) if scatter else None,
        "curved": float(np.mean(bends)) if bends else None,
        "width": width,
        "over_oracle": width / known if known else None,
        **_later(good),
    }


def _later(found: list[Any]) -> dict[str, Any]:
    """Whether the largest x lay in what the others predict, of the first 200 fits."""
    held = [f.judged.hold_out for f in found[:200]]
    seen = [h["holds"] for h in held if h and "holds" in h]
    return {"hold_out": float(np.mean(seen)) if seen else None}


def power_cell(
    shape: str, span: float, exponent: float, n_seeds: int, size: float, n_trials: int
) -> dict[str, Any]:
    """How often a planted bend is flagged, beside the exact tests that know the kind of noise.

    ``size`` is the quadratic term over its standard error for who knows sigma.  Reference: the t
    test of the quadratic term among single rows, with the n S - 3 degrees of freedom that
    independent noise of one size gives (exact there up to the bend's own remainder), and that
    among the seeds' own terms, t(S - 1), exact for whatever seeds share.
    """
    x = np.geomspace(100, 100 * span, 8)
    base = x**-exponent
    far = x[0] ** -exponent * 0.5
    bent = base + (far if shape == "offset" else far * (x / x[0]) ** (-exponent / 3))
    v = np.log(x) - np.log(x).mean()
    row = np.linalg.pinv(np.stack([np.ones_like(v), v, v**2], axis=1))[2]
    error = size and abs(row @ np.log(bent)) / size  # of the quadratic term of the means
    sigma = error * np.sqrt(n_seeds) / np.linalg.norm(row)
    case = Case({"law": "power", "x": "x"}, "exponent", 0.0, lambda x, _: x, x=x)
    rng = np.random.default_rng([ord(c) for c in f"{shape}{span}{exponent}{n_seeds}{size}"])
    errors = sigma * rng.normal(size=(n_trials, n_seeds, 8))
    found = fits(case, table(case, errors, mean=bent))
    y = np.log(bent) + errors
    design = np.stack([np.ones_like(v), v, v**2], axis=1)
    means = y.mean(axis=1)
    miss = means - means @ np.linalg.pinv(design).T @ design.T
    dof = 8 * n_seeds - 3
    pooled = n_seeds * (miss**2).sum(1) + ((y - means[:, None]) ** 2).sum((1, 2))
    q = means @ row
    exact = np.abs(q) > t.ppf(0.975, dof) * np.sqrt(pooled / dof / n_seeds) * np.linalg.norm(row)
    own = y @ row
    paired = np.abs(q) > t.ppf(0.975, n_seeds - 1) * own.std(axis=1, ddof=1) / np.sqrt(n_seeds)
    scatter = np.sqrt((miss**2).sum(1) / 5) * np.linalg.norm(row)
    old = np.abs(q) > t.ppf(0.975, 5) * scatter
    return {
        "bend": shape, "x_range": span, "exponent": exponent, "n_seeds": n_seeds, "size": size,
        "n": len(found),
        "flagged": float(np.mean([f.curved for f in found])),
        "exact_rows": float(np.mean(exact)), "exact_seeds": float(np.mean(paired)),
        "scatter_of_points": float(np.mean(old)),
        "ideal": float(nct.sf(t.ppf(0.975, dof), dof, size)),
    }  # fmt: skip


def markdown(cells: list[dict[str, Any]], flagged: list[dict[str, Any]]) -> str:
    """The tables for a reader."""
    lines = [
        "# Coverage of the intervals of fits",
        "",
        "`n` tables a cell, 95 % asked; a share of .95 has a Monte-Carlo error of .22 / sqrt(n), "
        ".005 for 2000. `by scatter`: the interval without the seeds. `curved`: a bend flagged "
        "where there is none. `width`: median, over that of least squares for who knows the noise. "
        "`hold-out`: the largest x within what the others predict (of 200).",
        "",
        "| law | noise | seeds | n | covered | by scatter | curved | width | hold-out |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for c in cells:
        shown = (c["covered"], c["by_scatter"], c["curved"], c["over_oracle"], c["hold_out"])
        numbers = " | ".join("–" if v is None else f"{v:.3f}" for v in shown)
        lines.append(f"| {c['law']} | {c['noise']} | {c['n_seeds']} | {c['n']} | {numbers} |")
    lines += [
        "",
        "# A planted bend, independent noise",
        "",
        "8 points; `n` tables a cell; `size`: the quadratic term over its standard "
        "error. `rows`: t test with 8 S - 3 degrees of freedom, `seeds`: with S - 1, `points`: "
        "with 5.",
        "",
        "| bend | range of x | exponent | seeds | size | n | flagged | rows | seeds | points |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for c in flagged:
        numbers = " | ".join(
            f"{c[k]:.3f}" for k in ("flagged", "exact_rows", "exact_seeds", "scatter_of_points")
        )
        keys = ("bend", "x_range", "exponent", "n_seeds", "size", "n")
        lines.append(f"| {' | '.join(str(c[k]) for k in keys)} | {numbers} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked for, print it and write ``results/coverage.json`` and ``.md``."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--trials", type=int, default=2000)
    ask.add_argument("--laws", nargs="*", default=list(LAWS))
    ask.add_argument("--seeds", nargs="*", type=int, default=[3, 5, 20])
    ask.add_argument("--noises", nargs="*", default=list(NOISES))
    ask.add_argument("--dry", action="store_true", help="write nothing")
    args = ask.parse_args()
    one_thread()
    where, start = environment(), time.perf_counter()
    cells = []
    for name in args.laws:
        # Other laws are the same least squares, and 20 seeds the easy case: some noises tell.
        for noise in args.noises:
            for n_seeds in args.seeds if name == "power" else [5]:
                if noise not in SOME and (name != "power" or n_seeds > 5):
                    continue
                cells.append(coverage(name, noise, n_seeds, args.trials))
                print(cells[-1], flush=True)
    if "power" in args.laws:
        cells += [coverage("power", n, 2, args.trials) for n in ("independent", "seed offsets .3")]
        cells += [coverage("power", n, 1, args.trials) for n in ("independent", "noise grows 10x")]
        cells += [
            coverage("power", n, 5, args.trials, gaps=0.15)
            for n in ("independent", "seed exponents 0.1", "smooth seeds, length .3")
        ]
    flagged = []
    if "power" in args.laws:
        for shape in ("offset", "two terms"):
            for span, exponent in ((10, 1.0), (1000, 0.5)):
                for n_seeds in (3, 5, 20):
                    for size in (3.0, 4.5):
                        cell = (shape, span, exponent, n_seeds, size)
                        flagged.append(power_cell(*cell, args.trials // 2))
    show("coverage", cells)
    if flagged:
        show("planted bends", flagged)
    if not args.dry:
        took = time.perf_counter() - start
        save("coverage", where, {"trials": args.trials, "wall_s": took,
                                 "coverage": cells, "bends": flagged})  # fmt: skip
        text = markdown(cells, flagged)
        (RESULTS / "coverage.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
