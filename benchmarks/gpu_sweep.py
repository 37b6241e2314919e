"""A sweep on one machine's GPUs by Ray, beside the same sweep on its CPUs.

    python benchmarks/gpu_sweep.py                      # ntk_width by 1 to 1/8 GPU a run
    python benchmarks/gpu_sweep.py --shares .25 --overrides preset=paper seeds=2
    python benchmarks/gpu_sweep.py --cpu                # no card: that it runs

Each is a launch of its own into an empty folder, through the command.  Says runs a second, the GPUs
that rows name, what they held there, how many runs failed, and by how much the values differ from
the CPU's (in units of their own certified bracket).  Writes ``results/gpu_sweep.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment

import lawsweep

RESULTS = Path(__file__).parent / "results" / "gpu_sweep.json"


def launch(sweep: str, overrides: list[str], settings: list[str], limit_s: float) -> dict[str, Any]:
    """One launch in a folder of its own: how it went, and its rows."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sweep, *overrides, f"results_dir={folder}/results"]
        command = [sys.executable, "-m", "lawsweep", "run", *words, *settings, "--no-analysis"]
        start = time.perf_counter()
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=limit_s, check=False
            )
            code, said = ended.returncode, (ended.stderr or "")[-2000:]
        except subprocess.TimeoutExpired:
            code, said = None, f"cut off after {limit_s:g} s"
        wall_s = time.perf_counter() - start
        frame = lawsweep.open(sweep, *overrides, f"results_dir={folder}/results").frame()
    ok = frame[frame["status"] == "ok"]
    cards = sorted(set(ok["device_name"].dropna()))
    held = [int(n) for n in ok["peak_device_bytes"].dropna()]
    return {
        "settings": settings,
        "exit_code": code,
        "wall_s": wall_s,
        "runs": len(frame),
        "ok": len(ok),
        "runs_per_s": len(ok) / wall_s,
        "devices": sorted(set(ok["device"])),
        "cards": cards,
        "peak_device_bytes": max(held, default=None),
        "said": "" if code == 0 else said,
        "rows": frame,
    }


def compared(found: dict[str, Any], reference: dict[str, Any], metric: str) -> dict[str, Any]:
    """How far the values are from the CPU's: relative, and in units of the CPU's bracket."""
    rows, theirs = found.pop("rows"), reference["rows"]
    both = rows.merge(theirs, on="run_id", suffixes=("", "_cpu"))
    both = both[(both["status"] == "ok") & (both["status_cpu"] == "ok")]
    a, b = (both[c].to_numpy(dtype=float, na_value=np.nan) for c in (metric, f"{metric}_cpu"))
    off = np.abs(a - b)
    answer = {
        "compared": len(both),
        "largest_relative_difference": float(np.nanmax(off / np.abs(b))) if len(both) else None,
    }
    low, high = f"{metric}_lower_cpu", f"{metric}_upper_cpu"
    if low in both and high in both and len(both):
        width = (both[high] - both[low]).to_numpy(dtype=float, na_value=np.nan)
        answer["largest_difference_in_brackets"] = float(np.nanmax(off / width))
    return answer


def main() -> None:
    """Run the launches, and print and keep what they gave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", default="ntk_width")
    parser.add_argument("--metric", default="lambda_min")
    parser.add_argument("--overrides", nargs="*", default=[])
    parser.add_argument("--shares", nargs="*", default=["1", "0.5", "0.25", "0.125", "auto"])
    parser.add_argument("--limit-s", type=float, default=240.0, help="of each launch")
    parser.add_argument("--cpu", action="store_true", help="no GPU: 1 and 2 CPUs a run")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    reference = launch(given.sweep, given.overrides, ["executor=ray_local"], given.limit_s)
    settings = (
        [["executor=ray_local", "executor.cpus_per_task=2"], ["executor=processes"]]
        if given.cpu
        else [["executor=ray_local", f"executor.gpus_per_task={s}"] for s in given.shares]
    )
    launches = []
    for some in settings:
        found = launch(given.sweep, given.overrides, some, given.limit_s)
        launches.append({**found, **compared(found, reference, given.metric)})
        launches[-1].pop("rows", None)
        print(json.dumps(launches[-1], indent=1), flush=True)
    cpu = {k: v for k, v in reference.items() if k != "rows"}
    answer = {"environment": environment(), "sweep": given.sweep, "overrides": given.overrides,
              "cpu": cpu, "launches": launches}  # fmt: skip
    given.out.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
