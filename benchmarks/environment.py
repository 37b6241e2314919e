"""What the benchmarks share: where they ran, fair timing, and how figures are kept."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("lawsweep", "torch", "numpy", "ray", "pyarrow", "hydra-core")


def environment() -> dict[str, Any]:
    """Processor, cores, versions, threads and date: nothing that names a machine or a person."""
    import torch

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "n_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := _version(name)) is not None},
        "torch_threads": torch.get_num_threads(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family')}, model {facts.get('model')})"


def one_thread() -> None:
    """Compute with one thread, as a run of a sweep does (executor.cpus_per_task=1)."""
    import torch

    torch.set_num_threads(1)


def compare(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median processor seconds of each, for one thread.

    Processor time leaves out the time that other processes held the core; contestants take turns,
    so that what they share (caches, memory, clock rate) slows all alike.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, function in contestants.items():
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def matmul(n: int = 2000) -> tuple[Callable[[], Any], float]:
    """A large float64 product to time beside the others, and its floating-point operations."""
    import torch

    a, out = torch.randn(n, n, dtype=torch.float64), torch.empty(n, n, dtype=torch.float64)
    return lambda: torch.mm(a, a, out=out), 2.0 * n**3


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of equal keys as a table."""
    cells = [list(rows[0]), *([_text(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    print(f"\n{title}")
    for row in cells:
        print("  " + "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def rounded(value: Any) -> Any:
    """Floats to four digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return value


def save(name: str, where: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write ``results/<name>.json``: the environment beside the figures."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"environment": where, "figures": rounded(figures)}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
