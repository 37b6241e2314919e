"""The script that measures a first card runs from end to end on the card that is pretended."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pretending import Card

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FOLDER / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_part_gives_its_rows_there(gpu, tmp_path):
    with Card() as card:
        path = gpu.main(["--small", "--out", str(tmp_path)])
    found = json.loads(path.read_text())
    assert "failed" not in found, found["failed"]
    assert found["environment"]["device"] == "cuda:0"
    # The profiler needs a real card.
    empty = {name for name, rows in found["figures"].items() if not rows}
    assert empty == {"traffic"}
    assert set(found["figures"]) == {part.__name__ for part in gpu.PARTS}
    assert card.counts.operations.total() > 1000
    for row in found["figures"]["agreement"]:
        assert row["other_columns_that_differ"] == ""
        assert row["largest_difference"] < 1e-9 or row["in"] == "residual"
    (solved,) = found["figures"]["certified"]
    assert solved["certified"]
    table = path.with_suffix(".md").read_text()
    assert all(f"## {part.__name__} " in table for part in gpu.PARTS)


def test_a_part_that_fails_says_so_and_costs_no_other(gpu, tmp_path, monkeypatch):
    def broken(b):
        yield {"a": 1}
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(gpu, "PARTS", (gpu.rates, broken, gpu.latencies))
    path = gpu.main(["--small", "--device", "cpu", "--out", str(tmp_path)])
    found = json.loads(path.read_text())
    assert found["failed"] == {"broken": "RuntimeError: CUDA error: unspecified launch failure"}
    assert found["figures"]["latencies"]
    assert "Failed: RuntimeError" in path.with_suffix(".md").read_text()


def test_no_time_left_ends_it(gpu, tmp_path):
    found = json.loads(gpu.main(["--small", "--seconds", "0", "--out", str(tmp_path)]).read_text())
    assert not any(found["figures"].values())


def test_torch_and_numpy_are_enough():
    code = """
import sys

ASKED = {"ray", "hydra", "omegaconf", "pandas", "pyarrow", "scipy", "psutil", "yaml", "matplotlib"}

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ASKED:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
sys.path.insert(0, "benchmarks")
import gpu

for name, point in gpu.CASES[::5]:
    gpu.run(name, "cpu", **point)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
