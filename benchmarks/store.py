"""The table: a million rows (bytes, resume, DuckDB), and four drivers that append at once.

All of it, or one part: ``store.py [rows] [local] [s3]``.  The object store is moto's server on
loopback, in Python: its rows a second say what the protocol costs there, not on S3.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, make_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from environment import RESULTS, environment, rounded, save, show

from lawsweep import experiment
from lawsweep.store.places.find import open_folder
from lawsweep.store.table.parquet import ParquetTable

SUPPORT = Path(__file__).parent.parent / "tests" / "support"
N_ROWS, BATCH = 1_000_000, 20_000  # the committer writes at most so many rows at a time
N_FLOATS = 10
DRIVERS, SECONDS = 4, 60.0


@dataclass(frozen=True, kw_only=True)
class Params:
    n_samples: int
    input_dim: int
    rate: float
    activation: str = "sigmoid"
    depth: int = 3


Metrics = make_dataclass(
    "Metrics", [(f"metric_{i}", float) for i in range(N_FLOATS)], frozen=True, kw_only=True
)


def wide(params: Params, seed: int) -> Any:
    """Never called: its rows are made here."""


wide.__annotations__["return"] = Metrics
WIDE = experiment(version=1)(wide)


def rows(start: int, n: int) -> list[dict[str, Any]]:
    """Rows as a sweep of 20 x 50 points, many seeds, leaves them; its floats are random bits."""
    draw = np.random.default_rng(start)
    values, ids = draw.standard_normal((n, N_FLOATS)), draw.bytes(16 * n).hex()
    wall = draw.gamma(2.0, 0.1, n)
    begun = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=start * 0.05)
    made = []
    for i in range(n):
        k = start + i
        made.append(
            {
                "run_id": ids[32 * i : 32 * i + 32], "experiment": "wide", "version": 1,
                "n_samples": 100 * (k // 50_000), "input_dim": 10 * (k // 1000 % 50),
                "rate": 0.1 * (k // 1000 % 50), "activation": "sigmoid", "depth": 3,
                "seed": k % 1000, "status": "ok", "wall_s": float(wall[i]),
                "peak_memory_bytes": 200_000_000 + 4096 * (k % 97), "attempt": 1, "device": "cpu",
                "host": f"node{k % 8}", "n_threads": 1, "launch_id": "20260101T000000-00000000",
                "started_at": begun + timedelta(seconds=float(0.05 * i + wall[i])),
                **{f"metric_{j}": float(values[i, j]) for j in range(N_FLOATS)},
            }
        )  # fmt: skip
    return made


def million(folder: Path) -> dict[str, Any]:
    """Write them as the committer does, then read them as resume, export and DuckDB do."""
    table, ids, write_s = ParquetTable(folder, WIDE), [], 0.0
    for start in range(0, N_ROWS, BATCH):
        batch = rows(start, BATCH)
        ids += [r["run_id"] for r in batch]
        begun = time.monotonic()
        table.append(batch)
        write_s += time.monotonic() - begun
    sizes = [table.folder.size(n) for n in table.parts()]
    a_row = sum(sizes) / N_ROWS
    fresh = ParquetTable(folder, WIDE)
    begun_cpu = time.process_time()
    resume_s, known = timed(lambda: fresh.done(ids))
    resume_cpu_s = time.process_time() - begun_cpu
    read_s, read = timed(fresh.read)
    query = f"SELECT n_samples, avg(metric_0) FROM '{fresh.folder}/part-*.parquet' GROUP BY ALL"
    duckdb_s, found = timed(lambda: duckdb.sql(query).fetchall())
    if len(known) != N_ROWS or read.num_rows != N_ROWS or len(found) != 20:
        raise RuntimeError(f"{len(known)} known, {read.num_rows} read, {len(found)} groups")
    return {
        "rows": N_ROWS,
        "columns": read.num_columns,
        "parts": len(sizes),
        "bytes_a_row": a_row,
        "beyond_float_metrics": a_row - 8 * N_FLOATS,
        "rows_per_s_written": N_ROWS / write_s,
        "resume_s": resume_s,
        "resume_cpu_s": resume_cpu_s,
        "read_whole_s": read_s,
        "duckdb_group_by_s": duckdb_s,
    }


def timed(call: Any) -> tuple[float, Any]:
    start = time.monotonic()
    found = call()
    return time.monotonic() - start, found


def drivers(url: str, scratch: Path) -> dict[str, Any]:
    """Four processes append for a minute; what they were told is durable is looked for."""
    sys.path.insert(0, str(SUPPORT))
    from toys import toy

    outputs = [scratch / f"driver{i}.txt" for i in range(DRIVERS)]
    with contextlib.ExitStack() as stack:
        running = [
            subprocess.Popen(
                [sys.executable, SUPPORT / "driver.py", url, p.stem, str(SECONDS)],
                stdout=stack.enter_context(p.open("wb")),
            )
            for p in outputs
        ]
        for process in running:
            if process.wait() != 0:
                raise RuntimeError(f"a driver ended with code {process.returncode}")
    told = [x for p in outputs for x in p.read_text(encoding="utf-8").split()]
    table = ParquetTable(url, toy)
    found = table.read()["run_id"].to_pylist()
    return {
        "drivers": DRIVERS,
        "seconds": SECONDS,
        "appends": len(told) // 4,
        "rows_acknowledged": len(told),
        "distinct_runs": len(set(told)),
        "lost": len(set(told) - set(found)),
        "doubled": len(found) - len(set(found)),
        "skipped_files": len(table.skipped),
        "parts_left": len(table.parts()),
    }


def main() -> None:
    where, wanted = environment(), sys.argv[1:] or ["rows", "local", "s3"]
    path = RESULTS / "store.json"
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if "rows" in wanted:
            figures["million_rows"] = million(scratch / "tables")
        if "local" in wanted:
            figures["drivers_local"] = drivers(str(scratch / "many"), scratch)
        if "s3" in wanted:
            sys.path.insert(0, str(SUPPORT))
            from object_store import KEYS, make_bucket, s3_server

            os.environ |= KEYS
            with s3_server() as endpoint:
                url = (open_folder(make_bucket(endpoint)) / "tables").url
                figures["drivers_s3"] = drivers(url, scratch)
    for title, row in figures.items():
        show(title, [rounded(row)])
    save("store", where, figures)


if __name__ == "__main__":
    main()
