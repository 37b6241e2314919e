"""A multirun of jobs that do nothing: ``hydra/sweeper=lawsweep`` beside Hydra's basic launcher.

Both run the same unmodified application with the same config and leave the same files beside each
job.  A measurement is a whole command, start and imports included, on an empty results folder; and
a second command, which has nothing to launch.  The basic launcher's time is a start and so much a
job, so that fewer jobs measure it (``--basic-jobs``), and the 1,000 of ours are set beside as many
of its.  Times are of the processor, of the command and its children, and beside them the clock's.

    python benchmarks/hydra_sweeper.py [--jobs 1000] [--basic-jobs 100] [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environment import environment, save

APP = """
import hydra
from omegaconf import DictConfig


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    return cfg.x * cfg.model.width


if __name__ == "__main__":
    main()
"""
CONF = {
    "config.yaml": "defaults: [model: small, optimiser: adam, _self_]\n"
    "x: 0\nlr: 0.1\nseed: 0\nname: ${model.name}_${lr}\nout: ${hydra:runtime.output_dir}\n",
    "model/small.yaml": "name: small\nwidth: 10\ndepth: 3\nactivation: relu\n",
    "model/big.yaml": "name: big\nwidth: 100\ndepth: 5\nactivation: gelu\n",
    "optimiser/adam.yaml": "name: adam\nbetas: [0.9, 0.999]\nweight_decay: 0.0\n",
}
LAWSWEEP = "hydra/sweeper=lawsweep"


def measure(folder: Path, *words: str) -> tuple[float, float]:
    """Seconds of the processor and of the clock that a multirun takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "app.py", "-m", *words],
        cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(cpu, 3), round(wall, 3)


def application() -> Path:
    """A folder with the application."""
    folder = Path(tempfile.mkdtemp(prefix="hydra_sweeper_"))
    (folder / "app.py").write_text(APP)
    for name, text in CONF.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--basic-jobs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    where = environment()
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(given.repeats):  # in turn, so that what else runs here falls on all
        folder = application()
        many, few = f"x=range(0,{given.jobs})", f"x=range(0,{given.basic_jobs})"
        for name, words in (
            ("basic_few", [few]),
            ("basic_one", ["x=0"]),
            ("lawsweep", [LAWSWEEP, many]),
            ("lawsweep_again", [LAWSWEEP, many]),
            ("lawsweep_groups", [LAWSWEEP, f"x=range(0,{given.jobs // 2})", "model=small,big",
                                 "hydra.sweeper.name=groups", "lr=0.2"]),
        ):  # fmt: skip
            found.setdefault(name, []).append(measure(folder, *words))
            print(name, found[name][-1], flush=True)
    middle = {n: [statistics.median(t) for t in zip(*v, strict=True)] for n, v in found.items()}
    rows: dict[str, Any] = {}
    for k, kind in enumerate(("cpu_s", "wall_s")):
        a_job = (middle["basic_few"][k] - middle["basic_one"][k]) / (given.basic_jobs - 1)
        basic = middle["basic_one"][k] + a_job * (given.jobs - 1)
        rows[kind] = {
            "basic_a_job": round(a_job, 4),
            f"basic_{given.jobs}_jobs": round(basic, 2),
            f"lawsweep_{given.jobs}_jobs": middle["lawsweep"][k],
            "lawsweep_two_choices_of_a_group": middle["lawsweep_groups"][k],
            "lawsweep_again": middle["lawsweep_again"][k],
            "times_faster": round(basic / middle["lawsweep"][k], 1),
            "times_faster_two_choices": round(basic / middle["lawsweep_groups"][k], 1),
        }
        print(kind, rows[kind], flush=True)
    save("hydra_sweeper", where, {**vars(given), "measured": found, **rows})


if __name__ == "__main__":
    main()
