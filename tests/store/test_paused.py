"""A driver that waits for its store keeps the arrays it has written, whoever tidies meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rows import parts, row, spectral

from lawsweep.core.errors import StoreError
from lawsweep.store.places.find import open_folder
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table import parquet
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.upkeep.compact import compact
from lawsweep.store.upkeep.gc import gc
from lawsweep.worker.presence import presence

SUPPORT = Path(__file__).parents[1] / "support"
EXPERIMENT = """
import os
from pathlib import Path
import numpy as np
from dataclasses import dataclass
from lawsweep import Array, experiment
from lawsweep.core.errors import StoreError
from lawsweep.store.places.local import LocalFolder

real = LocalFolder.write

def write(self, name, data, **options):
    if name.startswith('part-') and 'tables' in str(self) and Path('full').exists():
        raise StoreError('No space for rows.')
    real(self, name, data, **options)

if 'HELD_DRIVER' in os.environ:
    LocalFolder.write = write

@dataclass(frozen=True, kw_only=True)
class Params:
    i: int

@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float
    values: Array

@experiment(version=1)
def held(params: Params, seed: int) -> Metrics:
    if list(Path('results').glob('tables/*/part-*')) and not Path('once').exists():
        Path('full').write_text('')  # from now on rows cannot be written
        Path('once').write_text('')
    return Metrics(y=float(params.i), values=np.full(3, float(params.i)))
