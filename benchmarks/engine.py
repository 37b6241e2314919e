"""What the engine adds: ``lawsweep run`` on a local Ray with runs that do nothing, or sleep."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
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


def main() -> None:
    where = environment()
    slots = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(Path(__file__).parent / "noop.py", folder)
        many = launch(folder, "many", 20_000, 0.0)
        many["runs_per_s_of_launch"] = many["runs"] / many["launch_s"]
        many["runs_per_s_steady"] = many["runs"] / many["first_to_last_run_s"]
        naps = launch(folder, "naps", 20 * slots, 1.0)
        naps["overhead_ms_a_run"] = 1e3 * (naps["first_to_last_run_s"] / 20 - 1.0)
        naps["launch_over_ideal"] = naps["launch_s"] / 20
        cold = [launch(folder, f"cold{i}", 1, 0.0) for i in range(3)]
        cold.sort(key=lambda r: r["command_s"])
        serial = [launch(folder, f"serial{i}", 1, 0.0, "executor=serial") for i in range(3)]
        serial.sort(key=lambda r: r["command_s"])
    show("20,000 runs that do nothing (ray_local)", [many])
    show(f"{20 * slots} runs of 1 s on {slots} workers", [naps])
    show("One run, from nothing: ray_local, then serial (median of 3)", [cold[1], serial[1]])
    save(
        "engine",
        where,
        {"noop": many, "one_second": naps, "cold_ray_local": cold[1], "cold_serial": serial[1]},
    )


if __name__ == "__main__":
    main()
