"""Compacting many small parts, and what it does to reading; checking a whole table."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from environment import environment, save, show

from lawsweep import Array, experiment
from lawsweep.core.identity import run_ids
from lawsweep.store.arrays.arrays import ArrayTable
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.parts import encode, part_name
from lawsweep.store.upkeep.compact import compact
from lawsweep.store.upkeep.gc import gc
from lawsweep.store.upkeep.verify import verify


@dataclass(frozen=True, kw_only=True)
class Params:
    input_dim: int
    n_samples: int
    width: int
    rate: float
    kernel: str = "full"
    depth: int = 3


@dataclass(frozen=True, kw_only=True)
class Metrics:
    lambda_min: float
    lambda_max: float
    trace: float
    residual: float
    gradient_norm: float
    n_iterations: int
    stopped: str
    converged: bool
    spectrum: Array | None = None


@experiment(version=1)
def nothing(params: Params, seed: int) -> Metrics:
    """Never run here."""
    raise NotImplementedError


def rows(n: int) -> pa.Table:
    """``n`` rows of 29 columns as a launch would write them, in plan order."""
    rng, i = np.random.default_rng(0), np.arange(n)
    points = -(-n // 10)
    over = {
        "input_dim": 10 + np.arange(points) // 200, "n_samples": 100 + np.arange(points) // 20,
        "width": 20 + np.arange(points) // 200, "rate": np.arange(points) % 200 / 7 + 0.01,
    }  # fmt: skip
    ids = run_ids(nothing, over, points, range(10))[:n]
    real = {name: rng.standard_normal(n) for name in (
        "lambda_min", "lambda_max", "trace", "residual", "gradient_norm")}  # fmt: skip
    columns: dict[str, Any] = {
        "run_id": ids, **{k: np.repeat(v, 10)[:n] for k, v in over.items()}, **real,
        "seed": i % 10, "n_iterations": rng.integers(1, 500, n), "converged": np.ones(n, bool),
        "wall_s": rng.random(n), "peak_memory_bytes": rng.integers(10**8, 2 * 10**8, n),
        "attempt": np.ones(n, dtype=int), "n_threads": np.ones(n, dtype=int),
        "version": np.ones(n, dtype=int), "depth": np.full(n, 3),
        "started_at": pa.array(1_700_000_000_000_000 + i * 1000, type=pa.timestamp("us", tz="UTC")),
    }  # fmt: skip
    texts = {"experiment": "nothing", "kernel": "full", "status": "ok", "stopped": "converged",
             "device": "cpu", "host": "node", "launch_id": "20260101T000000-00000000"}  # fmt: skip
    schema = ParquetTable("unused", nothing).schema
    made = []
    for f in schema:
        if f.name in texts:
            made.append(pa.repeat(pa.scalar(texts[f.name]), n))
        elif f.name in columns:
            made.append(pa.array(columns[f.name]).cast(f.type))
        else:
            made.append(pa.nulls(n, f.type))
    return pa.Table.from_arrays(made, schema=schema)


def timed(function: Any, *words: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    value = function(*words)
    return time.perf_counter() - start, value


def compaction(n: int, n_parts: int) -> dict[str, Any]:
    """Write ``n`` rows in small parts (not timed), compact them, and read before and after."""
    whole, size = rows(n), -(-n // n_parts)
    with tempfile.TemporaryDirectory() as folder:
        table = ParquetTable(f"{folder}/tables", nothing)
        for first in range(0, n, size):
            data = encode(whole.slice(first, size))
            table.folder.write(part_name(data), data, durable=False)
        before = [timed(table.done)[0] for _ in range(3)]
        cpu = time.process_time()
        seconds, (report, *_) = timed(compact, table)
        cpu = time.process_time() - cpu
        after, known = zip(*(timed(table.done) for _ in range(3)), strict=True)
        again, _ = timed(compact, table)
        if len(known[0]) != n or table.skipped or report.skipped:
            raise RuntimeError(f"expected {n} rows, found {len(known[0])}")
    return {
        "rows": n, "parts": report.n_parts_before, "parts_after": report.n_parts_after,
        "compact_s": seconds, "compact_cpu_s": cpu, "again_s": again,
        "scan_before_s": sorted(before)[1], "scan_after_s": sorted(after)[1],
        "bytes_per_row_before": report.bytes_before / n,
        "bytes_per_row_after": report.bytes_after / n,
    }  # fmt: skip


def verification(n: int) -> dict[str, Any]:
    """Check a table of ``n`` rows in one part: content, ids, repeats, arrays, launches."""
    with tempfile.TemporaryDirectory() as folder:
        table = ParquetTable(f"{folder}/tables", nothing)
        data = encode(rows(n))
        table.folder.write(part_name(data), data, durable=False)
        cpu = time.process_time()
        seconds, found = timed(verify, table)
        cpu = time.process_time() - cpu
        wrong = [f for f in found if f.severity == "problem" and f.check != "launches"]
        collect, listed = timed(gc, folder)
        if wrong or listed:
            raise RuntimeError(f"found {wrong} {listed}")
    return {"rows": n, "verify_s": seconds, "verify_cpu_s": cpu, "gc_s": collect}


def spectra(n: int, size: int) -> dict[str, Any]:
    """Append ``n`` arrays of ``size`` numbers, 10 at a time; then read all, and one at a time."""
    rng = np.random.default_rng(0)
    values = list(rng.standard_normal((n, size)))
    keys = [{"run_id": f"{i:032x}", "attempt": 1, "started_at": i} for i in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        table = ArrayTable(f"{folder}/arrays", nothing, "spectrum")
        start = time.perf_counter()
        for i in range(0, n, 10):
            table.append(keys[i : i + 10], values[i : i + 10])
        written = time.perf_counter() - start
        looked, found = timed(table.values)
        walked, total = timed(lambda: sum(float(v[0]) for v in found.values()))
        fresh, some = table.values(), rng.choice(n, 50, replace=False)
        picked, _ = timed(lambda: [fresh[f"{i:032x}"] for i in some.tolist()])
        size_bytes = sum(table.folder.size(name) for name in table.folder.names())
        if not np.isclose(total, sum(v[0] for v in values)):
            raise RuntimeError("read other values than were written")
    return {
        "arrays": n, "numbers_each": size, "append_s": written, "look_s": looked,
        "read_all_s": walked, "read_one_ms": 1e3 * picked / 50,
        "bytes_per_number": size_bytes / (n * size),
    }  # fmt: skip


CHILDREN = {"compaction": compaction, "verification": verification, "spectra": spectra}


def child(verb: str, *numbers: int) -> dict[str, Any]:
    words = [sys.executable, __file__, verb, *map(str, numbers)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    where = environment()
    sizes = ((100_000, 2000), (1_000_000, 2000))
    compactions = [child("compaction", *size) for size in sizes]
    show("Compaction, and the scan that a resume begins with", compactions)
    checks = [child("verification", n) for n in (100_000, 1_000_000)]
    show("Checking and collecting", checks)
    arrays = [child("spectra", *size) for size in ((2000, 1000), (200, 100_000))]
    show("Large arrays beside the rows", arrays)
    figures = {"compaction": compactions, "verification": checks, "arrays": arrays}
    save("compact", where, figures)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(CHILDREN[sys.argv[1]](*map(int, sys.argv[2:]))))
    else:
        main()
