"""Is the plan's guess of the paper's phase diagram right?  Checked on a tenth of its cells.

    python benchmarks/diagram.py [ONE_IN [DRAWS [FOLDER]]]

The cells of ``memorization_phase preset=paper`` in the order of their expected time: every
ONE_IN-th of them (10), with DRAWS of its ten draws (3), is planned on an empty table, then run.
Cells differ a thousandfold, and the sample has some of every size.  What the whole would take is
its guess times the sample's ratio of measured to guessed, with the standard error of a ratio
estimate.

In FOLDER rows stay: a sample that was broken off goes on, by the same command on the same code (the
cost function chooses the cells).  Then the launch is only the last part, so the ratio is that of
the runs' own seconds.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from typing import Any

import numpy as np
from environment import environment, save, show

import lawsweep
from lawsweep import load_sweep
from lawsweep.grid.sweep import Sweep
from lawsweep.study.planning import PlanView

DIAGRAM = ("memorization_phase", "preset=paper", "figures=[]")


def cell_seconds(view: PlanView) -> np.ndarray:
    """Expected seconds of each cell, all draws together, (n_cells,)."""
    return view.seconds.reshape(view.plan.n_points, len(view.plan.seeds)).sum(1)


def sample(view: PlanView, one_in: int, draws: int, folder: str) -> Sweep:
    """The same sweep over some of its cells and draws."""
    chosen = np.argsort(cell_seconds(view), kind="stable")[one_in // 2 :: one_in]
    points = {n: view.plan.params[n][chosen].tolist() for n in ("n_samples", "input_dim")}
    whole = load_sweep(*DIAGRAM, f"results_dir={folder}", f"seeds={draws}")
    return dataclasses.replace(whole, axes=[{"points": points}], where=())


def main(one_in: int, draws: int, folder: str) -> None:
    where = environment()
    with tempfile.TemporaryDirectory() as empty:
        whole = lawsweep.open(DIAGRAM[0], *DIAGRAM[1:], f"results_dir={empty}").preview()
        guessed = lawsweep.open(sample(whole, one_in, draws, empty)).preview()
    sweep = sample(whole, one_in, draws, folder)
    report = lawsweep.run(sweep)
    rows = lawsweep.load(sweep)
    if set(rows["status"]) != {"ok"}:
        raise RuntimeError(f"expected rows that are ok, got {rows['status'].value_counts()}")
    cells = rows.groupby(["n_samples", "input_dim"], sort=False)["wall_s"].sum()
    plan = guessed.plan.params
    keys = list(zip(plan["n_samples"].tolist(), plan["input_dim"].tolist(), strict=True))
    measured = cells.astype(float)[keys].to_numpy()
    expected = cell_seconds(guessed)
    ratio = measured.sum() / expected.sum()
    off = measured - ratio * expected
    error = np.sqrt((off**2).sum() * len(off) / (len(off) - 1)) / expected.sum()
    slots, whole_h = guessed.n_slots, whole.schedule.makespan_s / 3600
    figures: dict[str, Any] = {
        "cells": len(keys),
        "draws": draws,
        "cells_of_the_whole": whole.plan.n_points,
        "share_of_the_whole": float(expected.sum() / cell_seconds(whole).sum()),
        "guessed_s": guessed.schedule.makespan_s,
        "runs_over_slots_s": float(measured.sum() / slots),
        "launch_s": report.wall_s,
        "runs_in_this_launch": sum(report.statuses.values()),
        "measured_over_guessed": float(ratio),
        "standard_error": float(error),
        "whole_guessed_h": whole_h,
        "whole_by_the_sample_h": [float(whole_h * (ratio + k * error)) for k in (-1, 0, 1)],
    }
    by_size = [
        {
            "cells": len(part),
            "guessed_s": float(expected[part].sum() / slots),
            "measured_s": float(measured[part].sum() / slots),
            "ratio": float(measured[part].sum() / expected[part].sum()),
        }
        for part in np.array_split(np.argsort(expected), 4)
    ]
    show("The diagram's guess, checked on a sample", [figures])
    show("A quarter of the cells each, the quickest first", by_size)
    save("diagram", where, {"sample": figures, "by_size": by_size})


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    divisor, n_draws = *given, *(10, 3)[len(given) :]
    if len(sys.argv) > 3:
        main(divisor, n_draws, sys.argv[3])
    else:
        with tempfile.TemporaryDirectory() as kept:
            main(divisor, n_draws, kept)