"""
SWEEP = """
experiment: held_one:held
axes: {i: "range(0, 6, 1)"}
executor: serial
store: {commit_every_s: 0, patience_s: 7200}
results_dir: results
"""


@pytest.fixture
def driver(tmp_path):
    """A real driver in its own process, and the lines it has said."""
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "held.yaml").write_text(SWEEP)
    (tmp_path / "held_one.py").write_text(EXPERIMENT)
    process = subprocess.Popen(
        [sys.executable, "-m", "lawsweep.cli.main", "run", "held", "--no-analysis"],
        cwd=tmp_path,
        env={**os.environ, "HELD_DRIVER": "1", "PYTHONPATH": f"{SUPPORT}{os.pathsep}{tmp_path}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = []
    reader = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, "")))
    reader.start()
    yield process, said
    process.kill()
    process.wait()
    reader.join()
    process.stdout.close()
    process.stderr.close()


def wait_for(condition, what, limit_s=120):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def make_old(folder, hours):
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith(".live"):
            then = time.time() - 3600 * hours
            os.utime(path, (then, then))


@pytest.mark.parametrize("how", ["gc", "gc elsewhere", "compact", "removed"])
def test_a_paused_driver_ends_with_all_its_arrays(driver, tmp_path, monkeypatch, how):
    process, said = driver
    wait_for(lambda: any("paused: " in s for s in said), said)
    values = tmp_path / "results" / "arrays" / "held" / "values"
    wait_for(lambda: list(values.glob("part-*.parquet")), "no arrays")
    make_old(tmp_path / "results" / "arrays", hours=2)
    if how == "removed":  # as an older lawsweep does
        max(values.glob("part-*")).unlink()
    elif how == "compact":
        experiment = _held(tmp_path, monkeypatch)
        compact(ParquetTable(tmp_path / "results" / "tables", experiment))
        assert any("-compact" in path.name for path in values.iterdir())
    else:
        if how == "gc elsewhere":  # on a host that cannot see the driver, and is an hour ahead
            monkeypatch.setattr("lawsweep.worker.presence._machine", lambda: "another")
            ahead = time.time() + 5000
            monkeypatch.setattr("time.time", lambda: ahead)
        found = [r for r in gc(tmp_path / "results", dry=False) if r.kind == "values without rows"]
        assert found
        assert not any(r.removed for r in found)
        assert all("may still write their rows" in r.kept for r in found)
        assert list(values.glob("part-*.parquet"))
    (tmp_path / "full").unlink()
    assert process.wait(120) == 0, said
    assert "6 planned: 6 ok" in process.stdout.read()
    experiment = _held(tmp_path, monkeypatch)
    table = ParquetTable(tmp_path / "results" / "tables", experiment)
    rows = table.read()
    found = table.array_store.table("values").values(rows)
    assert {r["run_id"]: [r["y"]] * 3 for r in rows.to_pylist()} == {
        run_id: found[run_id].tolist() for run_id in found
    }
    assert len(found) == 6


def _held(folder, monkeypatch):
    from lawsweep.core.registry import find_experiment

    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("held_one", None)
    return find_experiment("held_one:held")


@pytest.fixture
def waiting(tmp_path):
    """A table whose arrays are written and whose row is not, by a launch with a sign of life."""
    table = ParquetTable(tmp_path / "tables", spectral)
    table.append([row("a")], [None])
    table.array_store.append([row("b")], [{"spectrum": np.ones(2)}])
    sweep = SweepFolder(tmp_path / "sweeps" / "s")

    def sign(**more):
        sweep.beat("L1", {"launch_id": "L1", "experiment": "toy", **more})

    return tmp_path, sign


ELSEWHERE = {"machine": "another", "pid": 1, "process_started": 0.0, "by": "me@there"}


@pytest.mark.parametrize(
    ("state", "hours", "stays"),
    [
        ({**ELSEWHERE, "patience_s": 6 * 3600.0}, 5, True),
        ({**ELSEWHERE, "patience_s": 6 * 3600.0}, 8, False),
        ({**ELSEWHERE, "patience_s": 60.0}, 0.9, True),
        ({**ELSEWHERE, "patience_s": 60.0}, 2, False),
        ({**ELSEWHERE, "patience_s": 6 * 3600.0, "experiment": "other"}, 5, False),
        ({"patience_s": "soon"}, 2, False),
        ({**presence(), "pid": 2**22 + 1, "patience_s": 6 * 3600.0}, 5, False),
    ],
    ids=["waits", "waited", "lives", "died", "another table", "odd", "killed here"],
)
def test_what_a_launch_may_still_acknowledge_stays(waiting, state, hours, stays):
    root, sign = waiting
    sign(**state)
    now = time.time() + 3600 * (hours + 0.5)
    then = now - 3600 * hours
    os.utime(root / "sweeps/s/launches/L1.live", (then, then))
    old = now - 3600 * 24
    for path in (root / "arrays").rglob("part-*"):
        os.utime(path, (old, old))
    found = [r for r in gc(root, dry=False, now=lambda: now) if r.kind == "values without rows"]
    assert [bool(r.kept) for r in found] == [stays]
    assert [r.removed for r in found] == [not stays]
    if stays:
        assert "launch L1 (me@there, since ?) may still write their rows" in found[0].kept
        assert (root / "sweeps/s/launches/L1.live").exists()


def test_the_stores_clock_decides_whatever_this_hosts_says(waiting, monkeypatch):
    root, _ = waiting
    ahead = time.time() + 86_400
    monkeypatch.setattr("time.time", lambda: ahead)
    assert gc(root, dry=False) == []
    assert abs(open_folder(root).clock() - root.stat().st_mtime) < 3600


def test_a_retry_looks_whether_its_arrays_are_there(tmp_path, monkeypatch):
    """Also when the table could not be written, they were removed, and one try is all there is."""
    table = ParquetTable(tmp_path / "tables", spectral)
    real, left = LocalFolder.write, [1]

    def full(self, name, data, **options):
        if "tables" in str(self) and left[0]:
            left[0] -= 1
            raise StoreError("No space.")
        real(self, name, data, **options)

    monkeypatch.setattr(LocalFolder, "write", full)
    given = [row("a")], [{"spectrum": np.ones(2)}]
    with pytest.raises(StoreError):
        table.append(*given)
    array = table.array_store.table("spectrum")
    for name in parts(array.folder):
        array.folder.delete(name)
    table.append(*given)
    assert dict(array.values(table.read()))["a"].tolist() == [1.0, 1.0]
    assert len(parts(array.folder)) == 1


def test_a_driver_that_slept_between_arrays_and_rows_looks_once_more(tmp_path, monkeypatch):
    """A suspended laptop gives no sign of life, and is rightly taken for dead."""
    table = ParquetTable(tmp_path / "tables", spectral)
    real, clock = LocalFolder.write, [1e9]
    monkeypatch.setattr(parquet.time, "time", lambda: clock[0])

    def sleepy(self, name, data, **options):
        if "tables" in str(self) and name.startswith("part-"):
            clock[0] += parquet.LONG_S + 1
            for path in (tmp_path / "arrays").rglob("part-*"):
                path.unlink()
        real(self, name, data, **options)

    monkeypatch.setattr(LocalFolder, "write", sleepy)
    table.append([row("a")], [{"spectrum": np.ones(2)}])
    assert list(table.array_store.table("spectrum").values(table.read())) == ["a"]
