from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, with results inside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAWSWEEP_RESULTS_DIR", raising=False)
    monkeypatch.syspath_prepend(str(SUPPORT))
    return tmp_path


def ray_processes():
    found = set()
    for process in psutil.process_iter(["name", "status"]):
        name = process.info["name"] or ""
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and name.startswith(("ray::", "raylet", "gcs_server")):
            found.add(process.pid)
    return found


@pytest.fixture(scope="session", autouse=True)
def no_ray_left_behind():
    before = ray_processes()
    yield
    _, left = psutil.wait_procs(
        [psutil.Process(p) for p in ray_processes() - before if psutil.pid_exists(p)], timeout=10
    )
    assert not left, f"Ray processes outlived the tests: {left}"
