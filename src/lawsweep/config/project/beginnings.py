"""Files to begin with: a small project that runs as it is, and a sweep to fill in."""

from __future__ import annotations

import re
from pathlib import Path

from lawsweep.core.errors import InvalidValueError, StoreError
from lawsweep.core.experiment import Experiment
from lawsweep.core.schema import FieldSpec

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")

PROJECT = {
    "covariance.py": '''\
"""Experiments of this project: functions of params and a seed that measure something."""

import numpy as np
from lawsweep import experiment, stream


@experiment
def covariance(n: int, d: int, seed: int) -> dict[str, float]:
    """How far the covariance of n Gaussian samples in d dimensions is from the identity."""
    x = stream(seed, "samples").standard_normal((n, d))  # this seed's, anywhere
    eigenvalues = np.linalg.eigvalsh(x.T @ x / n)
    distance = abs(eigenvalues - 1).max()
    return {"distance": float(distance), "smallest": float(eigenvalues[0])}
''',
    "sweeps/covariance.yaml": """\
# How fast does the sample covariance converge in operator norm?  (Theory: like (d / n)^(1/2).)
experiment: covariance:covariance
axes:
  n: logspace(2000, 32000, 5)   # a list, range(...), linspace(...), logspace(...)
  d: [10, 20]
seeds: 5
fits: [{name: rate, law: power, x: n, y: distance, by: d}]
figures: [{name: distance, kind: curve, x: n, y: distance, by: d, band: sd}]
presets:
  long: {axes: {n: "logspace(2000, 512000, 9)"}, seeds: 10}
""",
    "conf/config.yaml": """\
# What all sweeps of this project start from; a sweep or the command line may say otherwise.
executor: serial        # ray_local: all cores of this machine; ray_cluster: a cluster
results_dir: results
""",
    ".gitignore": "results/\n__pycache__/\n",
    "README.md": """\
# {name}

    lawsweep run covariance                  # what the table lacks, then fit and figure
    lawsweep fit covariance                  # the exponents with their intervals
    lawsweep report covariance               # one HTML page
    lawsweep run covariance preset=long executor=ray_local
    lawsweep plan covariance params.n=1000,4000   # what that would run, and how long it takes
    lawsweep list                            # the sweeps, and how far each is

`covariance.py` has the experiment, `sweeps/` the questions asked of it, `conf/config.yaml` what all
of them start from.  Results are in `results/` (Parquet tables, figures).
""",
}


def begin_project(folder: Path) -> list[Path]:
    """Write a small project into a new or empty folder; gives its files.

    Raises InvalidValueError where the folder has files, StoreError where it cannot be written.
    """
    name = folder.resolve().name
    if not _NAME.match(name):
        raise InvalidValueError(
            f"{str(folder)!r} is no name for a project. Use letters, digits, _, -."
        )
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidValueError(
                f"{folder} is there already. Give a new name, or an empty folder."
            )
        files = [folder / name for name in PROJECT]
        for path, text in zip(files, PROJECT.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{name}", name), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"Cannot write the project {folder}: {error.strerror}. Begin it where you may write."
        ) from None
    return files


def begin_sweep(name: str, text: str) -> Path:
    """Write a sweep file of the working folder; gives its path.

    Raises InvalidValueError where it is there or the name is none, StoreError where it cannot be
    written.
    """
    name = name.removesuffix(".yaml")
    if not _NAME.match(name):
        raise InvalidValueError(
            f"{name!r} is no name for a sweep. Use letters, digits, _, - and . alone: it becomes "
            "sweeps/NAME.yaml of the working folder."
        )
    path = Path("sweeps") / f"{name}.yaml"
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InvalidValueError(f"{path} is there already. Give another name.") from None
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror}. Go to a folder that you may write to."
        ) from None
    return path


def skeleton(experiment: Experiment, asked: str) -> str:
    """A sweep of an experiment to fill in: all its params with their meanings and defaults."""
    lines = [
        "# What does this sweep ask?  (lawsweep list shows this comment.)",
        f"experiment: {asked}",
        "params:",
    ]
    given = [s for s in experiment.params if not s.has_default]
    left = [s for s in experiment.params if s.has_default]
    lines += [f"  {s.name}:   # {_said(s)}; must be given, here or as an axis" for s in given]
    lines += [f"  # {s.name}: {_yaml(s.default)}   # {_said(s)}" for s in left]
    if not given:
        lines[2] = "params: {}"
        lines[3:] = [f"#   {line.lstrip(' #')}" for line in lines[3:]]
    metric = experiment.metrics[0].name if experiment.metrics else "METRIC"
    x = given[0].name if given else "PARAM"
    lines += [
        f"axes: {{}}   # what spans the grid, such as {x}: [10, 20, 40] or logspace(10, 1000, 5)",
        "seeds: 3" if experiment.takes_seed else "seeds: 1   # it takes no seed",
        f"fits: []      # such as [{{name: rate, law: power, x: {x}, y: {metric}}}]",
        f"figures: []   # such as [{{name: curve, kind: curve, x: {x}, y: {metric}}}]",
    ]
    return "\n".join(lines) + "\n"


def _said(spec: FieldSpec) -> str:
    return f"{spec.type_name}" + (f": {spec.info.meaning}" if spec.info.meaning else "")


def _yaml(value: object) -> str:
    import yaml

    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...").strip()
