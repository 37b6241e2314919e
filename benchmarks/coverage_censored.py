"""Do the intervals of a power law cover where some of its rows are only bounds?

Tables of ``x`` and seeds from y = C x^a with a noise in log y, of which the far end is censored: at
a floor (upper bounds of a decay), at a budget (lower bounds of a growth), or as each seed's own
floor.  ``share`` of the law lies beyond.  Fitted by ``fit_columns``, as ``lawsweep fit`` does;
beside it stand leaving such rows out, and taking them for values.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from environment import RESULTS, environment, one_thread, save

from lawsweep.analysis.frames import Array, Columns
from lawsweep.analysis.laws.fits import fit_columns
from lawsweep.analysis.laws.laws import parse_fits

LEVEL = 0.95


@dataclass(frozen=True)
class Cell:
    """One setting: how many seeds and points, what is beyond, and what the noise is.

    Standard deviations of log y: ``noise`` of a row, ``offset`` and ``slope`` (at the ends of x) of
    a seed, ``misfit`` of a point about the law; ``growth``: the noise goes from e^-g to e^g.
    """

    seeds: int
    points: int
    share: float
    noise: float = 0.3
    offset: float = 0.0
    slope: float = 0.0
    growth: float = 0.0
    misfit: float = 0.0
    side: str = "floor"

    def text(self) -> str:
        """What differs from independent noise."""
        parts = [f"{k} {getattr(self, k):g}" for k in ("offset", "slope", "growth", "misfit")
                 if getattr(self, k)]  # fmt: skip
        return ", ".join([*parts, *([self.side] if self.side != "floor" else [])]) or "independent"


CELLS = [
    Cell(1, 10, 0.4),
    Cell(3, 8, 0.1),
    Cell(3, 8, 0.3),
    Cell(3, 10, 0.6),
    Cell(5, 8, 0.4, side="budget"),
    Cell(20, 8, 0.4),
    Cell(3, 10, 0.4, offset=1.0, noise=0.1),
    Cell(3, 10, 0.4, offset=0.3, slope=0.3),
    Cell(5, 10, 0.3, slope=0.6),
    Cell(20, 8, 0.6, offset=0.5, slope=0.2),
    Cell(5, 10, 0.4, growth=1.0),
    Cell(5, 10, 0.4, growth=-0.7),
    Cell(20, 8, 0.3, misfit=0.1),
    Cell(5, 10, 0.4, offset=0.3, side="ragged floor"),
]


def tables(cell: Cell, n_trials: int) -> pd.DataFrame:
    """Rows of all trials: x, y (a bound where ``bound``), seed, trial."""
    rng = np.random.default_rng([ord(c) for c in repr(cell)])
    x = np.geomspace(10, 1280, cell.points)
    v = np.log(x) - np.log(x).mean()
    u = v / v.max()
    shape = (n_trials, cell.seeds, cell.points)
    exponent = 0.5 if cell.side == "budget" else -0.5
    log_y = exponent * v + cell.noise * np.exp(cell.growth * u) * rng.normal(size=shape)
    log_y += cell.offset * rng.normal(size=(*shape[:2], 1))
    log_y += cell.slope * u * rng.normal(size=(*shape[:2], 1))
    log_y += cell.misfit * rng.normal(size=(n_trials, 1, cell.points))
    limit: Any = float(np.quantile(exponent * v, 1 - cell.share if exponent > 0 else cell.share))
    if cell.side == "ragged floor":
        limit = limit + 0.5 * rng.normal(size=(*shape[:2], 1))
    limit = np.broadcast_to(limit, shape)
    beyond = log_y >= limit if exponent > 0 else log_y <= limit
    trial, seed, point = (i.ravel() for i in np.indices(shape))
    shown = np.where(beyond, limit, log_y).ravel()
    return pd.DataFrame({"x": x[point], "y": np.exp(shown), "bound": beyond.ravel(),
                         "seed": seed, "trial": trial})  # fmt: skip


def fits(frame: pd.DataFrame, **entry: Any) -> list[Any]:
    """The fits of all trials that have one."""
    entry = {"law": "power", "x": "x", "y": "y", "by": "trial", "level": LEVEL, **entry}
    (spec,) = parse_fits([entry], list(frame))
    return [f for f in fit_columns(Columns(frame), spec) if f.reason is None]


def told(found: list[Any], truth: float) -> dict[str, Any]:
    """How often the interval holds the exponent, and how wide it is."""
    parameters = [f["exponent"] for f in found]
    inside = [p.low <= truth <= p.high for p in parameters]
    return {
        "n": len(found),
        "covered": float(np.mean(inside)),
        "bias": float(np.mean([p.estimate for p in parameters]) - truth),
        "sd": float(np.std([p.estimate for p in parameters])),
        "width": float(np.median([p.high - p.low for p in parameters])),
    }


def measured(cell: Cell, n_trials: int) -> dict[str, Any]:
    """One cell of the table."""
    frame, truth = tables(cell, n_trials), 0.5 if cell.side == "budget" else -0.5
    key = "censored_above" if cell.side == "budget" else "censored"
    start = time.process_time()
    found = fits(frame, **{key: "bound"})
    seconds = (time.process_time() - start) / n_trials
    bends = [f.curved for f in found if f.curvature is not None]
    scatter: list[Array | bool] = [
        p.scatter[0] <= truth <= p.scatter[1] for p in (f["exponent"] for f in found)
    ]
    return {
        "noise": cell.text(),
        "seeds": cell.seeds,
        "points": cell.points,
        "beyond": cell.share,
        "censored": float(frame["bound"].mean()),
        **told(found, truth),
        "by_scatter": float(np.mean(scatter)),
        "curved": float(np.mean(bends)) if bends else None,
        "s_per_fit": seconds,
        "left_out": told(fits(frame[~frame["bound"]].reset_index(drop=True)), truth),
        "as_values": told(fits(frame), truth),
    }


def markdown(cells: list[Mapping[str, Any]], n_trials: int) -> str:
    """The table for a reader."""
    error = np.sqrt(LEVEL * (1 - LEVEL) / n_trials)
    lines = [
        "# Coverage of the exponent where the far end is censored",
        "",
        f"{n_trials} tables a cell, 95 % asked: a share of .95 has a Monte-Carlo error of "
        f"{error:.3f}. `censored`: rows that are bounds. `covered`: the interval that is quoted; "
        "`scatter`: that without the seeds; `curved`: a bend flagged where there is none. The last "
        "columns: the same rows with bounds left out, and taken for values.",
        "",
        "| noise | seeds | points | censored | covered | scatter | curved | bias | sd | width | "
        "left out: covered, bias | as values: covered, bias |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for c in cells:
        curved = "–" if c["curved"] is None else f"{c['curved']:.3f}"
        others = " | ".join(f"{c[k]['covered']:.3f}, {c[k]['bias']:+.3f}"
                            for k in ("left_out", "as_values"))  # fmt: skip
        lines.append(
            f"| {c['noise']} | {c['seeds']} | {c['points']} | {c['censored']:.2f} | "
            f"{c['covered']:.3f} | {c['by_scatter']:.3f} | {curved} | {c['bias']:+.3f} | "
            f"{c['sd']:.3f} | {c['width']:.3f} | {others} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked for, print it and write ``results/coverage_censored.json`` and ``.md``."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--trials", type=int, default=400)
    ask.add_argument("--dry", action="store_true", help="write nothing")
    args = ask.parse_args()
    one_thread()
    where, start = environment(), time.perf_counter()
    cells = []
    for cell in CELLS:
        cells.append(measured(cell, args.trials))
        print(cells[-1], flush=True)
    text = markdown(cells, args.trials)
    print(text)
    if not args.dry:
        found = {"trials": args.trials, "cells": cells, "wall_s": time.perf_counter() - start}
        save("coverage_censored", where, found)
        (RESULTS / "coverage_censored.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
