"""A full disk or a lost mount in mid-sweep: the launch waits, and goes on or ends in order."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from rows import row
from toys import faulty, toy

from lawsweep.cli.main import run_command
from lawsweep.core.errors import StoreError
from lawsweep.store.places.local import LocalFolder
from lawsweep.store.table import patient
from lawsweep.store.table.parquet import ParquetTable
from lawsweep.store.table.patient import PatientTable


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


class Full:
    """A table whose appends fail while ``full`` counts down."""

    def __init__(self, full):
        self.full, self.rows = full, []

    def append(self, rows, arrays=None):
        self.full -= 1
        if self.full >= 0:
            raise StoreError("No space.")
        self.rows.append((rows, arrays))


def made(full, patience_s=60.0):
    clock, said, table = Clock(), [], Full(full)
    return (
        PatientTable(table, patience_s, said.append, sleep=clock.sleep, clock=clock),
        table,
        clock,
        said,
    )


def test_it_waits_longer_each_time_and_goes_on_when_there_is_space():
    waiting, table, clock, said = made(full=6)
    waiting.append(["r"], [None])
    assert clock.waits == [0.5, 1, 2, 4, 8, 8]
    assert table.rows == [(["r"], [None])]
    assert said[0].startswith("paused: No space. Holding 1 finished rows in memory; trying again")
    assert said[1] == "resumed after 24 s: the rows are written."
    table.full = 1
    waiting.append(["s"])  # its patience is whole again
    assert table.rows[-1] == (["s"], None)


def test_it_gives_up_after_its_patience_and_tries_once_more_at_the_end():
    waiting, table, clock, said = made(full=10**6, patience_s=10.0)
    with pytest.raises(StoreError, match=r"No space. Waited for it in vain .*patience_s=10\)"):
        waiting.append(["r"])
    assert clock.now == 10
    with pytest.raises(StoreError, match=r"No space. Waited for it in vain"):
        waiting.append(["r"])
    assert clock.now == 10
    assert len(said) == 1
    table.full = 0
    waiting.append(["r"])
    assert table.rows == [(["r"], None)]


def signal_once(holds, number=signal.SIGINT):
    """A thread, started, that sends this process a signal as soon as ``holds()``."""

    def wait():
        while not holds():
            time.sleep(0.01)
        time.sleep(0.2)  # so that it is most often met while it waits
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_though_somebody_holds_it_back(number):
    """As the runner does, which delivers it when it is between two writes."""
    table, held = Full(10**6), []
    waiting = PatientTable(table, 60.0)
    before = signal.signal(number, lambda n, frame: held.append(n))
    try:
        sender = signal_once(lambda: table.full < 10**6, number)
        start = time.monotonic()
        with pytest.raises(StoreError, match="in vain"):
            waiting.append(["r"])
        assert time.monotonic() - start < 30  # of 60
        sender.join()
        assert held == [number]
        assert table.full >= 10**6 - 4  # one more try, and no other
    finally:
        signal.signal(number, before)


def test_an_interrupt_passes_through_and_the_next_try_is_the_last():
    table = Full(10**6)
    waiting = PatientTable(table, 60.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sender = signal_once(lambda: table.full < 10**6)
        with pytest.raises(KeyboardInterrupt):
            waiting.append(["r"])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        start = time.monotonic()
        with pytest.raises(StoreError):
            waiting.append(["r"])
        assert time.monotonic() - start < 30  # of 60
        sender.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_no_patience_is_one_try():
    waiting, _, _, said = made(full=1, patience_s=0.0)
    with pytest.raises(StoreError):
        waiting.append(["r"])
    assert said == []


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_disk_that_is_full_at_any_step_is_waited_for(tmp_path, monkeypatch, step):
    table, clock = ParquetTable(tmp_path, toy), Clock()
    table.append([row("before")])
    real, left = getattr(os, step), [3]

    def full(*given):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given)

    monkeypatch.setattr(os, step, full)
    PatientTable(table, 60.0, sleep=clock.sleep, clock=clock).append([row("after")])
    assert left == [0]
    assert len(clock.waits) == 3
    assert ParquetTable(tmp_path, toy).read()["run_id"].to_pylist() == ["before", "after"]
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_mount_that_vanishes_and_comes_back(tmp_path):
    mount = tmp_path / "mount"
    table, clock = ParquetTable(mount / "tables", toy), Clock()
    table.append([row("before")])
    (tmp_path / "mount").rename(tmp_path / "away")

    def sleep(seconds):
        clock.sleep(seconds)
        assert not mount.exists()  # nothing was written under the mount point
        if clock.now > 5:
            (tmp_path / "away").rename(mount)

    PatientTable(table, 60.0, sleep=sleep, clock=clock).append([row("after")])
    assert ParquetTable(mount / "tables", toy).read()["run_id"].to_pylist() == ["before", "after"]


SWEEP = """
experiment: toys:faulty
params: {pause_s: 0.01}
axes: {i: "range(0, 30, 1)"}
executor: serial
store: {commit_every_s: 0}
"""


@pytest.fixture
def command(folder, capsys, monkeypatch):
    """The command with a sweep of 30 runs, each written by itself."""
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "slow.yaml").write_text(SWEEP)
    monkeypatch.setattr(patient, "FIRST_WAIT_S", 0.05)

    def run(*words):
        code = run_command(["run", "slow", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    before = signal.getsignal(signal.SIGTERM)  # `run` handles it for the rest of its process
    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def full_after(monkeypatch):
    """Let the disk be full from the n-th part on, for so many tries."""
    real = LocalFolder.write

    def arrange(n, tries):
        left = [n, tries]

        def write(self, name, data, **options):
            if name.startswith("part-"):
                left[0] -= 1
                if left[0] < 0 and left[1] > 0:
                    left[1] -= 1
                    raise StoreError(f"Cannot write in {self}: No space left on device.")
            real(self, name, data, **options)

        monkeypatch.setattr(LocalFolder, "write", write)
        return left

    return arrange


def ids(folder):
    rows = ParquetTable(folder / "results" / "tables", faulty).read()
    return sorted(rows["i"].to_pylist())


def test_space_that_returns_in_time_lets_the_sweep_go_on(command, folder, full_after):
    full_after(10, 3)
    code, out, err = command()
    assert code == 0
    assert "lawsweep: paused: Cannot write in results/tables/faulty: No space left" in err
    assert "lawsweep: resumed" in err
    assert "30 planned: 30 ok" in out
    assert ids(folder) == list(range(30))


def test_space_that_does_not_return_ends_it_with_13_and_the_same_command_goes_on(
    command, folder, full_after, monkeypatch
):
    full_after(10, 10**6)
    start = time.monotonic()
    code, _, err = command("store.patience_s=0.5")
    assert code == 13
    assert time.monotonic() - start < 50  # the default patience is 60
    assert "Waited for it in vain (store.patience_s=0.5)" in err
    assert len(set(ids(folder))) == 10  # of any points: what takes longer may go first
    full_after(10**6, 0)
    code, out, _ = command()
    assert code == 0
    assert "ran 20 in" in out
    assert ids(folder) == list(range(30))


def test_a_signal_ends_the_pause(command, folder, full_after):
    left = full_after(10, 10**6)
    sender = signal_once(lambda: left[1] < 10**6)
    start = time.monotonic()
    code, _, err = command()
    assert time.monotonic() - start < 50  # of 60
    assert code == 13  # interrupted, and what it held could not be written
    assert "paused" in err
    assert len(set(ids(folder))) == 10
    sender.join()


@pytest.mark.parametrize("value", ["-1", "true", "soon", "1e9"])
def test_patience_is_seconds(command, value):
    code, _, err = command(f"store.patience_s={value}")
    assert code == 11
    assert "store.patience_s must be seconds from 0 to 86,400" in err


def fill(path):
    with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"x" * 1024)


@pytest.mark.slow
def test_a_small_disk_that_really_fills_up_in_mid_sweep(folder, tmp_path):
    """A launch in a process of its own; the disk is filled by another, and emptied again."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount a small disk")
    try:
        (folder / "sweeps").mkdir()
        text = SWEEP.replace("0.01", "0.05").replace("30", "100")
        (folder / "sweeps" / "slow.yaml").write_text(text)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        launch = subprocess.Popen(
            [sys.executable, "-m", "lawsweep.cli.main", "run", "slow", "results_dir=disk/results"],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        tables = disk / "results" / "tables" / "faulty"
        while not list(tables.glob("part-*")):
            assert launch.poll() is None, launch.communicate()
            time.sleep(0.02)
        fill(disk / "ballast")
        while "paused: " not in (line := launch.stderr.readline()):
            assert line, launch.communicate()
        assert "No space left on device" in line
        assert ParquetTable(disk / "results" / "tables", faulty).done()
        (disk / "ballast").unlink()
        out, err = launch.communicate(timeout=300)
        assert launch.returncode == 0, err
        assert "100 planned: 100 ok" in out
        assert "resumed" in err
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
