"""A user's folder for the tests of jobs: an experiment in two files of their own, and a sweep."""

from __future__ import annotations

import contextlib
import sys

from ray_head import TOKEN

MINE = """
import time
from dataclasses import dataclass
from pathlib import Path
from lawsweep import experiment
import factors

@dataclass(frozen=True, kw_only=True)
class Params:
    i: int
    gate: str = ""  # a folder: ten runs go through, and the others once it holds a file "open"

@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float

@experiment(version=1)
def mine(params: Params, seed: int) -> Metrics:
    if params.gate:
        gate = Path(params.gate)
        while not (gate / "open").exists():
            if len(list(gate.iterdir())) < 10:
                (gate / str(params.i)).touch()
                time.sleep(0.3)  # a worker tells of it at once, and not when the next one ends
                break
            time.sleep(0.05)
    return Metrics(y=factors.TWO * params.i + seed)
"""
NOBODY = "http://127.0.0.1:9"  # the port of `discard`: nobody listens


@contextlib.contextmanager
def job_study(folder, monkeypatch):
    """Write it, with what must stay at home; the cluster's token is there, no address is."""
    (folder / "mine.py").write_text(MINE)
    (folder / "factors.py").write_text("TWO = 2.0\n")
    (folder / "sweeps").mkdir()
    (folder / "sweeps/mine.yaml").write_text("experiment: mine:mine\naxes: {i: range(20)}\n")
    (folder / ".env").write_text("PASSWORD=secret\n")
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    for name in ("mine", "factors"):
        sys.modules.pop(name, None)
    yield folder
    for name in ("mine", "factors"):
        sys.modules.pop(name, None)
