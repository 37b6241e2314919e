"""A package from outside the house: modules and metadata, as an installer would lay them down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_package(
    folder: Path, name: str, modules: Mapping[str, str], offers: Mapping[str, Mapping[str, str]]
) -> Path:
    """``offers`` is group to name to ``module:attribute``; put ``folder`` on the import path."""
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, entries in offers.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder


# Commands one after the other in one process; what each said and its exit code, by page breaks.
ONE_AFTER_THE_OTHER = """
import json, os, sys
from lawsweep.cli.main import run_command
os.dup2(1, 2)
for words in json.loads(sys.argv[1]):
    code = run_command(words)
    print(f"\\f{code}\\f", end="", flush=True)
"""

EXPERIMENT = """
from dataclasses import dataclass
from lawsweep import experiment

@dataclass(frozen=True)
class Params:
    i: int

@dataclass(frozen=True)
class Metrics:
    y: float

@experiment(version=1)
def square(params: Params, seed: int) -> Metrics:
    return Metrics(y=float(params.i**2))
"""


class Package:
    """A package of modules of this folder, in a ``site`` that processes of ours import from."""

    def __init__(self, site: Path, name: str, modules: list[str], offers):
        texts = {module: (Path(__file__).parent / f"{module}.py").read_text() for module in modules}
        self.site = write_package(site, name, texts, offers)

    def _run(self, folder: Path, *words: str, code: int = 0) -> str:
        path = os.pathsep.join(p for p in (str(self.site), os.environ.get("PYTHONPATH", "")) if p)
        ended = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,  # a hang is an error; a busy machine is none
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def tests(self, folder: Path, text: str) -> None:
        """Tests of the package's own, run in ``folder`` by a pytest of their own; all pass."""
        (folder / "test_own.py").write_text(text)
        told = self._run(folder, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", ".")
        assert " passed" in told
        assert "skipped" not in told

    def command(self, folder: Path, *words: str, code: int = 0) -> str:
        """``lawsweep words...`` in ``folder``; what it said."""
        return self._run(folder, "-m", "lawsweep.cli.main", *words, code=code)

    def commands(self, folder: Path, *commands: Sequence[str], codes=None) -> list[str]:
        """Each of them in ``folder``, in one process that starts once; what each said.

        ``codes``: their exit codes, where not all go well.
        """
        told = self._run(folder, "-c", ONE_AFTER_THE_OTHER, json.dumps(commands)).split("\f")
        assert list(map(int, told[1::2])) == list(codes or [0] * len(commands)), told
        return told[:-1:2]


def write_study(folder: Path) -> None:
    """The sweep ``study`` over an experiment ``square`` of the folder's own: six runs."""
    (folder / "own.py").write_text(EXPERIMENT)
    (folder / "sweeps").mkdir()
    text = "experiment: own:square\naxes: {i: range(6)}\n"
    (folder / "sweeps" / "study.yaml").write_text(text)
