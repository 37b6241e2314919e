"""What the engine adds: ``lawsweep run`` on Ray with runs that do nothing, or sleep.

    python benchmarks/engine.py [N_RUNS]

Seconds to the first result count from the start of the command to a row that is on the disk, so
the interpreter's start, imports, the plan and the worker's start are in them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from environment import environment, save, show

COMMAND = Path(sys.executable).parent / "lawsweep"


def launch(folder: Path, name: str, n_runs: int, sleep_s: float, *words: str) -> dict[str, Any]:
    """Run a sweep of its own in ``folder`` by the command line, and read off what it left."""
    (folder / "sweeps").mkdir(exist_ok=True)
    text = f"experiment: noop:noop\nparams: {{sleep_s: {sleep_s}}}\n"
    text += f"axes: {{index: 'range(0, {n_runs}, 1)'}}\nresults_dir: {name}\n"
    (folder / "sweeps" / f"{name}.yaml").write_text(text, encoding="utf-8")
    table, start = folder / name / "tables" / "noop", time.monotonic()
    process = subprocess.Popen(
        [COMMAND, "run", name, *words],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "LAWSWEEP_RESULTS_DIR"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first_part_s, peak = None, 0.0
    while process.poll() is None:
        peak = max(peak, high_water_mib(process.pid))
        if first_part_s is None and any(table.glob("part-*.parquet")):
            first_part_s = time.monotonic() - start
        time.sleep(0.02)
    whole = time.monotonic() - start
    if process.returncode != 0:
        raise RuntimeError(f"lawsweep run {name} ended with code {process.returncode}")
    record = next((folder / name / "sweeps" / name / "launches").glob("*.json"))
    rows = pq.read_table(table, columns=["started_at", "wall_s", "status"]).to_pandas()
    if len(rows) != n_runs or set(rows["status"]) != {"ok"}:
        raise RuntimeError(
            f"expected {n_runs} rows that are ok, got {rows['status'].value_counts()}"
        )
    begun = rows["started_at"].astype("int64") / 1e6
    files = [p for p in (folder / name).rglob("*") if p.is_file()]
    return {
        "runs": n_runs,
        "command_s": whole,
        "launch_s": json.loads(record.read_text(encoding="utf-8"))["result"]["wall_s"],
        "first_to_last_run_s": float((begun + rows["wall_s"]).max() - begun.min()),
        "first_row_on_disk_s": first_part_s if first_part_s is not None else whole,
        "files": len(files),
        "parts": len(list(table.glob("part-*.parquet"))),
        "driver_peak_mib": peak,
    }


def high_water_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    lines = [line for line in text.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


@contextlib.contextmanager
def running_cluster(slots: int) -> Iterator[str]:
    """A Ray that is there before the command and stays after it; its address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": slots, "dashboard_port": None}
    )
    try:
        yield str(cluster.address)
    finally:
        cluster.shutdown()


def median_of(launches: list[dict[str, Any]]) -> dict[str, Any]:
    """The one in the middle, by its first row."""
    return sorted(launches, key=lambda r: float(r["first_row_on_disk_s"]))[len(launches) // 2]


def main() -> None:
    where = environment()
    slots = len(os.sched_getaffinity(0))
    n_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(Path(__file__).parent / "noop.py", folder)
        many = launch(folder, "many", n_runs, 0.0)
        many["runs_per_s_of_launch"] = many["runs"] / many["launch_s"]
        many["runs_per_s_steady"] = many["runs"] / many["first_to_last_run_s"]
        naps = launch(folder, "naps", 20 * slots, 1.0)
        naps["overhead_ms_a_run"] = 1e3 * (naps["first_to_last_run_s"] / 20 - 1.0)
        naps["launch_over_ideal"] = naps["launch_s"] / 20
        figures = {
            "noop": many,
            "one_second": naps,
            "cold_ray_local": median_of([launch(folder, f"a{i}", 1, 0.0) for i in range(3)]),
            "cold_serial": median_of(
                [launch(folder, f"b{i}", 1, 0.0, "executor=serial") for i in range(3)]
            ),
        }
        with running_cluster(slots) as address:
            words = ("executor=ray_cluster", f"executor.address={address}")
            warm = [launch(folder, f"c{i}", 1, 0.0, *words) for i in range(3)]
            figures["running_cluster"] = median_of(warm)
    show(f"{n_runs:,} runs that do nothing (ray_local)", [many])
    show(f"{20 * slots} runs of 1 s on {slots} workers", [naps])
    starts = [figures[n] for n in ("cold_ray_local", "cold_serial", "running_cluster")]
    show("One run: cold ray_local, serial, a Ray that runs already (median of 3)", starts)
    if n_runs >= 100_000:
        save("engine", where, figures)


if __name__ == "__main__":
    main()
