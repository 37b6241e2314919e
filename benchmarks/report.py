"""The report of 10,000 and of a million rows: seconds to make, bytes, and seconds to open.

``report.py [rows ...]``.  Opening is in headless Chromium, where there is one: from the request to
the last chart drawn.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from environment import RESULTS, environment, rounded, save, show

import lawsweep
from lawsweep import Sweep, experiment
from lawsweep.store.table.parquet import ParquetTable

SUPPORT = Path(__file__).parent.parent / "tests" / "support"
BATCH, POINTS = 20_000, 1000


@dataclass(frozen=True, kw_only=True)
class Params:
    n_samples: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    gap: float


def many(params: Params, seed: int) -> Metrics:
    """Never called: its rows are made here."""
    raise NotImplementedError


MANY = experiment(version=1)(many)


def sweep(n_rows: int) -> Sweep:
    return Sweep(
        name="many",
        experiment=MANY,
        axes={"n_samples": [round(20 * 1.03**k) + k for k in range(100)],
              "width": [2**k for k in range(4, 14)]},
        seeds=n_rows // POINTS,
        executor={"kind": "serial"},
        fits=({"law": "power", "x": "n_samples", "y": "gap", "by": "width"},),
        figures=(
            {"kind": "curve", "x": "n_samples", "y": "gap", "by": "width", "fit": "power"},
            {"kind": "scatter", "x": "n_samples", "y": "gap", "logx": True, "logy": True},
        ),
    )  # fmt: skip


def fill(study: Any) -> None:
    """Write a row a planned run: a power law times lognormal noise."""
    plan, table = study.plan, ParquetTable(study.sweep.tables, study.plan.experiment)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    for start in range(0, len(plan), BATCH):
        draw = np.random.default_rng(start)
        rows = []
        for i in range(start, min(start + BATCH, len(plan))):
            params = plan.params_of(i)
            noise = float(np.exp(0.2 * draw.standard_normal()))
            rows.append({
                "run_id": plan.run_ids[i], "experiment": "many", "version": 1, **params,
                "seed": plan.seed_of(i), "status": "ok",
                "gap": params["n_samples"] ** -0.5 * params["width"] ** 0.1 * noise,
                "wall_s": 0.1, "attempt": 1, "device": "cpu", "host": "node", "n_threads": 1,
                "launch_id": "20260101T000000-00000000", "started_at": begun,
            })  # fmt: skip
        table.append(rows)


def seconds_to_open(page: Path) -> float | None:
    """From the request to the last chart drawn; None without a browser."""
    sys.path.insert(0, str(SUPPORT))
    import browser

    if browser.CHROMIUM is None or browser.DRIVER is None:
        return None
    with tempfile.TemporaryDirectory() as profile:
        driver = browser.open_browser(profile)
        try:
            took = []
            for _ in range(3):
                driver.get("about:blank")
                begun = time.perf_counter()
                browser.visit(driver, page.as_uri())
                took.append(time.perf_counter() - begun)
            return sorted(took)[1]
        finally:
            driver.quit()


def measure(n_rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        fill(lawsweep.open(sweep(n_rows)))
        study = lawsweep.open(sweep(n_rows))
        begun = time.perf_counter()
        page = Path(study.report()).resolve()
        made_s = time.perf_counter() - begun
        text = page.read_text(encoding="utf-8")
        found = {
            "n_rows": n_rows,
            "made_s": made_s,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "page_mb": page.stat().st_size / 1e6,
            "open_s": seconds_to_open(page),
            "says_so": text.count("drawn as means of") + text.count("of them drawn"),
        }
        os.chdir(RESULTS)
        return found


def main() -> None:
    where = environment()
    sizes = sorted(int(word) for word in sys.argv[1:]) or [10_000, 1_000_000]
    figures = {f"rows_{n}": measure(n) for n in sizes}  # the peak of memory is the largest so far
    for title, row in figures.items():
        show(title, [rounded(row)])
    save("report", where, figures)


if __name__ == "__main__":
    main()
