"""Runs that do nothing: ``lawsweep run`` on Ray beside Hydra's own multirun, in one session.

    python benchmarks/side_by_side.py [N_LAWSWEEP] [N_HYDRA]

Hydra is given fewer jobs, since each costs it about the same; both figures are runs a second of
the whole command, interpreter and (for lawsweep) Ray's start included, and for lawsweep also of the
launch alone.  hydra-ray-launcher is not here: its last release asks for a Ray that current Pythons
do not have.  What lawsweep leaves is a durable row a run; Hydra's jobs write their log folders.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import launch
from environment import environment, save, show

JOB = """from dataclasses import dataclass

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    index: int = 0


ConfigStore.instance().store(name="config", node=Config)


@hydra.main(version_base=None, config_name="config")
def main(config: Config) -> int:
    return config.index


main()
"""


def hydra_multirun(folder: Path, n_jobs: int, launcher: str) -> dict[str, Any]:
    """Hydra's multirun over ``n_jobs`` values, its own logging and folders as they come."""
    (folder / "job.py").write_text(JOB, encoding="utf-8")
    words = [
        f"index=range(0,{n_jobs})",
        f"hydra/launcher={launcher}",
        f"hydra.sweep.dir=out{n_jobs}",
    ]
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "job.py", "--multirun", *words],
        cwd=folder,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    whole = time.monotonic() - start
    left = [p for p in (folder / f"out{n_jobs}").iterdir() if p.name.isdigit()]
    if len(left) != n_jobs:
        raise RuntimeError(f"Hydra left {len(left)} job folders, expected {n_jobs}")
    return {"runs": n_jobs, "command_s": whole, "runs_per_s": n_jobs / whole}


def main() -> None:
    n_ours = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    n_hydra = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    where = environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(Path(__file__).parent / "noop.py", folder)
        # Hydra first, ours, Hydra again: whatever else the machine does is shared between them.
        before = hydra_multirun(folder, n_hydra, "basic")
        ours = launch(folder, "many", n_ours, 0.0)
        after = hydra_multirun(folder, n_hydra + 1, "basic")
    found = {"runs": n_ours, "command_s": ours["command_s"], "launch_s": ours["launch_s"]}
    found["runs_per_s"] = n_ours / ours["command_s"]
    found["runs_per_s_of_launch"] = n_ours / ours["launch_s"]
    found["runs_per_s_steady"] = n_ours / ours["first_to_last_run_s"]
    hydra_rate = 2.0 / (1.0 / before["runs_per_s"] + 1.0 / after["runs_per_s"])
    ratios = {
        "command_over_hydra": found["runs_per_s"] / hydra_rate,
        "launch_over_hydra": found["runs_per_s_of_launch"] / hydra_rate,
        "steady_over_hydra": found["runs_per_s_steady"] / hydra_rate,
    }
    show("Hydra's multirun (basic launcher), before and after", [before, after])
    show("lawsweep run (ray_local)", [found])
    show("times as many runs a second", [ratios])
    if n_ours >= 100_000:
        figures = {"hydra_before": before, "hydra_after": after, "lawsweep": found, **ratios}
        save("side_by_side", where, figures)


if __name__ == "__main__":
    main()
