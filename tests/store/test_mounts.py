"""A disk or share that is unmounted under a launch: nothing is written beneath its mount point."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rows import row
from toys import spectrum, toy

from lawsweep.core.errors import StoreError
from lawsweep.store.arrays.arrays import ArrayStore
from lawsweep.store.places import ground
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.sweeps.sweep_folder import SweepFolder
from lawsweep.store.table.parquet import ParquetTable

SUPPORT = Path(__file__).parents[1] / "support"


def can_mount():
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux"):
        return False
    probe = [unshare, "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


mounts = pytest.mark.skipif(not can_mount(), reason="needs the right to mount (root, unshare -m)")


def in_own_mounts(folder, script):
    """Run a Python script in a mount namespace of its own, where ``store`` is a mounted folder."""
    (folder / "disk").mkdir()
    (folder / "store").mkdir()
    head = (
        "import os, subprocess\n"
        "def mount(): subprocess.run(['mount', '--bind', 'disk', 'store'], check=True)\n"
        "def unmount(): subprocess.run(['umount', '-l', 'store'], check=True)\n"
        "mount()\n"
    )
    (folder / "script.py").write_text(head + script)
    environment = {**os.environ, "PYTHONPATH": f"{SUPPORT}{os.pathsep}{folder}"}
    return subprocess.run(
        ["unshare", "-m", sys.executable, "script.py"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


EXPERIMENT = """
from dataclasses import dataclass
import subprocess
from lawsweep import experiment

@dataclass(frozen=True, kw_only=True)
class Params:
    i: int

@dataclass(frozen=True, kw_only=True)
class Metrics:
    y: float

@experiment(version=1)
def lost(params: Params, seed: int) -> Metrics:
    if params.i == 0:
        subprocess.run(['umount', '-l', 'store'], check=True)
    return Metrics(y=1.0)
"""

LAUNCH = """
import sys
from lawsweep.cli.main import run_command
codes = [run_command(['run', 'lost', *sys.argv[1:]])]
print('beneath', os.listdir('store'))
mount()
codes.append(run_command(['run', 'lost', "where='i > 0'"]))
print('codes', codes)
"""


@mounts
@pytest.mark.parametrize("there", [False, True], ids=["new results", "results of before"])
def test_a_mount_that_goes_before_the_first_commit(tmp_path, there):
    """The whole launch is told that it has gone; with its rows lost it never says ok."""
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "lost_one.py").write_text(EXPERIMENT)
    (tmp_path / "sweeps/lost.yaml").write_text(
        "experiment: lost_one:lost\naxes: {i: [0, 1]}\nexecutor: serial\n"
        "store: {patience_s: 0.5}\nresults_dir: store/results\n"
    )
    first = "run_command(['run', 'lost', \"where='i > 0'\", 'seeds=[7]'])\n" if there else ""
    import_ = "from lawsweep.cli.main import run_command\n"
    done = in_own_mounts(tmp_path, import_ + first + LAUNCH)
    assert "beneath []" in done.stdout, done.stdout + done.stderr
    assert "codes [13, 0]" in done.stdout, done.stdout + done.stderr
    assert "the folder has vanished. Is its disk or network share still mounted?" in done.stderr
    assert not list((tmp_path / "disk").rglob(".tmp-*"))


EVERY_KIND = """
from pathlib import Path
import numpy as np
from rows import row
from toys import spectrum, toy
import lawsweep
from lawsweep.study.reading.drawing import Shelf
from lawsweep.study.study import Study
from lawsweep.core.errors import StoreError
from lawsweep.store.arrays.arrays import ArrayStore
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.sweeps.sweep_folder import SweepFolder

sweep = lawsweep.Sweep('s', toy, params={'n': 3}, results_dir='store/results')
table = ParquetTable(sweep.tables, toy)
arrays = ArrayStore('store/results/arrays', spectrum)
folder, shelf = SweepFolder(sweep.folder), Shelf(Study(sweep))
Path('figure.png').write_bytes(b'x')
writes = {
    'rows': lambda: table.append([row('a')]),
    'arrays': lambda: arrays.append([row('a')], [{'eigenvalues': np.ones(3)}]),
    'record': lambda: folder.write_launch('L1', {}),
    'plan': lambda: folder.freeze(sweep.plan(), {}, 'L1'),
    'figure': lambda: shelf.put([Path('figure.png')]),
}
for gone in (True, False):
    unmount() if gone else mount()
    for name, write in writes.items():
        try:
            write()
            print(name, 'written')
        except StoreError as error:
            print(name, 'refused', 'has vanished' in str(error))
    print(sorted(os.listdir('store')))
"""


@mounts
def test_every_kind_of_write_is_refused_and_goes_on_when_the_mount_is_back(tmp_path):
    done = in_own_mounts(tmp_path, EVERY_KIND)
    kinds = ["rows", "arrays", "record", "plan", "figure"]
    expected = [f"{k} refused True" for k in kinds] + ["[]"]
    expected += [f"{k} written" for k in kinds] + ["['results']"]
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.fixture
def looks(monkeypatch):
    """What a folder's identity is found to be, where it is set."""
    real, said = ground._look, {}
    monkeypatch.setattr(ground, "_look", lambda path: said.get("look") or real(path))
    return said


def test_only_another_inode_on_another_mount_is_another_folder(tmp_path, looks):
    """NFS mounted anew keeps the inode; FUSE and overlays may give another one to the same."""
    folder = LocalFolder(tmp_path).held() / "new"
    inode, mount = ground._look(tmp_path)
    for other in ((inode, (-1, -1)), (inode + 1, mount)):
        looks["look"] = other
        folder.write("a", b"x")
    looks["look"] = inode + 1, (-1, -1)
    with pytest.raises(StoreError, match="has vanished"):
        folder.write("b", b"x")
    assert folder.names() == ["a"]


def test_every_kind_of_write_looks(tmp_path, looks):
    """Where nothing can be mounted: the same, with a mount that only seems to have gone."""
    table = ParquetTable(tmp_path / "tables", toy)
    arrays = ArrayStore(tmp_path / "arrays", spectrum)
    folder = SweepFolder(tmp_path / "sweeps" / "s")
    looks["look"] = -1, (-1, -1)
    for write in (
        lambda: table.append([row("a")]),
        lambda: arrays.append([row("a")], [{"eigenvalues": np.ones(3)}]),
        lambda: folder.write_launch("L1", {}),
        lambda: folder.beat("L1", {}),
        lambda: folder.write_job("J1", {}),
        table.check_writable,
    ):
        with pytest.raises(StoreError, match="has vanished"):
            write()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_looked_at_is_no_error_before_it_is_used(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    folder = LocalFolder(tmp_path / "loop" / "x").held()
    with pytest.raises(StoreError, match="Cannot write in"):
        folder.write("a", b"x")
