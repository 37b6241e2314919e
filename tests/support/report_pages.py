"""Pages of made-up sweeps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lawsweep.analysis.figures.kinds import find_kind, parse_figures
from lawsweep.analysis.frames import Columns
from lawsweep.analysis.laws.fits import fit
from lawsweep.analysis.laws.laws import parse_fits
from lawsweep.analysis.report.charts import page_chart
from lawsweep.analysis.report.facts import Cost, Drawing, Facts, Failures

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">\u2028'\"&"
CURVE = {"kind": "curve", "x": "n", "y": "y", "by": "kind", "fit": "power"}


def rows(kinds=("plain", "other"), levels=(10, 20, 40, 80, 160), seeds=5):
    """y = n^1.5 (times 2 for the second kind) times lognormal noise of each seed and point."""
    draw = np.random.default_rng(7)
    made = [
        {"run_id": f"{draw.integers(2**62):032x}", "kind": kind, "n": n, "seed": seed,
         "y": (1 + k) * n**1.5 * float(np.exp(0.05 * draw.standard_normal())), "status": "ok"}
        for k, kind in enumerate(kinds) for n in levels for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(made)


def chart_of(frame, entry=CURVE, **known):
    (spec,) = parse_figures([entry], list(frame.columns), **known)
    columns = Columns(frame)
    return page_chart(find_kind(spec.kind).chart(columns, spec, None), columns, spec)


def facts(frame=None, entry=CURVE, **changes):
    frame = rows() if frame is None else frame
    specs = parse_fits([{"law": "power", "x": "n", "y": "y", "by": "kind"}], list(frame.columns))
    given = {
        "name": "made up", "typed": "made_up seeds=5", "planned": len(frame),
        "certificate": f"{len(frame)} planned: {len(frame)} ok", "statuses": {"ok": len(frame)},
        "running": 0, "experiment": "Experiment made_up, version 1.", "notes": [], "gaps": [],
        "following": [("To see more.", "lawsweep run made_up seeds=20")], "found": [],
        "fits": fit(frame, specs[0]), "no_fits": None,
        "figures": [Drawing("curve_y", chart_of(frame, entry), None, ("figures/curve_y.pdf",))],
        "not_drawn": [], "failures": [Failures("oom", "too large", 3, "ab" * 16)],
        "costs": [Cost("cpu", len(frame), 12.5, 0.25, 2.0)], "rest_s": 60.0,
        "columns": [("n", "", "how many")],
        "launches": [{"launch_id": "20260101T000000-00000000", "command": "lawsweep run made_up"}],
        "tables": {"csv": "fit,parameter\n"},
    }  # fmt: skip
    return Facts(**{**given, **changes})
